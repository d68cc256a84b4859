# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What is wrong with a file, or with what was loaded of it, although it can be loaded.

The checks before a training look at all files; here each is looked at again when it is read,
because it may have changed since. What the user let pass there (``checks``) passes here too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..data.header import Header, read_header
from ..data.images import quietly

WAY = 'checks.{}=False lets this pass'
IGNORED = 255  # mmseg's default ignore_index


class BadSample(ValueError):
    """A sample that would load, but with wrong pixels or labels."""


class Expected(NamedTuple):
    """What the samples of a loader have to be.

    Attributes:
        passed: names of ``checks`` that the user turned off.
        channels: of a loaded image; 0 for any number.
        spread: whether an image of one channel is spread over all, as by mmseg's preprocessor.
        sized: whether boxes have to have an area; else the pipeline removes those that have none.
    """

    passed: Collection[str] = ()
    channels: int = 0
    spread: bool = False
    sized: bool = True


def look_at_file(file: str, listed: tuple[int, int] | None, expected: Expected) -> Header | None:
    """Look at a file before it is decoded; None if it is on no disk, so that it cannot be.

    Args:
        listed: width and height that the annotations give.

    Raises:
        OSError: it cannot be opened.
        BadSample: it is cut off, damaged or no image; or it has another size, so it may be too
            large for the memory.
    """
    if '://' in file:
        return None
    with open(file, 'rb') as stream:  # a fault of the disk is no fault of the image
        stream.read(1)
    with quietly():
        header = read_header(Path(file))
    if header.error:
        with open(file, 'rb'):  # unless it has vanished meanwhile
            pass
        raise BadSample(header.error)
    size = (header.width, header.height)
    if listed and 'image_sizes' not in expected.passed and sorted(size) != sorted(listed):
        raise BadSample(_other_size(size, listed))
    return header


def look_at_sizes(image: Header | None, label_map: Header | None, expected: Expected) -> None:
    """Compare the sizes of an image and its label map before they are decoded.

    Raises:
        BadSample: they differ, however they are turned.
    """
    if image and label_map and 'label_sizes' not in expected.passed:
        sizes = [(one.width, one.height) for one in (image, label_map)]
        if sorted(sizes[0]) != sorted(sizes[1]):
            raise BadSample(_other_than_image(sizes[1], sizes[0]))


def look_at_image(
    image: object, header: Header | None, listed: tuple[int, int] | None, expected: Expected
) -> None:
    """Look at an image (H, W) or (H, W, C) that was loaded from a file with this header.

    Raises:
        BadSample: it has another size than listed, or other channels or bits than the others.
    """
    if not isinstance(image, np.ndarray) or image.ndim not in (2, 3):
        return
    size = image.shape[1], image.shape[0]
    if listed and 'image_sizes' not in expected.passed and size != listed:
        raise BadSample(_other_size(size, listed, ' when it is loaded'))
    channels = 1 if image.ndim == 2 else image.shape[2]
    fits = channels == expected.channels or (channels == 1 and expected.spread)
    if expected.channels and not fits and 'image_channels' not in expected.passed:
        raise BadSample(
            f'it is loaded with {channels} channels, the backbone takes {expected.channels}; '
            + WAY.format('image_channels')
        )
    if header and header.bits > 8 and image.dtype == np.uint8:
        if 'image_bits' not in expected.passed:
            raise BadSample(
                f'it has {header.bits} bits, and its values are divided by 256 when it is loaded; '
                + WAY.format('image_bits')
            )


def look_at_label_map(labels: object, image_size: object, classes: int, expected: Expected) -> None:
    """Look at a label map (H, W) that was loaded for an image of size (H, W).

    Args:
        classes: how many there are; 0 if the ids are not looked at.

    Raises:
        BadSample: it has another size, or ids that belong to no class.
    """
    if not isinstance(labels, np.ndarray) or labels.ndim != 2:
        return
    other = image_size is not None and labels.shape != tuple(image_size)
    if other and 'label_sizes' not in expected.passed:
        raise BadSample(_other_than_image(labels.shape[::-1], image_size[::-1]))
    if classes and 'label_ids' not in expected.passed:
        wrong = np.unique(labels[(labels >= classes) & (labels != IGNORED)])
        if wrong.size:
            raise BadSample(
                f'the label map has ids of no class: {", ".join(map(str, wrong[:5]))}; there are '
                f'{classes} classes; ' + WAY.format('label_ids')
            )


def look_at_classes(labels: object, classes: int) -> None:
    """Look at the labels (N,) of boxes.

    Raises:
        BadSample: one is none of the classes, at which the loss fails, on GPUs without a name.
    """
    labels = np.asarray(labels)
    wrong = labels[(labels < 0) | (labels >= classes)] if classes else labels[:0]
    if wrong.size:
        raise BadSample(f'an object has the label {wrong[0]}; there are {classes} classes')


def look_at_boxes(results: Mapping, expected: Expected) -> None:
    """Look at the boxes that the annotations give, as corners (N, 4) in pixels.

    Raises:
        BadSample: one is no number, or it has no area and nothing removes it.
    """
    boxes = results['gt_bboxes']
    boxes = np.asarray(getattr(boxes, 'tensor', boxes), np.float64)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or 'boxes' in expected.passed:
        return
    ignored = np.asarray(results.get('gt_ignore_flags', np.zeros(len(boxes))), bool)
    wrong = ~np.isfinite(boxes).all(1)
    if expected.sized:
        wrong |= ((boxes[:, 2:] <= boxes[:, :2]).any(1)) & ~ignored[: len(boxes)]
    for box in boxes[wrong][:1]:
        corners = ', '.join(f'{value:g}' for value in box)
        raise BadSample(
            f'{int(wrong.sum())} of its {len(boxes)} boxes have no area, or are no numbers, such '
            f'as ({corners}); ' + WAY.format('boxes')
        )


def files_of(info: object) -> Iterator[tuple[str, bool]]:
    """The files of a sample, and whether each is an image or a label map."""
    if isinstance(info, Mapping):
        for key in ('img_path', 'seg_map_path'):
            found = info.get(key)
            for file in found if isinstance(found, (list, tuple)) else [found]:
                if isinstance(file, str) and file:
                    yield file, key == 'img_path'


def listed_size(info: Mapping) -> tuple[int, int] | None:
    """Width and height that the annotations give for an image, if they do."""
    size = info.get('width'), info.get('height')
    whole = all(isinstance(side, (int, np.integer)) and side > 0 for side in size)
    return size if whole and isinstance(info.get('img_path'), str) else None


def _other_than_image(ours: tuple, images: tuple) -> str:
    return (
        f'the label map has {ours[0]} x {ours[1]} pixels, its image {images[0]} x {images[1]}; '
        + WAY.format('label_sizes')
    )


def _other_size(size: tuple, listed: tuple, when: str = '') -> str:
    return (
        f'it has {size[0]} x {size[1]} pixels{when}, but the annotations give {listed[0]} x '
        f'{listed[1]}; ' + WAY.format('image_sizes')
    )
