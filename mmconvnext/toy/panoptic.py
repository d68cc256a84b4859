# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Writes toy scenes in COCO's panoptic format: the shapes are things, the background is stuff.

Source of the format: https://cocodataset.org/#format-data, "4. Panoptic Segmentation".
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from .coco import coco_head, mask_to_box, write_instances, write_json, write_once
from .shapes import CLASSES, PALETTE, Scene

STUFF_CLASSES = ('background',)
PANOPTIC_PALETTE = PALETTE + ((110, 110, 110),)  # our choice: a grey background
_SHIFT = 7  # blue levels between the colours of two segments of a class; our choice, odd


def segments_of(scene: Scene) -> tuple[np.ndarray, list[dict]]:
    """The colours and COCO's ``segments_info`` of a scene.

    Returns:
        (H, W, 3) uint8, RGB: the colour of the class of each pixel, its blue shifted for each
        segment, and a dict for each segment: ``id`` = R + 256 G + 256**2 B, ``category_id``,
        ``area``, ``bbox`` and ``iscrowd``. The background is one segment, the last.
    """
    background = scene.semantic == 0
    masks = [*scene.instance_masks, *([background] if background.any() else [])]
    labels = [*scene.labels.tolist(), len(CLASSES)]
    crowds = [*scene.crowd.tolist(), False]
    colours, segments = np.zeros(scene.image.shape, dtype=np.uint8), []
    for number, (mask, label, crowd) in enumerate(zip(masks, labels, crowds)):
        red, green, blue = PANOPTIC_PALETTE[label]
        blue = (blue + _SHIFT * number) % 256
        colours[mask] = red, green, blue
        segments.append(
            dict(
                id=red + 256 * green + 256**2 * blue,
                category_id=label + 1,
                area=int(mask.sum()),
                bbox=mask_to_box(mask),
                iscrowd=int(crowd),
            )
        )
    return colours, segments


def write_panoptic(
    root: str | Path, num_train: int = 440, num_val: int = 40, size: int = 192, seed: int = 0
) -> Path:
    """Writes a toy dataset in COCO's panoptic layout and returns `root`.

    Besides the files of :func:`~mmconvnext.toy.coco.write_coco`, the folder gets
    ``annotations/panoptic_{train,val}2017.json`` and a folder of PNGs of the same name. The
    categories are ``CLASSES``, which are things, then ``STUFF_CLASSES``, with ids from 1. Equal
    arguments write equal bytes with equal versions of NumPy and Pillow; see
    :func:`~mmconvnext.toy.coco.write_once` for what is raised and when nothing is written.
    """
    params = dict(task='panoptic', num_train=num_train, num_val=num_val, size=size, seed=seed)

    def fill(folder: Path) -> None:
        names = CLASSES + STUFF_CLASSES
        categories = [
            dict(id=i, name=name, supercategory='toy', isthing=int(name in CLASSES))
            for i, name in enumerate(names, 1)
        ]
        files: dict[Path, dict] = {}
        for split, image, scene in write_instances(folder, params):
            pngs = folder / 'annotations' / f'panoptic_{split}'
            pngs.mkdir(exist_ok=True)
            colours, segments = segments_of(scene)
            Image.fromarray(colours).save(pngs / image['file_name'])
            new = dict(coco_head(categories), images=[], annotations=[])
            content = files.setdefault(pngs.with_suffix('.json'), new)
            content['images'].append(image)
            content['annotations'].append(
                dict(image_id=image['id'], file_name=image['file_name'], segments_info=segments)
            )
        for file, content in files.items():
            write_json(file, content)

    return write_once(root, params, fill)
