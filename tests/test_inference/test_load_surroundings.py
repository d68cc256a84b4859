# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""inference/load.py: code around a loaded model, such as a training, does not notice it."""

import os
import random
import sys
import warnings

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope

import mmconvnext
from mmconvnext.recipe.quiet import IDLE

IMAGE = np.random.default_rng(0).integers(0, 256, (30, 44, 3), np.uint8)


def surroundings() -> dict:
    """What a training depends on, in this process."""
    scope = DefaultScope.get_current_instance()
    backends = torch.backends
    return dict(
        scope=scope and scope.scope_name,
        scopes=[*DefaultScope._instance_dict],
        python=random.getstate(),
        numpy=[str(part) for part in np.random.get_state(legacy=False)['state'].items()],
        torch=torch.get_rng_state().tolist(),
        gradients=(torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        autocast=torch.is_autocast_enabled(),
        threads=(torch.get_num_threads(), torch.get_num_interop_threads(), cv2.getNumThreads()),
        cudnn=tuple(
            getattr(backends.cudnn, name)
            for name in ('enabled', 'benchmark', 'deterministic', 'allow_tf32')
        ),
        precision=torch.get_float32_matmul_precision(),
        deterministic=torch.are_deterministic_algorithms_enabled(),
        types=torch.get_default_dtype(),
        variables=dict(os.environ),
        folder=os.getcwd(),
        paths=[*sys.path],
        # mmengine reloads pkg_resources for each config with bases in other packages.
        warnings=[one for one in warnings.filters if one[2].__module__ != 'pkg_resources'],
    )


@pytest.fixture(params=['mmdet', 'mmseg'])
def training(request, monkeypatch):
    """A process whose settings are not the usual ones."""
    monkeypatch.setattr(torch.backends.cudnn, 'benchmark', True)
    with DefaultScope.overwrite_default_scope(request.param):
        yield


@pytest.mark.parametrize('kind', ['detector', 'segmentor', 'own data', 'augmented'])
def test_nothing_around_it_changes(kind, training, detector, segmentor, tmp_path):
    folder = segmentor if kind in ('segmentor', 'augmented') else detector
    config = next(folder.glob('*.py'))
    if kind == 'own data':  # which load applies
        lines = config.read_text().splitlines()
        config = tmp_path / 'my.py'
        config.write_text('\n'.join(line for line in lines if 'use_own_data' not in line))
    before = surroundings()
    model = mmconvnext.load(config, folder, device='cpu', score=0.05, tta=kind == 'augmented')
    assert surroundings() == before
    results = model.predict([IMAGE] * 3)
    next(results)
    assert surroundings() == before, 'between two images'
    results.close()
    model([IMAGE] * 2, batch=2)[0].draw()
    assert surroundings() == before


def test_a_training_goes_on_as_without_it(detector):
    def losses(each):
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Dropout(), torch.nn.Linear(4, 1))
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        for _ in range(3):
            loss = net(torch.rand(8, 4)).square().mean()
            each()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            yield loss.item()

    model = mmconvnext.load(detector, device='cpu')
    alone = [*losses(lambda: None)]
    assert alone == [*losses(lambda: model(IMAGE))]


def test_errors_leave_nothing_behind(detector, training):
    model = mmconvnext.load(detector, device='cpu')
    before = surroundings()
    for image in ('none.jpg', np.zeros((4, 5))):
        with pytest.raises(ValueError):
            model(image)
    with pytest.raises(ValueError, match='no test-time augmentation'):
        mmconvnext.load(detector, device='cpu', tta=True)
    assert surroundings() == before


def test_warnings_of_mmseg_that_nobody_can_act_on_stay_away(segmentor):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        mmconvnext.load(segmentor, device='cpu')
        from mmseg.models import CrossEntropyLoss

        assert not [one for one in caught if str(one.message).startswith(IDLE)]
        CrossEntropyLoss()  # the caller's own
    assert [one for one in caught if str(one.message).startswith('Default ``avg_non_ignore``')]
