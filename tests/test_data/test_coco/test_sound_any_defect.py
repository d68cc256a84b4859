# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/coco: any sound file after any chain of defects is refused, or holds the same objects.

A longer search: ``MMCONVNEXT_FUZZ=5000 python -m pytest`` with the path of this file.
"""

import copy
import json
import os
from collections import Counter
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import coco_files as files
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as rle_api

from mmconvnext.data.coco import objects as kinds
from mmconvnext.data.coco.sound import make_sound
from mmconvnext.data.values import key

EXAMPLES = int(os.environ.get('MMCONVNEXT_FUZZ', 100))
SIZES = [(96, 64), (50, 80), (40, 40)]
CLASSES = ('cat', 'dog', 'owl')
OF_OBJECTS = {
    kinds.BROKEN, kinds.NO_IMAGE, kinds.NO_CATEGORY, kinds.NO_BOX, kinds.NOT_FOUR, kinds.NO_EXTENT,
    kinds.OUTSIDE, kinds.NO_MASK, kinds.SMALL,
}  # fmt: skip


# Sound files


@st.composite
def boxes(draw, size):
    """A box within the image, of 2 pixels at least."""
    x, w, y, h = 0.0, 0.0, 0.0, 0.0
    quarter = st.integers(0, 4 * size[0] - 9).map(lambda v: v / 4)
    x = draw(quarter)
    w = draw(st.integers(8, int(4 * (size[0] - x))).map(lambda v: v / 4))
    y = draw(st.integers(0, 4 * size[1] - 9).map(lambda v: v / 4))
    h = draw(st.integers(8, int(4 * (size[1] - y))).map(lambda v: v / 4))
    return [x, y, w, h]


def run_lengths(points, size, text):
    rle = rle_api.merge(rle_api.frPyObjects([points], size[1], size[0]))
    counts = rle['counts'].decode()
    if not text:
        flat = rle_api.decode(rle).T.ravel().astype(int)
        edges = np.flatnonzero(np.diff(flat, prepend=0)).tolist()
        counts = np.diff([0, *edges, flat.size]).tolist()
    x, y, w, h = rle_api.toBbox(rle).tolist()
    return dict(size=[size[1], size[0]], counts=counts), [x, y, w, h], float(rle_api.area(rle))


@st.composite
def contents(draw):
    """A sound file: one to six images, up to twelve objects, as polygons and run lengths."""
    found = dict(images=[], annotations=[], categories=[])
    found['categories'] = [dict(id=i, name=name) for i, name in enumerate(CLASSES, 1)]
    for i in range(1, draw(st.integers(1, 6)) + 1):
        width, height = draw(st.sampled_from(SIZES))
        found['images'].append(dict(id=i, file_name=f's/{i}.png', width=width, height=height))
    for i in range(1, draw(st.integers(0, 12)) + 1):
        image = draw(st.sampled_from(found['images']))
        size = image['width'], image['height']
        box = draw(boxes(size))
        points = files.polygon(*box)
        entry = dict(id=i, image_id=image['id'], category_id=draw(st.integers(1, 3)), iscrowd=0)
        entry.update(bbox=box, segmentation=[points], area=files.area(points))
        form = draw(st.sampled_from(['polygon', 'polygon', 'text', 'list']))
        if form != 'polygon':
            value, box, area = run_lengths(points, size, form == 'text')
            if min(box[2:]) < 1:
                continue
            entry.update(segmentation=value, bbox=box, area=area)
        found['annotations'].append(entry)
    return found


# Defects: each changes content, and takes a function that chooses objects


def fields(**changes):
    def defect(found, some):
        for entry in some(found['annotations']):
            for name, change in changes.items():
                if name in entry:
                    entry[name] = change(entry[name])

    return defect


def without(*names):
    def defect(found, some):
        for entry in some(found['annotations']):
            for name in names:
                entry.pop(name, None)

    return defect


def polygons(change):
    def defect(found, some):
        for entry in some(found['annotations']):
            value = entry.get('segmentation')
            if isinstance(value, list) and value and isinstance(value[0], list) and value[0]:
                if not isinstance(value[0][0], (list, str, dict)):
                    entry['segmentation'] = change(value)

    return defect


def pairs(part):
    return zip(part[::2], part[1::2])


def of_images(change):
    def defect(found, some):
        for entry in some(found['images']):
            change(entry)

    return defect


def image_ids(new):
    def defect(found, some):
        for entry in found['images']:
            if type(key(entry.get('id'))) is int:
                entry['id'] = new(key(entry['id']))
        for entry in every(0, found['annotations']):
            if type(key(entry.get('image_id'))) is int:
                entry['image_id'] = new(key(entry['image_id']))

    return defect


def category_twice(found, some):
    first = found['categories'][0]
    found['categories'].append(dict(first, id=77))
    for entry in some(found['annotations']):
        if entry.get('category_id') == first['id']:
            entry['category_id'] = 77


def reverse(name):
    return lambda found, some: found[name].reverse()


def image_twice(found, some):
    found['images'] += [dict(entry) for entry in some(found['images'])]


def extra(name, entry):
    return lambda found, some: found[name].append(copy.deepcopy(entry))


def orphan(i, image, category):
    box, points = [1, 1, 8, 8], [1, 1, 9, 1, 9, 9]
    row = dict(id=i, image_id=image, category_id=category, bbox=box, area=32, iscrowd=0)
    return extra('annotations', row | dict(segmentation=[points]))


def scaled_box(factor):
    return lambda box: [v * factor for v in box] if _numbers(box) else box


def as_corners(box):
    if not _numbers(box) or len(box) != 4:
        return box
    return [box[0], box[1], box[0] + box[2], box[1] + box[3]]


def cut(value):
    return dict(value, counts=value['counts'][:2]) if isinstance(value, dict) else value


def counts(change):
    def new(value):
        return dict(value, counts=change(value['counts'])) if isinstance(value, dict) else value

    return fields(segmentation=new)


def _numbers(box):
    return isinstance(box, list) and all(type(v) in (int, float) for v in box)


DEFECTS = dict(
    image_id_string=fields(image_id=str),
    image_id_float=fields(image_id=lambda v: float(v) if type(v) is int else v),
    category_id_string=fields(category_id=str),
    id_zero=fields(id=lambda v: v - 1 if type(v) is int else v),
    id_string=fields(id=str),
    id_twice=fields(id=lambda v: 1),
    no_id=without('id'),
    no_iscrowd=without('iscrowd'),
    iscrowd_string=fields(iscrowd=str),
    iscrowd_bool=fields(iscrowd=lambda v: bool(int(v)) if str(v).isdigit() else v),
    no_area=without('area'),
    area_zero=fields(area=lambda v: 0),
    area_string=fields(area=str),
    no_bbox=without('bbox'),
    bbox_null=fields(bbox=lambda v: None),
    bbox_strings=fields(bbox=lambda v: [str(x) for x in v] if isinstance(v, list) else v),
    bbox_short=fields(bbox=lambda v: v[:3] if isinstance(v, list) else v),
    bbox_turned=fields(bbox=lambda v: [*v, 0.3] if isinstance(v, list) else v),
    bbox_flat=fields(bbox=lambda v: [*v[:2], 0, 0] if isinstance(v, list) else v),
    bbox_nan=fields(bbox=lambda v: [float('nan')] * 4),
    polygon_flat=polygons(lambda v: v[0] if len(v) == 1 else v),
    polygon_points=polygons(lambda v: [[list(p) for p in pairs(x)] for x in v]),
    polygon_dicts=polygons(lambda v: [[dict(x=x, y=y) for x, y in pairs(p)] for p in v]),
    counts_bytes=counts(lambda v: repr(v.encode()) if isinstance(v, str) else v),
    counts_floats=counts(lambda v: [float(n) for n in v] if isinstance(v, list) else v),
    polygon_strings=polygons(lambda v: [[str(n) for n in part] for part in v]),
    polygon_with_a_line=polygons(lambda v: [*v, [1, 2, 3, 4]]),
    polygon_with_nothing=polygons(lambda v: [[], *v]),
    no_segmentation=without('segmentation'),
    segmentation_empty=fields(segmentation=lambda v: []),
    segmentation_line=fields(segmentation=lambda v: [[1, 2, 3, 4]]),
    segmentation_cut=fields(segmentation=cut),
    segmentation_sizeless=fields(
        segmentation=lambda v: dict(counts=v['counts']) if isinstance(v, dict) else v
    ),
    segmentation_listed=fields(segmentation=lambda v: [v] if isinstance(v, dict) else v),
    size_missing=of_images(lambda e: (e.pop('width', 0), e.pop('height', 0))),
    size_zero=of_images(lambda e: e.update(width=0)),
    size_string=of_images(lambda e: e.update(width=str(e.get('width', 0)))),
    size_swapped=of_images(lambda e: e.update(width=e.get('height'), height=e.get('width'))),
    image_ids_strings=image_ids(str),
    image_ids_names=image_ids(lambda i: f'im{i}'),
    image_ids_large=image_ids(lambda i: i + 2**60),
    image_ids_from_zero=image_ids(lambda i: i - 1),
    backslash=of_images(lambda e: e.update(file_name=e['file_name'].replace('/', '\\'))),
    other_case=of_images(lambda e: e.update(file_name=e['file_name'].replace('png', 'PNG'))),
    percent=of_images(lambda e: e.update(file_name=e['file_name'].replace('/', '%2F'))),
    image_twice=image_twice,
    images_reversed=reverse('images'),
    objects_reversed=reverse('annotations'),
    categories_reversed=reverse('categories'),
    category_twice=category_twice,
    dummy_category=extra('categories', dict(id=0, name='dummy')),
    orphan_image=orphan(70, 999, 1),
    orphan_category=orphan(71, 1, 999),
    broken=extra('annotations', None),
    corners=fields(bbox=as_corners),
    fractions=fields(bbox=scaled_box(0.01)),
    doubled=fields(bbox=scaled_box(2)),
    crowd=fields(iscrowd=lambda v: 1),
)  # fmt: skip
# Objects may change: those that a chain of these touches are not compared one by one.
CHANGING = {'corners', 'fractions', 'doubled', 'crowd'}


def every(which, entries) -> list:
    """All objects, or every second or third or fourth."""
    return [entry for entry in entries if isinstance(entry, dict)][:: which + 1]


def rows(found) -> Counter:
    """Objects by image, class and mask; without boxes, which may be taken from the mask."""
    return Counter(
        (name, label, drawn) for (name, label, _, drawn) in files.objects(found).elements()
    )


def close(left, right) -> bool:
    return all(abs(a - b) <= 1 for a, b in zip(left, right))


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize='MMCONVNEXT_FUZZ' not in os.environ,
    suppress_health_check=list(HealthCheck),
)
@given(
    content=contents(),
    chain=st.lists(st.tuples(st.sampled_from(sorted(DEFECTS)), st.integers(0, 3)), max_size=5),
    masks=st.booleans(),
)
def test_refused_or_the_same_objects(content, chain, masks):
    compare(content, chain, masks)


@pytest.mark.parametrize('masks', [True, False])
@pytest.mark.parametrize('name', sorted(DEFECTS))
def test_each_defect_alone(name, masks):
    for which in (0, 2):
        content = files.content(4)
        for entry in content['images']:
            entry['file_name'] = f's/{entry["file_name"]}'
        value, box, area = run_lengths(files.polygon(8, 9, 20, 31), files.SIZE, True)
        content['annotations'][4].update(segmentation=value, bbox=box, area=area)
        content['categories'].append(dict(id=3, name='owl'))
        compare(content, [(name, which)], masks)


def compare(content, chain, masks):
    """Put content through a chain of defects, and compare what is read with what was there."""
    truth = copy.deepcopy(content)
    for name, which in chain:
        DEFECTS[name](content, partial(every, which))
    with TemporaryDirectory() as place:
        folder = Path(place)
        (folder / 's').mkdir()
        for image in truth['images']:
            Image.new('L', (image['width'], image['height'])).save(folder / image['file_name'])
        file = files.write(folder, content)
        found = make_sound(file, files.wanted(folder, classes=CLASSES, masks=masks))
    ledger = found.ledger
    if ledger.refused:
        assert chain or not truth['annotations'], ledger.refused
        return
    if not chain:
        assert not found.needed and not ledger.mended and not ledger.left_out
    lost = sum(tally.count for kind, tally in ledger.left_out.items() if kind in OF_OBJECTS)
    orphans = sum(name in ('orphan_image', 'orphan_category', 'broken') for name, _ in chain)
    listed = len(truth['annotations']) + orphans
    assert found.facts.objects == listed
    crowded = found.facts.crowds - ledger.left_out.get(kinds.NO_MASK, kinds.Tally()).count
    assert found.facts.usable == listed - lost - crowded, (ledger, found.facts)
    # A new reader of the result sees the same, and has nothing to mend.
    content = found.content if found.needed else content
    json.dumps(content)
    ids = [entry['id'] for entry in content['annotations']]
    assert len(set(ids)) == len(ids) and 0 not in ids
    if CHANGING & {name for name, _ in chain} or not masks:
        return
    left = rows(content)
    assert not left - rows(truth), (ledger, 'an object that was not there')
    assert left.total() == listed - lost, ledger
    by_mask = {}
    for name, label, box, drawn in files.objects(truth):
        by_mask.setdefault((name, label, drawn), []).append(box)
    for name, label, box, drawn in files.objects(content):
        assert any(close(box, other) for other in by_mask[name, label, drawn]), (box, by_mask)
