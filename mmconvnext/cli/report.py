# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Pictures of a run: predictions beside the ground truth, and the learning curve."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib
import mmcv
import numpy as np
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from PIL import Image

from ..draw import (
    Objects,
    as_picture,
    beside,
    draw_label_map,
    draw_objects,
    enlarge,
    fill_up,
    sheet,
    with_legend,
    with_title,
)
from ..recipe.walk import task

SCORE = 0.5  # predictions below are not drawn; our choice
LEAST_SIDE = 480  # pixels; small images are enlarged; our choice
CURVES = ('loss', 'mAP', 'mIoU')  # what is drawn, in panels from left to right


@torch.no_grad()
def draw_predictions(runner: Runner, file: str | Path, num: int = 4) -> Path:
    """Draw the first ``num`` validation images into one PNG: truth on the left, model on the right.

    Of a detector those predictions are drawn that have a score of ``SCORE`` or more, the best on
    top. The legend names the classes that are in the picture; each has one colour on both sides.
    """
    runner.model.eval()
    samples = []
    for batch in runner.val_dataloader:
        samples += runner.model.val_step(batch)
        if len(samples) >= num:
            break
    meta = runner.val_dataloader.dataset.metainfo
    colours = fill_up(meta.get('palette'), len(meta['classes']))
    sides = objects_of if task(runner.cfg) == 'mmdet' else label_maps_of
    rows, seen = [], set()
    for sample in samples[:num]:
        image, scale = enlarge(_load(runner.cfg, sample.img_path), LEAST_SIDE)
        pictures = []
        for title, content in zip(_titles(runner.cfg), sides(sample)):
            seen.update(_labels(content))
            pictures.append(with_title(_paint(image, content, scale, meta, colours), title))
        rows.append(beside(*pictures))
    shown = [label for label in range(len(colours)) if label in seen]
    names = [meta['classes'][label] for label in shown]
    picture = with_legend(sheet(rows, columns=1), names, [colours[label] for label in shown])
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(file)
    return file


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


def objects_of(sample: BaseDataElement) -> tuple[Objects, Objects]:
    """Truth and predictions of a sample of mmdet, in pixels of the image file."""
    truth, found = sample.gt_instances, sample.pred_instances
    found = Objects(
        found.bboxes.cpu().numpy(),
        found.labels.cpu().numpy(),
        found.scores.cpu().numpy(),
        found.masks.cpu().numpy() if 'masks' in found else None,
    )
    boxes = getattr(truth.bboxes, 'tensor', truth.bboxes).cpu().numpy()
    masks = None
    if 'masks' in truth and found.masks is not None:
        masks = truth.masks.to_ndarray().astype(bool)
    return Objects(boxes, truth.labels.cpu().numpy(), None, masks), found.at_least(SCORE)


def label_maps_of(sample: BaseDataElement) -> tuple[np.ndarray, np.ndarray]:
    """Truth and prediction of a sample of mmseg, (H, W) of the image file."""
    truth, found = sample.gt_sem_seg.data, sample.pred_sem_seg.data
    return truth[0].cpu().numpy(), found[0].cpu().numpy()


def _paint(
    image: np.ndarray, content: Objects | np.ndarray, scale: int, meta: dict, colours: list
) -> np.ndarray:
    """The enlarged image with the objects or the label map of the image as it was before."""
    if isinstance(content, Objects):
        return draw_objects(image, content.scaled(scale), meta['classes'], colours)
    return draw_label_map(image, content.repeat(scale, axis=0).repeat(scale, axis=1), colours)


def _labels(content: Objects | np.ndarray) -> list[int]:
    labels = content.labels if isinstance(content, Objects) else content
    return np.unique(labels).tolist()


def _titles(cfg: Config) -> tuple[str, str]:
    scores = f', scores from {SCORE:g}' if task(cfg) == 'mmdet' else ''
    return 'ground truth', f'predictions{scores}'


def _load(cfg: Config, file: str) -> np.ndarray:
    hook = cfg.get('default_hooks', {}).get('visualization') or {}
    args = hook.get('backend_args')  # of own_data.bits and own_data.channels
    return as_picture(mmcv.imread(file, channel_order='rgb', backend_args=args))
