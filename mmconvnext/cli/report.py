# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Pictures of a run: predictions beside the ground truth, and the learning curve."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib
import mmcv
import numpy as np
import torch
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from PIL import Image

from ..recipe.walk import task

SCORE = 0.5  # predictions below are not drawn; our choice
CURVES = ('loss', 'mAP', 'mIoU')  # what is drawn, in panels from left to right


@torch.no_grad()
def draw_predictions(runner: Runner, file: str | Path, num: int = 4) -> Path:
    """Draw the first ``num`` validation images into one PNG: truth on the left, model on the right.

    The runner must have validated once: validation gives the visualizer its class names.
    """
    runner.model.eval()
    rows = []
    for batch in runner.val_dataloader:
        for sample in runner.model.val_step(batch):
            # One by one: mmseg's visualizer keeps only the last drawing.
            sides = [_draw(runner, sample, truth) for truth in (True, False)]
            rows.append(np.concatenate(sides, axis=1))
            if len(rows) == num:
                return _stack(rows, Path(file))
    return _stack(rows, Path(file))


def draw_curve(work_dir: str | Path, file: str | Path) -> Path:
    """Plot loss and validation metrics of the newest run in ``work_dir`` over its iterations.

    Raises:
        FileNotFoundError: no run has logged there.
    """
    logs = sorted(Path(work_dir).glob('*/vis_data/scalars.json'))
    if not logs:
        raise FileNotFoundError(f'{work_dir} holds no run: no */vis_data/scalars.json')
    rows = [json.loads(line) for line in logs[-1].read_text().splitlines()]
    panels = {name: _series(rows, name) for name in CURVES}
    panels = {name: series for name, series in panels.items() if series}
    matplotlib.use('Agg')
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(panels), figsize=(6 * len(panels), 4), squeeze=False)
    for axis, (name, series) in zip(axes[0], panels.items()):
        for key, points in series.items():
            axis.plot(*zip(*points), marker='o' if len(points) < 30 else None, label=key)
        axis.set(xlabel='iteration', title=name)
        axis.grid(alpha=0.3)
        axis.legend()
    figure.tight_layout()
    figure.savefig(file, dpi=100)
    pyplot.close(figure)
    return Path(file)


def _series(rows: list[dict], name: str) -> dict[str, list[tuple[int, float]]]:
    """Points (iteration, value) of each logged quantity of a panel.

    mmdet's validation rows count epochs; each is drawn at the training iteration before it.
    """
    series: dict[str, list[tuple[int, float]]] = {}
    iteration = 0
    for row in rows:
        iteration = row.get('iter', iteration)
        for key, value in row.items():
            wanted = key == name if name == 'loss' else key.endswith(name)
            if wanted and value is not None and value >= 0:
                series.setdefault(key, []).append((iteration, value))
    return series


def _draw(runner: Runner, sample: BaseDataElement, truth: bool) -> np.ndarray:
    hook = runner.cfg.get('default_hooks', {}).get('visualization') or {}
    args = hook.get('backend_args')  # of own_data.bits and own_data.channels
    image = mmcv.imread(sample.img_path, channel_order='rgb', backend_args=args)
    runner.visualizer.add_datasample(
        'val', image, sample, draw_gt=truth, draw_pred=not truth, show=False, **_score(runner)
    )
    return np.asarray(runner.visualizer.get_image())


def _score(runner: Runner) -> dict:
    return dict(pred_score_thr=SCORE) if task(runner.cfg) == 'mmdet' else {}


def _stack(rows: list[np.ndarray], file: Path) -> Path:
    width = max(row.shape[1] for row in rows)
    rows = [np.pad(r, ((4, 4), (0, width - r.shape[1]), (0, 0)), constant_values=255) for r in rows]
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(rows)).save(file)
    return file
