# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What a model found in an image, in numpy, taken from the data samples of mmdet and mmseg."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..recipe.errors import RecipeError
from .patch import Patch

OFFSET = 1000  # a panoptic id of mmdet is class + 1000 * number (mmdet's INSTANCE_OFFSET)


class Detections(NamedTuple):
    """The objects of an image, its label map, or both (panoptic segmentation)."""

    boxes: np.ndarray  # (N, 4) float32: x1, y1, x2, y2 in pixels
    labels: np.ndarray  # (N,) int64
    scores: np.ndarray  # (N,) float32
    patches: list[Patch] | None  # of the N masks; None: the model predicts none
    label_map: np.ndarray | None  # (H, W) uint8 or uint16; None: the model predicts none
    has_objects: bool = True  # False: the model predicts a label map alone

    def take(self, chosen: Sequence[int]) -> Detections:
        """Those objects, in this order."""
        chosen = np.asarray(chosen, int)
        patches = None if self.patches is None else [self.patches[i] for i in chosen]
        return self._replace(
            boxes=self.boxes[chosen],
            labels=self.labels[chosen],
            scores=self.scores[chosen],
            patches=patches,
        )

    def moved(self, x: int, y: int) -> Detections:
        """The objects of a tile whose upper left corner is there in the image."""
        patches = self.patches and [patch.moved(x, y) for patch in self.patches]
        shift = np.float32([x, y, x, y])
        return self._replace(boxes=self.boxes + shift, patches=patches)


def ignored(classes: int) -> int:
    """The value of a label map for pixels without a class, which also tells its type."""
    return 255 if classes <= 255 else 65535


def detections(sample: object, score: float, classes: int) -> Detections:
    """What a data sample holds.

    Args:
        sample: mmdet's or mmseg's, with sizes of the original image.
        score: leave out objects with a lower score.
        classes: the number of classes.

    Raises:
        RecipeError: the model predicts something else, such as rotated boxes.
    """
    found, label_map = sample.get('pred_instances'), _label_map(sample, classes)
    if found is None and label_map is None:
        raise RecipeError(
            f'the model predicts {", ".join(sample.keys()) or "nothing"}; boxes, masks and label '
            'maps can be shown and written'
        )
    if found is None or 'bboxes' not in found:
        empty = np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32)
        return Detections(*empty, None, label_map, has_objects=False)
    boxes = getattr(found.bboxes, 'tensor', found.bboxes).float().cpu().numpy()
    if boxes.shape[1] != 4:
        raise RecipeError(f'boxes of {boxes.shape[1]} numbers: rotated boxes cannot be shown')
    scores = found.scores.float().cpu().numpy()
    order = np.argsort(-scores, kind='stable')
    # Untrained models may give boxes that are no numbers.
    order = order[(scores[order] >= score) & np.isfinite(boxes[order]).all(1)]
    return Detections(
        boxes=boxes[order],
        labels=found.labels.cpu().numpy().astype(np.int64)[order],
        scores=scores[order],
        patches=_patches(found.masks, order) if 'masks' in found else None,
        label_map=label_map,
    )


def _patches(masks: object, order: np.ndarray) -> list[Patch]:
    if hasattr(masks, 'to_ndarray'):  # mmdet's BitmapMasks
        masks = masks.to_ndarray()
    return [
        Patch.cut(np.asarray(masks[i].cpu() if hasattr(masks, 'cpu') else masks[i])) for i in order
    ]


def _label_map(sample: object, classes: int) -> np.ndarray | None:
    semantic, panoptic = sample.get('pred_sem_seg'), sample.get('pred_panoptic_seg')
    if semantic is not None and 'data' in semantic:
        labels = semantic.data
    elif panoptic is not None and 'sem_seg' in panoptic:
        labels = panoptic.sem_seg % OFFSET
    elif semantic is not None and 'sem_seg' in semantic:
        labels = semantic.sem_seg
    else:
        return None
    labels = labels.cpu().numpy()
    labels = labels.reshape(labels.shape[-2:])
    none = ignored(classes)
    kind = np.uint8 if none == 255 else np.uint16
    return np.where((labels >= 0) & (labels < classes), labels, none).astype(kind)
