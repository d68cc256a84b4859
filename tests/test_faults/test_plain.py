# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""faults/plain.py: batches of mmdet and mmseg become plain data and come back the same."""

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample

from mmconvnext.checkpoint.safe_globals import torch_load
from mmconvnext.faults.plain import KIND, from_plain, to_plain
from mmconvnext.recipe.errors import RecipeError


def through_a_file(batch, folder):
    torch.save(to_plain(batch), folder / 'x.pth')
    return from_plain(torch_load(folder / 'x.pth'))


def test_a_batch_of_mmdet(tmp_path):
    meta = dict(img_id=7, img_path='a.png', ori_shape=(3, 5), scale_factor=(0.5, np.float32(2)))
    sample = DetDataSample(metainfo=dict(meta, matrix=np.eye(3), flip=False, nothing=None))
    bits = BitmapMasks(np.arange(30, dtype=np.uint8).reshape(2, 3, 5) % 2, 3, 5)
    boxes = HorizontalBoxes(torch.tensor([[0.0, 1, 2, 3], [1, 1, 4, 2]]))
    labels = torch.tensor([1, 0])
    sample.gt_instances = InstanceData(bboxes=boxes, labels=labels, masks=bits)
    shapes = PolygonMasks([[np.array([0.0, 0, 4, 0, 4, 2])]], 3, 5)
    sample.ignored_instances = InstanceData(masks=shapes)
    batch = dict(inputs=[torch.full((3, 3, 5), 9, dtype=torch.uint8)], data_samples=[sample])
    back = through_a_file(batch, tmp_path)
    assert torch.equal(back['inputs'][0], batch['inputs'][0])
    (one,) = back['data_samples']
    assert isinstance(one, DetDataSample) and one.img_id == 7 and one.ori_shape == (3, 5)
    assert one.scale_factor == (0.5, 2.0) and one.flip is False and one.nothing is None
    assert isinstance(one.matrix, np.ndarray) and (one.matrix == np.eye(3)).all()
    found = one.gt_instances
    assert isinstance(found.bboxes, HorizontalBoxes)
    assert torch.equal(found.bboxes.tensor, boxes.tensor) and torch.equal(found.labels, labels)
    assert (found.masks.masks == bits.masks).all() and (found.masks.height, found.masks.width) == (
        3,
        5,
    )
    (polygon,) = one.ignored_instances.masks.masks
    assert (polygon[0] == shapes.masks[0][0]).all()


def test_a_batch_of_mmseg(tmp_path):
    sample = SegDataSample(metainfo=dict(img_path='b.png', reduce_zero_label=True))
    sample.gt_sem_seg = PixelData(data=torch.arange(6).reshape(1, 2, 3))
    (one,) = through_a_file([sample], tmp_path)
    assert isinstance(one, SegDataSample) and one.reduce_zero_label is True
    assert torch.equal(one.gt_sem_seg.data, sample.gt_sem_seg.data)


@pytest.mark.parametrize('value', [object(), {1, 2}, np.array(['a']), lambda: 0])
def test_other_objects_are_not_stored(value):
    with pytest.raises(TypeError, match='cannot be stored as plain data'):
        to_plain(dict(inputs=[value]))


@pytest.mark.parametrize(
    'kind', ['os.system', 'mmengine.Config', 'mmdet.structures.mask.mask_target', 'subprocess.run']
)
def test_a_dump_calls_nothing_else(kind):
    with pytest.raises(RecipeError, match=f'an object of {kind}, which is no structure of mmeng'):
        from_plain([{KIND: kind, 'arguments': ['true']}])
