# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What sdist, wheel and editable install carry: recipes in `.mim`, no MM requirement, no litter."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKED = ('configs', 'mmconvnext', 'requirements', 'tests', 'tools')
PACKED_FILES = ('LICENSE', 'MANIFEST.in', 'README.md', 'model-index.yml', 'pyproject.toml')


def build(kind: str, source: Path, out: Path) -> Path:
    """Calls the backend as pip does, in `source`; kind: 'sdist', 'wheel' or 'editable'."""
    out.mkdir(exist_ok=True)
    code = f'from setuptools import build_meta; print(build_meta.build_{kind}({str(out)!r}))'
    # The kernels would take half a minute each time, and say nothing about what is carried.
    env = {**os.environ, 'MMCONVNEXT_BUILD': '0'}
    command = [sys.executable, '-c', code]
    result = subprocess.run(command, cwd=source, env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return out / result.stdout.split()[-1]


@pytest.fixture(scope='module')
def checkout(tmp_path_factory):
    """A copy to build in, because builds leave folders behind."""
    copy = tmp_path_factory.mktemp('checkout')
    ignore = shutil.ignore_patterns('__pycache__', '.mim')
    for name in PACKED:
        shutil.copytree(ROOT / name, copy / name, ignore=ignore)
    for name in (*PACKED_FILES, 'setup.py'):
        shutil.copy(ROOT / name, copy)
    (copy / 'mmconvnext/toy_data.yml').touch()
    return copy


@pytest.fixture(scope='module')
def editable(checkout):
    """The copy with the links of an editable install, as developers have when they build."""
    build('editable', checkout, checkout / 'out')
    return checkout


@pytest.fixture(scope='module')
def sdist(editable):
    with tarfile.open(build('sdist', editable, editable / 'out')) as archive:
        archive.extractall(editable / 'out', filter='data')
        return editable / 'out' / archive.getnames()[0]


@pytest.fixture(scope='module', params=['checkout', 'sdist'])
def wheel(request, editable, sdist):
    source = editable if request.param == 'checkout' else sdist
    return zipfile.ZipFile(build('wheel', source, editable / f'out-{request.param}'))


def configs(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.glob('configs/**/*.py')}


def test_editable_links_resolve(editable):
    mim = editable / 'mmconvnext/.mim'
    assert sorted(os.listdir(mim)) == ['configs', 'model-index.yml', 'tools']
    for link in mim.iterdir():
        assert link.resolve() == editable / link.name
        assert not os.path.isabs(os.readlink(link))


def test_editable_renews_an_old_copy(checkout, editable):
    old = editable / 'mmconvnext/.mim/configs'
    old.unlink()
    old.mkdir()
    build('editable', checkout, checkout / 'out')
    assert old.is_symlink() and old.resolve() == checkout / 'configs'


def test_sdist_carries_recipes_as_files(editable, sdist):
    mim = sdist / 'mmconvnext/.mim'
    assert not [path for path in mim.rglob('*') if path.is_symlink()]
    assert configs(mim) == configs(sdist) == configs(editable)
    assert (mim / 'tools/setup_env.py').is_file() and (mim / 'model-index.yml').is_file()
    assert (sdist / 'requirements/openmmlab.txt').is_file() and (sdist / 'tests').is_dir()


def test_wheel_carries_recipes_and_data(editable, wheel):
    names = set(wheel.namelist())
    prefix = 'mmconvnext/.mim/'
    packed = {n[len(prefix) :] for n in names if n.startswith(prefix + 'configs/')}
    assert {name for name in packed if name.endswith('.py')} == configs(editable)
    assert {prefix + 'tools/setup_env.py', prefix + 'model-index.yml'} <= names
    assert {'mmconvnext/version.py', 'mmconvnext/toy_data.yml'} <= names
    assert not [name for name in names if '__pycache__' in name]


def test_wheel_has_one_top_level(wheel):
    tops = {name.partition('/')[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith('.dist-info')} == {'mmconvnext'}


def test_metadata_requires_no_mm_distribution(wheel):
    name = next(n for n in wheel.namelist() if n.endswith('.dist-info/METADATA'))
    metadata = wheel.read(name).decode()
    required = re.findall(r'^Requires-Dist: (.+)$', metadata, re.MULTILINE)
    assert [line for line in required if 'extra ==' not in line] == [
        'torch>=2.0',
        'numpy',
        'safetensors',
    ]
    for stack in ('openmmlab', 'onedl'):
        lock = (ROOT / 'requirements' / f'{stack}.txt').read_text().splitlines()
        extra = [line.split(';') for line in required if f'extra == "{stack}"' in line]
        pins = {name.strip() for name, _ in extra if 'mm' in name}
        assert len(pins) == 4 and pins <= set(lock)


def test_version_is_the_packages(wheel):
    from mmconvnext.version import __version__

    assert Path(wheel.filename).name.startswith(f'mmconvnext-{__version__}-py3')


def test_citation_and_changelog_name_the_version():
    from mmconvnext.version import __version__

    assert f'\nversion: {__version__}\n' in (ROOT / 'CITATION.cff').read_text()
    assert f'\n## {__version__}\n' in (ROOT / 'CHANGELOG.md').read_text()


def test_manifest_names_what_is_there():
    for line in (ROOT / 'MANIFEST.in').read_text().splitlines():
        command, _, names = line.partition(' ')
        if command == 'include':
            assert all((ROOT / name).is_file() for name in names.split()), line


def test_ci_is_make_test():
    run = ROOT / '.ci' / 'run'
    assert os.access(run, os.X_OK)
    assert run.read_text().splitlines() == [
        '#!/usr/bin/env bash',
        'set -euo pipefail',
        'cd "$(dirname "${BASH_SOURCE[0]}")/.."',
        'make test',
    ]
