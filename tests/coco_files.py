# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Small COCO files that are sound, the objects that a reader must find in them, and an oracle."""

import contextlib
import io
import json
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as rle_api
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmconvnext.data.coco.kept import Kept, sound_file
from mmconvnext.data.coco.sound import Sound, make_sound
from mmconvnext.data.coco.wanted import Wanted

CLASSES = ('cat', 'dog')
SIZE = WIDTH, HEIGHT = 96, 64
OBJECTS = dict(cat=3, dog=4)  # of `content`


def polygon(x, y, w, h) -> list:
    """Five corners within a box; mirrored or turned it is another."""
    return [x, y, x + w, y, x + w, y + h / 2, x + w / 4, y + h, x, y + h / 3]


def area(points) -> float:
    xs, ys = np.array(points[::2]), np.array(points[1::2])
    return abs(float(xs @ np.roll(ys, -1) - ys @ np.roll(xs, -1))) / 2


def content(images=3) -> dict:
    """A cat and a dog in each image, and a second dog in the first; ids from 1."""
    found = dict(images=[], annotations=[], categories=[])
    found['categories'] = [dict(id=i, name=name) for i, name in enumerate(CLASSES, 1)]
    for i in range(1, images + 1):
        found['images'].append(dict(id=i, file_name=f'{i}.png', width=WIDTH, height=HEIGHT))
        boxes = [(1, [8, 3 * i, 20, 31]), (2, [45, 8 + i, 41.5, 22])]
        boxes += [(2, [30, 5, 12, 16])] if i == 1 else []
        for category, box in boxes:
            points = polygon(*box)
            found['annotations'].append(
                dict(
                    id=len(found['annotations']) + 1,
                    image_id=i,
                    category_id=category,
                    bbox=box,
                    area=area(points),
                    iscrowd=0,
                    segmentation=[points],
                )
            )
    return found


def pictures(folder: Path, images=3, size=SIZE, **save) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(1, images + 1):
        Image.new('RGB', size, (60, 10 * i, 200)).save(folder / f'{i}.png', **save)


def write(folder: Path, found: object, name='a.json') -> Path:
    """Write content, or a text, as an annotation file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    data = found if isinstance(found, (str, bytes)) else json.dumps(found)
    file.write_bytes(data if isinstance(data, bytes) else data.encode())
    return file


def wanted(folder, /, **changes) -> Wanted:
    """What a mask recipe that learns and measures wants."""
    default = dict(folder=str(folder), classes=CLASSES, masks=True, learnt=True, measured=True)
    return Wanted(**{**default, **changes})


def read(folder: Path, found: object, /, **changes) -> Sound:
    """The sound form of content beside its pictures, which are written if there are none."""
    if not any(folder.glob('*.png')):
        pictures(folder)
    return make_sound(write(folder, found), wanted(folder, **changes))


def keep(folder: Path, found: object, /, **changes) -> Kept:
    """Like :func:`read`, as a file."""
    if not any(folder.glob('*.png')):
        pictures(folder)
    return sound_file(write(folder, found), wanted(folder, **changes))


def told(tallies: dict) -> dict:
    """Kinds of a ledger with their counts."""
    return {kind: tally.count for kind, tally in tallies.items()}


def mask(entry: dict, image: dict) -> np.ndarray:
    """The mask of an object; of its box if it has no segmentation."""
    value = entry['segmentation'] or [np.array(corners(entry['bbox'])).ravel().tolist()]
    text = isinstance(value, dict) and isinstance(value['counts'], str)
    rle = value if text else rle_api.frPyObjects(value, image['height'], image['width'])
    return rle_api.decode(rle_api.merge(rle) if isinstance(rle, list) else rle)


def corners(box) -> list:
    x, y, w, h = box
    return [(x, y), (x + w, y), (x + w, y + h), (x, y + h)]


def objects(found: dict, masks=True) -> Counter:
    """The objects of sound content but for regions to ignore: image, class, box and mask."""
    images = {image['id']: image for image in found['images']}
    names = {category['id']: category['name'] for category in found['categories']}
    rows = []
    for entry in found['annotations']:
        if entry.get('iscrowd') == 0:
            image = images[entry['image_id']]
            drawn = mask(entry, image).tobytes() if masks else b''
            box = tuple(round(float(v), 3) for v in entry['bbox'])
            rows.append((image['file_name'], names[entry['category_id']], box, drawn))
    return Counter(rows)


def score(file: Path, truth: dict, kind='segm') -> dict:
    """AP by class if the objects of ``truth`` are predicted, and the number that is expected.

    Args:
        file: in sound form.
        truth: sound content with the objects that must be in it.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(file))
        by_name = {image['file_name']: image['id'] for image in coco.dataset['images']}
        by_class = {c['name']: c['id'] for c in coco.dataset['categories']}
        images = {image['id']: image for image in truth['images']}
        names = {category['id']: category['name'] for category in truth['categories']}
        rows = []
        for entry in truth['annotations']:
            image = images[entry['image_id']]
            rle = rle_api.encode(np.asfortranarray(mask(entry, image)))
            row = dict(image_id=by_name[image['file_name']], score=0.9)
            row['category_id'] = by_class[names[entry['category_id']]]
            rows.append(
                row | (dict(bbox=entry['bbox']) if kind == 'bbox' else dict(segmentation=rle))
            )
        found = COCOeval(coco, coco.loadRes(rows), kind)
        found.evaluate()
        found.accumulate()
    precision = found.eval['precision'][:, :, :, 0, 2]  # IoU, recall, class; all sizes, 100 a image
    expected = Counter()
    for entry in coco.dataset['annotations']:
        expected[entry['category_id']] += not entry['iscrowd']
    return {
        name: (round(float(precision[:, :, found.params.catIds.index(i)].mean()), 6), expected[i])
        for name, i in by_class.items()
        if expected[i]
    }
