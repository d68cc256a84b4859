# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: what the pipelines and test settings of the recipes do to one image.

The image has another colour in each channel and other sides, and a bright object near a corner that
its annotation must follow through flips, crops and scales.
"""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fixtures import write_image
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import MODELS, DefaultScope
from recipe_table import load

MASK_RCNN = 'mask_rcnn/mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py'
ONE_X = 'mask_rcnn/mask-rcnn_convnext-t-p4-w7_fpn_amp-1x_coco.py'
V2 = 'mask_rcnn/mask-rcnn_convnext-v2-b_fpn_lsj-3x-fcmae_coco.py'
CPU = '_base_/mask-rcnn_convnext-atto_cpu.py'
ADE_512 = 'upernet/convnext-tiny_upernet_8xb2-amp-160k_ade20k-512x512.py'
ADE_640 = 'upernet/convnext-base_upernet_8xb2-amp-160k_ade20k-640x640.py'

# Red, green, blue of the ground: (value - mean) / std of ImageNet, by hand.
GROUND = (60, 30, 10)
NORMALIZED = ((60 - 123.675) / 58.395, (30 - 116.28) / 57.12, (10 - 103.53) / 57.375)
SHAPE = (200, 300)  # height, width
BOX = (30, 20, 110, 60)  # x, y, x, y: nearer to the upper left corner


@pytest.fixture
def scene(tmp_path):
    """What a dataset passes to its pipeline: one image with one object, in COCO's and ADE's way."""
    left, top, right, bottom = BOX
    image = np.full((*SHAPE, 3), GROUND)
    image[top:bottom, left:right] = 255
    labels = np.full(SHAPE, 2)
    labels[top:bottom, left:right] = 7
    labels[-40:] = 0  # unlabelled in ADE20K
    write_image(tmp_path / 'image.png', image)
    write_image(tmp_path / 'labels.png', labels)
    polygon = [left, top, right, top, right, bottom, left, bottom]
    thing = dict(bbox=list(BOX), bbox_label=3, ignore_flag=0, mask=[polygon])
    return dict(
        img_path=str(tmp_path / 'image.png'),
        seg_map_path=str(tmp_path / 'labels.png'),
        img_id=5,
        height=SHAPE[0],
        width=SHAPE[1],
        instances=[thing],
        reduce_zero_label=True,
        seg_fields=[],
    )


def run(cfg, pipeline, scene) -> dict:
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return Compose(pipeline)(copy.deepcopy(scene))


def to_backbone(cfg, samples, training: bool):
    """The batch that the data preprocessor passes on, and its data samples."""
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        preprocessor = MODELS.build(cfg.model.data_preprocessor)
    data = preprocessor(pseudo_collate(samples), training)
    return data['inputs'], data['data_samples']


def bright(image: torch.Tensor) -> torch.Tensor:
    """Where the object is: brightness and contrast of the ground stay below, whatever is drawn."""
    return image.amin(0) > 100


def bounds(mask: torch.Tensor) -> list[int]:
    rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
    return [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]


@pytest.mark.parametrize(
    ('name', 'size', 'padded'),
    [
        (MASK_RCNN, (800, 1200), (800, 1216)),
        (V2, (800, 1200), (800, 1216)),
        (CPU, (171, 256), (192, 256)),
        (ADE_512, (512, 768), (512, 768)),
        (ADE_640, (640, 960), (640, 960)),
    ],
)
def test_what_the_backbone_sees_in_a_test(scene, name, size, padded):
    """Resized, RGB, normalized, never flipped; detectors pad to multiples of 32 with zeros."""
    cfg = load(name)
    sample = run(cfg, cfg.test_dataloader.dataset.pipeline, scene)
    assert sample['inputs'].shape == (3, *size)
    batch, (after,) = to_backbone(cfg, [sample], training=False)
    assert batch.shape == (1, 3, *padded)
    assert after.img_shape == size and after.ori_shape == SHAPE
    inside = batch[0, :, size[0] // 2 : size[0], : size[1]]  # below the object
    torch.testing.assert_close(inside.mean((1, 2)), torch.tensor(NORMALIZED), rtol=1e-4, atol=0)
    assert not batch[0, :, size[0] :].any() and not batch[0, :, :, size[1] :].any()
    scale = size[1] / SHAPE[1]
    found = bounds(bright(sample['inputs']))
    assert found == pytest.approx([scale * side for side in BOX], abs=2)
    if 'upernet' in name:  # the labels keep the size of the file, with class 0 for id 1
        assert after.gt_sem_seg.data.shape == (1, *SHAPE)
        assert set(after.gt_sem_seg.data.unique().tolist()) == {1, 6, 255}
    else:
        assert after.gt_instances.bboxes.tolist() == [list(BOX)]
        assert after.gt_instances.labels.tolist() == [3]


SHORTS = range(480, 801, 32)


@pytest.mark.parametrize('name', [MASK_RCNN, ONE_X, V2, CPU])
def test_boxes_and_masks_follow_the_image(scene, name):
    cfg = load(name)
    pipeline = cfg.train_dataloader.dataset.pipeline
    flipped, sizes = set(), set()
    for seed in range(6 if name in (ONE_X, CPU) else 10):
        np.random.seed(seed)
        sample = run(cfg, pipeline, scene)
        if sample is None:  # the crop has no object left
            continue
        image, truth = sample['inputs'], sample['data_samples']
        size = tuple(image.shape[1:])
        sizes.add(size)
        flipped.add(truth.get('flip_direction') if truth.get('flip') else None)
        assert truth.img_shape == size
        if not len(truth.gt_instances):
            continue
        assert truth.gt_instances.labels.tolist() == [3]
        (box,), (mask,) = truth.gt_instances.bboxes.tensor.tolist(), truth.gt_instances.masks.masks
        if bright(image).any():
            assert bounds(bright(image)) == pytest.approx(box, abs=3)
            assert bounds(torch.from_numpy(mask)) == pytest.approx(box, abs=3)
    if name == MASK_RCNN:
        assert all(min(size) in SHORTS or max(size) == 1333 for size in sizes)
        assert max(map(min, sizes)) <= 800 and len(sizes) > 3
    elif name == V2:
        assert all(max(size) <= 1024 for size in sizes) and len(sizes) > 3
    else:
        assert sizes == {{ONE_X: (800, 1200), CPU: (171, 256)}[name]}
    several = {'horizontal', 'vertical', 'diagonal'} if name == CPU else {'horizontal'}
    assert flipped == {None, *several}


@pytest.mark.parametrize(('name', 'side'), [(ADE_512, 512), (ADE_640, 640)])
def test_labels_follow_the_image(scene, name, side):
    cfg = load(name)
    pipeline = cfg.train_dataloader.dataset.pipeline
    samples, flipped = [], set()
    for seed in range(6):
        np.random.seed(seed)
        sample = run(cfg, pipeline, scene)
        image, truth = sample['inputs'], sample['data_samples']
        labels = truth.gt_sem_seg.data[0]
        assert image.shape[1:] == labels.shape and max(labels.shape) <= side
        assert set(labels.unique().tolist()) <= {1, 6, 255}
        wrong = (bright(image) != (labels == 6)).float().mean()
        assert wrong < 0.02, seed  # the edge of the object
        flipped.add(bool(truth.get('flip')))
        samples.append(sample)
    assert flipped == {True, False}
    small = min(samples, key=lambda sample: sample['inputs'].numel())
    height, width = small['inputs'].shape[1:]
    assert height < side
    batch, (after,) = to_backbone(cfg, [small], training=True)
    assert batch.shape == (1, 3, side, side) and not batch[0, :, height:].any()
    assert after.gt_sem_seg.data.shape == (1, side, side)
    assert (after.gt_sem_seg.data[0, height:] == 255).all()


def test_detectors_pad_a_batch_to_its_largest_image():
    cfg = load(MASK_RCNN)
    images = [torch.full((3, *size), 255, dtype=torch.uint8) for size in ((40, 70), (50, 33))]
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        preprocessor = MODELS.build(cfg.model.data_preprocessor)
    batch = preprocessor(dict(inputs=images))['inputs']
    assert batch.shape == (2, 3, 64, 96)
    for image, (height, width) in zip(batch, ((40, 70), (50, 33))):
        assert image[:, :height, :width].all()
        assert image.count_nonzero() == 3 * height * width


@pytest.mark.parametrize(
    ('name', 'sides'),
    [(ADE_512, (256, 384, 512, 640, 768, 896)), (ADE_640, (320, 480, 640, 800, 960, 1120))],
)
def test_augmented_tests_see_twelve_views(scene, name, sides):
    """Six scales from small to large, each plain and then flipped; the labels keep their size."""
    cfg = load(name)
    views = run(cfg, cfg.tta_pipeline, scene)
    assert len(views['inputs']) == len(views['data_samples']) == 12
    for i, (image, truth) in enumerate(zip(views['inputs'], views['data_samples'])):
        side = sides[i // 2]
        assert image.shape == (3, side, side * 3 // 2)
        assert truth.flip is bool(i % 2) and truth.get('flip_direction') in ('horizontal', None)
        left, _, right, _ = bounds(bright(image))
        distance = left if i % 2 == 0 else image.shape[2] - right
        assert distance == pytest.approx(BOX[0] * side / SHAPE[0], abs=2)
        assert set(truth.gt_sem_seg.data.unique().tolist()) == {1, 6, 255}


@pytest.mark.parametrize(
    ('name', 'starts'),
    [
        # The last window of each row ends at the border.
        (ADE_512, ([0, 88], [0, 341, 488])),
        (ADE_640, ([0], [0, 360])),
    ],
)
def test_windows_of_the_single_scale_test(name, starts):
    from mmseg.models import EncoderDecoder

    cfg, seen = load(name), []
    height, width = 600, 1000
    positions = torch.stack(
        torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij')
    )

    def encode_decode(window, metas):
        seen.append((*window[0, :, 0, 0].int().tolist(), *window.shape[2:]))
        return window

    model = SimpleNamespace(test_cfg=cfg.model.test_cfg, out_channels=2)
    model.encode_decode = encode_decode
    image = positions[None].float()
    meta = [dict(ori_shape=(height, width), img_shape=(height, width))]
    result = EncoderDecoder.slide_inference(model, image, meta)
    torch.testing.assert_close(result, image)
    side = {ADE_512: 512, ADE_640: 640}[name]
    size = (min(side, height), min(side, width))
    assert seen == [(row, column, *size) for row in starts[0] for column in starts[1]]
