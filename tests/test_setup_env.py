# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""tools/setup_env.py: its decisions and messages, without the network or a long step."""

import hashlib
import json
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from urllib.parse import quote

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / 'tools' / 'setup_env.py'


def installed(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return None


@pytest.fixture
def env(setup_env, tmp_path):
    """An environment that looks completely set up."""
    env = setup_env.Env(tmp_path)
    env.state = {
        'python': '3.11.7',
        'dists': {'torch': '2.13.0+cpu', 'mmengine': '0.10.7', 'mmcv': '2.1.0'},
        'source': f'file://{ROOT}',
        'ops': True,
        'headers': True,
    }
    env.stamp.write_text(json.dumps(setup_env.fingerprint(env.state, 'openmmlab')))
    return env


@pytest.fixture
def linked(setup_env, tmp_path, monkeypatch):
    """A checkout with `mmconvnext/.mim`, so that its absence here does not matter."""
    root = tmp_path / 'my checkout \u00fc'
    (root / 'mmconvnext/.mim/configs').mkdir(parents=True)
    (root / 'requirements').mkdir()
    (root / 'setup.py').touch()
    monkeypatch.setattr(setup_env, 'ROOT', root)
    return root


@pytest.mark.parametrize('stack', ['openmmlab', 'onedl'])
def test_locks_are_complete_pins(setup_env, stack):
    lock = ROOT / 'requirements' / f'{stack}.txt'
    lines = [line for line in lock.read_text().splitlines() if line and line[0] != '#']
    pins = setup_env.read_pins(lock)
    assert len(lines) == len(pins) > 60
    assert not [line for line in lines if not re.fullmatch(r'[\w.-]+==[\w.]+', line)]
    other = 'onedl' if stack == 'openmmlab' else 'openmmlab'
    assert {'torch', 'numpy', *setup_env.STACKS[stack]} <= pins.keys()
    assert pins.keys().isdisjoint(setup_env.STACKS[other])


def test_lock_names_every_requirement(setup_env):
    """A distribution missing from the lock would be installed in its newest version."""
    stack = next((s for s in setup_env.STACKS if installed(setup_env.STACKS[s][0])), None)
    if not stack:
        pytest.skip('neither set of MM packages is installed')
    pins = setup_env.read_pins(ROOT / 'requirements' / f'{stack}.txt')
    pins.pop('torch')  # a CUDA build requires libraries, and pins them itself
    if any(installed(name) not in (pin, None) for name, pin in pins.items()):
        pytest.skip('this environment was not made from the lock file')
    present = [name for name in pins if installed(name)]
    requirements = [Requirement(line) for name in present for line in requires(name) or []]
    needed = {
        canonicalize_name(item.name)
        for item in requirements
        if not item.marker or item.marker.evaluate({'extra': ''})
    }
    assert needed - pins.keys() <= {'torch'}


def test_progress_is_ninjas_last_step(setup_env):
    progress = setup_env.mmcv_build.progress
    assert progress('Collecting mmcv\n', 5, 5) == 'mmcv: preparing, 0 min 05 s'
    log = '  [1/77] c++ -c a.cpp\n  warning: b[2/3] \n  [37/77] c++ -c b.cpp\n    1 | x\n'
    said = 'mmcv ops: 37/77 compiled, 48 %, 4 min 05 s, about 4 min left'
    assert progress(log, 245, 23) == said  # 6 s each since they began
    assert progress('[77/77] c++\n', 245, 23).endswith('100 %, 4 min 05 s, about 1 min left')


@pytest.mark.parametrize(
    ('cpus', 'gib', 'jobs'), [(2, 24, 2), (64, 24, 12), (8, 3.9, 1), (2, 0.5, 1)]
)
def test_jobs_fit_cpus_and_memory(setup_env, cpus, gib, jobs):
    assert setup_env.mmcv_build.count_jobs(cpus, gib) == jobs


def test_python_versions(setup_env):
    setup_env.check_python('3.11.7')
    setup_env.check_python('3.10.13', 'own torch')
    for refused in ('3.9.18', '3.10.13', '3.13.0'):
        with pytest.raises(setup_env.SetupError, match=f'{refused} is not .* 3.11 to 3.12 are'):
            setup_env.check_python(refused)
    for use in setup_env.PYTHONS:
        setup_env.check_python('3.12.10', use)
    for refused in ('3.9.18', '3.13.0'):
        with pytest.raises(setup_env.SetupError, match=f'{refused} is not .* 3.10 to 3.12 are'):
            setup_env.check_python(refused, 'own torch')


def test_other_set_is_refused(setup_env, env):
    setup_env.check_one_stack(env, 'openmmlab')
    with pytest.raises(setup_env.SetupError, match=r"mmengine, mmcv of the set 'openmmlab', but"):
        setup_env.check_one_stack(env, 'onedl')
    env.state['dists']['onedl-mmcv'] = '2.3.6'
    message = r'onedl-mmcv .* beside mmengine, mmcv, .* make setup STACK=openmmlab VENV=<folder>'
    with pytest.raises(setup_env.SetupError, match=message):
        setup_env.check_one_stack(env, 'openmmlab')
    sets = {
        'openmmlab': ('mmengine', 'mmcv', 'mmdet', 'mmsegmentation'),
        'onedl': ('onedl-mmengine', 'onedl-mmcv', 'onedl-mmdetection', 'onedl-mmsegmentation'),
    }
    for stack, other in (tuple(sets), tuple(sets)[::-1]):
        for name in sets[other]:
            env.state['dists'] = {'torch': '2.13.0', name: '1.0'}
            with pytest.raises(setup_env.SetupError, match=f"holds {name} of the set '{other}', "):
                setup_env.check_one_stack(env, stack)


def test_stamp_equal_means_ready(setup_env, env, linked, capsys):
    env.state['source'] = f'file://{quote(str(linked))}'  # as pip writes it
    env.stamp.write_text(json.dumps(setup_env.fingerprint(env.state, 'openmmlab')))
    assert setup_env.is_ready(env, 'openmmlab') and not capsys.readouterr().out
    assert not setup_env.is_ready(env, 'onedl')
    assert 'set-up: stack openmmlab -> onedl\n' in capsys.readouterr().out
    (linked / 'mmconvnext/.mim/configs').rmdir()
    assert not setup_env.is_ready(env, 'openmmlab')
    assert 'mmconvnext/.mim is missing' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('change', 'told'),
    [
        (lambda state: state['dists'].update(torch='2.12.1'), 'torch 2.13.0+cpu -> 2.12.1'),
        (lambda state: state['dists'].pop('mmcv'), 'mmcv 2.1.0 -> None'),
        (lambda state: state.update(ops=False), 'ops True -> False'),
        (lambda state: state.update(python='3.12.1'), 'python 3.11.7 -> 3.12.1'),
        (lambda state: state.update(source='file:///elsewhere'), 'mmconvnext of file:///elsewhere'),
        (lambda state: state.update(source=None), 'mmconvnext of None'),
    ],
)
def test_stamp_tells_what_changed(setup_env, env, linked, capsys, change, told):
    env.state['source'] = f'file://{linked}'
    env.stamp.write_text(json.dumps(setup_env.fingerprint(env.state, 'openmmlab')))
    change(env.state)
    assert not setup_env.is_ready(env, 'openmmlab')
    assert told in capsys.readouterr().out


@pytest.fixture
def compiled(setup_env, linked):
    """A function that puts a library with its record into the checkout, as setup.py does."""
    kernels = linked / 'mmconvnext/kernels'
    kernels.mkdir()
    (kernels / 'ops').mkdir()
    (kernels / 'ops/mlp.py').touch()

    def put(capability: str, torch: str, python: str = 'cpython-311') -> Path:
        library = kernels / f'_cpu.{python}-x86_64-linux-gnu.so'
        library.write_bytes(capability.encode())
        digest = hashlib.sha256(library.read_bytes()).hexdigest()
        facts = {'capability': capability, 'torch': torch, 'sha256': digest}
        facts |= setup_env.load_library_module().sources(kernels)
        library.with_suffix('.json').write_text(json.dumps(facts))
        return library

    return put


def flags_file(folder, *flags: str) -> Path:
    file = folder / 'cpuinfo'
    file.write_text(f'processor\t: 0\nflags\t\t: fpu sse2 {" ".join(flags)}\nbugs\t: \n')
    return file


AVX2 = ('fma', 'avx2')
AVX512 = (*AVX2, 'avx512f', 'avx512vl', 'avx512bw', 'avx512dq')


def test_processor_is_read_from_its_flags(setup_env, tmp_path, monkeypatch):
    monkeypatch.delenv('MMCONVNEXT_BUILD', raising=False)
    monkeypatch.delenv('ATEN_CPU_CAPABILITY', raising=False)
    cases = [('AVX512', AVX512), ('AVX2', AVX2), ('DEFAULT', ('avx2',)), ('DEFAULT', ('fma',))]
    cases += [('AVX2', [f for f in AVX512 if f != lacking]) for lacking in AVX512[2:]]
    cases += [('DEFAULT', [f for f in AVX512 if f != 'fma'])]
    for expected, flags in cases:
        assert setup_env.processor(flags_file(tmp_path, *flags)) == expected
    assert setup_env.processor(tmp_path / 'none') == 'DEFAULT'


def test_processor_is_what_torch_says(setup_env, monkeypatch):
    torch = pytest.importorskip('torch')
    monkeypatch.delenv('MMCONVNEXT_BUILD', raising=False)
    found = torch.backends.cpu.get_cpu_capability()
    assert setup_env.processor() == (found if found in ('AVX2', 'AVX512') else 'DEFAULT')


def test_variables_name_the_processor(setup_env, tmp_path, monkeypatch):
    file = flags_file(tmp_path, *AVX512)
    monkeypatch.delenv('MMCONVNEXT_BUILD', raising=False)
    for named in ('default', 'avx2', 'avx512'):
        monkeypatch.setenv('ATEN_CPU_CAPABILITY', named)
        assert setup_env.processor(flags_file(tmp_path, *AVX2)) == named.upper()
    flags_file(tmp_path, *AVX512)
    monkeypatch.setenv('ATEN_CPU_CAPABILITY', 'AVX2')  # torch ignores it
    assert setup_env.processor(file) == 'AVX512'
    monkeypatch.setenv('MMCONVNEXT_BUILD', 'DEFAULT')
    assert setup_env.processor(file) == 'DEFAULT'
    monkeypatch.setenv('ATEN_CPU_CAPABILITY', 'avx2')  # setup.py's variable comes first
    assert setup_env.processor(file) == 'DEFAULT'


def test_stamp_knows_the_processor(setup_env, env, linked, monkeypatch, capsys):
    env.state['source'] = f'file://{linked}'
    for capability in ('AVX512', 'AVX2'):
        monkeypatch.setenv('MMCONVNEXT_BUILD', capability)
        assert not setup_env.is_ready(env, 'openmmlab')
        env.stamp.write_text(json.dumps(setup_env.fingerprint(env.state, 'openmmlab')))
        assert setup_env.is_ready(env, 'openmmlab')
    assert 'processor AVX512 -> AVX2' in capsys.readouterr().out


def test_stamp_knows_the_compiled_library(setup_env, env, linked, compiled, capsys):
    env.state['source'] = f'file://{linked}'

    def changed() -> str:
        """What is_ready says about the kernels; then updates the stamp."""
        capsys.readouterr()
        ready = setup_env.is_ready(env, 'openmmlab')
        told = re.findall('kernels (.+ -> .+)$', capsys.readouterr().out.strip())
        assert ready == (not told)
        env.stamp.write_text(json.dumps(setup_env.fingerprint(env.state, 'openmmlab')))
        return ''.join(told)

    changed()
    library = compiled('AVX2', '2.13.0+cpu')
    assert changed() == 'None -> AVX2 for torch 2.13.0+cpu'
    compiled('AVX2', '2.12.1')  # another environment of the same checkout
    assert changed() == 'AVX2 for torch 2.13.0+cpu -> AVX2 for torch 2.12.1'
    compiled('AVX512', '2.13.0+cpu', python='cpython-312')  # is not for this Python
    assert changed() == ''
    (library.parent / 'ops/mlp.py').write_text('LIBRARY')
    told = 'AVX2 for torch 2.12.1 -> AVX2 for torch 2.12.1, from other sources'
    assert changed() == told
    compiled('AVX2', '2.12.1')
    assert changed() == ' -> '.join(reversed(told.split(' -> ')))
    library.write_bytes(b'half')
    assert changed() == 'AVX2 for torch 2.12.1 -> None'


def test_other_processor_reinstalls_this_package_alone(setup_env, env, linked, monkeypatch, capsys):
    for stack in ('openmmlab', 'onedl'):
        lock = (ROOT / f'requirements/{stack}.txt').read_text()
        (linked / f'requirements/{stack}.txt').write_text(lock)
    env.state |= {'source': f'file://{linked}', 'pip': True}
    calls = []
    monkeypatch.setattr(env, 'pip', lambda *args, **options: calls.append(args))
    monkeypatch.setattr(env, 'probe', lambda: True)
    monkeypatch.setattr(env, 'import_error', lambda modules: '')
    monkeypatch.setenv('MMCONVNEXT_BUILD', 'AVX512')
    env.stamp.write_text(json.dumps(setup_env.fingerprint(env.state, 'openmmlab')))
    monkeypatch.setenv('MMCONVNEXT_BUILD', 'AVX2')
    setup_env.set_up(env, 'openmmlab')
    locked = ('-c', str(linked / 'requirements/openmmlab.txt'))
    assert calls == [
        ('-r', 'requirements/build.txt', *locked),
        ('--no-build-isolation', '-e', '.[openmmlab,tools,tests]', *locked),
    ]
    assert 'our CPU kernels were not compiled, so plain PyTorch' in capsys.readouterr().out
    setup_env.set_up(env, 'openmmlab')
    assert len(calls) == 2


def test_stamp_covers_the_operators(setup_env, env, linked):
    kernels = linked / 'mmconvnext/kernels'
    for folder in ('ops', 'csrc'):
        (kernels / folder).mkdir(parents=True)
    digests = set()
    for name in ('setup.py', 'mmconvnext/kernels/ops/mlp.py', 'mmconvnext/kernels/csrc/ops.cpp'):
        (linked / name).write_text('changed')
        digests.add(setup_env.fingerprint(env.state, 'openmmlab')['requirements'])
    assert len(digests) == 3


def test_stamp_covers_locks_and_setup_py(setup_env, env, linked):
    before = setup_env.fingerprint(env.state, 'openmmlab')
    (linked / 'requirements/new.txt').write_text('numpy')
    after = setup_env.fingerprint(env.state, 'openmmlab')
    assert before['requirements'] != after['requirements']


def test_no_or_damaged_stamp_is_not_ready(setup_env, env):
    env.stamp.write_text('{"stack": ')
    assert not setup_env.is_ready(env, 'openmmlab')
    env.stamp.unlink()
    assert not setup_env.is_ready(env, 'openmmlab')


def test_no_compiler_is_told_before_anything_long(setup_env, env, monkeypatch, tmp_path):
    monkeypatch.setenv('PATH', str(tmp_path))
    monkeypatch.delenv('CXX', raising=False)
    with pytest.raises(setup_env.SetupError, match=r'no C\+\+ compiler .* apt install g\+\+'):
        setup_env.check_compiler(env)


def test_no_python_headers_is_told(setup_env, env, monkeypatch):
    monkeypatch.setenv('CXX', sys.executable)  # any program that exists
    env.state['headers'] = False
    with pytest.raises(setup_env.SetupError, match='Python.h of Python 3.11.7 .* python3-dev'):
        setup_env.check_compiler(env)


@pytest.fixture
def broken(setup_env, linked, monkeypatch):
    """A virtual environment of the checkout whose python is gone, and no way to make another."""
    folder = linked / '.venv'
    folder.mkdir()
    (folder / 'pyvenv.cfg').touch()
    run = subprocess.run

    def no_venv(command, **options):
        if '--clear' in command:
            return subprocess.CompletedProcess(command, 1)
        return run(command, **options)

    monkeypatch.setattr(setup_env.subprocess, 'run', no_venv)
    monkeypatch.setattr(setup_env, 'check_python', lambda version: None)
    return folder


def test_broken_venv_is_made_anew(setup_env, broken, capsys):
    with pytest.raises(setup_env.SetupError, match='apt install python3-venv'):
        setup_env.open_venv(setup_env.Env(broken))
    assert f'its python does not run: recreating {broken}' in capsys.readouterr().out


def test_broken_venv_elsewhere_is_refused(setup_env, broken, tmp_path):
    elsewhere = broken.rename(tmp_path / 'env')
    with pytest.raises(setup_env.SetupError, match='Nothing in it was touched'):
        setup_env.open_venv(setup_env.Env(elsewhere))
    broken.symlink_to(elsewhere)
    with pytest.raises(setup_env.SetupError, match='Nothing in it was touched'):
        setup_env.open_venv(setup_env.Env(broken))


def test_other_folder_is_refused_and_kept(tmp_path):
    kept = tmp_path / 'photos' / 'cat.png'
    kept.parent.mkdir()
    kept.touch()
    result = subprocess.run(
        [sys.executable, SCRIPT, '--venv', kept.parent], capture_output=True, text=True
    )
    assert result.returncode == 1
    assert f'{kept.parent} is in the way' in result.stderr and 'VENV=<folder>' in result.stderr
    assert list(tmp_path.rglob('*')) == [kept.parent, kept]


def test_probe_reads_a_real_environment(setup_env):
    folder = Path(sys.prefix)
    if not (folder / 'bin' / 'python').exists():
        pytest.skip(f'{folder} has no bin/python')
    env = setup_env.Env(folder)
    assert env.probe()
    assert env.state['python'] == '.'.join(map(str, sys.version_info[:3]))
    assert env.import_error('json') == ''
    assert 'no_such_module' in env.import_error('no_such_module')
