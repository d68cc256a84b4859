# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""tools/setup_env.py: what it runs, in which order, on a machine that only records the calls."""

import fcntl
import json
import os
import platform
import re
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from urllib.parse import quote

import pytest

LOCKS = {  # the two differ in every version
    'openmmlab': {'torch': '2.13.0', 'mmcv': '2.1.0', 'mmengine': '0.10.7'},
    'onedl': {'torch': '2.12.1', 'onedl-mmcv': '2.3.6', 'onedl-mmengine': '0.11.0'},
}
MMCV = {'openmmlab': 'mmcv==2.1.0', 'onedl': 'onedl-mmcv==2.3.6'}
WHEEL = {
    'openmmlab': 'mmcv-2.1.0-cp311-cp311-linux_x86_64.whl',
    'onedl': 'onedl_mmcv-2.3.6-cp311-cp311-linux_x86_64.whl',
}
ALL = 'import torch, mmengine, mmcv.ops, mmdet, mmseg, mmconvnext'


class Machine:
    """Answers for the programs that the script runs; what pip installs is there from then on."""

    def __init__(self, root, folder, cache) -> None:
        self.root, self.stamp, self.cache = root, folder / '.mmconvnext.json', cache
        self.wheels_say: list[str] = []  # errors of the operators of wheels that pip installs
        self.calls: list[str] = []
        self.state = dict(python='3.11.7', dists={}, source=None, ops=False, pip=True, headers=True)
        self.runs = True  # the python of the environment
        self.broken: dict[str, str] = {}  # what the import of these modules says
        self.fails = ''  # a command that contains this ends with status 1
        self.settings: dict[str, str] = {}
        self.log, self.ticks = '', 0
        self.compiler = '#define __GNUC__ 12'  # what it says of itself
        self.facts = dict(torch='2.13.0+cpu', cuda=False, python='cpython-311', includes=['a', 'b'])

    def run(self, command, check=False, **options) -> subprocess.CompletedProcess:
        words = [self.short(word) for word in command]
        if '-E' in words:
            self.calls.append('compiler?')
            return subprocess.CompletedProcess(words, 0, self.compiler, '')
        if 'c++-header' in words:
            self.calls.append('header')
            return subprocess.CompletedProcess(words, int(self.fails == 'header'), '', '')
        if '-c' in words and 'include_paths' in words[-1]:
            assert check and words[1:-2] == ['-I', '-W', 'ignore']
            self.calls.append('torch?')
            return subprocess.CompletedProcess(words, 0, f'more\n{json.dumps(self.facts)}\n', '')
        if '-c' in words and words[-1].startswith('import '):
            assert words[1:-2] == ['-I', '-W', 'ignore']
            self.calls.append(words[-1])
            error = self.broken.get(words[-1].removeprefix('import '), '')
            return subprocess.CompletedProcess(words, bool(error), 'more\n', error)
        if '-c' in words and 'json.dumps' in words[words.index('-c') + 1]:
            assert words[1] == '-I'
            self.calls.append('probe')
            if not self.runs:
                raise FileNotFoundError(words[0])
            return subprocess.CompletedProcess(words, 0, json.dumps(self.state), '')
        call = ' '.join(words[2:])
        self.calls.append(call)
        assert words[1] == '-m'
        assert not self.stamp.exists()  # an interrupted set-up must not look complete
        if self.fails and self.fails in call:
            if check:
                raise subprocess.CalledProcessError(1, words)
            return subprocess.CompletedProcess(words, 1)
        if call.startswith('pip install'):
            assert options['cwd'] == self.root
        self.install(call)
        return subprocess.CompletedProcess(words, 0)

    def short(self, word: object) -> str:
        names = {self.root: 'ROOT', self.stamp.parent: 'ENV', self.cache: 'CACHE'}
        word = str(word)
        for folder, name in names.items():
            word = word.replace(str(folder), name)
        return word

    def install(self, call: str) -> None:
        dists = self.state['dists']
        if call.startswith('venv'):
            self.runs = True
        for stack, pins in LOCKS.items():
            if call.startswith('pip install torch ') and f'{stack}.txt' in call:
                dists['torch'] = pins['torch'] + '+cpu'
            if call.startswith('pip wheel') and call.endswith(MMCV[stack]):
                (self.stamp.parent / 'mmcv-build' / WHEEL[stack]).write_text('operators')
            if WHEEL[stack] in call:
                dists.pop('mmcv-lite', None)
                name, dists[name] = MMCV[stack].split('==')[0], MMCV[stack].split('==')[1]
                self.state['ops'] = True
                self.broken['mmcv.ops'] = self.wheels_say.pop(0) if self.wheels_say else ''
        if ' -e ' in call:
            self.state['source'] = f'file://{quote(str(self.root))}'

    def Popen(self, command, stdout, stderr, cwd, env):  # noqa: N802
        """The only long step: pip compiles mmcv."""
        assert stderr is stdout
        stdout.write(self.log)
        stdout.flush()
        self.settings = env
        machine, done = self, self.run(command, cwd=cwd)

        class Process:
            returncode = done.returncode
            left = machine.ticks

            def poll(self):
                return None if self.left >= 0 else self.returncode

            def wait(self, timeout):
                self.left -= 1
                if self.left >= 0:
                    raise subprocess.TimeoutExpired(command, timeout)

        return Process()


@pytest.fixture
def machine(setup_env, tmp_path, monkeypatch):
    """A checkout and an environment, both with spaces in their paths."""
    root, folder = tmp_path / 'my checkout \u00fc', tmp_path / 'my env'
    (root / 'mmconvnext/.mim/configs').mkdir(parents=True)
    (root / 'requirements').mkdir()
    (root / 'setup.py').touch()
    for stack, pins in LOCKS.items():
        lock = '\n'.join(f'{name}=={version}' for name, version in pins.items())
        (root / f'requirements/{stack}.txt').write_text(f'# a comment\n{lock}\n')
    folder.mkdir()
    machine = Machine(root, folder, tmp_path / 'cache')
    monkeypatch.setenv('XDG_CACHE_HOME', str(machine.cache))
    monkeypatch.setattr(setup_env, 'ROOT', root)
    monkeypatch.setattr(setup_env.subprocess, 'run', machine.run)
    monkeypatch.setattr(setup_env.subprocess, 'Popen', machine.Popen)
    monkeypatch.setattr(setup_env.shutil, 'which', lambda name: name == 'g++')
    for name in ('CXX', 'CFLAGS', 'FORCE_CUDA', 'MAX_JOBS', 'MMCONVNEXT_BUILD'):
        monkeypatch.delenv(name, raising=False)
    machine.env = setup_env.Env(folder)
    return machine


def locked(stack: str) -> str:
    return f' -c ROOT/requirements/{stack}.txt'


def building(stack='openmmlab') -> list[str]:
    build = 'pip wheel -v --no-build-isolation --no-deps --no-cache-dir -w ENV/mmcv-build'
    return ['compiler?', 'header', f'{build} {MMCV[stack]}']


def steps(stack='openmmlab', torch=True, mmcv=True, lock=True, before=()) -> list[str]:
    """The steps of a set-up; those that are done already can be left out."""
    end = locked(stack) if lock else ''
    install = f'pip install -q ENV/mmcv-build/{WHEEL[stack]}{end}'
    return [
        'probe',
        *before,
        f'pip install -q -r requirements/build.txt{end}',
        *([f'pip install torch{end}'] if torch else []),
        'import torch',
        *(['torch?', *building(stack), install] if mmcv else []),
        'import mmcv.ops',
        f'pip install -q --no-build-isolation -e .[{stack},tools,tests]{end}',
        ALL,
        'probe',
    ]


@pytest.mark.parametrize('stack', LOCKS)
def test_from_nothing_to_ready(setup_env, machine, stack, capsys):
    machine.state['pip'] = False
    setup_env.set_up(machine.env, stack)
    assert machine.calls == steps(stack, before=['ensurepip'])
    said = capsys.readouterr().out
    torch = LOCKS[stack]['torch']
    assert f'installing torch {torch}\n' in said and 'will be compiled' in said
    assert said.endswith(f'my env is complete ({stack}, torch {torch}+cpu)\n')
    stamp = json.loads(machine.stamp.read_text())  # of what is there now
    assert (stamp['stack'], stamp['torch'], stamp['python']) == (stack, f'{torch}+cpu', '3.11.7')
    machine.calls.clear()
    setup_env.set_up(machine.env, stack)
    assert machine.calls == ['probe']
    assert capsys.readouterr().out.endswith(f'my env is ready ({stack}, torch {torch}+cpu)\n')


@pytest.mark.parametrize('stack', LOCKS)
def test_known_hashes_come_first(setup_env, machine, monkeypatch, stack):
    monkeypatch.setattr(platform, 'machine', lambda: 'x86_64')
    setup_env.set_up(machine.env, stack, hashes=True)
    hashed = f'pip install -q --no-deps --require-hashes -r requirements/hashes/{stack}.txt'
    assert machine.calls == steps(stack, before=[hashed])


def test_hashes_are_of_one_platform_and_one_torch(setup_env, machine, monkeypatch):
    monkeypatch.setattr(platform, 'machine', lambda: 'arm64')
    with pytest.raises(
        setup_env.SetupError, match=r'for Linux x86_64, but this is Linux arm64\. S'
    ):
        setup_env.set_up(machine.env, 'openmmlab', hashes=True)
    monkeypatch.setattr(platform, 'machine', lambda: 'x86_64')
    machine.state['dists'] = {'torch': '2.4.1+cu121'}
    with pytest.raises(
        setup_env.SetupError, match='with a torch of another version. Set up without'
    ):
        setup_env.set_up(machine.env, 'openmmlab', hashes=True)


@pytest.mark.parametrize('stack', LOCKS)
def test_hashes_are_those_of_the_lock_file(setup_env, stack):
    """Of all that is not compiled; torch has a build for each machine."""
    root = Path(setup_env.__file__).resolve().parents[1] / 'requirements'
    lines = (root / f'hashes/{stack}.txt').read_text().replace(' \\\n', '').splitlines()
    rows = [line.split() for line in lines if not line.startswith('#')]
    pins, hashed = setup_env.read_pins(root / f'{stack}.txt'), dict(r[0].split('==') for r in rows)
    built = {'mmcv', 'onedl-mmcv', 'onedl-mmdetection', 'onedl-mmsegmentation', 'torch'}
    assert hashed == {name: pin for name, pin in pins.items() if name not in built}
    hashes = [word for row in rows for word in row[1:]]
    assert all(re.fullmatch('--hash=sha256:[0-9a-f]{64}', word) for word in hashes)
    assert len({*hashes}) == len(hashes) >= len(rows) > 80 and all(row[1:] for row in rows)


MINE = {'torch': '2.13.0+cu128', 'mmcv': '2.1.0'}


@pytest.mark.parametrize(
    ('dists', 'ops', 'expected'),
    [
        (MINE, True, steps(torch=False, mmcv=False)),
        ({**MINE, 'mmcv': '2.2.0'}, True, steps(torch=False)),
        ({'torch': '2.13.0'}, False, steps(torch=False)),
        ({**MINE, 'torch': '2.4.1+cu121'}, True, steps(torch=False, mmcv=False, lock=False)),
        ({'torch': '2.14.0'}, False, steps(torch=False, lock=False)),
    ],
    ids=['all there', 'another mmcv', 'no mmcv', 'older torch', 'newer torch'],
)
def test_the_users_torch_stays(setup_env, machine, dists, ops, expected, capsys):
    """Another version than the lock's is not replaced, so the lock cannot be used either."""
    machine.state.update(dists=dict(dists), ops=ops)
    setup_env.set_up(machine.env, 'openmmlab')
    assert machine.calls == expected
    assert machine.env.state['dists']['torch'] == dists['torch']
    said = capsys.readouterr().out
    own = not any('-c ROOT' in call for call in expected)
    assert (f'keeping your torch {dists["torch"]}; pip chooses' in said) == own
    assert ('will be compiled' in said) == any('mmcv==' in call for call in expected)


def test_an_mmcv_that_does_not_load_is_compiled_again(setup_env, machine, capsys):
    machine.state.update(dists=dict(MINE), ops=True)
    machine.broken['mmcv.ops'] = 'Traceback\nImportError: _ext.so: undefined symbol'
    setup_env.set_up(machine.env, 'openmmlab')
    expected = steps(torch=False)
    at = expected.index('torch?')
    expected.insert(at, 'import mmcv.ops')  # found out before
    install = f'pip install -q ENV/mmcv-build/{WHEEL["openmmlab"]}'
    expected[at + 5] = f'{install} --force-reinstall --no-deps'
    assert machine.calls == expected
    assert '(ImportError: _ext.so: undefined symbol): inst' in capsys.readouterr().out


def test_mmcv_lite_gives_way(setup_env, machine):
    """Also if mmcv itself has the right version: the two write the same files."""
    machine.state.update(dists={**MINE, 'mmcv-lite': '2.1.0'}, ops=True)
    setup_env.set_up(machine.env, 'openmmlab')
    expected = steps(torch=False)
    expected.insert(3, 'pip uninstall -qy mmcv-lite mmcv')
    assert machine.calls == expected
    machine.state['dists']['mmcv-lite'] = '2.1.0'
    machine.fails = 'uninstall'
    with pytest.raises(subprocess.CalledProcessError):
        setup_env.set_up(machine.env, 'openmmlab')


@pytest.mark.parametrize(
    ('change', 'dists', 'message'),
    [
        (dict(python='3.13.0'), {}, 'Python 3.13.0 is not supported: 3.11 to 3.12'),
        (dict(python='3.10.1'), {}, 'Python 3.10.1 is not supported: 3.11 to 3.12'),
        (dict(python='3.9.9'), {'torch': '1.9'}, '3.9.9 is not supported: 3.10 to 3.12'),
        (dict(headers=False), {'torch': '2.13.0'}, r'Python\.h of Python 3.11.7'),
        (dict(ops=True, headers=False), {**MINE, 'mmcv': '2.0.1'}, r'Python\.h'),
        (dict(headers=False), MINE, r'Python\.h'),
        (dict(), {**MINE, 'onedl-mmcv': '2.3.6'}, "onedl-mmcv of the set 'onedl'"),
    ],
    ids=['new', 'old', 'old for any', 'mmcv missing', 'another mmcv', 'mmcv without ops', 'sets'],
)
def test_what_cannot_work_ends_before_anything_is_installed(
    setup_env, machine, change, dists, message
):
    machine.state.update(change, dists=dict(dists))
    with pytest.raises(setup_env.SetupError, match=message):
        setup_env.set_up(machine.env, 'openmmlab')
    assert machine.calls == ['probe']


def test_a_compiler_is_needed_only_for_mmcv(setup_env, machine):
    machine.state.update(python='3.10.4', headers=False, ops=True)
    machine.state['dists'] = {**MINE, 'torch': '2.5.0'}
    setup_env.set_up(machine.env, 'openmmlab')
    assert machine.stamp.exists()


@pytest.mark.parametrize('kind', [KeyboardInterrupt, 'pip'])
@pytest.mark.parametrize('step', [call for call in steps() if call.startswith('pip')])
def test_an_interrupted_set_up_goes_on(setup_env, machine, monkeypatch, step, kind):
    machine.stamp.write_text('{}')  # of an earlier one
    if kind == 'pip':
        machine.fails = step
        match = (
            'could not be built' if 'pip wheel' in step else '(?s)failed: .* -m pip install .*again'
        )
        with pytest.raises(setup_env.SetupError, match=match):
            setup_env.set_up(machine.env, 'openmmlab')
        machine.fails = ''
    else:
        install = machine.install
        monkeypatch.setattr(
            machine, 'install', lambda call: stop() if call == step else install(call)
        )
        with pytest.raises(KeyboardInterrupt):
            setup_env.set_up(machine.env, 'openmmlab')
        monkeypatch.setattr(machine, 'install', install)
    assert machine.calls[-1] == step and not machine.stamp.exists()
    setup_env.set_up(machine.env, 'openmmlab')
    assert machine.stamp.exists()


def stop():
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ('modules', 'dists', 'message'),
    [
        ('torch', {'torch': '2.1.0'}, r'(?s)import: bad\n.*--force-reinstall torch==2.1.0$'),
        ('torch', {}, r'(?s)import: bad\n.*/my env/bin/python .*torch==2.13.0$'),
        (ALL.removeprefix('import '), MINE, '(?s)imports fail: bad\nRemove .*my env'),
    ],
    ids=['own torch', 'torch', 'all'],
)
def test_what_does_not_import_is_told(setup_env, machine, modules, dists, message):
    machine.state.update(dists=dict(dists), ops=True)
    machine.broken[modules] = 'Traceback\nbad'
    with pytest.raises(setup_env.SetupError, match=message):
        setup_env.set_up(machine.env, 'openmmlab')
    assert machine.calls[-1] == f'import {modules}' and not machine.stamp.exists()


@pytest.mark.parametrize(
    ('build', 'kernels', 'told'), [('', None, True), ('0', None, False), ('', 'AVX2', False)]
)
def test_missing_kernels_are_told_unless_switched_off(
    setup_env, machine, monkeypatch, build, kernels, told, capsys
):
    machine.state.update(dists=dict(MINE), ops=True)
    monkeypatch.setenv('MMCONVNEXT_BUILD', build)
    fingerprint = setup_env.fingerprint
    monkeypatch.setattr(
        setup_env, 'fingerprint', lambda *args: {**fingerprint(*args), 'kernels': kernels}
    )
    setup_env.set_up(machine.env, 'openmmlab')
    assert ('our CPU kernels were not compiled' in capsys.readouterr().out) == told


# How mmcv is compiled


@pytest.mark.parametrize(
    ('cxx', 'jobs', 'expected'),
    [(None, None, ('g++', '6')), ('ccache g++', '3', ('ccache g++', '3'))],
    ids=['by default', 'as the user says'],
)
def test_compiler_and_jobs(setup_env, machine, monkeypatch, cxx, jobs, expected, capsys):
    for name, value in (('CXX', cxx), ('MAX_JOBS', jobs)):
        if value:
            monkeypatch.setenv(name, value)
    monkeypatch.setenv('MMCV_WITH_OPS', '0')
    monkeypatch.setattr(os, 'cpu_count', lambda: 64)
    pages = {'SC_PHYS_PAGES': 12 * 2**18, 'SC_PAGE_SIZE': 2**12}  # 12 GiB
    monkeypatch.setattr(os, 'sysconf', pages.get)
    machine.log, machine.ticks = '[1/77] c++ a.cpp\n[37/77] c++ b.cpp\n', 1
    machine.env.state = machine.state
    setup_env.build_mmcv(machine.env, MMCV['openmmlab'], build_folder(machine), ['inc'])
    assert machine.calls == building()
    assert (machine.settings['CXX'], machine.settings['MAX_JOBS']) == expected
    assert machine.settings['MMCV_WITH_OPS'] == '1'
    assert machine.settings['PATH'] == os.environ['PATH']
    said, log = capsys.readouterr().out, machine.env.folder / 'mmcv-build.log'
    assert f'{MMCV["openmmlab"]} with {expected[1]} compiler jobs; log: {log}\n' in said
    assert said.count('mmcv ops: 37/77 compiled, 48 %, 0 min 0') == 1


def build_folder(machine):
    folder = machine.env.folder / 'mmcv-build'
    folder.mkdir()
    return folder


@pytest.mark.parametrize('own', ['', '-march=native'])
def test_sources_and_header_have_the_same_options(setup_env, machine, monkeypatch, own):
    """The variable replaces the interpreter's options, so the optimization is named again."""
    monkeypatch.setenv('CFLAGS', own)
    commands, run = [], machine.run
    monkeypatch.setattr(
        setup_env.subprocess, 'run', lambda words, **k: commands.append(words) or run(words, **k)
    )
    folder, machine.env.state = build_folder(machine), machine.state
    setup_env.build_mmcv(machine.env, MMCV['openmmlab'], folder, ['one', 'a b'])
    options = shlex.split(machine.settings['CFLAGS'])
    header = folder / 'torch_types.h'
    assert header.read_text() == '#include <torch/types.h>\n'
    flags = ['-O2', '-g0', '-fwrapv', '-DNDEBUG', *filter(None, [own])]
    assert options == [*flags, '-include', str(header), '-Winvalid-pch']
    made = next(words for words in commands if 'c++-header' in words)
    assert made[made.index('-O2') :][: len(flags)] == flags
    assert made[-7:] == ['-Ione', '-Ia b', '-x', 'c++-header', str(header), '-o', f'{header}.gch']
    assert {'-fPIC', '-std=c++17', '-DTORCH_EXTENSION_NAME=_ext'} <= set(made)


@pytest.mark.parametrize(
    ('compiler', 'fails', 'said'),
    [
        ('#define __GNUC__ 4\n#define __clang__ 1', '', 'g++ is not g++: compiling without'),
        ('', '', 'g++ is not g++: compiling without'),
        ('#define __GNUC__ 12', 'header', 'cannot be precompiled: compiling without'),
    ],
    ids=['clang', 'unknown', 'no room'],
)
def test_without_the_header_it_takes_longer(setup_env, machine, compiler, fails, said, capsys):
    machine.compiler, machine.fails = compiler, fails
    setup_env.set_up(machine.env, 'openmmlab')
    assert machine.settings['CFLAGS'] == '-O2 -g0 -fwrapv -DNDEBUG'
    assert said in capsys.readouterr().out


def test_a_header_that_is_not_taken_is_told_once(setup_env, machine, capsys):
    why = "not used because '-fPIC' is different"
    machine.log = f'[1/9] c++\ncc1plus: warning: t.h.gch: {why} [-Winvalid-pch]\n'
    machine.ticks = 2
    setup_env.set_up(machine.env, 'openmmlab')
    assert capsys.readouterr().out.count(f'does not take the precompiled header ({why})') == 1


def kept_wheel(machine, **facts):
    kind = {**machine.facts, **facts}
    name = f'torch-{kind["torch"]}-{"cuda" if kind["cuda"] else "cpu"}-{kind["python"]}'
    return machine.cache / 'mmconvnext/wheels' / name / WHEEL['openmmlab']


def test_the_wheel_is_kept_for_the_next_environment(setup_env, machine, capsys):
    setup_env.set_up(machine.env, 'openmmlab')
    kept = kept_wheel(machine)
    assert kept.read_text() == 'operators' and [*kept.parent.iterdir()] == [kept]
    assert not (machine.env.folder / 'mmcv-build').exists()
    machine.state.update(dists={}, ops=False)
    machine.calls.clear()
    machine.stamp.unlink()
    setup_env.set_up(machine.env, 'openmmlab')
    place = machine.short(kept)
    installed = [f'pip install -q {place}{locked("openmmlab")}', 'import mmcv.ops']
    assert machine.calls[machine.calls.index('torch?') + 1 :][:2] == installed
    assert not {*building()} & {*machine.calls}
    assert f'taking {kept}, compiled with the same torch' in capsys.readouterr().out


@pytest.mark.parametrize(
    'other', [dict(torch='2.13.0+cu128'), dict(cuda=True), dict(python='cpython-312')]
)
def test_a_wheel_for_another_torch_is_not_taken(setup_env, machine, other):
    kept = kept_wheel(machine)
    kept.parent.mkdir(parents=True)
    kept.write_text('of before')
    machine.facts.update(other)
    setup_env.set_up(machine.env, 'openmmlab')
    assert building()[-1] in machine.calls
    assert kept.read_text() == 'of before' and kept_wheel(machine).read_text() == 'operators'


def test_cuda_can_be_forced(setup_env, machine, monkeypatch):
    monkeypatch.setenv('FORCE_CUDA', '1')
    setup_env.set_up(machine.env, 'openmmlab')
    assert kept_wheel(machine, cuda=True).exists()


def test_a_kept_wheel_that_does_not_load_is_made_again(setup_env, machine, capsys):
    kept = kept_wheel(machine)
    kept.parent.mkdir(parents=True)
    kept.write_text('damaged')
    machine.wheels_say = ['undefined symbol']
    setup_env.set_up(machine.env, 'openmmlab')
    assert kept.read_text() == 'operators'
    assert 'its operators do not load: compiling' in capsys.readouterr().out
    again = f'pip install -q ENV/mmcv-build/{WHEEL["openmmlab"]} --force-reinstall --no-deps'
    assert again in machine.calls


def test_a_wheel_that_does_not_load_is_not_kept(setup_env, machine):
    machine.wheels_say = ['undefined symbol']
    setup_env.set_up(machine.env, 'openmmlab')
    assert not kept_wheel(machine).exists()


def test_a_cache_that_cannot_be_written_is_no_error(setup_env, machine):
    machine.cache.write_text('in the way')
    setup_env.set_up(machine.env, 'openmmlab')
    assert machine.stamp.exists()


def test_a_failed_compilation_shows_the_end_of_its_log(setup_env, machine):
    machine.log = '\n'.join(f'line {i};' for i in range(1, 41)) + '\n'
    machine.fails, machine.env.state = 'mmcv==', machine.state
    with pytest.raises(setup_env.SetupError, match='run again with MAX_JOBS=1') as caught:
        setup_env.build_mmcv(machine.env, MMCV['openmmlab'], build_folder(machine), [])
    shown = str(caught.value)
    assert 'line 10;' not in shown and 'line 11;' in shown and 'line 40;' in shown


@pytest.mark.parametrize(
    ('cxx', 'there', 'found'),
    [
        ('', {'c++', 'g++', 'clang++'}, 'c++'),
        ('', {'g++', 'clang++'}, 'g++'),
        ('', {'clang++'}, 'clang++'),
        ('ccache g++', {'ccache', 'c++'}, 'ccache'),
        ('gone', {'g++'}, 'g++'),
    ],
)
def test_the_first_compiler_that_is_there(setup_env, machine, monkeypatch, cxx, there, found):
    machine.env.probe()
    monkeypatch.setenv('CXX', cxx)
    monkeypatch.setattr(setup_env.shutil, 'which', lambda name: name in there)
    assert setup_env.check_compiler(machine.env) == found


# The environment's folder and its python


def test_a_missing_or_empty_folder_becomes_the_environment(setup_env, machine, tmp_path, capsys):
    folder = tmp_path / 'new env'
    for _ in range(2):
        machine.runs, machine.calls = False, []
        setup_env.open_venv(setup_env.Env(folder))
        assert machine.calls == ['probe', f'venv --clear {folder}', 'probe']
        assert f'creating the virtual environment {folder} with' in capsys.readouterr().out
        folder.mkdir(exist_ok=True)
    setup_env.open_venv(machine.env)
    assert machine.calls[3:] == ['probe']  # it works, so it is left alone


@pytest.mark.parametrize('file', ['env', '.venv/kept', 'env/pyvenv.cfg'])
def test_what_is_no_environment_of_the_checkout_is_in_the_way(setup_env, machine, file, tmp_path):
    inside = file.startswith('.venv')
    kept = (machine.root if inside else tmp_path) / file
    kept.parent.mkdir(exist_ok=True)
    kept.touch()
    folder = kept if file == 'env' else kept.parent
    machine.runs = False
    with pytest.raises(setup_env.SetupError, match=r'is in the way: .*VENV=<folder>'):
        setup_env.open_venv(setup_env.Env(folder))
    assert machine.calls == ['probe'] and kept.exists()


def test_no_environment_is_made_with_another_python(setup_env, machine, tmp_path, monkeypatch):
    machine.runs = False
    monkeypatch.setattr(setup_env.platform, 'python_version', lambda: '3.8.10')
    with pytest.raises(setup_env.SetupError, match=r'Python 3\.8\.10 is not supported'):
        setup_env.open_venv(setup_env.Env(tmp_path / 'new'))
    assert machine.calls == ['probe']


@pytest.mark.parametrize('fault', ['status', 'python'])
def test_an_environment_that_cannot_be_made(setup_env, machine, tmp_path, monkeypatch, fault):
    machine.runs = False
    if fault == 'status':
        machine.fails = 'venv'
        monkeypatch.setattr(machine, 'install', lambda call: None)
        probe, answers = setup_env.Env.probe, iter([False, True])
        assert probe
        monkeypatch.setattr(setup_env.Env, 'probe', lambda env: next(answers))
    else:
        monkeypatch.setattr(machine, 'install', lambda call: None)
    with pytest.raises(setup_env.SetupError, match='apt install python3-venv'):
        setup_env.open_venv(setup_env.Env(tmp_path / 'new'))


def test_a_python_that_says_nonsense_does_not_work(setup_env, machine, monkeypatch):
    answer = subprocess.CompletedProcess([], 0, 'Segmentation fault', '')
    monkeypatch.setattr(setup_env.subprocess, 'run', lambda *_, **__: answer)
    assert not machine.env.probe()


def test_errors_of_imports(setup_env, machine, monkeypatch):
    texts = [('a greeting\n', 'Traceback\nlast\n'), ('only this\n', ''), ('', '')]
    answers = iter([*((1, *pair) for pair in texts), (0, 'a', 'b')])

    def run(command, capture_output, text):
        status, *texts = next(answers)
        return subprocess.CompletedProcess(command, status, *texts)

    monkeypatch.setattr(setup_env.subprocess, 'run', run)
    errors = [machine.env.import_error('torch') for _ in range(4)]
    assert errors == ['last', 'only this', 'no message', '']


def test_versions_are_without_their_local_part(setup_env, machine):
    machine.state['dists'] = {'torch': '2.13.0+cu128'}
    machine.env.probe()
    assert machine.env.version('torch') == '2.13.0' and machine.env.version('mmcv') is None


PROBED = {
    'torch': '2.13.0+cpu',
    'mmcv-lite': '2.0.0',
    'mmcv': '2.1.0',
    'mmdet': '3.3.0',
    'mmengine': '0.10.7',
    'mmsegmentation': '1.2.2',
    'onedl-mmcv': '2.3.6',
    'onedl-mmdetection': '3.4.5',
    'onedl-mmengine': '0.11.0',
    'onedl-mmsegmentation': '1.3.0',
}


@pytest.mark.parametrize('there', [True, False])
def test_the_probe_reads_metadata(setup_env, tmp_path, monkeypatch, capsys, there):
    site, include = tmp_path / 'site', tmp_path / 'include'
    (site / 'mmcv').mkdir(parents=True)
    include.mkdir()
    (site / 'mmcv/_extra.py').touch()
    if there:
        for name, version in {**PROBED, 'pip': '25.0', 'mmconvnext': '0.1.0'}.items():
            folder = site / f'{name.replace("-", "_")}-{version}.dist-info'
            folder.mkdir()
            (folder / 'METADATA').write_text(f'Name: {name}\nVersion: {version}\n')
        where = dict(url='file:///my%20checkout', dir_info=dict(editable=True))
        (site / 'mmconvnext-0.1.0.dist-info/direct_url.json').write_text(json.dumps(where))
        (site / 'mmcv/_ext.cpython-311-x86_64-linux-gnu.so').touch()
        (include / 'Python.h').touch()
    monkeypatch.delitem(sys.modules, 'mmcv', raising=False)
    monkeypatch.setattr(sys, 'path', [str(site)])
    monkeypatch.setattr(sys, 'argv', ['-c', *setup_env.WATCHED])
    monkeypatch.setattr(sysconfig, 'get_path', {'include': str(include)}.get)
    exec(setup_env.PROBE, {})
    assert json.loads(capsys.readouterr().out) == {
        'python': '.'.join(map(str, sys.version_info[:3])),
        'dists': PROBED if there else {},
        'source': 'file:///my%20checkout' if there else None,
        'ops': there,
        'pip': there,
        'headers': there,
    }


# The command


@pytest.fixture
def main(setup_env, machine):
    """A function that runs the command; returns its status, the folder and the set of packages."""
    seen, held, open_ = [], [], os.open

    def call(
        *argv,
        set_up=lambda env, stack, hashes: seen.append(
            (str(env.folder), stack, *['hashes'] * hashes)
        ),
    ):
        seen.clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(setup_env, 'set_up', set_up)
            patch.setattr(sys, 'argv', ['setup_env.py', *map(str, argv)])
            patch.setattr(os, 'open', lambda *args: held.append(open_(*args)) or held[-1])
            try:
                return setup_env.main(), *sum(seen, ())
            finally:
                while held:  # the lock, which ends with the process
                    os.close(held.pop())

    return call


def test_folders_and_sets(main, machine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = machine.root
    assert main() == (0, f'{root}/.venv', 'openmmlab')
    assert main('--stack', 'openmmlab') == (0, f'{root}/.venv', 'openmmlab')
    assert main('--stack', 'onedl') == (0, f'{root}/.venv-onedl', 'onedl')
    assert main('--venv', 'a b/env') == (0, f'{tmp_path}/a b/env', 'openmmlab')
    assert (tmp_path / 'a b').is_dir() and not (tmp_path / 'a b/env').exists()
    (tmp_path / 'link').symlink_to('my env')  # a broken one must not be made anew elsewhere
    assert main('--venv', tmp_path / 'link') == (0, f'{tmp_path}/link', 'openmmlab')
    assert main('--hashes') == (0, f'{root}/.venv', 'openmmlab', 'hashes')
    with pytest.raises(SystemExit, match='^2$'):
        main('--stack', 'other')


@pytest.mark.parametrize(
    ('error', 'status', 'said'),
    [
        ('SetupError', 1, '[setup] error: no way\n'),
        (subprocess.CalledProcessError(3, 'pip'), 1, 'returned non-zero exit status 3'),
        (KeyboardInterrupt(), 130, '\n[setup] stopped; the next run continues from here\n'),
    ],
    ids=['error', 'program', 'Ctrl-C'],
)
def test_how_it_ends(setup_env, main, error, status, said, capsys):
    def fail(env, stack, hashes):
        raise setup_env.SetupError('no way') if error == 'SetupError' else error

    assert main(set_up=fail) == (status,)
    out, err = capsys.readouterr()
    assert said in err and not out


def test_two_set_ups_at_once_wait_for_each_other(setup_env, main, tmp_path, monkeypatch):
    folder, told = tmp_path / 'envs', []
    folder.mkdir()

    def locked() -> bool:
        try:
            fcntl.flock(third, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False

    first, third = (os.open(folder, os.O_RDONLY) for _ in range(2))
    fcntl.flock(first, fcntl.LOCK_EX)

    def say(text):  # the first one ends
        told.append(text)
        os.close(first)

    monkeypatch.setattr(setup_env, 'say', say)
    main('--venv', folder / 'env', set_up=lambda *_: told.append(locked()))
    os.close(third)
    assert told == [f'another set-up is running in {folder}: waiting for it', True]
