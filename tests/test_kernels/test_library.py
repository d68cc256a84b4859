# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: a compiled library is loaded only if its record says that it fits."""

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmconvnext.kernels import library as module
from mmconvnext.kernels.library import FILE, load, needs, read, record_file, write
from mmconvnext.kernels.ops import capability

compiled = pytest.mark.skipif(capability()[0] is None, reason=f'no kernels: {capability()[1]}')
# Not a library: loading it fails, which shows that it would have been loaded.
LOADED = 'the kernels cannot be loaded '


@pytest.fixture
def kernels(tmp_path, monkeypatch) -> Path:
    """A copy of the kernels' folder with a library for AVX2, on a processor that has AVX2."""
    folder = tmp_path / 'my clone/mmconvnext/kernels'
    folder.mkdir(parents=True)
    for name in ('ops', 'csrc'):
        shutil.copytree(module.FOLDER / name, folder / name)
    monkeypatch.setattr(torch.backends.cpu, 'get_cpu_capability', lambda: 'AVX2')
    monkeypatch.setattr(torch, '__version__', '2.13.0+cpu')
    monkeypatch.setattr(torch, 'compiled_with_cxx11_abi', lambda: True)
    (folder / FILE).write_bytes(b'no library')
    write(folder / FILE, 'AVX2', needs(folder))
    return folder


def change_record(folder: Path, **facts) -> None:
    file = record_file(folder / FILE)
    file.write_text(json.dumps({**json.loads(file.read_text()), **facts}))


def test_the_library_of_this_installation_is_loaded():
    # Without this test, a fault in loading would only skip the tests of the kernels.
    if not (module.FOLDER / FILE).is_file():
        pytest.skip('the kernels are not compiled here')
    assert load() == (read(module.FOLDER / FILE)['capability'], '')


def test_what_fits_is_loaded(kernels, monkeypatch):
    assert load(kernels)[1].startswith(LOADED)
    for name in ('csrc/.#gelu.h', 'ops/.#mlp.py'):
        (kernels / name).symlink_to('user@host')  # an editor's lock
    for name in ('csrc/README.md', 'csrc/gelu.h~', 'ops/notes.txt'):
        (kernels / name).write_text('no source')
    assert load(kernels)[1].startswith(LOADED)
    shutil.rmtree(kernels / 'csrc')  # an installation may leave them out
    assert load(kernels)[1].startswith(LOADED)
    monkeypatch.setattr(torch.backends.cpu, 'get_cpu_capability', lambda: 'AVX512')
    assert load(kernels)[1].startswith(LOADED)
    write(kernels / FILE, 'DEFAULT', needs(kernels))
    for other in ('SVE256', 'NO AVX', 'DEFAULT'):
        monkeypatch.setattr(torch.backends.cpu, 'get_cpu_capability', lambda other=other: other)
        assert load(kernels)[1].startswith(LOADED)


def test_no_library_is_not_compiled(kernels):
    told = 'the kernels are not compiled (this needs a C++ compiler and --no-build-isolation)'
    (kernels / FILE).unlink()
    assert load(kernels) == (None, told)
    (kernels / FILE).mkdir()
    assert load(kernels) == (None, told)


@pytest.mark.parametrize(
    ('compiled', 'here'), [('AVX512', 'AVX2'), ('AVX2', 'DEFAULT'), ('AVX2', 'SVE256')]
)
def test_another_processor(kernels, monkeypatch, compiled, here):
    write(kernels / FILE, compiled, needs(kernels))
    monkeypatch.setattr(torch.backends.cpu, 'get_cpu_capability', lambda: here)
    here = 'DEFAULT' if here == 'SVE256' else here
    found, why = load(kernels)
    assert found is None
    assert why.startswith(f'the kernels were compiled for {compiled}, this processor has {here} (')
    assert f'MMCONVNEXT_BUILD={here}' in why


def test_another_torch(kernels, monkeypatch):
    monkeypatch.setattr(torch, '__version__', '2.13.0+cu130')
    assert load(kernels)[1].startswith(
        'the kernels were compiled against torch 2.13.0+cpu, this is torch 2.13.0+cu130; '
    )
    monkeypatch.setattr(torch, '__version__', '2.13.0+cpu')
    monkeypatch.setattr(torch, 'compiled_with_cxx11_abi', lambda: False)
    assert 'this is torch 2.13.0+cpu with the old C++ ABI; ' in load(kernels)[1]


def write_below(file: Path) -> None:
    file.parent.mkdir(parents=True)
    file.write_text('int one = 1;')


@pytest.mark.parametrize(
    ('change', 'what'),
    [
        (lambda folder: (folder / 'ops/mlp.py').open('a').write('\n'), 'operators'),
        (lambda folder: (folder / 'ops/mlp.py').unlink(), 'operators'),
        (lambda folder: (folder / 'csrc/gelu.h').open('a').write('\n'), 'C++ sources'),
        (lambda folder: (folder / 'csrc/gelu.h').rename(folder / 'csrc/gelu0.h'), 'C++ sources'),
        (lambda folder: (folder / 'csrc/new.cpp').touch(), 'C++ sources'),
        (lambda folder: write_below(folder / 'csrc/deep/down/new.h'), 'C++ sources'),
    ],
)
def test_other_sources(kernels, change, what):
    change(kernels)
    told = f'the kernels were compiled from {what} other than those installed; '
    assert load(kernels)[1].startswith(told)


@pytest.mark.parametrize(
    'break_it',
    [
        lambda library: record_file(library).unlink(),
        lambda library: record_file(library).write_text(''),
        lambda library: record_file(library).write_text('{"capability": "AV'),
        lambda library: record_file(library).write_text('[]'),
        lambda library: record_file(library).write_text('{}'),
        lambda library: record_file(library).write_bytes(b'\xff'),
        lambda library: record_file(library).write_text('[' * 200_000),
        lambda library: (record_file(library).unlink(), record_file(library).mkdir()),
        lambda library: record_file(library).write_text('{"capability": "AVX2"}'),
        lambda library: change_record(library.parent, capability='AVX1024'),
        lambda library: change_record(library.parent, capability=None),
        lambda library: library.write_bytes(b'no libr'),
        lambda library: library.write_bytes(bytes(10)),
    ],
    ids='missing empty half list nothing binary deep folder part unknown null cut replaced'.split(),
)
def test_without_its_own_record(kernels, break_it):
    break_it(kernels / FILE)
    assert read(kernels / FILE) is None
    found, why = load(kernels)
    assert found is None
    assert why.startswith('the kernels have no valid record of what they were compiled for; ')


@pytest.mark.parametrize('gone', ['torch', 'operators', 'C++ sources'])
def test_a_record_without_a_fact(kernels, gone):
    file = record_file(kernels / FILE)
    facts = json.loads(file.read_text())
    del facts[gone]
    file.write_text(json.dumps(facts))
    found, why = load(kernels)
    assert found is None
    assert why.startswith(
        'the kernels were compiled against torch None, this is torch 2.13.0+cpu; '
        if gone == 'torch'
        else f'the kernels were compiled from {gone} other than those installed; '
    )


def test_the_record_is_read_as_it_was_written(kernels):
    facts = {'torch': '2.13.0+cpu', 'operators': 'a', 'C++ sources': 'b'}
    write(kernels / FILE, 'AVX512', facts)
    own = {'sha256': hashlib.sha256(b'no library').hexdigest()}
    assert read(kernels / FILE) == {'capability': 'AVX512', **facts, **own}


def test_digests_do_not_depend_on_the_order_of_the_files(tmp_path):
    files = [tmp_path / name for name in ('b.h', 'a.h', 'c.h')]
    for file in files:
        file.write_text(file.name)
    assert len({module.digest(order) for order in (files, files[::-1], sorted(files))}) == 1
    assert module.digest(files[:2]) != module.digest(files)


def test_links_to_this_package_are_kept(tmp_path):
    """The folder that a link points to may belong to another Python, with another library."""
    (tmp_path / 'library.py').symlink_to(module.__file__)
    spec = importlib.util.spec_from_file_location('linked', tmp_path / 'library.py')
    linked = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(linked)
    assert linked.FOLDER == tmp_path
    assert linked.load() == (None, load(tmp_path)[1]) and 'not compiled' in linked.load()[1]


def test_the_library_here_is_of_the_sources_here():
    """Otherwise the tests of the compiled kernels would be skipped, and what they test unknown."""
    why = capability()[1]
    assert 'other than those installed' not in why and 'no valid record' not in why, why


def test_remedy_in_a_checkout_and_elsewhere(kernels):
    record_file(kernels / FILE).unlink()
    options = '--no-build-isolation --no-cache-dir --force-reinstall --no-deps'
    assert load(kernels)[1].endswith(f'to recompile them: pip install {options} mmconvnext')
    root = kernels.parents[1]
    (root / 'setup.py').touch()
    assert ' ' in str(root)
    way = f"`make setup`, or pip install --no-build-isolation --no-deps -e '{root}'"
    assert load(kernels)[1].endswith(f'to recompile them: {way}')
    assert '\n' not in load(kernels)[1]


def test_needs_no_torch_and_no_package_to_be_read():
    command = [sys.executable, '-I', '-S', module.__file__]
    assert subprocess.run(command, capture_output=True, text=True).stderr == ''


@compiled
def test_record_of_the_real_library():
    record = read(module.FOLDER / FILE)
    assert record['capability'] == capability()[0]
    assert {key: record[key] for key in needs(module.FOLDER)} == needs(module.FOLDER)


def forward(package: Path, folder: Path, **env: str) -> tuple[list[str], str]:
    """A small forward pass in another process: the shape and the mapped library, and the log."""
    code = """
import torch, mmconvnext
model = mmconvnext.ConvNeXt(dict(depths=[1], channels=[8]), out_indices=0)
print(tuple(model(torch.zeros(1, 3, 8, 8))[0].shape))
print([line.split()[-1] for line in open('/proc/self/maps') if '/_cpu.' in line])
"""
    env = {**os.environ, 'MMCONVNEXT_KERNELS': 'auto', 'PYTHONPATH': str(package.parent), **env}
    command = [sys.executable, '-c', code]
    result = subprocess.run(command, env=env, capture_output=True, text=True, cwd=folder)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()[-2:], result.stdout + result.stderr


@compiled
@pytest.mark.slow
@pytest.mark.skipif(capability()[0] == 'DEFAULT', reason='it runs on every processor')
def test_a_library_that_does_not_fit_is_not_even_mapped(tmp_path):
    """Mapping it would run its initializers, with instructions that the processor may not have."""
    found, log = forward(module.FOLDER.parent, tmp_path, ATEN_CPU_CAPABILITY='default')
    assert found == ['(1, 8, 2, 2)', '[]']
    told = f'compiled for {capability()[0]}, this processor has DEFAULT .*to recompile them: '
    assert len(re.findall(told, log)) == 1


@compiled
@pytest.mark.slow
def test_a_changed_schema_does_not_meet_the_old_library(tmp_path):
    """As in a checkout after `git pull`; registering the two would end the process."""
    ignore = shutil.ignore_patterns('.mim', '__pycache__')
    package = shutil.copytree(module.FOLDER.parent, tmp_path / 'mmconvnext', ignore=ignore)
    ops = package / 'kernels/ops/gelu.py'
    changed = ops.read_text().replace(') -> (Tensor, Tensor)', ', bool more) -> (Tensor, Tensor)')
    assert changed != ops.read_text()
    ops.write_text(changed)
    found, log = forward(package, tmp_path)
    assert found == ['(1, 8, 2, 2)', '[]']
    assert 'compiled from operators other than those installed; to recompile' in log
