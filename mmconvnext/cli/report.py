# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Pictures of a run: predictions beside the ground truth."""

from __future__ import annotations

from pathlib import Path

import mmcv
import numpy as np
import torch
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from PIL import Image

from ..recipe.walk import task

SCORE = 0.5  # predictions below are not drawn; our choice


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
