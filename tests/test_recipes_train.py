# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Every recipe trains and validates on toy data; the ground truth scores perfectly."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from fixtures import LEAVES, MASK_RCNN, UPERNET, stem, tiny_options

from mmconvnext.cli.train import main as train
from mmconvnext.recipe.own_data import apply_own_data
from mmconvnext.recipe.toy import make_toy


@pytest.mark.parametrize('config', LEAVES, ids=stem)
def test_two_iterations_and_a_validation(workplace, config):
    runner = train(
        [str(config), '--toy', '--work-dir', 'run', '--cfg-options', *tiny_options(config)]
    )
    assert runner.iter == 2
    rows = [json.loads(line) for line in next(Path('run').glob('*/vis_data/scalars.json')).open()]
    losses = {k: v for row in rows for k, v in row.items() if 'loss' in k}
    assert sum('loss' in row for row in rows) == 2
    assert all(math.isfinite(value) for value in losses.values())
    branches = dict(
        mask_rcnn={'loss_rpn_cls', 'loss_rpn_bbox', 'loss_cls', 'loss_bbox', 'loss_mask'},
        faster_rcnn={'loss_rpn_cls', 'loss_rpn_bbox', 'loss_cls', 'loss_bbox'},
        cascade_mask_rcnn={f's{i}.loss_{k}' for i in range(3) for k in ('cls', 'bbox', 'mask')}
        | {'loss_rpn_cls', 'loss_rpn_bbox'},
        upernet={'decode.loss_ce', 'aux.loss_ce'},
    )
    branches['own_data'] = branches['mask_rcnn']
    has_maps = config.parent.name == 'upernet' or 'segformer' in config.name
    expected = {'decode.loss_ce'} if 'segformer' in config.name else branches[config.parent.name]
    assert set(losses) - {'loss'} == expected
    metrics = {key for row in rows for key in row}
    if has_maps:
        assert {'mIoU', 'aAcc', 'mAcc'} <= metrics
    else:
        assert 'coco/bbox_mAP' in metrics
        assert ('coco/segm_mAP' in metrics) is (config.parent.name != 'faster_rcnn')
    moved = [p for p in runner.optim_wrapper.optimizer.state.values() if p['exp_avg'].any()]
    assert len(moved) > 0.9 * len(runner.optim_wrapper.optimizer.state)
    assert len(list(Path('run').glob('*.pth'))) == 1


def _evaluate(cfg, predict) -> dict:
    """Metrics of the recipe's test evaluator on what ``predict`` makes of each sample."""
    from mmengine.evaluator import Evaluator
    from mmengine.registry import DATASETS, init_default_scope

    init_default_scope(cfg.default_scope)
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    evaluator = Evaluator(cfg.test_evaluator)
    evaluator.dataset_meta = dataset.metainfo
    for i in range(len(dataset)):
        sample = dataset[i]['data_samples']
        predict(sample, dataset.get_data_info(i))
        evaluator.process([sample])
    return evaluator.evaluate(len(dataset))


def _decode(mask, shape) -> np.ndarray:
    """(H, W) bool from COCO's polygons or uncompressed run lengths."""
    from pycocotools import mask as coco_mask

    rle = coco_mask.frPyObjects(mask, *shape)
    return coco_mask.decode(coco_mask.merge(rle) if isinstance(rle, list) else rle).astype(bool)


class _Truth:
    """Predicts what is annotated, crowds too; counts what it saw."""

    def __init__(self, wrong_labels: bool = False) -> None:
        self.wrong_labels, self.objects, self.crowds = wrong_labels, 0, 0

    def __call__(self, sample, info) -> None:
        from mmdet.structures.bbox import get_box_tensor
        from mmengine.structures import InstanceData

        things = info['instances']  # boxes are corners here
        boxes = torch.tensor([thing['bbox'] for thing in things], dtype=torch.float32)
        labels = torch.tensor([thing['bbox_label'] for thing in things])
        crowd = np.array([bool(thing['ignore_flag']) for thing in things])
        # mmdet's test pipeline reads annotations after resizing: they stay in the file's pixels.
        torch.testing.assert_close(get_box_tensor(sample.gt_instances.bboxes), boxes[~crowd])
        masks = np.stack([_decode(thing['mask'], sample.ori_shape) for thing in things])
        sample.pred_instances = InstanceData(
            bboxes=boxes,
            labels=(labels + 1) % 4 if self.wrong_labels else labels,
            scores=torch.linspace(0.9, 0.5, len(things)),
            masks=torch.from_numpy(masks),
        )
        self.objects += int((~crowd).sum())
        self.crowds += int(crowd.sum())


def test_truth_as_prediction_is_full_average_precision(load, toy_data):
    cfg = load(MASK_RCNN)
    make_toy(cfg)
    apply_own_data(cfg)
    truth = _Truth()
    metrics = _evaluate(cfg, truth)
    assert truth.objects > 5 and truth.crowds == 1
    for kind in ('bbox', 'segm'):
        for name in ('mAP', 'mAP_50', 'mAP_75'):
            assert metrics[f'coco/{kind}_{name}'] == 1.0
    metrics = _evaluate(cfg, _Truth(wrong_labels=True))
    assert metrics['coco/bbox_mAP'] < 0.5 and metrics['coco/segm_mAP'] < 0.5


def test_truth_as_prediction_is_full_intersection_over_union(load, toy_data):
    from mmengine.structures import PixelData

    cfg = load(UPERNET)
    make_toy(cfg)
    apply_own_data(cfg)
    seen = set()

    def truth(sample, info) -> None:
        label = sample.gt_sem_seg.data
        seen.update(label.unique().tolist())
        sample.pred_sem_seg = PixelData(data=label.clone())

    def shifted(sample, info) -> None:
        sample.pred_sem_seg = PixelData(data=(sample.gt_sem_seg.data.long() + 1) % 5)

    metrics = _evaluate(cfg, truth)
    assert seen >= {0, 1, 255} and max(seen - {255}) <= 4  # outlines are ignored, all else classes
    assert metrics == dict(mIoU=100.0, aAcc=100.0, mAcc=100.0)
    assert _evaluate(cfg, shifted)['mIoU'] == 0.0
