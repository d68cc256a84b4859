# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Writes results: pictures, label maps as PNG, crops of objects."""

from __future__ import annotations

import copy
import csv
import inspect
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.config import Config
from PIL import Image

from ..checkpoint.atomic import atomic_path
from ..recipe.walk import LOADERS, datasets
from .detections import ignored
from .result import Result

PICTURES, LABELS, CROPS = 'pictures', 'labels', 'crops'
TABLE = 'labels.csv'  # beside the label maps
JPEG = ('.jpg', '.jpeg', '.jpe')
JPEG_SIDE = 65500  # pixels of the longest side that JPEG can hold (libjpeg)
QUALITY = 92  # of JPEG; our choice


class Outputs:
    """Writes what is wanted of each result below a folder.

    Args:
        pictures, labels, crops: whether these are wanted.
        values: what stands in the label maps for each class.
        outline: draw outlines only.
    """

    def __init__(
        self,
        folder: Path,
        *,
        pictures: bool = True,
        labels: bool = False,
        crops: bool = False,
        values: Sequence[int] = (),
        outline: bool = False,
    ) -> None:
        self.folder, self.pictures, self.crops = folder, pictures, crops
        self.outline = outline
        self.table = _table(values) if labels else None

    def without_pictures(self) -> Outputs:
        """The same, for the frames of a video, whose pictures become a video."""
        other = copy.copy(self)
        other.pictures = False
        return other

    def write(self, result: Result, key: str) -> None:
        """Write the outputs of an image; ``key`` is its name without a suffix."""
        suffix = '.jpg' if Path(result.path).suffix.lower() in JPEG else '.png'
        if self.pictures:
            save(result.draw(outline=self.outline), self.folder / PICTURES / f'{key}{suffix}')
        if self.table is not None:
            save(Image.fromarray(self.table[result.label_map]), self.folder / LABELS / f'{key}.png')
        if self.crops:
            self._crop(result, key, suffix)

    def _crop(self, result: Result, key: str, suffix: str) -> None:
        from ..draw import as_picture

        image = as_picture(result.image)
        size = [result.width, result.height] * 2
        for number, (box, name) in enumerate(zip(result.boxes, result.names), 1):
            x1, y1 = np.floor(box[:2]).clip(0).astype(int)
            x2, y2 = np.ceil(box[2:]).clip(0, size[:2]).astype(int)
            if x2 > x1 and y2 > y1:
                file = self.folder / CROPS / safe(name) / f'{key}_{number}{suffix}'
                save(Image.fromarray(image[y1:y2, x1:x2]), file)


def save(image: Image.Image, file: Path) -> None:
    """Write an image, whole or not at all; as JPEG or PNG, by its name."""
    jpeg = file.suffix == '.jpg'
    if jpeg and max(image.size) > JPEG_SIDE:
        file, jpeg = file.with_suffix('.png'), False
    with atomic_path(file) as part:
        if jpeg:
            image.save(part, 'JPEG', quality=QUALITY)
        else:
            image.save(part, 'PNG', compress_level=3)  # half the time of 6: our choice


def safe(name: str) -> str:
    """A class name as the name of a folder."""
    return re.sub(r'[/\\:*?"<>|\x00-\x1f]', '_', name).strip('. ')[:60] or '_'


def label_values(cfg: Config, classes: Sequence[str]) -> list[int]:
    """What stands for each class in the label maps that the model was trained with.

    These are own_data.ids, else the places of the classes, from 1 on if 0 means no class.
    """
    ids = (cfg.get('own_data') or {}).get('ids')
    if ids is not None and len(ids) == len(classes):
        return [int(value) for value in ids]
    _, dataset = next(datasets(cfg, LOADERS[::-1]), ('', {}))
    first = int(bool(dataset.get('reduce_zero_label')) or _reduces(cfg, dataset))
    return [*range(first, len(classes) + first)]


def write_values(
    folder: Path, values: Sequence[int], classes: Sequence[str], colours: Sequence[Sequence[int]]
) -> Path:
    """A table beside the label maps: value, class and colour."""
    file = folder / LABELS / TABLE
    with atomic_path(file) as part, part.open('w', newline='', encoding='utf-8') as stream:
        rows = csv.writer(stream)
        rows.writerow(['value', 'class', 'red', 'green', 'blue'])
        rows.writerows(
            [value, name, *colour] for value, name, colour in zip(values, classes, colours)
        )
    return file


def _reduces(cfg: Config, dataset: dict) -> bool:
    from ..recipe.checks.classes import dataset_type

    kind = dataset_type(cfg, dataset)
    if kind is None or 'reduce_zero_label' in dataset:
        return False
    given = inspect.signature(kind.__init__).parameters.get('reduce_zero_label')
    return given is not None and given.default is True


def _table(values: Sequence[int]) -> np.ndarray:
    """By label, the value to write; labels of no class stay."""
    none = ignored(len(values))
    wide = max([none, *values]) > 255
    table = np.full(none + 1, none, np.uint16 if wide else np.uint8)
    table[: len(values)] = values
    return table
