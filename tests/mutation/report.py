# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The table by room, and the list of the faults that no test noticed."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path


def print_report(session, faults) -> None:
    rows, table, missed = session.rows(), defaultdict(Counter), []
    for fault in faults:
        room = Path(fault.path).parts[1]
        row = rows.get(fault.key)
        outcome = row[4] if row else 'not tried'
        table[room][outcome] += 1
        if outcome == 'missed':
            missed.append((fault, row[7]))
    print('| room | tried | noticed | missed | noticed, % | not tried |')
    print('|---|---|---|---|---|---|')
    total = Counter()
    for room in sorted(table):
        total += table[room]
        print(_row(room, table[room]))
    print(_row('all', total))
    for fault, difference in sorted(missed, key=lambda item: (item[0].path, item[0].line)):
        print(f'\n{fault}\n{difference}')


def _row(room: str, n: Counter) -> str:
    tried = n['noticed'] + n['missed']
    share = f'{100 * n["noticed"] / tried:.1f}' if tried else '-'
    return f'| {room} | {tried} | {n["noticed"]} | {n["missed"]} | {share} | {n["not tried"]} |'
