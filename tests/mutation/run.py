# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Puts faults into the package and the recipes, one at a time, and reports which no test notices.

    python tests/mutation/run.py                         # all rooms; resumable
    python tests/mutation/run.py mmconvnext/optim        # a folder or files
    python tests/mutation/run.py configs                 # the recipes
    python tests/mutation/run.py --since main            # the files changed since a commit
    python tests/mutation/run.py --again                 # try again what was not noticed
    python tests/mutation/run.py --report                # only the table and the list

For each fault of a module it runs the tests that run the changed line, those of the module's own
test file first, until one fails. Recipes are compared with their table. See docs/testing.md.
"""

from __future__ import annotations

import argparse
import difflib
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from queue import Empty, Queue

from copies import Copy
from faults import Fault, apply, faults_of
from report import known_faults, print_report
from selection import Selection
from session import Session

from configs import config_faults, try_faults

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / 'mmconvnext'
ROOMS = ('models', 'optim', 'checkpoint', 'recipe', 'data', 'cli', 'kernels')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('paths', nargs='*', help='files or folders; default: all rooms')
    parser.add_argument('--since', metavar='COMMIT', help='only files changed since a commit')
    parser.add_argument('--again', action='store_true', help='try again what was not noticed')
    # Our choice of 1: the package has about 4000 such lines.
    parser.add_argument('--per-line', type=int, default=1, help='faults (default: %(default)s)')
    parser.add_argument('--minutes', type=float, default=1e9, help='stop after so many minutes')
    parser.add_argument('--workers', type=int, default=2, help='processes (default: %(default)s)')
    parser.add_argument('--report', action='store_true', help='only report')
    return parser.parse_args()


def files(args: argparse.Namespace) -> list[str]:
    """The modules and recipes to change, as paths from the root."""
    if args.since:
        command = ['git', 'diff', '--name-only', args.since, '--', 'mmconvnext', 'configs']
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        given = [ROOT / name for name in done.stdout.split()]
    elif args.paths:
        given = [Path(path).resolve() for path in args.paths]
    else:
        given = [ROOT / 'configs', *(PACKAGE / room for room in ROOMS), *PACKAGE.glob('*.py')]
    found = {f for p in given for f in (p.rglob('*.py') if p.is_dir() else [p])}
    return sorted(str(f.relative_to(ROOT)) for f in found if f.is_file() and f.suffix == '.py')


class Run:
    """Workers take faults from a queue; each has a copy of the checkout of its own."""

    def __init__(self, args: argparse.Namespace, session: Session):
        self.args, self.session = args, session
        self.until = time.monotonic() + 60 * args.minutes
        self.queue: Queue[Fault] = Queue()
        self.total = self.tried = self.missed = 0
        self.lock = threading.Lock()

    def start(self, faults: list[Fault], sources: dict[str, str]) -> None:
        if not faults:
            return
        for fault in faults:
            self.queue.put(fault)
        self.total = len(faults)
        copies = [Copy(ROOT, self.session.folder / f'copy{i}') for i in range(self.args.workers)]
        selection = Selection(self.session.folder, ROOT)
        own = {selection.own(fault.path) for fault in faults}
        parts = own if self.args.since or self.args.paths else selection.all_parts()
        self.measure(copies, selection, [p for p in parts if not selection.is_known(p)])
        selection.load()
        self.in_parallel(lambda copy: self.work(copy, selection, sources), copies)
        for copy in copies:
            copy.close()
        print()

    def in_parallel(self, work: Callable[[Copy], None], copies: list[Copy]) -> None:
        with ThreadPoolExecutor(len(copies)) as pool:
            try:
                list(pool.map(work, copies))
            except BaseException:  # Ctrl-C, or an error of a worker: the others end what they do
                self.until = 0.0
                raise

    def measure(self, copies: list[Copy], selection: Selection, parts: list[str]) -> None:
        """Measure which lines the tests run. The largest part comes first."""
        todo: Queue[str] = Queue()
        for part in sorted(parts, key=lambda p: -len(selection.files(p))):
            todo.put(part)

        def work(copy):
            while time.monotonic() < self.until:
                try:
                    part = todo.get_nowait()
                except Empty:
                    return
                selection.measure(part, copy)

        self.in_parallel(work, copies)

    def work(self, copy: Copy, selection: Selection, sources: dict[str, str]) -> None:
        while time.monotonic() < self.until:
            try:
                fault = self.queue.get_nowait()
            except Empty:
                return
            changed = apply(fault, sources[fault.path])
            if changed is None:
                self.session.set(fault, 'same', '', 0.0, '')
                continue
            outcome, by, seconds = 'missed', '', 0.0
            with copy.changed(fault.path, changed):
                for tests, expected in selection.tests(fault):
                    found = copy.run(tests, timeout=30 + 6 * expected)
                    seconds += found['seconds']
                    if found['outcome'] != 'passed':
                        outcome, by = 'noticed', found['by']
                        break
            self.session.set(fault, outcome, by, seconds, difference(sources[fault.path], changed))
            with self.lock:
                self.tried += 1
                self.missed += outcome == 'missed'
                left = f'{self.tried}/{self.total} tried, {self.missed} missed'
                show(f'{left}, last {fault}: {outcome} in {seconds:.1f} s')


def show(line: str) -> None:
    """Replace the line of progress."""
    print(f'\r{line[:110]:110}', end='', flush=True)


def difference(before: str, after: str) -> str:
    """The changed lines, as in a diff without context."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm='')
    return '\n'.join(line for line in list(lines)[2:] if not line.startswith('@@'))


def main() -> None:
    args = parse_args()
    session = Session(ROOT / '.mutants')
    sources = {path: (ROOT / path).read_text(encoding='utf-8') for path in files(args)}
    faults, recipes = [], []
    for path, source in sources.items():
        if path.startswith('configs'):
            recipes += config_faults([ROOT / path])
        else:
            faults += faults_of(path, source, args.per_line)
    # In the order of their hashes, so that a run that stops early has tried some of each room.
    faults.sort(key=lambda fault: fault.key)
    if not args.report:
        done = session.done(again=args.again, known=known_faults())

        left = [fault for fault in recipes if fault.key not in done]
        tried = count(1)

        def record(fault, outcome, by, seconds):
            change = difference(sources[fault.path], fault.source)
            session.set(fault, outcome, by, seconds, change)
            show(f'{next(tried)}/{len(left)} of the recipes tried, last {fault}: {outcome}')

        try_faults(left, record)
        Run(args, session).start([fault for fault in faults if fault.key not in done], sources)
    print_report(session, faults + recipes)


if __name__ == '__main__':
    try:
        main()
    except KeyboardInterrupt:
        sys.exit('\nstopped; the same command goes on from here')
