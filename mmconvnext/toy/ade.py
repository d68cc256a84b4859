# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Writes toy scenes in ADE20K's format for semantic segmentation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from .coco import write_once
from .shapes import CLASSES, PALETTE, Scene, make_scene

ADE_CLASSES = ('background',) + CLASSES  # label i + 1; label 0 is 'other' and ignored
ADE_PALETTE = ((110, 110, 110),) + PALETTE  # our choice: a grey background


def void_labels(scene: Scene) -> np.ndarray:
    """(H, W) uint8 labels of a scene: i + 1 = ``ADE_CLASSES[i]``, 0 on outlines of objects.

    Outlines are one pixel wide and separate objects from each other, also within a class, and from
    the background, just as annotators of photographs leave uncertain borders out.
    """
    numbers = np.arange(1, len(scene.labels) + 1)[:, None, None]
    owner = (numbers * scene.instance_masks).sum(axis=0)
    outline = np.zeros(owner.shape, dtype=bool)
    outline[:, :-1] |= owner[:, :-1] != owner[:, 1:]
    outline[:-1] |= owner[:-1] != owner[1:]
    return np.where(outline, 0, scene.semantic + 1).astype(np.uint8)


def write_ade(
    root: str | Path, num_train: int = 440, num_val: int = 40, size: int = 192, seed: int = 0
) -> Path:
    """Writes a toy dataset in ADE20K's layout and returns `root`.

    The folder gets ``images/{training,validation}/*.jpg`` of `size` x `size` pixels and
    ``annotations/{training,validation}/*.png`` with the labels of :func:`void_labels`. Equal
    arguments write equal bytes with equal versions of NumPy and Pillow; see
    :func:`~mmconvnext.toy.coco.write_once` for what is raised and when nothing is written.
    """

    def fill(folder: Path) -> None:
        splits = (('training', 'train', num_train), ('validation', 'val', num_val))
        for split, (name, short, count) in enumerate(splits):
            images, labels = folder / 'images' / name, folder / 'annotations' / name
            images.mkdir(parents=True)
            labels.mkdir(parents=True)
            for index in range(count):
                scene = make_scene((seed, split, index), size)
                stem = f'ADE_{short}_{index + 1:08d}'
                # No chroma subsampling, or small objects would bleed; quality: our choice.
                Image.fromarray(scene.image).save(images / f'{stem}.jpg', quality=95, subsampling=0)
                Image.fromarray(void_labels(scene)).save(labels / f'{stem}.png')

    params = dict(task='ade', num_train=num_train, num_val=num_val, size=size, seed=seed)
    return write_once(root, params, fill)
