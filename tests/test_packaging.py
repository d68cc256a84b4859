# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What sdist, wheel and editable install hold: recipes in `.mim`, no MM requirement, no litter."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
PACKED = ('configs', 'mmconvnext', 'requirements', 'tests', 'tools')
PACKED_FILES = ('LICENSE', 'MANIFEST.in', 'README.md', 'model-index.yml', 'pyproject.toml')


def call(kind: str, source: Path, out: Path, **env: str) -> subprocess.CompletedProcess:
    """Call the backend as pip does, in `source`; kind: 'sdist', 'wheel' or 'editable'."""
    out.mkdir(exist_ok=True)
    code = f'from setuptools import build_meta; print(build_meta.build_{kind}({str(out)!r}))'
    # The kernels would take half a minute each time, and say nothing about what is carried.
    env = {**os.environ, 'MMCONVNEXT_BUILD': '0', **env}
    command = [sys.executable, '-c', code]
    return subprocess.run(command, cwd=source, env=env, capture_output=True, text=True)


def build(kind: str, source: Path, out: Path, **env: str) -> Path:
    result = call(kind, source, out, **env)
    assert result.returncode == 0, result.stderr
    return out / result.stdout.split()[-1]


def make_checkout(copy: Path) -> Path:
    ignore = shutil.ignore_patterns('__pycache__', '.mim', '_cpu*')
    for name in PACKED:
        shutil.copytree(ROOT / name, copy / name, ignore=ignore)
    for name in (*PACKED_FILES, 'setup.py'):
        shutil.copy(ROOT / name, copy)
    return copy


@pytest.fixture(scope='module')
def checkout(tmp_path_factory):
    """A copy to build in, because builds leave folders behind."""
    copy = make_checkout(tmp_path_factory.mktemp('checkout'))
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
        'torch>=2.1',
        'numpy',
        'safetensors',
    ]
    for stack in ('openmmlab', 'onedl'):
        lock = (ROOT / 'requirements' / f'{stack}.txt').read_text().splitlines()
        extra = [line.split(';') for line in required if f'extra == "{stack}"' in line]
        pins = {name.strip() for name, _ in extra if 'mm' in name}
        assert len(pins) == 4 and pins <= set(lock)


# The compiled kernels. A stub compiler is quick, and each file that it writes is different.

LIBRARY = f'mmconvnext/kernels/_cpu{sysconfig.get_config_var("EXT_SUFFIX")}'
PLATFORM = f'{sysconfig.get_platform()}-{sys.implementation.cache_tag}'
RECORD = str(Path(LIBRARY).with_suffix('.json'))
STUB = """#!{python}
import os, sys, uuid
if os.environ['STUB'] == 'fails' and '-o' in sys.argv:
    sys.exit('the stub fails')
if '-o' in sys.argv:
    with open(sys.argv[sys.argv.index('-o') + 1], 'w') as file:
        file.write(uuid.uuid4().hex)
print('g++ (stub) 13.2.0')
"""


@pytest.fixture
def own_checkout(tmp_path):
    """A checkout with an older library, in the source tree and in an earlier build folder."""
    copy = make_checkout(tmp_path / 'checkout')
    for folder in (copy, copy / 'build/lib', copy / f'build/lib.{PLATFORM}'):
        (folder / LIBRARY).parent.mkdir(parents=True, exist_ok=True)
        (folder / LIBRARY).write_text('from earlier')
        (folder / RECORD).write_text('{}')
    return copy


@pytest.fixture
def stub(tmp_path):
    file = tmp_path / 'g++'
    file.write_text(STUB.format(python=sys.executable))
    file.chmod(0o755)
    return {'CC': str(file), 'CXX': str(file), 'STUB': 'works', 'MMCONVNEXT_BUILD': 'DEFAULT'}


def compiled_in(archive: Path) -> list[str]:
    with zipfile.ZipFile(archive) as wheel:
        return [name for name in wheel.namelist() if '/_cpu' in name]


def test_no_library_from_earlier_is_carried(own_checkout, tmp_path):
    gone = own_checkout / 'build/lib/mmconvnext/gone.py'
    gone.touch()
    wheel = build('wheel', own_checkout, tmp_path / 'out')
    assert compiled_in(wheel) == []
    assert 'mmconvnext/gone.py' not in zipfile.ZipFile(wheel).namelist()
    with tarfile.open(build('sdist', own_checkout, tmp_path / 'out')) as archive:
        assert not [name for name in archive.getnames() if '/_cpu.' in name]
    assert (own_checkout / LIBRARY).read_text() == 'from earlier'  # an editable install's own


@pytest.mark.slow
def test_library_is_always_compiled_anew(own_checkout, stub, tmp_path):
    libraries = []
    for _ in range(2):
        wheel = build('wheel', own_checkout, tmp_path / 'out', **stub)
        assert sorted(compiled_in(wheel)) == [RECORD, LIBRARY]
        with zipfile.ZipFile(wheel) as archive:
            libraries.append(archive.read(LIBRARY))
            record = json.loads(archive.read(RECORD))
        assert record['sha256'] == hashlib.sha256(libraries[-1]).hexdigest()
        assert record['capability'] == 'DEFAULT' and record['torch'] == torch.__version__
    assert len({b'from earlier', *libraries}) == 3


@pytest.mark.slow
def test_failed_compilation_leaves_no_library(own_checkout, stub, tmp_path):
    stub['STUB'] = 'fails'
    assert compiled_in(build('wheel', own_checkout, tmp_path / 'out', **stub)) == []
    build('editable', own_checkout, tmp_path / 'out', **stub)
    assert not list(own_checkout.glob('mmconvnext/kernels/_cpu*'))


def test_editable_install_puts_library_and_record_in_place(own_checkout, stub, tmp_path):
    build('editable', own_checkout, tmp_path / 'out', **stub)
    record = json.loads((own_checkout / RECORD).read_text())
    library = own_checkout / LIBRARY
    assert record['sha256'] == hashlib.sha256(library.read_bytes()).hexdigest()
    build('editable', own_checkout, tmp_path / 'out')  # MMCONVNEXT_BUILD=0
    assert not library.exists() and not (own_checkout / RECORD).exists()


def fake_torch(folder: Path, content: str, cpp_extension: str) -> str:
    """PYTHONPATH with a stub of torch that has only the given contents."""
    utils = folder / 'torch/utils'
    utils.mkdir(parents=True)
    (utils.parent / '__init__.py').write_text(content)
    (utils / '__init__.py').touch()
    (utils / 'cpp_extension.py').write_text(cpp_extension)
    return str(folder)


def test_torch_that_does_not_work_leaves_the_kernels_out(own_checkout, tmp_path):
    fake = fake_torch(
        tmp_path / 'fake',
        'raise OSError("libcudart.so.12: cannot open")',
        'BuildExtension = CppExtension = include_paths = object',
    )
    env = {'PYTHONPATH': fake, 'MMCONVNEXT_BUILD': ''}
    result = call('wheel', own_checkout, tmp_path / 'out', **env)
    assert result.returncode == 0, result.stderr
    told = 'no CPU kernels, because torch does not work .*: libcudart.so.12: cannot open'
    assert re.search(told, result.stdout)
    assert compiled_in(tmp_path / 'out' / result.stdout.split()[-1]) == []


NO_COMPILER = """
include_paths = list
from setuptools import Extension as CppExtension
from setuptools.command.build_ext import build_ext

class BuildExtension(build_ext):
    def __init__(self, *args, use_ninja):
        super().__init__(*args)
    def build_extensions(self):
        raise OSError('no compiler')
"""


def test_no_compiler_leaves_the_kernels_out(own_checkout, tmp_path):
    fake = fake_torch(tmp_path / 'fake', '', NO_COMPILER)
    env = {'PYTHONPATH': fake, 'MMCONVNEXT_BUILD': 'DEFAULT'}
    result = call('wheel', own_checkout, tmp_path / 'out', **env)
    assert result.returncode == 0, result.stderr
    assert 'mmconvnext: no CPU kernels: no compiler' in result.stdout
    assert compiled_in(tmp_path / 'out' / result.stdout.split()[-1]) == []


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


@pytest.mark.skipif(not shutil.which('make'), reason='make is not installed')
@pytest.mark.parametrize(
    'options, environment, jobs',
    [((), '.venv', '2'), (('STACK=onedl', 'JOBS=3'), '.venv-onedl', '3')],
)
def test_make_test_lints_then_runs_all_in_several_processes(options, environment, jobs):
    command = ['make', '--dry-run', *options, 'test']
    env = {'PATH': os.environ['PATH']}  # without the options of the make that runs this
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    # Quoted, because the path of an environment may have spaces.
    assert lines[-1] == f'"{environment}/bin/python" -m pytest -n {jobs} --dist worksteal'
    assert f'"{environment}/bin/python" -m ruff check .' in lines
    assert f'--venv "{environment}"' in lines[0]


def test_requirements_of_the_tests_are_locked():
    text = (ROOT / 'requirements/tests.txt').read_text()
    names = set(re.findall(r'^([\w-]+)', text, re.MULTILINE))
    assert {'pytest', 'pytest-randomly', 'pytest-xdist'} <= names
    for stack in ('openmmlab', 'onedl'):
        lock = (ROOT / f'requirements/{stack}.txt').read_text()
        assert names <= set(re.findall(r'^([\w-]+)==', lock, re.MULTILINE)), stack


def test_ci_is_make_test():
    run = ROOT / '.ci' / 'run'
    assert os.access(run, os.X_OK)
    assert run.read_text().splitlines() == [
        '#!/usr/bin/env bash',
        'set -euo pipefail',
        'cd "$(dirname "${BASH_SOURCE[0]}")/.."',
        'make test',
    ]
