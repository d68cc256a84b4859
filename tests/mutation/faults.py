# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Makes the faults of a module: one change of its source at a time.

A fault is named by its module, kind and occurrence, so that its source is made when it is tried.
"""

from __future__ import annotations

import ast
import hashlib
from collections import defaultdict
from dataclasses import dataclass

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from operators import operators

# Words are checked by reading them: these arguments, and what is logged.
WORDS = ('description', 'epilog', 'help', 'metavar')  # of argparse
SPEAKERS = ('debug', 'info', 'warning', 'warn', 'error', 'print', 'log_rank0', 'print_log')


@dataclass(frozen=True)
class Fault:
    path: str
    line: int
    kind: str
    occurrence: int
    key: str  # another one if the module changes

    def __str__(self) -> str:
        return f'{self.path}:{self.line} {self.kind}'


def faults_of(path: str, source: str, per_line: int = 1) -> list[Fault]:
    """The faults of a module, so many on each line at most, chosen by hash."""
    tree, silent = get_ast(source), _without_effect(source)
    nodes, digest = list(ast_nodes(tree)), hashlib.sha256(source.encode()).hexdigest()
    rows, lines = source.splitlines(), defaultdict(list)
    for kind, operator in operators().items():
        places = [
            (start, end, node) for node in nodes for start, end in operator.mutation_positions(node)
        ]
        for occurrence, (start, end, node) in enumerate(places):
            if node.parent.type in ('parameters', 'typedargslist'):
                continue  # the * of a signature is no product
            if kind == 'NumberReplacer' and occurrence % 2:
                continue  # plus one is enough
            if any(first <= start and end <= last for first, last in silent):
                continue
            name = f'{path}\0{digest}\0{kind}\0{occurrence}'
            key = hashlib.sha256(name.encode()).hexdigest()[:16]
            lines[start[0]].append(Fault(path, start[0], kind, occurrence, key))
    # The hash does not depend on the rest of the module, so that the choice stays.
    return [
        fault
        for line, found in sorted(lines.items())
        for fault in sorted(found, key=lambda f: _lot(f, rows[line - 1], found))[:per_line]
    ]


def _lot(fault: Fault, text: str, others: list[Fault]) -> str:
    rank = [other for other in others if other.kind == fault.kind].index(fault)
    return hashlib.sha256(f'{text.strip()}\0{fault.kind}\0{rank}'.encode()).hexdigest()


def apply(fault: Fault, source: str) -> str | None:
    """The module with the fault, or None if that is no other program."""
    changed = mutate_code(source, operators()[fault.kind], fault.occurrence)
    try:
        same = ast.dump(ast.parse(changed)) == ast.dump(ast.parse(source))
        compile(changed, fault.path, 'exec')
    except (SyntaxError, ValueError):
        return None
    return None if same else changed


def _without_effect(source: str) -> list[tuple[tuple, tuple]]:
    """Where a change has no effect, or one on words only: annotations, messages, ``__all__``."""
    spans = []

    def add(*nodes):
        if nodes and nodes[0] is not None:
            first, last = nodes[0], nodes[-1]
            end = (last.end_lineno, last.end_col_offset)
            spans.append(((first.lineno, first.col_offset), end))

    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.arg):
            add(node.annotation)
        elif isinstance(node, ast.FunctionDef):
            add(node.returns)
        elif isinstance(node, ast.AnnAssign):
            add(node.annotation)
        elif isinstance(node, (ast.Assign, ast.AugAssign)) and '__all__' in ast.unparse(node)[:7]:
            add(node)
        elif isinstance(node, ast.JoinedStr):
            add(node)
        elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            add(*node.exc.args)
        elif isinstance(node, ast.Call):
            if getattr(node.func, 'attr', getattr(node.func, 'id', '')) in SPEAKERS:
                add(*node.args)
            for keyword in node.keywords:
                if keyword.arg in WORDS:
                    add(keyword)
        elif isinstance(node, ast.If) and 'TYPE_CHECKING' in ast.unparse(node.test):
            add(node)
    return spans
