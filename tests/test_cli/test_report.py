# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/report.py: the curve and the predictions of a run are drawn, with the right content."""

import json
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
from mmconvnext.cli.report import draw_curve, draw_predictions


def write_log(folder, rows):
    file = folder / 'vis_data/scalars.json'
    file.parent.mkdir(parents=True)
    file.write_text('\n'.join(map(json.dumps, rows)) + '\n')


@pytest.fixture
def drawn(monkeypatch):
    """(title, [label, ...], [points, ...]) of the panels of the figure that is saved."""
    from matplotlib.figure import Figure

    panels = []
    save = Figure.savefig

    def keep(figure, *args, **kwargs):
        for axis in figure.axes:
            assert axis.get_legend(), 'without names of the lines'
            lines = {line.get_label(): line.get_xydata().tolist() for line in axis.lines}
            panels.append((axis.get_title(), lines))
        return save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, 'savefig', keep)
    return panels


def test_curve_of_a_detector(tmp_path, drawn):
    write_log(
        tmp_path / '20250101_000000',
        [
            dict(loss=3.0, loss_cls=1.0, lr=0.1, epoch=1, iter=10),
            dict(loss=2.0, loss_cls=0.5, lr=0.1, epoch=1, iter=20),
            {
                'coco/none_mAP': -1.0,
                'coco/bbox_mAP': 0.25,
                'coco/bbox_mAP_50': 0.5,
                'coco/segm_mAP': 0.2,
                'step': 1,
            },
            dict(loss=1.0, loss_cls=0.2, lr=0.1, epoch=2, iter=40),
            {'coco/bbox_mAP': 0.0, 'coco/small_mAP': -1.0, 'coco/segm_mAP': 0.4, 'step': 2},
        ],
    )
    file = draw_curve(tmp_path, tmp_path / 'curve.png')
    assert file == tmp_path / 'curve.png'
    assert drawn == [
        ('loss', {'loss': [[10, 3.0], [20, 2.0], [40, 1.0]]}),
        (
            'mAP',
            {
                'coco/bbox_mAP': [[20, 0.25], [40, 0.0]],
                'coco/segm_mAP': [[20, 0.2], [40, 0.4]],
            },
        ),
    ]
    with Image.open(file) as image:
        assert image.size == (1200, 400)


def test_curve_of_a_segmentor(tmp_path, drawn):
    write_log(
        tmp_path / '20250101_000000',
        [
            dict(loss=3.0, lr=0.1, iter=50, step=50),
            dict(mIoU=12.5, aAcc=50.0, step=50),
            dict(mIoU=None, step=50),
        ],
    )
    draw_curve(str(tmp_path), str(tmp_path / 'curve.png'))
    assert drawn == [('loss', {'loss': [[50, 3.0]]}), ('mIoU', {'mIoU': [[50, 12.5]]})]


def test_validation_before_training_is_drawn_at_zero(tmp_path, drawn):
    write_log(tmp_path / '20250101_000000', [dict(mIoU=2.5, step=0), dict(loss=3.0, iter=50)])
    draw_curve(tmp_path, tmp_path / 'curve.png')
    assert drawn == [('loss', {'loss': [[50, 3.0]]}), ('mIoU', {'mIoU': [[0, 2.5]]})]


def test_no_window_is_opened(tmp_path, monkeypatch):
    import matplotlib

    chosen = []
    monkeypatch.setattr(matplotlib, 'use', chosen.append)
    write_log(tmp_path / '20250101_000000', [dict(loss=3.0, iter=1)])
    draw_curve(tmp_path, tmp_path / 'curve.png')
    assert chosen == ['Agg'] and not matplotlib.pyplot.get_fignums()


def test_the_newest_run_is_drawn(tmp_path, drawn):
    write_log(tmp_path / '20250101_000000', [dict(loss=3.0, iter=1)])
    write_log(tmp_path / '20250102_000000', [dict(loss=2.0, iter=2)])
    draw_curve(tmp_path, tmp_path / 'curve.png')
    assert drawn == [('loss', {'loss': [[2, 2.0]]})]


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(FileNotFoundError, match='holds no run'):
        draw_curve(tmp_path, tmp_path / 'curve.png')
    assert not (tmp_path / 'curve.png').exists()


def test_curve_of_a_real_run(segmentor_run, tmp_path, drawn):
    draw_curve(segmentor_run.work_dir, tmp_path / 'curve.png')
    assert [title for title, _ in drawn] == ['loss', 'mIoU']
    assert [point[0] for point in drawn[0][1]['loss']] == [1, 2]
    assert drawn[1][1]['mIoU'][0][0] == 2


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
