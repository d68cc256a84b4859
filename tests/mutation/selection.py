# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Which tests can notice a fault: those that run its line, fast ones first.

The tests are measured in parts, the folders in `tests`, and the map of a part is kept until the
part or its room changes. A fault is tried with the part that mirrors its room, and if that does
not notice it, with the others that were measured.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

# Seconds of tests for one fault in the own part and in the others, by their measured times. Our
# choice: a fault that only slower tests notice counts as missed.
BUDGET, BUDGET_ELSEWHERE = 25.0, 25.0
# Of all tests of a part, for a line that runs at import only.
BUDGET_AT_IMPORT = 120.0


class Selection:
    def __init__(self, folder: Path, root: Path):
        self.folder, self.root = folder / 'maps', root
        self.folder.mkdir(parents=True, exist_ok=True)
        self.maps: dict[str, dict] = {}

    def own(self, path: str) -> str:
        """The part that mirrors a module's room; the files in `tests` itself for the others."""
        name = f'test_{Path(path).parts[1]}'
        return name if (self.root / 'tests' / name).is_dir() else 'tests'

    def all_parts(self) -> list[str]:
        folders = (p.name for p in (self.root / 'tests').glob('test_*') if p.is_dir())
        return sorted([*folders, 'tests'])

    def files(self, part: str) -> list[str]:
        tests = self.root / 'tests'
        found = tests.glob('test_*.py') if part == 'tests' else (tests / part).rglob('test_*.py')
        return sorted(str(file.relative_to(self.root)) for file in found)

    def is_known(self, part: str) -> bool:
        return self._file(part).is_file()

    def _file(self, part: str) -> Path:
        """The map's file. Changes of other rooms make it a little wrong, which costs less."""
        room = self.root / 'mmconvnext' / part.removeprefix('test_')
        sources = [self.root / name for name in self.files(part)] + sorted(room.rglob('*.py'))
        digest = hashlib.sha256(b''.join(file.read_bytes() for file in sources))
        return self.folder / f'{part}-{digest.hexdigest()[:12]}.json'

    def measure(self, part: str, copy) -> None:
        """Run a part of the suite and keep its map."""
        copy.ask(run='map', paths=self.files(part), out=str(self._file(part)))
        if not self.is_known(part):
            raise SystemExit(f'the tests of {part} did not end: see {copy.log}')
        facts = json.loads(self._file(part).read_text())
        if not facts['tests']:  # every fault would count as missed
            self._file(part).unlink()
            raise SystemExit(f'no test of {part} passed; does another run use this checkout?')
        print(f'{part}: {len(facts["tests"])} tests, {sum(facts["seconds"]):.0f} s', flush=True)
        for test in facts['failed']:
            print(f'  left out, it fails or skips here: {test}', flush=True)

    def load(self) -> None:
        for part in self.all_parts():
            if self.is_known(part):
                self.maps[part] = json.loads(self._file(part).read_text())

    def tests(self, fault) -> Iterator[tuple[list[str], float]]:
        """Lists of tests to try one after the other, each with its expected seconds.

        First the module's own test files, those that run the line before the others, then the rest
        of its part that runs the line, then the other parts. A line that runs at import only, such
        as one of a table, may be noticed by any test of its part, those of its folder first.
        """
        first = self.own(fault.path)
        facts, module = self.maps[first], Path(fault.path)
        files = [test.partition('::')[0] for test in facts['tests']]
        own = {i for i, file in enumerate(files) if f'/test_{module.stem}' in file}
        near = {i for i, file in enumerate(files) if f'/test_{module.parent.name}/' in file}
        running = set(_running(fault, facts))
        rest = set() if _at_line(fault, facts) else set(range(len(files))) - running - own
        left = BUDGET_AT_IMPORT if rest else BUDGET
        # All tests of the module's files: a cached function runs in the first test only.
        for wanted in (own & running, own - running, running - own, rest & near, rest - near):
            for tests, seconds in _within(left, [(facts, i) for i in wanted]):
                yield tests, seconds
                left -= seconds
            if left <= 0:
                break
        others = [facts for part, facts in self.maps.items() if part != first]
        yield from _within(
            BUDGET_ELSEWHERE, [(facts, i) for facts in others for i in _running(fault, facts)]
        )


def _at_line(fault, facts: dict) -> list[int]:
    """The tests that run a fault's line."""
    return facts['lines'].get(fault.path, {}).get(str(fault.line), [])


def _running(fault, facts: dict) -> list[int]:
    """The tests that run a fault's line, or any line of the module if this one runs at import."""
    lines = facts['lines'].get(fault.path, {})
    return _at_line(fault, facts) or sorted({i for tests in lines.values() for i in tests})


def _within(budget: float, tests: list[tuple[dict, int]]) -> list[tuple[list[str], float]]:
    """The fastest tests that fit into the budget, at least one; in a list of one item, or none."""
    chosen, total = [], 0.0
    for seconds, test in sorted((facts['seconds'][i], facts['tests'][i]) for facts, i in tests):
        if chosen and total + seconds > budget:
            break
        chosen.append(test)
        total += seconds
    return [(chosen, total)] if chosen else []
