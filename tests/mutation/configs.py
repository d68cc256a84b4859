# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Puts faults into the recipes, one at a time, for run.py.

Each number, string, bool and None is changed, each keyword, element and statement taken away, and
neighbours in a list change places. The fault is written into a copy of configs/; then every recipe
that uses the file is merged and compared with tests/data/recipes.
"""

from __future__ import annotations

import ast
import hashlib
import re
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(folder) for folder in (ROOT, ROOT / 'tests') if str(folder) not in sys.path]


@dataclass(frozen=True)
class ConfigFault:
    path: str  # from the root of the repository
    line: int
    kind: str
    source: str  # the whole file with the fault
    key: str  # another one if the file changes

    def __str__(self) -> str:
        return f'{self.path}:{self.line} {self.kind}'


def faults_of(path: str, source: str) -> Iterator[ConfigFault]:
    """All faults of a config, in the order of its lines."""
    tree = ast.parse(source)
    found = sorted((line, kind, text) for line, kind, text in _changes(tree, source))
    for line, kind, text in found:
        key = hashlib.sha256(f'{path}\0{kind}\0{source}\0{text}'.encode()).hexdigest()[:16]
        yield ConfigFault(path, line, kind, text, key)


def _changes(tree: ast.Module, source: str) -> Iterator[tuple[int, str, str]]:
    def text(node: ast.AST) -> str:
        return ast.get_source_segment(source, node)

    def put(node: ast.AST, new: str) -> str:
        return _replace(source, [(node, new)])

    for node in ast.walk(tree):
        if isinstance(node, ast.Constant):
            new = _other(node.value)
            yield node.lineno, f'{node.value!r} for {new!r}'[:60], put(node, repr(new))
        elif isinstance(node, ast.Call):
            for i, keyword in enumerate(node.keywords):
                rest = [*map(text, node.args)]
                rest += [text(other) for j, other in enumerate(node.keywords) if j != i]
                new = f'{text(node.func)}({", ".join(rest)})'
                yield keyword.value.lineno, f'without {keyword.arg}=', put(node, new)
        elif isinstance(node, (ast.List, ast.Tuple)):
            for i, item in enumerate(node.elts):
                rest = [text(other) for j, other in enumerate(node.elts) if j != i]
                new = ', '.join(rest)
                new = f'[{new}]' if isinstance(node, ast.List) else f'({new}{"," * bool(rest)})'
                yield item.lineno, f'without element {i}', put(node, new)
            for i, (one, two) in enumerate(zip(node.elts, node.elts[1:])):
                if ast.dump(one) != ast.dump(two):
                    swapped = _replace(source, [(one, text(two)), (two, text(one))])
                    yield one.lineno, f'elements {i} and {i + 1} swapped', swapped
        elif isinstance(node, ast.stmt):
            yield node.lineno, 'without the statement', put(node, 'pass')


def _other(value):
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value * 1.1 if value else 0.1
    return 0 if value is None else value + 'x'


def _replace(source: str, changes: list[tuple[ast.AST, str]]) -> str:
    """The source with other texts for some nodes. ASCII only: columns are bytes."""
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    for node, new in sorted(
        changes, key=lambda change: -change[0].lineno * 1000 - change[0].col_offset
    ):
        first = starts[node.lineno - 1] + node.col_offset
        last = starts[node.end_lineno - 1] + node.end_col_offset
        source = source[:first] + new + source[last:]
    return source


class Checker:
    """Tries faults in a copy of configs/."""

    def __init__(self, folder: Path):
        from recipe_table import ROWS, expected

        self.folder = Path(folder) / 'configs'
        shutil.copytree(ROOT / 'configs', self.folder)
        self.tables = {name: expected(name) for name in ROWS}
        self.users = {name: self._bases(self.folder / name) for name in ROWS}
        self.originals = {}

    def _bases(self, file: Path) -> set[Path]:
        """The file and all files in configs/ that it builds on."""
        found, todo = set(), [file]
        while todo:
            file = todo.pop().resolve()
            if file not in found:
                found.add(file)
                names = re.findall(r"'(\.{1,2}/[^']+\.py)'", file.read_text())
                todo += [file.parent / name for name in names]
        return found

    def _merged(self, name: str) -> dict:
        from mmengine import Config

        return Config.fromfile(self.folder / name).to_dict()

    def __call__(self, fault: ConfigFault) -> tuple[str, str]:
        """(outcome, why): 'noticed', 'missed', or 'same' if no recipe changes."""
        from recipe_table import differences, leaves

        file = self.folder.parent / fault.path
        users = [name for name, files in self.users.items() if file.resolve() in files]
        for name in users:
            if name not in self.originals:
                self.originals[name] = self._merged(name)
        original, outcome = file.read_text(), ('same', 'the merged configs are the same')
        file.write_text(fault.source)
        try:
            for name in users:
                try:
                    merged = self._merged(name)
                except Exception as error:  # a config that cannot be read is noticed, too
                    return 'noticed', f'{name}: {type(error).__name__}'
                lines = differences(leaves(merged), self.tables[name])
                if lines:
                    return 'noticed', f'{name}: {lines[0]}'
                if merged != self.originals[name]:
                    outcome = 'missed', name
            return outcome
        finally:
            file.write_text(original)


def config_faults(paths: Iterable[Path | str] = ()) -> list[ConfigFault]:
    """The faults of these files and folders, or of all in configs/."""
    paths = [Path(path).resolve() for path in paths] or [ROOT / 'configs']
    files = sorted({f for p in paths for f in (p.rglob('*.py') if p.is_dir() else [p])})
    return [fault for f in files for fault in faults_of(str(f.relative_to(ROOT)), f.read_text())]


def try_faults(
    faults: Iterable[ConfigFault], record: Callable[[ConfigFault, str, str, float], None]
) -> None:
    """Call ``record`` with each fault, its outcome, the reason, and the seconds it took."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter('ignore')  # what a broken config makes mmengine say
        check = Checker(folder)
        for fault in faults:
            start = time.monotonic()
            outcome, why = check(fault)
            record(fault, outcome, why, time.monotonic() - start)
