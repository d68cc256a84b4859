# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What a folder of predictions holds so far, so that an interrupted run can continue."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from ..recipe.errors import RecipeError

NAME = 'records.jsonl'
PART = re.compile(r'.+\.\d+-\d+\.part', re.DOTALL)


class Records:
    """A line of JSON for each finished image, written before the next one begins.

    The first line holds the settings. A process that is killed leaves at most a part of a line,
    which is removed.

    Attributes:
        folder: where the outputs are.
        done: the last record of each finished source, by its path, without its objects.
    """

    def __init__(self, folder: Path, settings: dict) -> None:
        """Start in a new or empty folder, or continue.

        Raises:
            RecipeError: it is a file, cannot be written, holds other files, predictions with other
                settings, or a damaged record.
        """
        self.folder, self.file = folder, folder / NAME
        self.done: dict[str, dict] = {}
        settings = json.loads(json.dumps(settings))
        try:
            if folder.exists() and not folder.is_dir():
                raise RecipeError(f'--out: {folder} is a file; give a folder')
            folder.mkdir(parents=True, exist_ok=True)
            if self.file.is_file():
                self._continue(settings)
            elif os.listdir(folder):
                raise RecipeError(
                    f'--out: {folder} holds other files; choose a new folder, or that of '
                    'predictions to continue'
                )
            self._stream = self.file.open('a', encoding='utf-8')
            if not self._stream.tell():
                self._write(dict(settings=settings))
        except OSError as error:
            raise RecipeError(f'--out: {folder} cannot be written: {error.strerror}') from error

    def __enter__(self) -> Records:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def add(self, record: dict) -> None:
        """Note that a source, or a frame of one, is finished: its outputs are all there."""
        self._write(record)
        if 'begin' not in record and 'frame' not in record:
            self.done[record['source']] = {k: v for k, v in record.items() if k != 'objects'}

    def is_done(self, source: str, stamp: list[int]) -> bool:
        """Whether a source is finished, has not changed since, and was not bad."""
        record = self.done.get(source)
        return record is not None and record.get('stamp') == stamp and 'error' not in record

    def pictures(self) -> Iterator[dict]:
        """The records with objects, in their order: the last of each image, frames of videos."""
        # A video's frames count from its last beginning on: it may have been interrupted before.
        start: dict[str, int] = {}
        for number, record in enumerate(self._lines()):
            if 'begin' in record or not {'frame', 'frames'} & record.keys():
                start[record['source']] = number
        bad = {source for source, record in self.done.items() if 'error' in record}
        for number, record in enumerate(self._lines()):
            source = record['source']
            if source in self.done and source not in bad:
                first = start.get(source, 0)
                if number > first if 'frame' in record else number == first and 'key' in record:
                    yield record

    def _continue(self, settings: dict) -> None:
        for file in self.folder.rglob('*.part'):  # a killed process leaves one (atomic_path)
            if PART.fullmatch(file.name):
                file.unlink()
        content = self.file.read_bytes()
        whole = content.rfind(b'\n') + 1
        if whole < len(content):
            os.truncate(self.file, whole)
        if not whole:  # killed within the first line
            return
        with self.file.open(encoding='utf-8', errors='replace') as file:  # all is ASCII
            try:
                before = dict(json.loads(file.readline())['settings'])
            except (ValueError, LookupError, TypeError) as error:
                raise RecipeError(f'--out: {self.file} is none of our files') from error
        other = [
            f'{key}: {before.get(key)!r} there, {settings.get(key)!r} here'
            for key in dict.fromkeys([*before, *settings])
            if before.get(key) != settings.get(key)
        ]
        if other:
            raise RecipeError(
                f'--out: {self.folder} holds predictions with other settings; choose a new folder, '
                'or continue with the same ones:\n  ' + '\n  '.join(other)
            )
        for record in self._lines():
            if 'begin' not in record and 'frame' not in record:
                record.pop('objects', None)
                if 'error' in record or isinstance(record.get('counts'), dict):
                    self.done[record['source']] = record
                else:  # changed by hand: it is predicted again
                    self.done.pop(record['source'], None)

    def _lines(self) -> Iterator[dict]:
        with self.file.open(encoding='utf-8', errors='replace') as file:
            next(file, '')
            for number, line in enumerate(file, 2):
                try:
                    record = json.loads(line)
                    record['source']
                except (ValueError, LookupError, TypeError) as error:
                    raise RecipeError(
                        f'--out: line {number} of {self.file} is damaged; remove this line, whose '
                        'image is then predicted again, or choose a new folder'
                    ) from error
                yield record

    def _write(self, record: dict) -> None:
        self._stream.write(json.dumps(record) + '\n')
        self._stream.flush()
