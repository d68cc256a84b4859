# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/report.py: the predictions of a run are drawn, with the right content."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.config import Config
from mmengine.structures import InstanceData
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
    side, title, gap, line = 5 * 96, 26, 8, 30  # images of 96 pixels, enlarged to 480
    height = rows * (title + side + gap) - gap + line
    assert picture.shape == (height, 2 * side + gap, 3)
    first = picture[title : title + side]
    assert (first[:, :side] != first[:, side + gap :]).any()  # they differ after 2 iterations


def test_truth_and_predictions_of_a_detector(tmp_path):
    """Boxes and masks of the file's pixels, without weak predictions, best first."""
    masks = BitmapMasks(np.eye(2)[:, None].repeat(3, 1), 3, 2)
    truth = InstanceData(bboxes=HorizontalBoxes([[0, 0, 2, 1]]), labels=torch.tensor([1]))
    found = InstanceData(
        bboxes=torch.tensor([[0.0, 0, 1, 1], [1, 1, 2, 2], [1, 0, 2, 2]]),
        labels=torch.tensor([2, 0, 1]),
        scores=torch.tensor([0.5, 0.49, 0.9]),
    )
    sample = SimpleNamespace(gt_instances=truth, pred_instances=found)
    left, right = report.objects_of(sample)
    assert left.boxes.tolist() == [[0, 0, 2, 1]] and left.labels.tolist() == [1]
    assert left.scores is None and left.masks is None
    assert right.labels.tolist() == [1, 2] and right.boxes[0].tolist() == [1, 0, 2, 2]
    truth.masks = masks[:1]
    assert report.objects_of(sample)[0].masks is None  # a detector of boxes
    found.masks = torch.tensor([[[1, 0]] * 3, [[0, 0]] * 3, [[0, 1]] * 3]).bool()
    left, right = report.objects_of(sample)
    assert left.masks.tolist() == [[[True, False]] * 3]
    assert right.masks.tolist() == [[[False, True]] * 3, [[True, False]] * 3]
    truth.masks = PolygonMasks([[np.array([0, 0, 1, 0, 1, 3, 0, 3.0])]], 3, 2)
    assert report.objects_of(sample)[0].masks.shape == (1, 3, 2)


def test_the_first_images_are_drawn_with_a_legend_of_what_is_in_them(tmp_path, monkeypatch):
    file, legends = tmp_path / 'my image.png', []
    Image.new('RGB', (600, 500), (200, 100, 0)).save(file)
    monkeypatch.setattr(
        report, 'with_legend', lambda picture, *rest: legends.append(rest) or picture
    )
    truth, found = torch.full((1, 500, 600), 255), torch.zeros(1, 500, 600, dtype=torch.long)
    found[:, :, 300:] = 2
    sample = SimpleNamespace(
        img_path=str(file),
        gt_sem_seg=SimpleNamespace(data=truth),
        pred_sem_seg=SimpleNamespace(data=found),
    )
    model = torch.nn.Linear(1, 1).train()
    model.val_step = lambda batch: [sample] * batch

    class Loader(list):
        dataset = SimpleNamespace(
            metainfo=dict(classes=('a', 'b', 'c'), palette=[[0, 0, 0], [9, 9, 9], [200, 255, 0]])
        )

    runner = SimpleNamespace(
        model=model,
        val_dataloader=Loader([2, 1, 2, 9]),
        cfg=Config(dict(default_scope='mmseg')),
    )
    picture = np.asarray(Image.open(draw_predictions(runner, tmp_path / 'a.png')))
    assert picture.shape == (4 * (26 + 500 + 8) - 8, 600 + 8 + 600, 3) and not model.training
    assert legends == [(['a', 'c'], [(0, 0, 0), (200, 255, 0)])]
    assert picture[100, 100].tolist() == [200, 100, 0]  # truth on the left: no class
    assert picture[100, 608 + 100].tolist() == [90, 45, 0]
    assert picture[100, 608 + 500].tolist() == [200, 185, 0]


def test_images_are_drawn_as_they_are_loaded(tmp_path):
    """12-bit values as bright as the model sees them, through the backend of the drawing hook."""
    from mmconvnext.recipe import load_image  # noqa: F401, registers it, as a dataset does

    Image.new('I;16', (6, 3), 4095).save(tmp_path / 'a.png')
    hooks = dict(visualization=dict(backend_args=dict(backend='mmconvnext.Picture', bits=12)))
    loaded = [
        report._load(Config(cfg), str(tmp_path / 'a.png'))
        for cfg in (dict(default_hooks=hooks), {})
    ]
    assert [image[0, 0].tolist() for image in loaded] == [[255] * 3, [15] * 3]
