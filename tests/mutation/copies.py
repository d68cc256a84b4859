# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Copies of the checkout, into which faults are put, each with a warm process that runs tests."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

OPS = 'mmconvnext/kernels/ops/'


class Copy:
    """A copy of the tracked files and of the compiled library, and its worker."""

    def __init__(self, root: Path, folder: Path):
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        names = subprocess.run(
            ['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard'],
            cwd=root, check=True, capture_output=True, text=True,
        ).stdout.split('\0')  # fmt: skip
        library = [str(p.relative_to(root)) for p in root.glob('mmconvnext/kernels/_cpu*')]
        for name in [*names, *library]:
            if name and (root / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / name, folder / name)
        # Tests ask git for the tracked files.
        for command in (['init', '-q'], ['add', '-A']):
            subprocess.run(['git', *command], cwd=folder, check=True, capture_output=True)
        temp = folder.parent / f'{folder.name}-temp'
        self.log = temp / 'log.txt'  # of the last run
        for name in ('home', 'tmp'):
            (temp / name).mkdir(parents=True, exist_ok=True)
        env = {
            **os.environ,
            'PYTHONPATH': str(folder),
            'OMP_NUM_THREADS': '1',
            'PYTEST_DISABLE_PLUGIN_AUTOLOAD': '1',  # of other packages here
            'HOME': str(temp / 'home'),
            'TMPDIR': str(temp / 'tmp'),
        }
        self.process = subprocess.Popen(
            [sys.executable, str(root / 'tests/mutation/worker.py')],
            cwd=folder, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=(temp / 'worker.txt').open('w'),
            start_new_session=True,  # Ctrl-C is for run.py; the worker ends with its stdin
        )  # fmt: skip
        if not self.process.stdout.readline():
            raise SystemExit(f'the worker did not start: see {temp / "worker.txt"}')

    def ask(self, **request) -> dict:
        print(json.dumps(request), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def run(self, tests: list[str], timeout: float) -> dict:
        return self.ask(run='tests', tests=tests, timeout=timeout)

    @contextlib.contextmanager
    def changed(self, path: str, source: str):
        """While the context lasts, the module at ``path`` has this source."""
        before = (self.folder / path).read_text(encoding='utf-8')
        self._write(path, source)
        try:
            yield
        finally:
            self._write(path, before)

    def _write(self, path: str, source: str) -> None:
        file = self.folder / path
        file.write_text(source, encoding='utf-8')
        # Python may take bytecode of the same second and size for that of the new source.
        for bytecode in file.parent.glob(f'__pycache__/{file.stem}.*.pyc'):
            bytecode.unlink()
        if path.startswith(OPS):
            self._sign()

    def _sign(self) -> None:
        """Tell the compiled library that its operators' files have changed; else it is refused."""
        kernels = self.folder / 'mmconvnext/kernels'
        spec = spec_from_file_location('copied_library', kernels / 'library.py')
        library = module_from_spec(spec)
        spec.loader.exec_module(library)
        for record in kernels.glob('_cpu*.json'):
            facts = json.loads(record.read_text())
            facts.update(library.sources(kernels))
            record.write_text(json.dumps(facts, indent=1))

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
