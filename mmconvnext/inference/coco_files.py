# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The predictions of a folder as COCO's results, and as a COCO data set for labelling tools."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from ..checkpoint.atomic import atomic_path
from ..recipe.errors import RecipeError
from .coco import FIRST, categories
from .records import Records

RESULTS, DATA_SET = 'predictions.json', 'coco.json'


class Ids:
    """Ids of images and classes: of a COCO file, or counted from 1.

    Args:
        file: COCO annotations; None: ids are counted.

    Raises:
        RecipeError: it cannot be read, or has no category for a class.
    """

    def __init__(self, classes: Sequence[str], file: str | None = None) -> None:
        self.categories, self._file = categories(classes), file
        self._listed: dict[str, dict[str, object]] = {}  # by last part of a name: names and ids
        self._given: dict[tuple[str, str], object] = {}  # by source and name, what image() gave
        self._taken: dict[str, str] = {}  # by listed name, the source that has its id
        self._next = 1
        if file is None:
            return
        try:
            content = json.loads(Path(file).read_text(encoding='utf-8-sig'))
            of_name = {str(one['name']): one['id'] for one in content['categories']}
            images = {str(one['file_name']): one['id'] for one in content['images']}
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise RecipeError(f'--ids-of: {file} cannot be read as a COCO file: {error}') from error
        missing = [name for name in classes if name not in of_name]
        if missing:
            raise RecipeError(
                f'--ids-of: {file} has no category {missing[0]!r}, which the model knows; it has '
                f'{", ".join(list(of_name)[:10])}'
            )
        self.categories = [dict(id=of_name[name], name=name) for name in classes]
        for name, i in images.items():
            self._listed.setdefault(PurePosixPath(name).name, {})[name] = i
        self._next += max((i for i in images.values() if type(i) is int), default=0)

    def image(self, name: str, source: str) -> object:
        """The id of an image; the next number for one that the file does not list.

        Args:
            source: its path; a listed name may have more or fewer folders than ``name``.

        Raises:
            RecipeError: a listed name fits two images.
        """
        if (source, name) not in self._given:
            listed = self._name_of(name, source)
            if listed is None:
                self._given[source, name] = self._next
                self._next += 1
            else:
                other = self._taken.setdefault(listed, source)
                if other != source:
                    raise RecipeError(
                        f'--ids-of: {listed!r} in {self._file} could be {other} or {source}; give '
                        'the folder of one of them'
                    )
                short = PurePosixPath(listed).name
                self._given[source, name] = self._listed[short][listed]
        return self._given[source, name]

    def _name_of(self, name: str, source: str) -> str | None:
        """The listed name of an image: its own, that with the most folders of its path, or one
        without folders in common, as images may be elsewhere, if it is the only one."""
        listed = self._listed.get(PurePosixPath(name).name, {})
        ends = [one for one in listed if f'/{source}'.endswith(f'/{one}')]
        if name in listed:
            return name
        return max(ends, key=len) if ends else next(iter(listed)) if len(listed) == 1 else None


def write_coco(records: Records, ids: Ids) -> tuple[Path, Path]:
    """Write both files; the records are read several times, so that memory stays small."""
    data_set, results = records.folder / DATA_SET, records.folder / RESULTS
    of_label = [one['id'] for one in ids.categories]

    def images() -> Iterator[dict]:
        for record in records.pictures():
            width, height = record['size']
            yield dict(
                id=ids.image(record['name'], record['source']),
                file_name=record['name'],
                width=width,
                height=height,
            )

    def objects(keep: Callable[[dict, int, str], dict]) -> Iterator[dict]:
        number = 0
        for record in records.pictures():
            for row in record['objects']:
                number += 1
                row = dict(row, image_id=ids.image(record['name'], record['source']))
                row['category_id'] = of_label[row['category_id'] - FIRST]
                yield keep(row, number, record['name'])

    with atomic_path(data_set) as part, part.open('w', encoding='utf-8') as file:
        file.write('{"images": ')
        _write_list(file, images())
        file.write(',\n"annotations": ')
        _write_list(file, objects(lambda row, number, name: dict(row, id=number)))
        file.write(f',\n"categories": {json.dumps(ids.categories)}}}\n')
    with atomic_path(results) as part, part.open('w', encoding='utf-8') as file:
        _write_list(file, objects(_as_result))
    return results, data_set


def _as_result(row: dict, number: int, name: str) -> dict:
    kept = ('image_id', 'category_id', 'bbox', 'score', 'segmentation')
    return dict(file_name=name, **{key: row[key] for key in kept if key in row})


def _write_list(file, rows: Iterator[dict]) -> None:
    file.write('[')
    for i, row in enumerate(rows):
        file.write(',\n' * bool(i) + json.dumps(row))
    file.write(']')
