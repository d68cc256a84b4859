# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The panoptic toy dataset: every pixel has a segment, as COCO's format and mmdet read it."""

import json

import numpy as np
import pytest
from PIL import Image

from mmconvnext.toy import (
    CLASSES,
    PALETTE,
    STUFF_CLASSES,
    make_scene,
    write_coco,
    write_panoptic,
)
from mmconvnext.toy.panoptic import PANOPTIC_PALETTE, segments_of

PARAMS = dict(num_train=3, num_val=2, size=96, seed=7)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return write_panoptic(tmp_path_factory.mktemp('toy') / 'panoptic', **PARAMS)


def tree(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob('*') if p.is_file()}


def test_same_seed_same_bytes_and_the_coco_data_beside(root, tmp_path):
    files = tree(root)
    assert tree(write_panoptic(tmp_path / 'again', **PARAMS)) == files
    coco = tree(write_coco(tmp_path / 'coco', **PARAMS))
    del coco['toy.json']
    assert {name: files.get(name) for name in coco} == coco
    images = [f'train2017/{i:012d}.png' for i in (1, 2, 3)]
    images += [f'val2017/{i:012d}.png' for i in (4, 5)]
    own = {f'annotations/panoptic_{name}' for name in images}
    own |= {f'annotations/panoptic_{split}2017.json' for split in ('train', 'val')}
    assert set(files) - set(coco) == own | {'toy.json'}


@pytest.mark.parametrize('split', ['train2017', 'val2017'])
def test_segments_are_the_ids_of_the_png(root, split):
    content = json.loads((root / f'annotations/panoptic_{split}.json').read_text())
    categories = [(c['id'], c['name'], c['isthing']) for c in content['categories']]
    things = [(i, name, 1) for i, name in enumerate(CLASSES, 1)]
    assert {c['supercategory'] for c in content['categories']} == {'toy'}
    assert content['info']['version'] == '1'
    assert PANOPTIC_PALETTE == (*PALETTE, (110, 110, 110))  # in the order of the names
    assert categories == [*things, (len(CLASSES) + 1, *STUFF_CLASSES, 0)]
    images = {image['id']: image['file_name'] for image in content['images']}
    assert len(images) == len(content['annotations']) > 1
    for annotation in content['annotations']:
        assert annotation['file_name'] == images[annotation['image_id']]
        png = Image.open(root / f'annotations/panoptic_{split}' / annotation['file_name'])
        assert png.mode == 'RGB'
        red, green, blue = np.moveaxis(np.asarray(png).astype(int), -1, 0)
        ids, areas = np.unique(red + 256 * green + 65536 * blue, return_counts=True)
        listed = {s['id']: s['area'] for s in annotation['segments_info']}
        assert len(listed) == len(annotation['segments_info'])
        assert dict(zip(ids.tolist(), areas.tolist())) == listed
        assert 0 not in listed  # unlabelled


@pytest.mark.parametrize('seed', range(5))
def test_segments_of_a_scene(seed):
    scene = make_scene(seed, 96, crowd=seed == 0)
    colours, segments = segments_of(scene)
    *things, background = segments
    assert background['category_id'] == len(CLASSES) + 1
    assert background['area'] == (scene.semantic == 0).sum()
    assert [s['category_id'] - 1 for s in things] == scene.labels.tolist()
    assert [s['iscrowd'] for s in segments] == [*scene.crowd.astype(int), 0]
    assert len({segment['id'] for segment in segments}) == len(segments)
    for i, (segment, mask) in enumerate(
        zip(segments, [*scene.instance_masks, scene.semantic == 0])
    ):
        rows, columns = np.nonzero(mask)
        x, y = columns.min(), rows.min()
        assert segment['bbox'] == [x, y, np.ptp(columns) + 1, np.ptp(rows) + 1]
        assert segment['area'] == mask.sum()
        (colour,) = {tuple(c) for c in colours[mask].tolist()}
        base = PANOPTIC_PALETTE[segment['category_id'] - 1]
        assert colour[:2] == base[:2] and (i > 0 or colour == base)


def test_a_scene_without_background_has_no_segment_of_it():
    scene = make_scene(1, 64)
    full = scene.semantic.copy()
    masks = scene.instance_masks.copy()
    masks[0] |= scene.semantic == 0
    full[scene.semantic == 0] = scene.labels[0] + 1
    _, segments = segments_of(type(scene)(scene.image, masks, scene.labels, full, scene.crowd))
    assert len(segments) == len(scene.labels)
    assert {s['category_id'] for s in segments} <= set(range(1, len(CLASSES) + 1))
