# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""From objects to label maps and back, and the labels of a map beside its image."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image
from pycocotools import mask as rle_api

from ..header import read_header
from ..label_maps import read_pixels
from ..label_values import IGNORE
from .export import Maps, rle_of
from .folder import SourceError
from .gather import Data, Item

BACKGROUND = 'background'
NAMES = {'background', '_background_', 'bg', 'other', 'unlabeled', 'unlabelled'}  # ours
LARGEST = 255  # classes of a label map: 255 is "to be ignored" in mmseg
SPECK = 4  # pixels, under which a connected part is no object; our choice
NO_MASK = 'objects without a mask, which a label map cannot show'
TURNED = 'label maps that were turned like their image, by its EXIF orientation'
SPECKS = f'parts of under {SPECK} pixels, which are no objects'
# How Pillow turns an image by its EXIF orientation, as ImageOps.exif_transpose does.
TURNS = {5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE}
TURNS[8] = Image.Transpose.ROTATE_90


def map_classes(data: Data) -> list[str]:
    """The classes of label maps that are drawn from objects: the background comes first.

    Raises:
        SourceError: there are more than a label map can hold.
    """
    own = data.classes if data.maps else [BACKGROUND, *data.classes]
    if len(own) > LARGEST:
        raise SourceError(f'{len(own)} classes; a label map holds {LARGEST}: choose with --classes')
    return own


def labels_of(item: Item, data: Data) -> np.ndarray:
    """The labels (height, width), uint8."""
    return _read(item, data) if item.label_map else _draw(item, data)


def _draw(item: Item, data: Data) -> np.ndarray:
    """Larger objects first, so that smaller ones on them stay."""
    labels = np.zeros((item.height, item.width), np.uint8)
    for entry in sorted(item.objects, key=lambda entry: -entry['area']):
        mask = mask_of(entry, item)
        if mask is None:
            data.ledger.leave_out(NO_MASK, f'{item.name}: {entry["id"]}')
        else:
            label = IGNORE if entry['iscrowd'] else 1 + data.classes.index(entry['class'])
            labels[mask] = label
    return labels


def mask_of(entry: dict, item: Item) -> np.ndarray | None:
    """The mask (height, width) of an object; None if it has none."""
    value = entry.get('segmentation')
    if not value:
        return None
    try:
        rle = rle_api.frPyObjects(value, item.height, item.width)
    except TypeError:  # compressed already
        rle = value
    return rle_api.decode(rle_api.merge(rle) if isinstance(rle, list) else rle).astype(bool)


def _read(item: Item, data: Data) -> np.ndarray:
    """The labels of a file, turned like its image, if that was turned by EXIF."""
    labels = data.maps.values.read(item.label_map.read_bytes())
    if labels.shape != (item.height, item.width):
        data.ledger.mend(TURNED, item.name)
        turn = TURNS[read_header(item.file).orientation]
        labels = np.asarray(Image.fromarray(labels).transpose(turn))
    return labels


def separate(data: Data) -> None:
    """Give the images with label maps objects: the connected parts of each class.

    Where the export has a map of objects, these are taken, with the class that most of their
    pixels have.
    """
    binary = len(data.classes) == 2  # whatever 0 is called: what is not the object
    first = int(binary or data.classes[0].lower() in NAMES)
    names = data.classes[first:]
    for item in data.items:
        labels = _read(item, data)
        for mask, label in _parts(labels, item, data.maps):
            if label < first or label == IGNORE:
                continue
            if mask.sum() < SPECK:
                data.ledger.leave_out(SPECKS, item.name)
                continue
            rle = rle_of(mask)
            box = [float(v) for v in rle_api.toBbox(rle)]
            item.objects.append(
                dict(
                    bbox=box,
                    area=float(mask.sum()),
                    iscrowd=0,
                    segmentation=rle,
                    **{'class': names[label - first]},
                )
            )
    whole = sum(item.file in data.maps.objects for item in data.items)
    data.notes.append(
        f'objects of {whole} images are those of SegmentationObject'
        if whole
        else 'objects are the connected parts of each class: those that touch are one'
    )
    data.classes, data.maps = names, None
    if not any(item.objects for item in data.items):
        raise SourceError(f'the label maps show no object: {data.ledger.causes() or names}')


def _parts(labels: np.ndarray, item: Item, maps: Maps):
    """Masks and their labels."""
    if item.file in maps.objects:
        numbers = read_pixels(maps.objects[item.file].read_bytes(), in_colour=True)
        for number in np.unique(numbers):
            mask = numbers == number
            if number and mask.shape == labels.shape:
                yield mask, int(np.bincount(labels[mask]).argmax())
        return
    for label in np.unique(labels):
        count, parts = cv2.connectedComponents((labels == label).astype(np.uint8), connectivity=8)
        for number in range(1, count):
            yield parts == number, int(label)
