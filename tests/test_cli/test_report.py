# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/report.py: the curve and the predictions of a run are drawn, with the right content."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
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
