# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: how setup.py compiles the kernels: sources, flags, processor, record. Nothing is built:
setup.py runs here with a `setup` that keeps what it is given.
"""

import json
import runpy
import shutil
import sysconfig
from pathlib import Path
from types import SimpleNamespace

import pytest
import setuptools
import torch
from setuptools.command.build_ext import build_ext
from setuptools.command.editable_wheel import editable_wheel
from torch.utils import cpp_extension

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.skipif(not (ROOT / 'setup.py').is_file(), reason='not in a checkout')
NAME = f'_cpu{sysconfig.get_config_var("EXT_SUFFIX")}'


@pytest.fixture
def checkout(tmp_path):
    """What setup.py reads, in a folder of its own with a space in its path."""
    copy = tmp_path / 'my clone'
    ignored = shutil.ignore_patterns('_cpu*', '__pycache__')
    shutil.copytree(ROOT / 'mmconvnext/kernels', copy / 'mmconvnext/kernels', ignore=ignored)
    shutil.copytree(ROOT / 'requirements', copy / 'requirements')
    for name in ('setup.py', 'README.md', 'mmconvnext/version.py'):
        shutil.copy(ROOT / name, copy / name)
    (copy / 'configs').mkdir()
    return copy


@pytest.fixture
def setup(checkout, monkeypatch):
    """A function that runs setup.py with these variables; returns the arguments of `setup`."""
    monkeypatch.chdir(checkout)
    monkeypatch.setattr(torch.backends.cpu, 'get_cpu_capability', lambda: 'AVX2')
    for name in ('MMCONVNEXT_BUILD', 'MMCONVNEXT_CXXFLAGS'):
        monkeypatch.delenv(name, raising=False)

    def run(**variables: str) -> SimpleNamespace:
        given = {}
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            patch.setattr(setuptools, 'setup', given.update)
            runpy.run_path('setup.py')
        return SimpleNamespace(**given)

    return run


def flags_of(given: SimpleNamespace) -> list[str]:
    (extension,) = given.ext_modules
    flags = extension.extra_compile_args
    return flags['cxx'] if isinstance(flags, dict) else flags


INSTRUCTIONS = {
    'AVX512': '-mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma -mf16c',
    'AVX2': '-mavx2 -mfma -mf16c',
    'DEFAULT': '',
}


@pytest.mark.parametrize(
    ('variable', 'here', 'compiled'),
    [
        (None, 'AVX512', 'AVX512'),
        (None, 'AVX2', 'AVX2'),
        (None, 'NO AVX', 'DEFAULT'),
        ('', 'AVX2', 'AVX2'),
        ('AVX512', 'AVX2', 'AVX512'),
        ('AVX2', 'AVX512', 'AVX2'),
        ('DEFAULT', 'AVX512', 'DEFAULT'),
    ],
)
def test_instructions_and_flags(setup, monkeypatch, variable, here, compiled):
    monkeypatch.setattr(torch.backends.cpu, 'get_cpu_capability', lambda: here)
    flags = flags_of(setup(**({} if variable is None else {'MMCONVNEXT_BUILD': variable})))
    assert [f for f in flags if f.startswith('-m')] == INSTRUCTIONS[compiled].split()
    assert [f for f in flags if f.startswith('-D')] == [
        f'-DCPU_CAPABILITY={compiled}',
        f'-DCPU_CAPABILITY_{compiled}',
    ]
    assert {'-O3', '-g0', '-fopenmp', '-Wall', '-Wextra', '-Wshadow'} <= set(flags)
    headers = [*cpp_extension.include_paths(), sysconfig.get_paths()['include']]
    assert [f for f in flags if f.startswith('-isystem')] == [f'-isystem{h}' for h in headers]


def test_what_is_compiled_and_linked(setup, checkout):
    given = setup()
    (extension,) = given.ext_modules
    assert extension.name == 'mmconvnext.kernels._cpu'
    assert extension.sources == ['mmconvnext/kernels/csrc/ops.cpp']
    csrc = checkout / 'mmconvnext/kernels/csrc'
    files = {
        path.relative_to(checkout).as_posix() for path in csrc.iterdir() if path.suffix != '.md'
    }
    assert set(extension.depends) == files and len(files) > 10
    assert '-fopenmp' in extension.extra_link_args
    assert extension.optional  # a failure leaves the blocks plain
    packed = given.package_data['mmconvnext']
    assert {'**/*.cpp', '**/*.h', '**/*.csv', '**/*.txt'} <= set(packed)
    assert given.zip_safe is False
    command = given.cmdclass['build_ext'](setuptools.Distribution())
    assert issubclass(given.cmdclass['build_ext'], cpp_extension.BuildExtension)
    assert command.use_ninja is False


def test_flags_of_the_user_come_last_as_a_shell_reads_them(setup, monkeypatch):
    monkeypatch.setenv('CXXFLAGS', '-std=c++11 -O2')  # conda's
    plain = flags_of(setup())
    assert '-O2' not in plain and '-std=c++11' not in plain
    flags = flags_of(setup(MMCONVNEXT_CXXFLAGS="-O1 -DNAME='two words'"))
    assert flags == [*plain, '-O1', '-DNAME=two words']


def test_zero_builds_nothing_and_other_values_are_refused(setup):
    given = setup(MMCONVNEXT_BUILD='0')
    assert not hasattr(given, 'ext_modules') and 'build_ext' not in given.cmdclass
    for value in ('avx2', '1', 'AVX', ' '):
        with pytest.raises(SystemExit) as refused:
            setup(MMCONVNEXT_BUILD=value)
        assert str(refused.value) == (
            f'MMCONVNEXT_BUILD={value!r} is unknown; choose 0 (no kernels), AVX512, AVX2, DEFAULT, '
            'or unset it for this processor'
        )


@pytest.mark.parametrize('error', [OSError('no libcudart'), AttributeError('too old')], ids=repr)
def test_a_broken_torch_is_told_and_builds_nothing(setup, monkeypatch, capsys, error):
    def broken():
        raise error

    monkeypatch.setattr(torch.backends.cpu, 'get_cpu_capability', broken)
    assert not hasattr(setup(), 'ext_modules')
    told = f'mmconvnext: no CPU kernels, because torch does not work in this build: {error}\n'
    assert capsys.readouterr().out == told


@pytest.fixture
def command(setup, tmp_path):
    """build_ext as pip runs it, into a folder of its own."""
    given = setup()
    made = given.cmdclass['build_ext'](
        setuptools.Distribution(dict(name='mmconvnext', ext_modules=given.ext_modules))
    )
    made.build_lib, made.build_temp = str(tmp_path / 'lib'), str(tmp_path / 'temp')
    made.ensure_finalized()
    return made


def test_the_record_is_of_the_sources_before_and_the_library_after(
    command, checkout, tmp_path, monkeypatch
):
    library = tmp_path / 'lib/mmconvnext/kernels' / NAME
    library.parent.mkdir(parents=True)
    library.write_bytes(b'earlier')
    header = checkout / 'mmconvnext/kernels/csrc/gelu.h'
    text = header.read_text()

    def compile_it(self, extension):
        assert not library.exists()
        library.write_bytes(b'new')
        header.write_text(text + '// edited meanwhile')

    monkeypatch.setattr(cpp_extension.BuildExtension, 'build_extension', compile_it)
    command.build_extension(command.extensions[0])
    header.write_text(text)
    monkeypatch.setattr(torch.backends.cpu, 'get_cpu_capability', lambda: 'AVX512')
    from mmconvnext.kernels import library as module

    record = json.loads(library.with_suffix('.json').read_text())
    assert record == {'capability': 'AVX2', 'sha256': module._sha256(library)} | module.needs(
        checkout / 'mmconvnext/kernels'
    )
    assert set(command.get_outputs()) >= {str(library), str(library.with_suffix('.json'))}
    monkeypatch.setattr(build_ext, 'copy_extensions_to_source', lambda self: None)
    command.copy_extensions_to_source()
    copied = (checkout / 'mmconvnext/kernels' / NAME).with_suffix('.json')
    assert json.loads(copied.read_text()) == record


def test_a_failed_compilation_is_told_and_leaves_no_library(
    command, checkout, tmp_path, monkeypatch, capsys
):
    library = tmp_path / 'lib/mmconvnext/kernels' / NAME
    library.parent.mkdir(parents=True)
    library.write_bytes(b'earlier')

    def fail(self, extension):
        raise RuntimeError('the compiler failed')

    monkeypatch.setattr(cpp_extension.BuildExtension, 'build_extension', fail)
    with pytest.raises(RuntimeError, match='the compiler failed'):
        command.build_extension(command.extensions[0])
    assert not library.exists()
    monkeypatch.setattr(
        cpp_extension.BuildExtension, 'build_extensions', lambda self: fail(self, None)
    )
    command.build_extensions()
    assert capsys.readouterr().out == 'mmconvnext: no CPU kernels: the compiler failed\n'
    assert [Path(path).name for path in command.get_outputs()] == [NAME]
    monkeypatch.setattr(build_ext, 'copy_extensions_to_source', lambda self: None)
    command.copy_extensions_to_source()
    assert not list((checkout / 'mmconvnext/kernels').glob('_cpu*'))


def test_an_editable_install_begins_without_a_library(setup, checkout, monkeypatch):
    (checkout / 'mmconvnext/kernels' / NAME).write_bytes(b'earlier')
    (checkout / 'mmconvnext/kernels' / NAME).with_suffix('.json').write_text('{}')
    monkeypatch.setattr(editable_wheel, 'run', lambda self: None)
    for _ in range(2):
        command = setup(MMCONVNEXT_BUILD='0').cmdclass['editable_wheel']
        command(setuptools.Distribution()).run()
        assert not list((checkout / 'mmconvnext/kernels').glob('_cpu*'))
