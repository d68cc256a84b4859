# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""How setup_env.py compiles mmcv: settings of the compiler, progress, and wheels that are kept.

Each of mmcv's 77 sources includes torch/types.h, which takes g++ far longer than the source itself,
so the header is precompiled once. Only the standard library is imported.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

GIB_PER_JOB = 2  # memory of a compiler process on mmcv's largest source files
# Of mmcv's setup.py and torch.utils.cpp_extension. g++ takes a precompiled header only if it was
# made with the options of the sources; if they differ in another torch, it says so and reads the
# header as usual.
OPTIONS = (
    '-fPIC -std=c++17 -DTORCH_API_INCLUDE_EXTENSION_H -DTORCH_EXTENSION_NAME=_ext'
).split()  # fmt: skip
# In place of the interpreter's own options, which the variable CFLAGS replaces. Without the debug
# symbols of `-g -O3` a source takes half the time.
CFLAGS = '-O2 -g0 -fwrapv -DNDEBUG'
# Prints what decides whether compiled operators fit, and where the header's own headers are.
TORCH_FACTS = """
import json, platform, sysconfig, torch
from torch.utils.cpp_extension import include_paths
python = sysconfig.get_config_var('SOABI') or platform.python_version()
print(json.dumps({
    'torch': torch.__version__, 'cuda': torch.cuda.is_available(), 'python': python,
    'includes': [*include_paths(), sysconfig.get_path('include')],
}))
"""
STEP = re.compile(r'^\s*\[(\d+)/(\d+)\] ', re.MULTILINE)  # ninja's
UNUSED = re.compile(r'\.gch: (not used because .*|had text segment.*|created .*) \[-Winvalid-pch\]')


def count_jobs(cpus: int, gib: float) -> int:
    """The number of parallel compiler processes: one per CPU, if there is memory for all."""
    return max(1, min(cpus, int(gib // GIB_PER_JOB)))


def is_gcc(compiler: str) -> bool:
    """Whether a command is g++; clang, which calls itself c++ on some machines, is none."""
    command = [*shlex.split(compiler), '-dM', '-E', '-x', 'c++', os.devnull]
    try:
        macros = subprocess.run(command, capture_output=True, text=True).stdout
    except OSError:
        return False
    return '__GNUC__' in macros and '__clang__' not in macros


def precompile(compiler: str, folder: Path, includes: list[str], cflags: str) -> str:
    """Precompile torch/types.h in ``folder``; the options that make g++ use it, '' on failure.

    torch/extension.h, which the sources include, is no choice: it holds templates that every source
    would compile anew (measured: slower than no header).
    """
    header = folder / 'torch_types.h'
    header.write_text('#include <torch/types.h>\n')
    command = [*shlex.split(compiler), *OPTIONS, *shlex.split(cflags)]
    command += [f'-I{path}' for path in includes]
    command += ['-x', 'c++-header', str(header), '-o', f'{header}.gch']
    if subprocess.run(command, capture_output=True).returncode:
        return ''
    return f'-include {shlex.quote(str(header))} -Winvalid-pch'


def progress(log: str, seconds: float, start: float) -> str:
    """One line on how far ninja is.

    Args:
        log: pip's, so far.
        seconds: since the start of pip.
        start: of ``seconds``, those when the first source began.
    """
    steps = STEP.findall(log)
    spent = f'{int(seconds) // 60} min {int(seconds) % 60:02} s'
    if not steps:
        return f'mmcv: preparing, {spent}'
    done, total = map(int, steps[-1])
    left = (seconds - start) / done * (total - done)
    return (
        f'mmcv ops: {done}/{total} compiled, {100 * done // total} %, {spent}, '
        f'about {max(1, round(left / 60))} min left'
    )


def why_unused(log: str) -> str:
    """Why g++ does not take the precompiled header, in its words; '' if it does."""
    found = UNUSED.search(log)
    return found[1] if found else ''


class Wheels:
    """Wheels that were compiled with one build of torch; their operators load with no other."""

    def __init__(self, facts: dict) -> None:
        """Take what TORCH_FACTS prints."""
        cache = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
        kind = 'cuda' if facts['cuda'] or os.environ.get('FORCE_CUDA') == '1' else 'cpu'
        torch = f'torch-{facts["torch"]}-{kind}-{facts["python"]}'
        self.folder = Path(cache) / 'mmconvnext/wheels' / torch

    def find(self, name: str, version: str) -> Path | None:
        return find_wheel(self.folder, name, version)

    def keep(self, wheel: Path) -> None:
        """Copy a wheel here, whole or not at all; nothing happens if that is impossible."""
        part = self.folder / f'{wheel.name}.{os.getpid()}'
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(wheel, part)
            part.replace(self.folder / wheel.name)
        except OSError:
            pass


def find_wheel(folder: Path, name: str, version: str) -> Path | None:
    found = sorted(folder.glob(f'{name.replace("-", "_")}-{version}-*.whl'))
    return found[-1] if found else None
