# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What a run wants of a COCO file, and what the user decided about it."""

from __future__ import annotations

from typing import NamedTuple


class Wanted(NamedTuple):
    """How the file is used.

    Attributes:
        folder: of the images.
        classes: names of the classes, in the order of the labels.
        masks: whether masks are learnt or measured.
        learnt: whether a model is trained on it.
        measured: whether an evaluator reads the file.
        polygons: whether masks must be polygons, because the pipeline does not draw them.
        drop_empty: whether images without objects are not learnt from.
        min_size: images whose shorter side is smaller are not learnt from.
        turns: whether the images are turned by their EXIF orientation when they are loaded.
        passed: names of refusals that the user turned off.
        known_bad: absolute paths of images that are kept as they are listed, whatever they are.
        keep_bad: keep images that are missing or cannot be read as they are listed; the training
            puts other samples in their place.
        crowd_as_object: take objects with iscrowd=1 as ordinary ones.
        apply_exif: turn the objects like the images.
        masks_from_boxes: take the box of an object without a mask as its mask.
        strip_folders: file names may begin with folders that are not there.
    """

    folder: str
    classes: tuple[str, ...]
    masks: bool = False
    learnt: bool = False
    measured: bool = False
    polygons: bool = False
    drop_empty: bool = False
    min_size: int = 0
    turns: bool = True
    passed: tuple[str, ...] = ()
    known_bad: tuple[str, ...] = ()
    keep_bad: bool = False
    crowd_as_object: bool = False
    apply_exif: bool = False
    masks_from_boxes: bool = False
    strip_folders: bool = False
