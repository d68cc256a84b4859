# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""A picture of a run: predictions beside the ground truth."""

from __future__ import annotations

from pathlib import Path

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
    with_titles,
)
from ..recipe.walk import task

# Predictions below are not drawn; our choice: higher than elsewhere, as minutes of training leave
# many boxes between the default of 0.3 and this.
SCORE = 0.5
LEAST_SIDE = 480  # pixels; small images are enlarged; our choice


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
        for content in sides(sample):
            seen.update(_labels(content))
            pictures.append(_paint(image, content, scale, meta, colours))
        rows.append(beside(*with_titles(pictures, _titles(runner.cfg))))
    shown = [label for label in range(len(colours)) if label in seen]
    names = [meta['classes'][label] for label in shown]
    picture = with_legend(sheet(rows, columns=1), names, [colours[label] for label in shown])
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(file)
    return file


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
    labels = content.repeat(scale, axis=0).repeat(scale, axis=1)
    return draw_label_map(image, labels, colours, classes=meta['classes'])


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
