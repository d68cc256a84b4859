# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Finds the compiled library, compares it with this machine and torch, and only then loads it.

Loading it runs instructions that another processor may lack, and registers operators; if their
schemas differ from ours, the process aborts. So the comparison must not need the library: a record
beside it, written by setup.py, says what it was compiled for. Without a record it is not loaded.

setup.py and tools/setup_env.py load this file by its path, when torch or this package may not be
installed yet. So at the top it imports only the standard library.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import sysconfig
from collections.abc import Iterable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

FOLDER = Path(__file__).absolute().parent  # links are kept: their target may have no library
# The suffix names Python's version and the machine type: 'cpython-311-x86_64-linux-gnu'.
FILE = f'_cpu{sysconfig.get_config_var("EXT_SUFFIX")}'
# Instruction sets; each includes those before it.
CAPABILITIES = ('DEFAULT', 'AVX2', 'AVX512')


def load(folder: Path = FOLDER) -> tuple[str | None, str]:
    """Load the library if it fits; return its instruction set, or None and why not."""
    library = folder / FILE
    if not library.is_file():
        how = 'this needs a C++ compiler and --no-build-isolation'
        return None, f'the kernels are not compiled ({how})'
    record = read(library)
    why = misfit(record, folder)
    if not why:
        spec = spec_from_file_location('mmconvnext.kernels._cpu', library)
        try:
            module_from_spec(spec)  # for an extension module, this is the loading
        except ImportError as error:
            why = f'the kernels cannot be loaded ({error})'
    return (None, f'{why}; {_remedy(folder)}') if why else (record['capability'], '')


def misfit(record: dict | None, folder: Path) -> str:
    """Why a library with this record must not be loaded, or ''."""
    if not record:
        return 'the kernels have no valid record of what they were compiled for'
    compiled, here = record['capability'], capability()
    if CAPABILITIES.index(compiled) > CAPABILITIES.index(here):
        # With such a build, machines of both kinds can share an environment.
        both = f'MMCONVNEXT_BUILD={here} works on both'
        return f'the kernels were compiled for {compiled}, this processor has {here} ({both})'
    for what, value in needs(folder).items():
        if record.get(what) != value:
            if what == 'torch':
                was = record.get(what)
                return f'the kernels were compiled against torch {was}, this is torch {value}'
            return f'the kernels were compiled from {what} other than those installed'
    return ''


def needs(folder: Path) -> dict[str, str]:
    """The torch and the sources that a library for this folder must be compiled with."""
    return {'torch': torch_build(), **sources(folder)}


def sources(folder: Path) -> dict[str, str]:
    """Digests of the operators' Python files and, where they are installed, of the C++ files."""
    found, files = {'operators': digest(operator_files(folder))}, cpp_files(folder)
    return {**found, 'C++ sources': digest(files)} if files else found


def operator_files(folder: Path) -> list[Path]:
    """The files with the schemas, which the library's code must match."""
    return [path for path in folder.glob('ops/*.py') if path.name[0] != '.']


def cpp_files(folder: Path) -> list[Path]:
    """The C++ files; none in an installation without them."""
    found = [path for path in folder.glob('csrc/**/*') if path.suffix in ('.cpp', '.h')]
    return [path for path in found if path.name[0] != '.']  # editors' files, which are not packed


def digest(paths: Iterable[Path]) -> str:
    """Hash of names and contents, including comments: our choice, to avoid a parser."""
    parts = (part for p in sorted(paths) for part in (p.name.encode(), p.read_bytes()))
    return hashlib.sha256(b'\0'.join(parts)).hexdigest()[:12]


def capability() -> str:
    """The processor's instruction set, or a smaller one if ATEN_CPU_CAPABILITY is set."""
    import torch

    found = torch.backends.cpu.get_cpu_capability()
    return found if found in CAPABILITIES else 'DEFAULT'


def torch_build() -> str:
    """Version and ABI of the installed torch: the binary interface changes with every build."""
    import torch

    old = '' if torch.compiled_with_cxx11_abi() else ' with the old C++ ABI'
    return f'{torch.__version__}{old}'


def write(library: Path, capability: str, needed: dict[str, str]) -> None:
    """Write a library's record; ``needed`` is what :func:`needs` returned before compilation."""
    facts = {'capability': capability, **needed, 'sha256': _sha256(library)}
    record_file(library).write_text(json.dumps(facts, indent=1), encoding='utf-8')


def read(library: Path) -> dict | None:
    """The library's record; None if there is none or it was written for another file."""
    try:
        record = json.loads(record_file(library).read_text(encoding='utf-8'))
        known = record['capability'] in CAPABILITIES and record['sha256'] == _sha256(library)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return record if known else None


def record_file(library: Path) -> Path:
    return library.with_suffix('.json')


def _sha256(library: Path) -> str:
    return hashlib.sha256(library.read_bytes()).hexdigest()


def _remedy(folder: Path) -> str:
    root = folder.parents[1]
    if (root / 'setup.py').is_file():
        checkout = shlex.quote(str(root))
        how = f'`make setup`, or pip install --no-build-isolation --no-deps -e {checkout}'
    else:  # pip caches the wheels it builds and would install the same one again
        options = '--no-build-isolation --no-cache-dir --force-reinstall --no-deps'
        how = f'pip install {options} mmconvnext'
    return f'to recompile them: {how}'
