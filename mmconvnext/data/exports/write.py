# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Writes what own_data reads: images as links or copies, COCO files or label maps."""

from __future__ import annotations

import colorsys
import os
import shutil
from collections import Counter
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from ..cache import Progress
from ..coco.kept import write_json
from .draw_maps import labels_of, map_classes
from .folder import SPLITS as SPLIT_OF
from .gather import Data, Item

SPLITS = ('train', 'val', 'test')
COLOURS = 256  # of a palette


def write_instances(data: Data, out: Path, copy: bool) -> dict:
    """Write OUT/images and OUT/annotations/*.json; return the dict for own_data, but for root."""
    progress = Progress('images', len(data.items))
    ids = {name: i for i, name in enumerate(data.classes, 1)}
    own: dict = dict(classes=data.classes)
    done = 0
    for split, items in _by_split(data):
        images, objects = [], []
        for item in items:
            _place(item.file, out / 'images' / item.name, copy)
            progress.show(done)
            done += 1
            i = len(images) + 1
            images.append(dict(id=i, file_name=item.name, width=item.width, height=item.height))
            for entry in item.objects:
                kept = {key: value for key, value in entry.items() if key != 'class'}
                kept.update(id=len(objects) + 1, image_id=i, category_id=ids[entry['class']])
                objects.append(kept)
        file = out / 'annotations' / f'{split}.json'
        file.parent.mkdir(parents=True, exist_ok=True)
        categories = [dict(id=i, name=name) for name, i in ids.items()]
        write_json(file, dict(images=images, annotations=objects, categories=categories))
        own[split] = dict(images='images', annotations=f'annotations/{split}.json')
    return own


def write_maps(data: Data, out: Path, copy: bool) -> tuple[dict, dict[str, Counter]]:
    """Write OUT/*/images and OUT/*/labels, PNGs with the id of a class in each pixel.

    Returns:
        The dict for own_data, but for root; by the name of an image the pixels of each class.
    """
    names = map_classes(data)
    own: dict = dict(classes=names)
    suffix = _common_suffix(data.items)
    stems = _stems(data.items, suffix)
    palette, progress = _palette(len(names)), Progress('label maps', len(data.items))
    pixels: dict[str, Counter] = {}
    for split, items in _by_split(data):
        for item in items:
            progress.show(len(pixels))
            labels = labels_of(item, data)
            counts = np.bincount(labels.ravel(), minlength=256)
            pixels[item.name] = Counter(
                {names[i]: int(counts[i]) for i in counts[:255].nonzero()[0]}
            )
            stem = stems[item.name]
            _place(item.file, out / split / 'images' / f'{stem}{suffix}', copy)
            file = out / split / 'labels' / f'{stem}.png'
            file.parent.mkdir(parents=True, exist_ok=True)
            image = Image.fromarray(labels)
            image.putpalette(palette)  # the pixels stay ids; viewers show colours
            image.save(file)
        own[split] = dict(images=f'{split}/images', annotations=f'{split}/labels')
    own['image_suffix'] = suffix
    return own, pixels


def _by_split(data: Data) -> list[tuple[str, list[Item]]]:
    found = [(split, [item for item in data.items if item.split == split]) for split in SPLITS]
    return [(split, items) for split, items in found if items]


def _place(file: Path, target: Path, copy: bool) -> None:
    """Link or copy an image; a link is relative, so that both folders can move together."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if copy:
        shutil.copyfile(file, target)
    else:
        target.symlink_to(os.path.relpath(file.resolve(), target.parent.resolve()))


def _common_suffix(items: list[Item]) -> str:
    """mmseg wants one suffix for all images: the most frequent one."""
    counts = Counter(PurePosixPath(item.name).suffix for item in items)
    return counts.most_common(1)[0][0]


def _stems(items: list[Item], suffix: str) -> dict[str, str]:
    """Names of images without the common suffix; another suffix stays in the name, as in 'a.png'.

    The folder of a split is left out, since they get one, where the names stay unique in it.
    """
    whole = {item.name: item.name.removesuffix(suffix) for item in items}
    short = {}
    for item in items:
        *folders, base = whole[item.name].split('/')
        kept = [folder for folder in folders if SPLIT_OF.get(folder.lower()) != item.split]
        short[item.name] = '/'.join([*kept, base])
    unique = len({(item.split, short[item.name]) for item in items}) == len(items)
    return short if unique else whole


def _palette(count: int) -> bytes:
    """Black for a first class, then distinct hues, as far apart as can be; grey to be ignored."""
    colours = [(0, 0, 0)]
    for i in range(1, count):
        hue = colorsys.hsv_to_rgb(i * 0.381966 % 1, 0.75, 0.9)  # the golden angle, as in draw/
        colours.append(tuple(round(255 * part) for part in hue))
    colours += [(128, 128, 128)] * (COLOURS - len(colours))
    return bytes(part for colour in colours for part in colour)
