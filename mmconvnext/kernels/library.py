# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The compiled library: found, compared with this machine and this torch, and only then loaded.

Loading it already runs code that another processor may not have, and registers operators that end
the process where their schemas differ. So it is asked nothing: beside it lies a record, written
when it was compiled, of what it was compiled for. A library without its own record is not loaded.

setup.py and tools/setup_env.py take this file by its path, before there is a torch or a package:
no import at its top but of the standard library.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import sysconfig
from collections.abc import Iterable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

FOLDER = Path(__file__).absolute().parent  # links stay: what they lead to may have no library
# The name holds Python's version and the kind of machine: 'cpython-311-x86_64-linux-gnu'.
FILE = f'_cpu{sysconfig.get_config_var("EXT_SUFFIX")}'
# Instruction sets in the order in which one includes the other.
CAPABILITIES = ('DEFAULT', 'AVX2', 'AVX512')


def load(folder: Path = FOLDER) -> tuple[str | None, str]:
    """Load the library if it fits: the instruction set it was compiled for, or None and why not."""
    library = folder / FILE
    if not library.is_file():
        how = 'a C++ compiler and --no-build-isolation do that'
        return None, f'the kernels are not compiled ({how})'
    record = read(library)
    why = misfit(record, folder)
    if not why:
        spec = spec_from_file_location('mmconvnext.kernels._cpu', library)
        try:
            module_from_spec(spec)  # for an extension module, this is the loading
        except ImportError as error:
            why = f'the kernels do not load ({error})'
    return (None, f'{why}; {_remedy(folder)}') if why else (record['capability'], '')


def misfit(record: dict | None, folder: Path) -> str:
    """Why the library with this record must not be loaded, or ''."""
    if not record:
        return 'there is no record of what the kernels were compiled for, or that of other ones'
    compiled, here = record['capability'], capability()
    if CAPABILITIES.index(compiled) > CAPABILITIES.index(here):
        # With that variable, machines of both kinds can share an environment.
        both = f'MMCONVNEXT_BUILD={here} is for both'
        return f'the kernels were compiled for {compiled}, this processor has {here} ({both})'
    for what, value in needs(folder).items():
        if record.get(what) != value:
            if what == 'torch':
                was = record.get(what)
                return f'the kernels were compiled against torch {was}, this is {value}'
            return f'the kernels were compiled from other {what} than are here'
    return ''


def needs(folder: Path) -> dict[str, str]:
    """What a library has to be compiled against and from, to work with the folder's modules."""
    return {'torch': torch_build(), **sources(folder)}


def sources(folder: Path) -> dict[str, str]:
    """Digests of the operators' Python files and, where they are installed, of the C++ files."""
    found, files = {'operators': digest(operator_files(folder))}, cpp_files(folder)
    return {**found, 'C++ sources': digest(files)} if files else found


def operator_files(folder: Path) -> list[Path]:
    """The files with the schemas, which the library's code must match."""
    return [path for path in folder.glob('ops/*.py') if path.name[0] != '.']


def cpp_files(folder: Path) -> list[Path]:
    """None in an installation that leaves them out."""
    found = [path for path in folder.glob('csrc/**/*') if path.suffix in ('.cpp', '.h')]
    return [path for path in found if path.name[0] != '.']  # an editor's own: not packed


def digest(paths: Iterable[Path]) -> str:
    """Of names and contents. Comments count too: our choice, as to tell them takes a parser."""
    parts = (part for p in sorted(paths) for part in (p.name.encode(), p.read_bytes()))
    return hashlib.sha256(b'\0'.join(parts)).hexdigest()[:12]


def capability() -> str:
    """The instruction set of this processor, or the lesser one that ATEN_CPU_CAPABILITY names."""
    import torch

    found = torch.backends.cpu.get_cpu_capability()
    return found if found in CAPABILITIES else 'DEFAULT'


def torch_build() -> str:
    """The torch of this environment: its binary interface changes with each version and build."""
    import torch

    old = '' if torch.compiled_with_cxx11_abi() else ' with the old C++ ABI'
    return f'{torch.__version__}{old}'


def write(library: Path, capability: str, needed: dict[str, str]) -> None:
    """Write the record of a library; ``needed``: what :func:`needs` gave before it was compiled."""
    facts = {'capability': capability, **needed, 'sha256': _sha256(library)}
    record_file(library).write_text(json.dumps(facts, indent=1), encoding='utf-8')


def read(library: Path) -> dict | None:
    """The library's record; None where it has none, or the record is of another file."""
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
    else:  # pip keeps the wheels that it compiles, so the next one would be the same
        options = '--no-build-isolation --no-cache-dir --force-reinstall --no-deps'
        how = f'pip install {options} mmconvnext'
    return f'to compile them anew: {how}'
