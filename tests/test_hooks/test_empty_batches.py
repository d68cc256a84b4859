# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""hooks/empty_batches.py: a detector that sees no object for long is told so, once."""

import pytest
import torch
from fixtures import warnings
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from mmconvnext.hooks.empty_batches import MANY, EmptyBatches


def batch(*counts) -> dict:
    """A batch with so many objects in each image."""
    samples = []
    for count in counts:
        sample = DetDataSample()
        sample.gt_instances = InstanceData(bboxes=torch.zeros(count, 4))
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(5, 4))
        samples.append(sample)
    return dict(inputs=None, data_samples=samples)


def train(batches) -> None:
    hook = EmptyBatches()
    for i, data in enumerate(batches):
        hook.after_train_iter(None, i, data, None)


def test_many_empty_batches_in_a_row_are_told_once(log_records):
    train([batch(0, 0)] * (3 * MANY))
    (line,) = warnings(log_records)
    assert line.startswith(f'the last {MANY} batches had no object to learn')
    assert 'FilterAnnotations' in line


def test_one_fewer_is_not(log_records):
    train([batch(0, 0)] * (MANY - 1))
    assert warnings(log_records) == []


def test_an_object_starts_the_count_again(log_records):
    train([batch(0, 0)] * (MANY - 1) + [batch(0, 1)] + [batch(0, 0)] * (MANY - 1))
    assert warnings(log_records) == []


@pytest.mark.parametrize(
    'data',
    [None, [], {}, dict(data_samples=[]), dict(data_samples=None)]
    + [dict(data_samples=[DetDataSample()]), dict(data_samples=dict(a=1))],
)
def test_other_batches_are_left_alone(log_records, data):
    train([data] * (2 * MANY))
    assert warnings(log_records) == []
