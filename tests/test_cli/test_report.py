# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/report.py: the predictions of a run are drawn, with the right content."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmconvnext.cli import report
from mmconvnext.cli.report import draw_predictions


@pytest.mark.parametrize('num, rows', [(2, 2), (9, 3)])
@pytest.mark.parametrize('kind', ['detector', 'segmentor'])
def test_predictions_beside_the_truth(request, tmp_path, monkeypatch, kind, num, rows):
    monkeypatch.setattr(report, 'SCORE', 0)  # two iterations make no confident prediction
    run = request.getfixturevalue(f'{kind}_run')
    file = draw_predictions(run.runner, tmp_path / 'new' / 'predictions.png', num)
    with Image.open(file) as image:
        picture = np.asarray(image)
    assert picture.shape == (rows * (96 + 8), 2 * 96, 3)
    first = picture[4:100]
    assert (first[:, :96] != first[:, 96:]).any()  # truth and prediction differ after 2 iterations


@pytest.mark.parametrize('scope', ['mmdet', 'mmseg'])
def test_truth_is_on_the_left_and_weak_predictions_are_left_out(tmp_path, scope):
    """Of the first four images, one by one, in their colours."""
    file, drawn = tmp_path / 'my image.png', []
    Image.new('RGB', (6, 3), (200, 100, 0)).save(file)

    class Visualizer:
        def add_datasample(self, name, image, sample, draw_gt, draw_pred, show, **options):
            assert draw_gt != draw_pred and not show
            assert image[0, 0].tolist() == [200, 100, 0]
            drawn.append((draw_gt, options))

        def get_image(self):
            return np.full((3, 6, 3), 50 if drawn[-1][0] else 150, np.uint8)

    model = torch.nn.Linear(1, 1).train()
    model.val_step = lambda batch: [SimpleNamespace(img_path=str(file))] * batch
    runner = SimpleNamespace(
        model=model,
        val_dataloader=[2, 1, 2, 9],
        visualizer=Visualizer(),
        cfg=Config(dict(default_scope=scope)),
    )
    picture = np.asarray(Image.open(draw_predictions(runner, tmp_path / 'a.png')))
    assert picture.shape == (4 * (3 + 8), 12, 3) and not model.training
    assert (picture[4:7, :6] == 50).all() and (picture[4:7, 6:] == 150).all()
    options = dict(pred_score_thr=0.5) if scope == 'mmdet' else {}
    assert drawn == [(True, options), (False, options)] * 4


def test_rows_of_different_widths_are_padded_white(tmp_path):
    rows = [np.zeros((10, 20, 3), np.uint8), np.zeros((5, 30, 3), np.uint8)]
    with Image.open(report._stack(rows, tmp_path / 'a.png')) as image:
        picture = np.asarray(image)
    assert picture.shape == (10 + 5 + 16, 30, 3)
    assert (picture[4:14, :20] == 0).all() and (picture[4:14, 20:] == 255).all()
    assert (picture[:4] == 255).all() and (picture[22:27] == 0).all()


def test_images_are_drawn_as_they_are_loaded(tmp_path):
    """12-bit values as bright as the model sees them, through the backend of the drawing hook."""
    from mmconvnext.recipe import load_image  # noqa: F401, registers it, as a dataset does

    Image.new('I;16', (6, 3), 4095).save(tmp_path / 'a.png')
    seen = []
    visualizer = SimpleNamespace(
        add_datasample=lambda name, image, *args, **kwargs: seen.append(image[0, 0].tolist()),
        get_image=lambda: np.zeros((3, 6, 3), np.uint8),
    )
    hooks = dict(visualization=dict(backend_args=dict(backend='mmconvnext.Picture', bits=12)))
    for cfg in (dict(default_hooks=hooks), {}):
        runner = SimpleNamespace(
            visualizer=visualizer, cfg=Config(dict(default_scope='mmseg', **cfg))
        )
        report._draw(runner, SimpleNamespace(img_path=str(tmp_path / 'a.png')), True)
    assert seen == [[255] * 3, [15] * 3]
