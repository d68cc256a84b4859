# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Write a config as text, on top of its bases if it has any."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from mmengine.config import Config

from .diff import DELETE, difference, differing
from .source import plain, shipped

WIDTH = 100  # columns, as in this repository
LONG = 100  # characters; a longer value is written once and then referred to by name


def text_over(bases: Sequence[Path], target: dict, place: Path, head: str) -> str:
    """The text of ``target`` on top of ``bases``, for a file in the folder ``place``.

    Without bases, or if that text does not read back as ``target``, the config is written in full.
    """
    if bases:
        changes = format_config(difference(merged(bases), target))
        if reads_back(_over(map(repr, map(str, bases))) + changes, target):
            return head + _over(base_name(path, place) for path in bases) + changes
    text = head + format_config(target)
    differs = differing(_read(text), target)
    assert not differs, f'the written config differs in {differs}'
    return text


def _over(names: Iterable[str]) -> str:
    names = list(names)
    lines = names if len(names) == 1 else ['[', *(f'    {name},' for name in names), ']']
    return '_base_ = ' + '\n'.join(lines) + '\n\n'


def reads_back(text: str, target: dict) -> bool:
    """Whether the text is a config with all of ``target``; bases may add other keys."""
    got = _read(text)
    return not differing({key: got.get(key) for key in target}, target)


def merged(bases: Sequence[Path]) -> dict:
    """The bases as mmengine merges them, without importing what they import."""
    return _read(_over(map(repr, map(str, bases))))


def _read(text: str) -> dict:
    """The config of a text with absolute bases."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / 'config.py'
        file.write_text(text, encoding='utf-8')
        return plain(Config.fromfile(str(file), import_custom_modules=False).to_dict())


def base_name(path: Path, place: Path) -> str:
    """The expression for ``path`` in the ``_base_`` of a config in the folder ``place``."""
    for project, root in shipped().items():
        if path.is_relative_to(root):
            inside = path.relative_to(root).as_posix()
            if project == 'mmdet':
                return repr(f'mmdet::{inside}')
            # mmengine does not resolve 'mmseg::' where mmseg is installed under another
            # distribution name, as in the onedl stack.
            return f"__import__('{project}').__path__[0] + '/.mim/configs/{inside}'"
    return repr(Path(os.path.relpath(path, place)).as_posix())


def format_config(cfg: dict) -> str:
    """Top-level assignments, pipelines first; a long value that repeats is referred to by name."""
    names: dict[str, str] = {}
    order = sorted(cfg, key=lambda key: not key.endswith('_pipeline'))
    paragraphs = []
    for key in order:
        value = cfg[key]
        lead = f'{key} = '
        paragraphs.append(lead + _format(value, '', len(lead), names))
        if isinstance(value, (dict, list)) and len(repr(value)) > LONG and DELETE not in value:
            names.setdefault(repr(value), key)
    return '\n'.join(paragraphs) + '\n'


def _format(value: object, indent: str, used: int, names: dict[str, str]) -> str:
    if name := names.get(repr(value)):
        return name
    short = _one_line(value, names)
    if used + len(short) < WIDTH or not isinstance(value, (dict, list, tuple)) or not value:
        return short
    deeper = indent + '    '
    if isinstance(value, dict):
        named = all(isinstance(key, str) and key.isidentifier() for key in value)
        leads = [f'{key}=' if named else f'{key!r}: ' for key in value]
        items, brackets = list(value.values()), ('dict(', ')') if named else ('{', '}')
    else:
        if all(not isinstance(item, (dict, list)) for item in value):
            return _filled(value, indent, names)
        leads, items = [''] * len(value), list(value)
        brackets = ('[', ']') if isinstance(value, list) else ('(', ')')
    lines = [
        f'{deeper}{lead}{_format(item, deeper, len(deeper + lead) + 1, names)},'
        for lead, item in zip(leads, items)
    ]
    return '\n'.join([brackets[0], *lines, indent + brackets[1]])


def _filled(value: list | tuple, indent: str, names: dict[str, str]) -> str:
    """A sequence of plain values, with as many on a line as fit."""
    lines = ['']
    for item in value:
        text = f'{_one_line(item, names)},'
        if lines[-1] and len(indent) + 4 + len(lines[-1]) + 1 + len(text) > WIDTH:
            lines.append('')
        lines[-1] += f' {text}' if lines[-1] else text
    opening, closing = '[]' if isinstance(value, list) else '()'
    return '\n'.join([opening, *(f'{indent}    {line}' for line in lines), indent + closing])


def _one_line(value: object, names: dict[str, str]) -> str:
    if name := names.get(repr(value)):
        return name
    if isinstance(value, dict):
        if all(isinstance(key, str) and key.isidentifier() for key in value):
            return f'dict({", ".join(f"{k}={_one_line(v, names)}" for k, v in value.items())})'
        return f'{{{", ".join(f"{k!r}: {_one_line(v, names)}" for k, v in value.items())}}}'
    if isinstance(value, list):
        return f'[{", ".join(_one_line(item, names) for item in value)}]'
    if isinstance(value, tuple):
        inside = ', '.join(_one_line(item, names) for item in value)
        return f'({inside},)' if len(value) == 1 else f'({inside})'
    return ascii(value)
