# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/own_data: mmdet and mmseg draw every class, in a colour of its own, however many."""

import numpy as np
import pytest
import torch
from fixtures import MASK_RCNN, UPERNET
from mmengine.registry import DATASETS, init_default_scope
from mmengine.structures import InstanceData, PixelData
from PIL import Image

from mmconvnext.recipe.own_data import apply_own_data

WHITE = np.full((64, 64, 3), 255, np.uint8)


def metainfo(cfg, own_data, count) -> dict:
    cfg.own_data = dict(own_data, classes=[f'class {i}' for i in range(count)])
    apply_own_data(cfg)
    init_default_scope(cfg.default_scope)
    return DATASETS.build(dict(cfg.test_dataloader.dataset, lazy_init=True)).metainfo


@pytest.mark.parametrize('count', [1, 81, 300])
def test_a_detector_draws_the_last_class(load, coco_data, count, tmp_path):
    from mmdet.structures import DetDataSample
    from mmdet.visualization import DetLocalVisualizer

    visualizer = DetLocalVisualizer(name=f'{tmp_path}', alpha=1.0)
    visualizer.dataset_meta = metainfo(load(MASK_RCNN), coco_data, count)
    sample = DetDataSample(
        pred_instances=InstanceData(
            bboxes=torch.tensor([[4.0, 4, 60, 60]]),
            labels=torch.tensor([count - 1]),
            scores=torch.ones(1),
        )
    )
    visualizer.add_datasample('x', WHITE, sample, out_file=str(tmp_path / 'x.png'))
    drawn = np.asarray(Image.open(tmp_path / 'x.png')).astype(int)
    colour = visualizer.dataset_meta['palette'][-1]
    assert (np.abs(drawn - colour).max(-1) < 10).any()  # nothing else has it


@pytest.mark.parametrize('count', [1, 81, 300])
def test_a_segmentor_draws_the_last_class(load, seg_data, count):
    from mmseg.structures import SegDataSample
    from mmseg.visualization import SegLocalVisualizer

    visualizer = SegLocalVisualizer(alpha=1.0)
    meta = metainfo(load(UPERNET), seg_data, count)
    visualizer.set_dataset_meta(classes=meta['classes'], palette=meta['palette'])
    sample = SegDataSample(
        pred_sem_seg=PixelData(data=torch.full((1, 64, 64), count - 1, dtype=torch.long))
    )
    visualizer.add_datasample('x', WHITE, sample, with_labels=False)
    assert np.abs(visualizer.get_image()[40, 40].astype(int) - meta['palette'][-1]).max() < 10
