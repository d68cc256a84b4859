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
        self.categories, self._images = categories(classes), {}
        if file is None:
            return
        try:
            content = json.loads(Path(file).read_text(encoding='utf-8-sig'))
            of_name = {str(one['name']): one['id'] for one in content['categories']}
            self._images = {str(one['file_name']): one['id'] for one in content['images']}
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise RecipeError(f'--ids-of: {file} cannot be read as a COCO file: {error}') from error
        missing = [name for name in classes if name not in of_name]
        if missing:
            raise RecipeError(
                f'--ids-of: {file} has no category {missing[0]!r}, which the model knows; it has '
                f'{", ".join(list(of_name)[:10])}'
            )
        self.categories = [dict(id=of_name[name], name=name) for name in classes]
        for name in list(self._images):  # without folders, as images may be elsewhere
            self._images.setdefault(PurePosixPath(name).name, self._images[name])
        self._next = 1 + max((i for i in self._images.values() if type(i) is int), default=0)

    _next = 1

    def image(self, name: str) -> object:
        """The id of an image; the next number for one that the file does not list."""
        if name not in self._images:
            short = PurePosixPath(name).name
            if short in self._images:
                return self._images[short]
            self._images[name] = self._next
            self._next += 1
        return self._images[name]


def write_coco(records: Records, ids: Ids) -> tuple[Path, Path]:
    """Write both files; the records are read several times, so that memory stays small."""
    data_set, results = records.folder / DATA_SET, records.folder / RESULTS
    of_label = [one['id'] for one in ids.categories]

    def images() -> Iterator[dict]:
        for record in records.pictures():
            width, height = record['size']
            yield dict(
                id=ids.image(record['name']), file_name=record['name'], width=width, height=height
            )

    def objects(keep: Callable[[dict, int, str], dict]) -> Iterator[dict]:
        number = 0
        for record in records.pictures():
            for row in record['objects']:
                number += 1
                row = dict(row, image_id=ids.image(record['name']))
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
