# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The table by room, and the list of the faults that no test noticed.

A fault that no test needs to notice is in ``known.yml`` with the reason, by its changed lines.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import yaml

KNOWN = Path(__file__).with_name('known.yml')


def known_faults() -> dict[tuple[str, str], str]:
    """Reasons by path and changed lines."""
    rows = yaml.safe_load(KNOWN.read_text(encoding='utf-8')) or []
    return {(row['path'], row['change'].strip()): row['reason'] for row in rows}


def print_report(session, faults) -> None:
    """Print the table in Markdown, then each missed fault with its changed lines."""
    rows, reasons = session.rows(), known_faults()
    table, missed = defaultdict(Counter), []
    for fault in faults:
        row = rows.get(fault.key)
        outcome, by, change = (row[4], row[5], row[7]) if row else ('left', '', '')
        if outcome == 'missed' and (fault.path, change.strip()) in reasons:
            outcome = 'known'
        count = table[room(fault.path)]
        count[outcome] += 1
        count['timeout'] += by == 'timeout'
        if outcome == 'missed':
            missed.append((fault, change))
    print('| room | tried | noticed | of these by timeout | known | missed | noticed, % | left |')
    print('|---|---|---|---|---|---|---|---|')
    for name in sorted(table):
        print(_row(name, table[name]))
    print(_row('all', sum(table.values(), Counter())))
    for fault, change in sorted(missed, key=lambda item: (item[0].path, item[0].line)):
        print(f'\n{fault}\n{change}')


def room(path: str) -> str:
    """'models' for mmconvnext/models/block.py, 'configs' for a recipe."""
    parts = Path(path).parts
    return parts[0] if parts[0] == 'configs' else parts[1]


def _row(name: str, n: Counter) -> str:
    tried = n['noticed'] + n['missed'] + n['known']
    share = f'{100 * n["noticed"] / (tried - n["known"]):.1f}' if tried > n['known'] else '-'
    counts = (tried, n['noticed'], n['timeout'], n['known'], n['missed'], share, n['left'])
    return f'| {name} | {" | ".join(map(str, counts))} |'
