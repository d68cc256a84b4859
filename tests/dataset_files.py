# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Small datasets for tests of analysis/dataset: configs that read files, and listings without any.

Images are wider than high, and the classes have different counts.
"""

from pathlib import Path
from types import SimpleNamespace

import coco_files
import numpy as np
from mmengine.config import Config
from PIL import Image

from mmconvnext.analysis.dataset.listing import Listing

CLASSES, COLOURS = ('cat', 'dog'), [(250, 0, 0), (0, 0, 250)]
SIZE = WIDTH, HEIGHT = coco_files.SIZE
MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


def detection(root: Path, content=None, *, val=None, pipeline=(), batch=2) -> Config:
    """A config of mmdet with 3 images for training and 1 for validation, and no network.

    Args:
        content, val: of the COCO files; by default those of `coco_files`.
        pipeline: transforms between loading and packing, of the training.
    """
    load = dict(type='LoadImageFromFile')
    labels = dict(type='LoadAnnotations', with_bbox=True, with_mask=True)
    meta = ('img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction')
    pack = dict(type='PackDetInputs', meta_keys=meta)
    found, loaders = dict(train=content, val=val), {}
    for split, images in (('train', 3), ('val', 1)):
        listed = found[split] or coco_files.content(images)
        coco_files.write(root, listed, f'{split}.json')
        if not (root / split).is_dir():
            draw_images(root / split, images)
        resize = dict(type='Resize', scale=(2 * WIDTH, 2 * HEIGHT), keep_ratio=True)
        steps = (
            [load, labels, *pipeline, pack] if split == 'train' else [load, resize, labels, pack]
        )
        loaders[f'{split}_dataloader'] = dict(
            batch_size=batch,
            dataset=dict(
                type='CocoDataset',
                data_root=str(root),
                ann_file=f'{split}.json',
                data_prefix=dict(img=f'{split}/'),
                metainfo=dict(classes=CLASSES, palette=COLOURS),
                filter_cfg=dict(filter_empty_gt=True, min_size=1),
                test_mode=split == 'val',
                serialize_data=False,  # mmengine collects garbage afterwards, which is slow
                pipeline=steps,
            ),
        )
    preprocessor = dict(
        type='DetDataPreprocessor',
        mean=MEAN,
        std=STD,
        bgr_to_rgb=True,
        pad_mask=True,
        pad_size_divisor=32,
    )
    anchors = dict(type='AnchorGenerator', scales=[4], ratios=[1.0], strides=[4, 8])
    model = dict(data_preprocessor=preprocessor, rpn_head=dict(anchor_generator=anchors))
    return Config(dict(default_scope='mmdet', model=model, **loaders))


def segmentation(root: Path) -> Config:
    """A config of mmseg with 3 images: soil on the left, a crop on the right, a few pixels of none.

    The crop begins at x = 30, 40, 50.
    """
    draw_images(root / 'images', 3)
    (root / 'labels').mkdir()
    for i in range(1, 4):
        labels = np.zeros((HEIGHT, WIDTH), np.uint8)
        labels[:, 20 + 10 * i :] = 1
        labels[:2, :4] = 255
        Image.fromarray(labels).save(root / f'labels/{i}.png')
    dataset = dict(
        type='BaseSegDataset',
        serialize_data=False,
        data_root=str(root),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        img_suffix='.png',
        metainfo=dict(classes=('soil', 'crop', 'weed'), palette=[*COLOURS, (0, 250, 0)]),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations'),
            dict(type='PackSegInputs'),
        ],
    )
    preprocessor = dict(
        type='SegDataPreProcessor',
        mean=MEAN,
        std=STD,
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(HEIGHT, 2 * WIDTH),
    )
    loader = dict(batch_size=1, dataset=dataset)
    model = dict(data_preprocessor=preprocessor)
    return Config(dict(default_scope='mmseg', model=model, train_dataloader=loader))


def draw_images(folder: Path, count: int) -> None:
    """Images 1.png, 2.png, ... that differ in colour; red grows to the right, green downwards."""
    folder.mkdir(parents=True)
    x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    for i in range(1, count + 1):
        image = np.stack([2 * x, 3 * y, np.full_like(x, 40 * i)], axis=-1)
        Image.fromarray(image.astype(np.uint8)).save(folder / f'{i}.png')


def listing(boxes, labels=None, images=None, *, sizes=None, files=None, **changes) -> Listing:
    """A listing of these boxes, of class 0 in image 0 unless told otherwise."""
    boxes = np.array(boxes, float).reshape(-1, 4)
    images = np.array(images if images is not None else [0] * len(boxes), int)
    sizes = np.array(sizes or [SIZE] * (1 + max(images, default=0)), int)
    count = len(sizes)
    default = dict(
        split=SimpleNamespace(name='train', classes=list(CLASSES), colours=COLOURS),
        files=files or [f'{i + 1}.png' for i in range(count)],
        maps=[''] * count,
        sizes=sizes,
        turned=np.ones(count, int),
        left_out=np.zeros(count, bool),
        places=np.array([(0, i) for i in range(count)]),
        images=images,
        boxes=boxes,
        labels=np.array(labels if labels is not None else [0] * len(boxes), int),
        ignored=np.zeros(len(boxes), bool),
        bounds=np.full((len(boxes), 4), np.nan),
    )
    return Listing(**{**default, **changes})
