# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What is wrong with a config file that cannot be read, without the traceback through mmengine."""

from __future__ import annotations

import ast
import json
import linecache
import os
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType

import yaml

SUFFIXES = ('.py', '.yml', '.yaml', '.json')  # of the configs that mmengine reads


def config_fault(path: Path, error: Exception) -> str | None:
    """The file, the line and the fault; None if the error is of code that a config calls.

    Args:
        path: the config that was to be read.
        error: what mmengine's Config.fromfile raised.
    """
    if isinstance(error, RecursionError):  # quickly: it has a thousand frames
        return _recursion(path, error)
    if isinstance(error, UnicodeDecodeError):
        return f'{_being_read(path, error)} is no text in UTF-8: {error}'
    frames = [*traceback.walk_tb(error.__traceback__)]
    files = {str(file) for file in _read_files(path, error)}
    ours = [i for i, (frame, _) in enumerate(frames) if frame.f_code.co_filename in files]
    if ours and all(map(_is_mmengines, frames[ours[-1] + 1 :])):
        frame, number = frames[ours[-1]]
        line = linecache.getline(frame.f_code.co_filename, number).strip()
        return f'{frame.f_code.co_filename}, line {number}: {_told(error)}\n  {line}'
    if isinstance(error, SyntaxError):
        return _syntax(path, error)
    if isinstance(error, FileNotFoundError):
        return _missing_base(path, error)
    if isinstance(error, (json.JSONDecodeError, yaml.YAMLError)) or _is_mmengines(frames[-1]):
        return f'{_being_read(path, error)}: {_told(error)}'
    return None


def circle(file: Path, above: tuple[Path, ...] = ()) -> tuple[Path, ...]:
    """The configs through which the ``_base_`` of a file leads back to itself; () if it does not.

    mmengine would read them until Python's limit of calls, which takes it ten seconds or more.
    """
    file = Path(os.path.abspath(file))
    if file in above:
        return above[above.index(file) :]
    for base in _bases(file):
        found = circle(file.parent / base, (*above, file))
        if found:
            return found
    return ()


def _bases(file: Path) -> list[str]:
    """The values of ``_base_`` in a file; what cannot be read is told later, by mmengine."""
    try:
        text = file.read_text(encoding='utf-8')
        if file.suffix == '.py':
            nodes = [node for node in ast.parse(text).body if isinstance(node, ast.Assign)]
            named = [n.value for n in nodes if getattr(n.targets[0], 'id', '') == '_base_']
            found = ast.literal_eval(named[0]) if named else []
        else:
            content = yaml.safe_load(text)
            found = content.get('_base_', []) if isinstance(content, dict) else []
    except (OSError, ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return []
    except yaml.YAMLError:
        return []
    found = found if isinstance(found, (list, tuple)) else [found]
    return [base for base in found if isinstance(base, str) and '::' not in base]


def leads_back(path: Path, names: Iterable[object]) -> str:
    """What a circle of bases is told as."""
    return f'{path}: its _base_ leads back to itself, by {", ".join(sorted(map(str, names)))}'


def _recursion(path: Path, error: RecursionError) -> str:
    names = [*_filenames(error)]
    if len(names) > 4 * len({*names}):  # each file that is read shows twice
        return leads_back(path, {*names})
    return f'{path}: {_told(error)}'


def _told(error: Exception) -> str:
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    return f'{type(error).__name__}: {" ".join(str(text).split())}'.removesuffix(': ')


def _syntax(path: Path, error: SyntaxError) -> str:
    named = error.filename and Path(error.filename).is_file()
    file = Path(error.filename) if named else _being_read(path, error)
    line = (error.text or linecache.getline(str(file), error.lineno or 0)).rstrip()
    mark = ' ' * (error.offset - 1) + '^' if error.offset and line else ''
    shown = f'\n  {line}\n  {mark}'.rstrip()
    return f'{file}, line {error.lineno}: {type(error).__name__}: {error.msg}{shown}'


def _missing_base(path: Path, error: FileNotFoundError) -> str | None:
    missing = error.filename or str(error).partition('"')[2].partition('"')[0]  # mmengine's text
    if not str(missing).endswith(SUFFIXES):
        return None
    return (
        f'{_being_read(path, error, missing)}: its _base_ {missing} does not exist; paths in '
        '_base_ begin at the folder of the file that names them: after moving or copying a config, '
        'write the path from there, or the whole path'
    )


def _being_read(path: Path, error: Exception, other_than: object = None) -> Path:
    """The file that mmengine was reading, maybe a base of ``path``."""
    files = [file for file in _read_files(path, error) if str(file) != str(other_than)]
    return files[-1]


def _read_files(path: Path, error: Exception) -> list[Path]:
    """``path``, then the bases on the way to the error."""
    return [path, *(Path(name) for name in _filenames(error))]


def _filenames(error: Exception) -> Iterator[str]:
    for frame, _ in traceback.walk_tb(error.__traceback__):
        # These functions get the name of a config; others of mmengine that of a temporary copy.
        if frame.f_code.co_name in ('fromfile', '_file2dict') and 'filename' in frame.f_locals:
            yield str(frame.f_locals['filename'])


def _is_mmengines(frame: tuple[FrameType, int]) -> bool:
    return frame[0].f_globals.get('__name__', '').startswith(('mmengine.config', 'mmengine.utils'))
