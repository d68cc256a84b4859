# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""analysis/dataset/listing.py: images and objects as the annotations list them."""

import coco_files
import image_files
import numpy as np
from dataset_files import HEIGHT, WIDTH, detection, listing, segmentation
from pycocotools import mask as rle_api

from mmconvnext.analysis.dataset.listing import list_split
from mmconvnext.analysis.dataset.split import Split


def read(cfg, split='train'):
    return list_split(Split(cfg, f'{split}_dataloader'))


def test_objects(tmp_path):
    found = read(detection(tmp_path))
    assert [found.name(i) for i in range(3)] == ['1.png', '2.png', '3.png']
    assert found.sizes.tolist() == [[WIDTH, HEIGHT]] * 3 and found.maps == [''] * 3
    assert found.images.tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert found.labels.tolist() == [0, 1, 1, 0, 1, 0, 1]
    assert found.boxes[0].tolist() == [8, 3, 28, 34]
    assert found.by_class.tolist() == [3, 4] and found.counts.tolist() == [3, 2, 2]
    assert np.allclose(found.bounds, found.boxes)  # of the polygons
    assert found.extents[1].tolist() == [41.5, 22]
    assert found.has_objects and not found.has_maps
    assert found.info(1)['img_id'] == 2


def test_regions_to_ignore_are_no_objects(tmp_path):
    content = coco_files.content(3)
    content['annotations'][1]['iscrowd'] = 1
    found = read(detection(tmp_path, content))
    assert found.ignored.tolist() == [False, True] + 5 * [False]
    assert found.by_class.tolist() == [3, 3] and found.counts.tolist() == [2, 2, 2]


def test_images_that_are_left_out_are_listed_last(tmp_path):
    content = coco_files.content(3)
    content['annotations'] = [a for a in content['annotations'] if a['image_id'] != 1]
    found = read(detection(tmp_path, content))
    assert [found.name(i) for i in range(3)] == ['2.png', '3.png', '1.png']
    assert found.left_out.tolist() == [False, False, True] and found.counts.tolist() == [2, 2, 0]
    assert found.info(2)['img_id'] == 1


def test_masks_as_run_lengths(tmp_path):
    content = coco_files.content(3)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8, order='F')
    mask[10:30, 40:45] = 1
    rle = rle_api.encode(mask)
    short = dict(rle, counts=rle['counts'].decode())
    flat = np.concatenate([[0], mask.ravel(order='F'), [0]])
    runs = np.diff(np.concatenate([[0], np.flatnonzero(np.diff(flat)), [mask.size]])).tolist()
    content['annotations'][0]['segmentation'] = short
    content['annotations'][1]['segmentation'] = dict(size=[HEIGHT, WIDTH], counts=runs)
    content['annotations'][2].pop('segmentation')
    found = read(detection(tmp_path, content))
    assert found.bounds[:2].tolist() == [[40, 10, 45, 30]] * 2
    assert np.isnan(found.bounds[2]).all()


def test_images_that_are_turned_when_they_are_loaded(tmp_path):
    cfg = detection(tmp_path)
    image_files.write(tmp_path / 'train/2.png', image_files.turned('JPEG', 6))
    assert read(cfg).turned.tolist() == [1, 6, 1]
    cfg.train_dataloader.dataset.pipeline[0].color_type = 'unchanged'
    assert read(cfg).turned.tolist() == [1, 1, 1]


def test_label_maps(tmp_path):
    found = read(segmentation(tmp_path))
    assert found.has_maps and not found.has_objects
    assert found.maps[1].endswith('labels/2.png')
    assert found.sizes.tolist() == [[WIDTH, HEIGHT]] * 3  # of the files


def test_an_empty_listing_has_shapes():
    found = listing([], sizes=[(9, 8)])
    assert found.by_class.tolist() == [0, 0] and found.counts.tolist() == [0]
    assert found.extents.shape == (0, 2) and not found.has_objects
