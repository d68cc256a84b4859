# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""inference/detections.py: what the data samples of mmdet and mmseg hold."""

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData

from mmconvnext.inference.detections import detections
from mmconvnext.recipe.errors import RecipeError


def test_objects_are_sorted_and_those_below_the_score_are_left_out():
    masks = torch.zeros(3, 4, 6, dtype=torch.bool)
    masks[0, 1, 2] = masks[2, 3, 5] = True
    objects = InstanceData(
        bboxes=torch.tensor([[0.0, 0, 1, 2], [1, 1, 2, 2], [2, 2, 4, 5]]),
        labels=torch.tensor([0, 1, 2]),
        scores=torch.tensor([0.5, 0.2, 0.8]),
        masks=masks,
    )
    found = detections(dict(pred_instances=objects), 0.5, 3)
    assert found.labels.tolist() == [2, 0] and found.scores.tolist() == pytest.approx([0.8, 0.5])
    assert found.boxes.tolist() == [[2, 2, 4, 5], [0, 0, 1, 2]]
    assert [patch.corners for patch in found.patches] == [(5, 3, 6, 4), (2, 1, 3, 2)]
    assert found.label_map is None and found.has_objects


@pytest.mark.parametrize(
    ('classes', 'kind', 'none'), [(255, np.uint8, 255), (256, np.uint16, 65535)]
)
def test_a_label_map_has_a_value_for_no_class(classes, kind, none):
    data = torch.tensor([[[0, classes - 1, classes]]])
    found = detections(dict(pred_sem_seg=PixelData(data=data)), 0.5, classes)
    assert found.label_map.dtype == kind and not found.has_objects
    assert found.label_map.tolist() == [[0, classes - 1, none]]


def test_panoptic_segments_become_a_label_map():
    data = torch.tensor([[[1, 1002], [2, 133]]])
    found = detections(dict(pred_panoptic_seg=PixelData(sem_seg=data)), 0.5, 3)
    assert found.label_map.tolist() == [[1, 2], [2, 255]]


def test_what_cannot_be_shown_is_refused():
    with pytest.raises(RecipeError, match='the model predicts depth; boxes, masks and label maps'):
        detections(dict(depth=1), 0.5, 3)
    turned = InstanceData(bboxes=torch.zeros(1, 5), labels=torch.zeros(1), scores=torch.ones(1))
    with pytest.raises(RecipeError, match='boxes of 5 numbers: rotated'):
        detections(dict(pred_instances=turned), 0.5, 3)
