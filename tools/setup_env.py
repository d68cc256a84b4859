# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Create the virtual environment of this checkout; `make setup`, `make demo`, `make test` call it.

Returns at once if everything is installed, and continues where an earlier run stopped. In order:
venv, build tools, torch, mmcv (compiled; log in <venv>/mmcv-build.log; the wheel is kept in the
user's cache), the other packages, this package (editable), a trial import, and the stamp
<venv>/.mmconvnext.json. Only the standard library is imported, so that any `python3` can run this.

A torch that is already installed (a CUDA build, say) is never replaced. Name its environment with
`make setup VENV=/path/to/env`, or install by hand:

    . /path/to/env/bin/activate
    pip install "setuptools<81" wheel ninja psutil && pip install --no-build-isolation mmcv==2.1.0
    pip install --no-build-isolation -e ".[openmmlab,tools]"
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import unquote

import _mmcv_build as mmcv_build

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = {'lock': ((3, 11), (3, 12)), 'own torch': ((3, 10), (3, 12))}  # both ends included
TICK = 20  # seconds between progress lines

# The two sets provide the same modules (mmengine, mmcv, mmdet, mmseg), so an environment has one.
STACKS = {
    'openmmlab': ('mmengine', 'mmcv', 'mmdet', 'mmsegmentation'),
    'onedl': ('onedl-mmengine', 'onedl-mmcv', 'onedl-mmdetection', 'onedl-mmsegmentation'),
}
MMCV = {'openmmlab': 'mmcv', 'onedl': 'onedl-mmcv'}
WATCHED = ('torch', 'mmcv-lite', *STACKS['openmmlab'], *STACKS['onedl'])

# Reads metadata only: importing torch would take seconds, and this runs before every make target.
PROBE = """
import json, os, platform, sys, sysconfig
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
def dist(name):
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None
ours, mmcv = dist('mmconvnext'), find_spec('mmcv')
folders = list(mmcv.submodule_search_locations or []) if mmcv else []
print(json.dumps({
    'python': platform.python_version(),
    'dists': {name: dist(name).version for name in sys.argv[1:] if dist(name)},
    'source': json.loads(ours and ours.read_text('direct_url.json') or '{}').get('url'),
    'ops': any(n.startswith('_ext.') for f in folders if os.path.isdir(f) for n in os.listdir(f)),
    'pip': dist('pip') is not None,
    'headers': os.path.isfile(os.path.join(sysconfig.get_path('include'), 'Python.h')),
}))
"""


class SetupError(Exception):
    """A message for the user: what is wrong, what is allowed and how to fix it."""


def say(text: str) -> None:
    print(f'[setup] {text}', flush=True)


class Env:
    """A virtual environment: its folder, its python, and `state`, read from its metadata."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = folder / 'bin' / 'python'
        self.stamp = folder / '.mmconvnext.json'
        self.state: dict = {}

    def probe(self) -> bool:
        """Read `state`; return False if the python is missing or does not run."""
        # -I: no user site, no PYTHONPATH, no current folder (where an egg-info could mislead).
        command = [str(self.python), '-I', '-c', PROBE, *WATCHED]
        try:
            result = subprocess.run(command, capture_output=True, text=True)
            self.state = json.loads(result.stdout)
        except (OSError, ValueError):
            return False
        return True

    def version(self, name: str) -> str | None:
        """The installed version, without the local part (`+cpu`)."""
        found = self.state['dists'].get(name)
        return found and found.split('+')[0]

    def import_error(self, modules: str) -> str:
        """The last line of the error that `import <modules>` raises; '' if it succeeds."""
        command = [str(self.python), '-I', '-W', 'ignore', '-c', f'import {modules}']
        result = subprocess.run(command, capture_output=True, text=True)
        lines = (result.stdout + result.stderr).strip().splitlines() or ['no message']
        return lines[-1] if result.returncode else ''

    def ask(self, program: str) -> dict:
        """What a program prints as JSON."""
        command = [str(self.python), '-I', '-W', 'ignore', '-c', program]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        return json.loads(result.stdout.splitlines()[-1])

    def pip(self, *args: str, quiet: bool = True) -> None:
        command = [str(self.python), '-m', 'pip', 'install', *(['-q'] if quiet else []), *args]
        if subprocess.run(command, cwd=ROOT).returncode:
            raise SetupError(
                f'this command failed: {" ".join(command)}\n'
                'Its message is above. Run the same make target again to continue from there.'
            )


def read_pins(lock: Path) -> dict[str, str]:
    """{distribution: version} of a lock file."""
    return dict(re.findall(r'^([\w.-]+)==(\S+)', lock.read_text(), re.MULTILINE))


def check_python(version: str, use: str = 'lock') -> None:
    """Raise for a Python that is too old for the locked packages or too new for mmcv's setup.py."""
    oldest, newest = PYTHONS[use]
    if not oldest <= tuple(map(int, version.split('.')[:2])) <= newest:
        raise SetupError(
            'Python {} is not supported: {}.{} to {}.{} are. Name one of them in a new folder, '
            'e.g. make setup PYTHON=python3.11 VENV=<folder>'.format(version, *oldest, *newest)
        )


def open_venv(env: Env) -> None:
    """Fill `env.state`; create the environment if it is missing or broken."""
    if env.probe():
        return
    folder, what = env.folder, 'creating the virtual environment'
    if (folder / 'pyvenv.cfg').is_file() and folder.parent == ROOT and not folder.is_symlink():
        what = 'its python does not run: recreating'
    elif folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        # Includes a broken environment elsewhere: it is not ours, so its packages may still matter.
        raise SetupError(
            f'{folder} is in the way: it is not empty, has no working bin/python, and is not a '
            'virtual environment of this checkout. Nothing in it was touched. Move it away, or '
            'name another folder: make setup VENV=<folder>'
        )
    check_python(platform.python_version())
    say(f'{what} {folder} with Python {platform.python_version()}')
    made = subprocess.run([sys.executable, '-m', 'venv', '--clear', str(folder)])
    if made.returncode or not env.probe():
        raise SetupError(
            f'{sys.executable} -m venv {folder} failed. On Debian and Ubuntu the package '
            'python3-venv is needed: apt install python3-venv'
        )


def check_one_stack(env: Env, stack: str) -> None:
    """Raise if the environment holds a distribution of the other set."""
    other = 'onedl' if stack == 'openmmlab' else 'openmmlab'
    dists = env.state['dists']
    foreign = [name for name in STACKS[other] if name in dists]
    if foreign:
        own = [name for name in STACKS[stack] if name in dists]
        raise SetupError(
            f'{env.folder} holds {", ".join(foreign)} of the set {other!r}'
            f'{" beside " + ", ".join(own) if own else ""}, but {stack!r} was requested. Both sets '
            'provide the same modules, so an environment can hold only one. Remove the folder, '
            f'or name another: make setup STACK={stack} VENV=<folder>'
        )


def check_compiler(env: Env) -> str:
    """The C++ compiler's name; raises, before anything long starts, if mmcv cannot be compiled."""
    candidates = [os.environ.get('CXX', '').split(' ')[0], 'c++', 'g++', 'clang++']
    compiler = next((name for name in candidates if name and shutil.which(name)), None)
    if not compiler:
        raise SetupError(
            'no C++ compiler on PATH (looked for $CXX, c++, g++, clang++); mmcv must be '
            'compiled. Debian, Ubuntu: apt install g++; Fedora: dnf install gcc-c++'
        )
    if not env.state['headers']:
        raise SetupError(
            f'Python.h of Python {env.state["python"]} is missing; mmcv must be compiled. '
            'Debian, Ubuntu: apt install python3-dev; Fedora: dnf install python3-devel'
        )
    return compiler


def precompiled(compiler: str, folder: Path, includes: list[str], cflags: str) -> str:
    """Options with which g++ takes torch's header precompiled; '' for other compilers."""
    if not mmcv_build.is_gcc(compiler):
        say(f'{compiler} is not g++: compiling without a precompiled header, which takes longer')
        return ''
    say("precompiling torch's header, about half a minute")
    options = mmcv_build.precompile(compiler, folder, includes, cflags)
    if not options:
        say("torch's header cannot be precompiled: compiling without, which takes longer")
    return options


def build_mmcv(env: Env, requirement: str, folder: Path, includes: list[str]) -> None:
    """`pip wheel` mmcv from source with progress lines; on failure show the end of the log."""
    # CXX is set because torch only looks for c++.
    compiler = os.environ.get('CXX') or check_compiler(env)
    gib = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30
    jobs = str(mmcv_build.count_jobs(os.cpu_count() or 1, gib))
    settings = {'MAX_JOBS': jobs, **os.environ, 'CXX': compiler, 'MMCV_WITH_OPS': '1'}
    cflags = ' '.join(filter(None, [mmcv_build.CFLAGS, os.environ.get('CFLAGS')]))
    settings['CFLAGS'] = f'{cflags} {precompiled(compiler, folder, includes, cflags)}'.strip()
    log, began = env.folder / 'mmcv-build.log', time.monotonic()
    say(f'compiling {requirement} with {settings["MAX_JOBS"]} compiler jobs; log: {log}')
    # pip's own cache may hold a wheel that was made with another torch.
    command = [str(env.python), '-m', 'pip', 'wheel', '-v', '--no-build-isolation', '--no-deps']
    command += ['--no-cache-dir', '-w', str(folder), requirement]
    start, told = 0.0, False
    with log.open('w') as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, cwd=ROOT, env=settings)
        while process.poll() is None:
            try:
                process.wait(TICK)
            except subprocess.TimeoutExpired:
                text, seconds = log.read_text(errors='replace'), time.monotonic() - began
                start = start if mmcv_build.STEP.search(text) else seconds
                say(mmcv_build.progress(text, seconds, start))
                why = mmcv_build.why_unused(text)
                if why and not told:
                    say(f'g++ does not take the precompiled header ({why}): this takes longer')
                    told = True
    if process.returncode:
        tail = '\n'.join(log.read_text(errors='replace').splitlines()[-30:])
        raise SetupError(
            f'{requirement} could not be built. The end of {log}:\n{tail}\n'
            'If the compiler was killed, memory ran out: run again with MAX_JOBS=1.'
        )


def install_mmcv(env: Env, name: str, version: str, constraints: list[str]) -> None:
    """Install an mmcv whose compiled operators load with the torch of the environment."""
    if 'mmcv-lite' in env.state['dists']:
        say('mmcv-lite has no compiled operators: replacing it with mmcv')
        # mmcv too, because the two share files.
        command = [str(env.python), '-m', 'pip', 'uninstall', '-qy', 'mmcv-lite', 'mmcv']
        subprocess.run(command, check=True)
        env.state['dists'].pop('mmcv', None)
    options = constraints
    if env.version(name) == version:
        error = env.import_error('mmcv.ops')
        if not error:
            return
        say(f"mmcv's operators do not load with this torch ({error}): installing them again")
        options = ['--force-reinstall', '--no-deps']
    facts = env.ask(mmcv_build.TORCH_FACTS)
    wheels = mmcv_build.Wheels(facts)
    kept = wheels.find(name, version)
    if kept:
        say(f'taking {kept}, compiled with the same torch before')
        env.pip(str(kept), *options)
        if not env.import_error('mmcv.ops'):
            return
        say('its operators do not load: compiling them again')
        options = ['--force-reinstall', '--no-deps']
    folder = env.folder / 'mmcv-build'
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        build_mmcv(env, f'{name}=={version}', folder, facts['includes'])
        wheel = mmcv_build.find_wheel(folder, name, version)
        env.pip(str(wheel), *options)
        if not env.import_error('mmcv.ops'):
            wheels.keep(wheel)
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # the precompiled header has 430 MB


def load_library_module():
    """`mmconvnext/kernels/library.py` by its path, because torch may be missing."""
    path = Path(__file__).resolve().parents[1] / 'mmconvnext/kernels/library.py'
    spec = importlib.util.spec_from_file_location('library', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def processor(cpuinfo: Path = Path('/proc/cpuinfo')) -> str:
    """The instruction set to compile our kernels for: AVX512, AVX2 or DEFAULT, by torch's rule.

    This does not import torch, which takes seconds. setup.py reads `MMCONVNEXT_BUILD`, torch
    reads `ATEN_CPU_CAPABILITY`.
    """
    named = os.environ.get('ATEN_CPU_CAPABILITY', '')
    if os.environ.get('MMCONVNEXT_BUILD') or named in ('default', 'avx2', 'avx512'):
        return os.environ.get('MMCONVNEXT_BUILD') or named.upper()
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    flags = set(next((line for line in lines if line.startswith('flags')), '').split())
    if {'avx512f', 'avx512vl', 'avx512bw', 'avx512dq', 'fma'} <= flags:
        return 'AVX512'
    return 'AVX2' if {'avx2', 'fma'} <= flags else 'DEFAULT'


def fingerprint(state: dict, stack: str) -> dict:
    """What the stamp records; while it is unchanged, there is nothing to do."""
    kernels, library = ROOT / 'mmconvnext/kernels', load_library_module()
    files = [ROOT / 'setup.py', *sorted((ROOT / 'requirements').glob('*.txt'))]
    files += [*sorted(library.operator_files(kernels)), *sorted(library.cpp_files(kernels))]
    content = b'\0'.join(path.read_bytes() for path in files)
    digest = hashlib.sha256(content).hexdigest()[:12]
    facts = {key: state[key] for key in ('python', 'ops', 'source')}
    facts |= {'processor': processor(), 'kernels': None}
    # May come from another environment of this checkout with the same Python version.
    tag = 'cpython-' + ''.join(state['python'].split('.')[:2])
    for record in filter(None, map(library.read, kernels.glob(f'_cpu.{tag}-*.so'))):
        fits = library.sources(kernels).items() <= record.items()
        facts['kernels'] = f'{record["capability"]} for torch {record["torch"]}'
        facts['kernels'] += '' if fits else ', from other sources'
    return {'stack': stack, 'requirements': digest, **facts, **state['dists']}


def is_ready(env: Env, stack: str) -> bool:
    try:
        old = json.loads(env.stamp.read_text())
    except (OSError, ValueError):
        return False
    new = fingerprint(env.state, stack)
    changed = [
        f'{key} {old.get(key)} -> {new.get(key)}'
        for key in dict.fromkeys([*old, *new])
        if old.get(key) != new.get(key)
    ]
    if unquote(new['source'] or '') != f'file://{ROOT}':  # two checkouts share an environment
        changed.append(f'mmconvnext of {new["source"]}')
    if not (ROOT / 'mmconvnext/.mim/configs').is_dir():
        changed.append('mmconvnext/.mim is missing')
    if changed:
        say(f'{env.folder} has changed since its set-up: {", ".join(changed)}')
    return not changed


def install_hashed(env: Env, stack: str, own_torch: bool) -> None:
    """Install the files whose SHA-256 is known; the later steps find them there."""
    here = f'{platform.system()} {platform.machine()}'
    if own_torch or here != 'Linux x86_64':
        raise SetupError(
            f'--hashes: the hashes are those of the lock file for Linux x86_64, but this is {here}'
            f'{" with a torch of another version" if own_torch else ""}. Set up without them'
        )
    say('installing the packages whose hashes are known')
    env.pip('--no-deps', '--require-hashes', '-r', f'requirements/hashes/{stack}.txt')


def install(env: Env, stack: str, hashes: bool = False) -> None:
    """Run every step that is not done yet, in order; each prints what it does."""
    lock, torch = ROOT / 'requirements' / f'{stack}.txt', env.state['dists'].get('torch')
    pins, mmcv = read_pins(lock), MMCV[stack]
    own_torch = torch and env.version('torch') != pins['torch']
    constraints = [] if own_torch else ['-c', str(lock)]
    check_python(env.state['python'], 'own torch' if own_torch else 'lock')
    if env.version(mmcv) != pins[mmcv] or not env.state['ops']:
        check_compiler(env)
        say(
            f'{mmcv} {pins[mmcv]} will be compiled, about 2 minutes on 2 cores, unless a wheel for '
            'the same torch was kept'
        )
    if not env.state['pip']:
        subprocess.run([str(env.python), '-m', 'ensurepip'], check=True, stdout=subprocess.DEVNULL)
    if hashes:
        install_hashed(env, stack, bool(own_torch))
    say('installing the build tools')
    env.pip('-r', 'requirements/build.txt', *constraints)
    if own_torch:
        say(f'keeping your torch {torch}; pip chooses the other versions, not the lock file')
    elif not torch:
        say(f'installing torch {pins["torch"]}')
        env.pip('torch', *constraints, quiet=False)
    error = env.import_error('torch')
    if error:
        raise SetupError(
            f'torch in {env.folder} does not import: {error}\nInstall it again: '
            f'{env.python} -m pip install --force-reinstall torch=={torch or pins["torch"]}'
        )
    install_mmcv(env, mmcv, pins[mmcv], constraints)
    say('installing the other packages and this checkout')
    env.pip('--no-build-isolation', '-e', f'.[{stack},tools,tests]', *constraints)
    error = env.import_error('torch, mmengine, mmcv.ops, mmdet, mmseg, mmconvnext')
    if error:
        raise SetupError(
            f'everything is installed, but the imports fail: {error}\nRemove {env.folder} and run '
            'again; if the error stays, the packages are incompatible with this torch.'
        )


def set_up(env: Env, stack: str, hashes: bool = False) -> None:
    open_venv(env)
    check_one_stack(env, stack)
    word = 'ready'
    if not is_ready(env, stack):
        env.stamp.unlink(missing_ok=True)
        install(env, stack, hashes)
        env.probe()
        facts = fingerprint(env.state, stack)
        env.stamp.write_text(json.dumps(facts, indent=1))
        if not facts['kernels'] and facts['processor'] != '0':
            say(
                'our CPU kernels were not compiled, so plain PyTorch runs instead; to see why: '
                f'{env.python} -m pip install -v --no-build-isolation --no-deps -e .'
            )
        word = 'complete'
    say(f'{env.folder} is {word} ({stack}, torch {env.state["dists"]["torch"]})')


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--stack', choices=STACKS, default='openmmlab')
    parser.add_argument('--venv', type=Path, help='default: .venv, or .venv-onedl for onedl')
    parser.add_argument('--hashes', action='store_true', help='refuse files with another SHA-256')
    args = parser.parse_args()
    default = '.venv' if args.stack == 'openmmlab' else f'.venv-{args.stack}'
    folder = Path(os.path.abspath(args.venv or ROOT / default))  # does not resolve links
    folder.parent.mkdir(parents=True, exist_ok=True)
    # For two runs of make at once: lock the parent folder, which leaves no lock file behind.
    lock = os.open(folder.parent, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say(f'another set-up is running in {folder.parent}: waiting for it')
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        set_up(Env(folder), args.stack, args.hashes)
    except (SetupError, subprocess.CalledProcessError) as error:
        print(f'[setup] error: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('\n[setup] stopped; the next run continues from here', file=sys.stderr)
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main())
