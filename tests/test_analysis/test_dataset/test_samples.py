# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""analysis/dataset/samples.py: what is in the file, and what the model gets of it."""

import coco_files
import image_files
import numpy as np
import pytest
import torch
from dataset_files import HEIGHT, WIDTH, detection, segmentation
from PIL import Image

from mmconvnext.analysis.dataset.listing import list_split
from mmconvnext.analysis.dataset.samples import Feeder, as_loaded, choose
from mmconvnext.analysis.dataset.split import Split

FLIP = dict(type='RandomFlip', prob=1.0)


def read(cfg, split='train'):
    return list_split(Split(cfg, f'{split}_dataloader'))


def feed(cfg, indices=(0,), split='train', seed=0, turn=0):
    found = Feeder(cfg, Split(cfg, f'{split}_dataloader'), seed).feed(list(indices), turn)
    for one in found:
        if isinstance(one, Exception):
            raise one
    return found


def test_as_in_the_file(tmp_path):
    view = as_loaded(read(detection(tmp_path, pipeline=[FLIP])), 0)
    assert view.about == f'in the file: {WIDTH} x {HEIGHT}'
    assert view.image[5, 7].tolist() == [14, 15, 40]  # RGB
    assert view.objects.boxes.tolist() == [[8, 3, 28, 34], [45, 9, 86.5, 31], [30, 5, 42, 21]]
    assert view.objects.labels.tolist() == [0, 1, 1] and view.labels is None
    assert view.objects.masks.shape == (3, HEIGHT, WIDTH)
    assert view.objects.masks[0, 10, 15] and not view.objects.masks[0, 10, 60]


def test_the_image_alone(tmp_path):
    view = as_loaded(read(detection(tmp_path)), 0, labels=False)
    assert view.objects is None and view.image.shape == (HEIGHT, WIDTH, 3)


def test_regions_to_ignore_get_a_label_of_their_own(tmp_path):
    content = coco_files.content(3)
    content['annotations'][1]['iscrowd'] = 1
    cfg = detection(tmp_path, content)
    assert as_loaded(read(cfg), 0).objects.labels.tolist() == [0, 2, 1]
    (fed,) = feed(cfg)
    assert fed.view.objects.labels.tolist() == [0, 1, 2]  # those to ignore come last
    assert fed.view.objects.masks.shape == (3, HEIGHT, WIDTH)


def test_an_image_that_is_turned_by_exif_shows_its_labels_where_training_sees_them(tmp_path):
    cfg = detection(tmp_path)
    image_files.write(tmp_path / 'train/1.png', image_files.turned('JPEG', 3))
    view = as_loaded(read(cfg), 0)
    upright = image_files.colours()
    assert np.abs(view.image[-3, -3].astype(int) - upright[2, 2]).max() < 30
    assert view.objects.boxes[0].tolist() == [8, 3, 28, 34]


def test_a_bad_file_raises(tmp_path):
    cfg = detection(tmp_path)
    (tmp_path / 'train/1.png').write_bytes(b'no image')
    listing = read(cfg)
    with pytest.raises((OSError, ValueError, TypeError, AttributeError, AssertionError)):
        as_loaded(listing, 0)
    first, second = Feeder(cfg, listing.split, 0).feed([0, 1])
    assert isinstance(first, Exception) and second.file.endswith('2.png')


def test_the_model_gets_the_image_and_the_objects_flipped(tmp_path):
    (fed,) = feed(detection(tmp_path, pipeline=[FLIP], batch=1))
    view = fed.view
    assert view.about == f'as the model gets it: {WIDTH} x {HEIGHT}, flipped: horizontal'
    # The normalization is undone to a unit or so.
    assert np.abs(view.image[5, WIDTH - 1 - 7].astype(int) - [14, 15, 40]).max() <= 1
    assert view.objects.boxes[0].tolist() == [WIDTH - 28, 3, WIDTH - 8, 34]
    assert view.objects.masks[0, 10, WIDTH - 15] and not view.objects.masks[0, 10, 15]
    assert fed.scale == (1, 1) and fed.file.endswith('train/1.png')


def test_scale_and_padding_of_a_batch(tmp_path):
    resize = dict(
        type='RandomChoiceResize',
        scales=[(WIDTH // 2, HEIGHT // 2), (WIDTH, HEIGHT)],
        keep_ratio=True,
    )
    cfg = detection(tmp_path, pipeline=[resize])
    for seed in range(20):
        one, other = feed(cfg, (0, 1), seed=seed)
        if one.scale != other.scale:
            break
    small, large = sorted((one, other), key=lambda fed: fed.scale)
    assert small.scale == (0.5, 0.5) and large.scale == (1, 1)
    assert small.view.image.shape == large.view.image.shape == (HEIGHT, WIDTH, 3)
    outside = small.view.image[HEIGHT // 2 :].reshape(-1, 3)
    assert {*map(tuple, outside.tolist())} == {(180,) * 3, (200,) * 3}
    assert not (large.view.image == 200).all(axis=-1).any()
    assert small.view.objects.boxes.max() < WIDTH / 2


def test_without_swapping_channels_the_picture_is_still_rgb(tmp_path):
    cfg = detection(tmp_path)
    cfg.model.data_preprocessor.bgr_to_rgb = False
    (fed,) = feed(cfg)
    assert np.abs(fed.view.image[5, 7].astype(int) - [14, 15, 40]).max() <= 1


def test_without_a_preprocessor(tmp_path):
    cfg = detection(tmp_path)
    cfg.model.pop('data_preprocessor')
    (fed,) = feed(cfg)
    assert fed.view.image[5, 7].tolist() == [14, 15, 40]


def test_validation_shows_labels_on_the_resized_image(tmp_path):
    """mmdet's test pipelines load the objects after they resized the image."""
    (fed,) = feed(detection(tmp_path), split='val')
    assert fed.view.image.shape == (2 * HEIGHT, 2 * WIDTH, 3)
    assert fed.view.objects.boxes[0].tolist() == [16, 6, 56, 68]
    assert fed.view.objects.masks.shape == (3, 2 * HEIGHT, 2 * WIDTH)
    assert fed.view.objects.masks[0, 20, 30]


def test_seeds_and_turns(tmp_path):
    cfg = detection(tmp_path, pipeline=[dict(FLIP, prob=0.5)], batch=1)

    def flips(seed, turn):
        return ['flipped' in fed.view.about for fed in feed(cfg, (0, 1, 2), seed=seed, turn=turn)]

    found = [flips(seed, turn) for seed in (0, 1) for turn in (0, 1, 2)]
    assert found == [flips(seed, turn) for seed in (0, 1) for turn in (0, 1, 2)]
    assert len({tuple(one) for one in found}) > 2


def test_an_image_that_the_pipeline_refuses_is_replaced(tmp_path):
    """No object is left of image 1: mmengine takes another one."""
    keep = dict(type='FilterAnnotations', min_gt_bbox_wh=(15, 1), keep_empty=True)
    content = coco_files.content(3)
    for entry in content['annotations']:
        if entry['image_id'] == 1:
            entry['bbox'][2] = 5
    (fed,) = feed(detection(tmp_path, content, pipeline=[keep], batch=1))
    assert not fed.file.endswith('1.png')


def test_label_maps(tmp_path):
    cfg = segmentation(tmp_path)
    view = as_loaded(read(cfg), 1)
    assert view.objects is None and view.labels.shape == (HEIGHT, WIDTH)
    assert [view.labels[30, x] for x in (39, 40)] == [0, 1] and view.labels[0, 0] == 255
    (fed,) = feed(cfg, (1,))
    labels = fed.view.labels
    assert labels.shape == (HEIGHT, 2 * WIDTH) == fed.view.image.shape[:2]
    assert [labels[30, x] for x in (39, 40, WIDTH)] == [0, 1, 255]
    assert {*fed.view.image[:, WIDTH:].ravel().tolist()} == {180, 200}


def test_a_preprocessor_of_other_data_is_the_samples_fault(tmp_path, monkeypatch):
    cfg = detection(tmp_path)
    feeder = Feeder(cfg, Split(cfg, 'train_dataloader'), 0)

    def fail(data, training):
        raise KeyError('student')

    monkeypatch.setattr(feeder, 'preprocessor', fail)
    assert [repr(one) for one in feeder.feed([0, 1, 2])] == ["KeyError('student')"] * 3


def test_floats_of_unknown_range_are_stretched(tmp_path):
    cfg = detection(tmp_path)
    cfg.model.pop('data_preprocessor')
    feeder = Feeder(cfg, Split(cfg, 'train_dataloader'), 0)
    picture = feeder._picture(torch.tensor([[[-5.0, 995.0]]] * 3))
    assert picture.tolist() == [[[0, 0, 0], [255, 255, 255]]]


def test_choose():
    assert choose(3, 5, 0) == [0, 1, 2] and choose(5, 0, 0) == [] == choose(0, 3, 0)
    chosen = choose(1000, 10, 1)
    assert chosen == sorted({*chosen}) == choose(1000, 10, 1) != choose(1000, 10, 2)
    assert {*choose(1000, 5, 1)} <= {*chosen}  # so that a larger number shows more


@pytest.mark.parametrize('name', ['data', 'sem_seg'])
def test_label_maps_of_both_projects(tmp_path, name):
    """mmseg's data samples hold them as ``data``, mmdet's, for panoptic data, as ``sem_seg``."""
    from mmdet.structures import DetDataSample
    from mmengine.structures import PixelData

    cfg = detection(tmp_path)
    feeder = Feeder(cfg, Split(cfg, 'train_dataloader'), 0)
    sample = DetDataSample(gt_sem_seg=PixelData(**{name: torch.full((1, 6, 8), 1)}))
    fed = feeder._fed(torch.zeros(3, 6, 8), sample, (1.0, 1.0))
    assert fed.view.labels.shape == (6, 8) and (fed.view.labels == 1).all()


def test_dark_images_are_brightened_and_this_is_said(tmp_path):
    cfg = detection(tmp_path, batch=1)
    dark = np.full((HEIGHT, WIDTH, 3), 10, np.uint8)
    dark[:, :20] = (51, 25, 5)
    Image.fromarray(dark).save(tmp_path / 'train/1.png')
    view = as_loaded(read(cfg), 0)
    assert view.about == f'in the file: {WIDTH} x {HEIGHT}, brightness x 5'
    assert view.image[5, 7].tolist() == [255, 125, 25] and view.image[5, 50].tolist() == [50] * 3
    (fed,) = feed(cfg)
    assert fed.view.about.endswith(', brightness x 5')
    assert np.abs(fed.view.image[5, 7].astype(int) - [255, 125, 25]).max() <= 6
