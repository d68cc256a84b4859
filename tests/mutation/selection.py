# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Which tests can notice a fault: those that run its line, fast ones first.

The tests are measured in parts, the folders in `tests`, and the map of a part is kept until the
package or the part changes. A fault is tried with the part that mirrors its room, and if that does
not notice it, with the others.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

# Seconds of tests for a fault in each part, by the measured times. Our choice.
BUDGET = 25.0


class Selection:
    def __init__(self, folder: Path, root: Path):
        self.folder, self.root = folder / 'maps', root
        self.folder.mkdir(parents=True, exist_ok=True)
        self.maps: dict[str, dict] = {}

    def parts(self, path: str) -> list[str]:
        """The parts of the suite for a module, its own first."""
        own = self.root / 'tests' / f'test_{Path(path).parts[1]}'
        every = [p.name for p in (self.root / 'tests').glob('test_*') if p.is_dir()]
        first = own.name if own.is_dir() else 'tests'
        return [first]

    def files(self, part: str) -> list[str]:
        tests = self.root / 'tests'
        found = tests.glob('test_*.py') if part == 'tests' else (tests / part).rglob('test_*.py')
        return sorted(str(file.relative_to(self.root)) for file in found)

    def known(self, part: str) -> bool:
        return self._file(part).is_file()

    def _file(self, part: str) -> Path:
        digest = hashlib.sha256()
        for name in self.files(part):
            digest.update((self.root / name).read_bytes())
        for file in sorted((self.root / 'mmconvnext').rglob('*.py')):
            digest.update(file.read_bytes())
        return self.folder / f'{part}-{digest.hexdigest()[:12]}.json'

    def measure(self, part: str, copy) -> None:
        """Run a part of the suite and keep its map."""
        print(f'measuring {part}', flush=True)
        copy.ask(run='map', paths=self.files(part), out=str(self._file(part)))
        facts = json.loads(self._file(part).read_text())
        print(
            f'{part}: {len(facts["tests"])} tests, {sum(facts["seconds"]):.0f} s; '
            f'left out, because they fail or skip here: {len(facts["failed"])}',
            *facts['failed'][:20],
            sep='\n  ',
            flush=True,
        )

    def load(self, parts: list[str]) -> None:
        for part in parts:
            self.maps[part] = json.loads(self._file(part).read_text())

    def tests(self, fault):
        """Lists of tests, each with its expected seconds."""
        for part in self.parts(fault.path):
            if part in self.maps:
                chosen, seconds = self._chosen(fault, self.maps[part])
                if chosen:
                    yield chosen, seconds

    def _chosen(self, fault, facts: dict) -> tuple[list[str], float]:
        lines = facts['lines'].get(fault.path, {})
        numbers = lines.get(str(fault.line), [])
        tests, seconds = facts['tests'], facts['seconds']
        mirrored = f'/test_{Path(fault.path).stem}'
        own = [i for i, test in enumerate(tests) if mirrored in test.partition('::')[0]]
        if not numbers:  # it runs at import, or only in other processes
            numbers = own or range(len(tests))
        owned = set(own)
        chosen, total = [], 0.0
        for i in sorted(numbers, key=lambda i: (i not in owned, seconds[i])):
            if chosen and total + seconds[i] > BUDGET:
                break
            chosen.append(tests[i])
            total += seconds[i]
        return chosen, total
