# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/train.py --toy: other tools read the config that a rehearsal saves in the same way."""

import pytest
from mmengine.config import Config

from mmconvnext.toy import ADE_CLASSES, CLASSES


@pytest.fixture(params=['detector', 'segmentor'])
def left(request):
    """The run, and the config that it saved."""
    run = request.getfixturevalue(f'{request.param}_run')
    (file,) = run.work_dir.glob('*.py')
    return run, str(file)


def test_it_is_what_was_run(left):
    run, file = left
    assert Config.fromfile(file).to_dict() == run.runner.cfg.to_dict()


def test_a_detector_of_mmdet(detector_run, toy_root):
    from mmdet.apis import inference_detector, init_detector

    (file,) = detector_run.work_dir.glob('*.py')
    model = init_detector(str(file), detector_run.checkpoint, device='cpu')
    assert list(model.dataset_meta['classes']) == list(CLASSES)
    assert model.roi_head.bbox_head.num_classes == len(CLASSES)
    image = str(next((toy_root / 'coco/val2017').iterdir()))
    labels = inference_detector(model, image).pred_instances.labels.tolist()
    assert set(labels) <= set(range(len(CLASSES)))


def test_a_segmentor_of_mmseg(segmentor_run, toy_root):
    from mmseg.apis import inference_model, init_model

    (file,) = segmentor_run.work_dir.glob('*.py')
    model = init_model(str(file), segmentor_run.checkpoint, device='cpu')
    assert list(model.dataset_meta['classes']) == list(ADE_CLASSES)
    image = str(next((toy_root / 'ade/images/validation').iterdir()))
    ids = inference_model(model, image).pred_sem_seg.data.unique().tolist()
    assert set(ids) <= set(range(len(ADE_CLASSES)))
