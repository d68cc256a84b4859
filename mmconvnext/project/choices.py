# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Facts about data to settings, each with its reason. Every number here is our choice."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt
from typing import NamedTuple

import numpy as np

from ..arch import ARCHS
from ..checkpoint import zoo
from .survey import Survey

# ImageNet-1K weights of V1 for each size, where there are some: Meta's, or timm's (small sizes).
WEIGHTS = {
    'atto': 'timm/convnext_atto.d2_in1k',
    'femto': 'timm/convnext_femto.d1_in1k',
    'pico': 'timm/convnext_pico.d1_in1k',
    'nano': 'timm/convnext_nano.d1h_in1k',
    'tiny': 'convnext-tiny_in1k',
    'small': 'convnext-small_in1k',
    'base': 'convnext-base_in1k',
    'large': 'convnext-large_in1k_ema',
    'xlarge': 'convnext-xlarge_in21k',
}
DEFAULT_SIZE = dict(cpu='atto', gpu='tiny')
DROP_PATH = dict(small=0.3, base=0.4, large=0.5, xlarge=0.5)  # smaller sizes as their bases
STRIDES = (4, 8, 16, 32, 64)  # of the maps on which RPN has anchors
SCALES = (8, 4, 2)  # of anchors, in strides: 8 is mmdet's
RATIOS = ((0.5, 1.0, 2.0), (0.25, 0.5, 1.0, 2.0, 4.0))  # height to width; the first is mmdet's
GAIN = 0.05  # mean overlap with the nearest anchor by which others must be better
SAMPLE = 20_000  # objects whose anchors are looked at
SMALL = 16  # pixels of an object below which a larger image is worth its time
TINY = 8  # pixels of an object that a detector hardly finds
# Iterations at least, and epochs at least: small data need the first, large data the second.
LEAST = {
    ('cpu', 'objects'): (1800, 12),
    ('gpu', 'objects'): (3000, 12),
    ('cpu', 'maps'): (1000, 20),
    ('gpu', 'maps'): (4000, 60),
}
MOST_ITERATIONS = 160_000  # of label maps; ADE20K's published schedule
VALIDATIONS = 10  # in a run
# CPU seconds of an iteration of the CPU bases, with atto, on one core of an AMD EPYC.
SECONDS = dict(det=0.5, instance=0.7, semantic=0.45)
BACKBONE = 0.25  # of that time, by a detector with nano, which takes 1.8 times as long
CORES = 1.6  # how much faster two cores are


class Choice(NamedTuple):
    """A value and why it was chosen."""

    value: object
    why: str


@dataclass(frozen=True)
class Plan:
    """All choices for one config."""

    task: str  # 'det', 'instance', 'semantic'
    device: str  # 'cpu', 'gpu'
    size: str
    weights: Choice  # name, or '' for random
    side: Choice  # pixels: the longer side for objects, the shorter for label maps
    batch: Choice
    lr: Choice
    iterations: int
    epochs: Choice
    anchors: Choice | None = None  # (scale, ratios)
    detections: Choice | None = None

    @property
    def is_random(self) -> bool:
        return not self.weights.value

    @property
    def minutes(self) -> float | None:
        """How long a run may take on 2 cores; None on a GPU, which was not measured."""
        if self.device == 'gpu':
            return None
        pixels = 1.0 if self.task == 'semantic' else (self.side.value / 256) ** 2
        heads_and_backbone = 1 - BACKBONE + BACKBONE * work_of(self.size) / work_of('atto')
        seconds = SECONDS[self.task] * pixels * heads_and_backbone * self.iterations
        return seconds * self.batch.value / (4 if self.task == 'semantic' else 2) / CORES / 60


def plan(survey: Survey, task: str, device: str, size: str, weights: Choice) -> Plan:
    """Choose everything for data that were surveyed."""
    side = short_side(survey, device) if task == 'semantic' else long_side(survey, device)
    batch = batch_size(survey, task, device, size, side.value)
    iterations, epochs = schedule(survey, task, device, batch.value)
    boxes = {}
    if task != 'semantic':
        boxes = dict(anchors=anchors(survey, side.value), detections=detections(survey))
    return Plan(
        task=task,
        device=device,
        size=size,
        weights=weights,
        side=side,
        batch=batch,
        lr=learning_rate(task, device, batch.value, not weights.value),
        iterations=iterations,
        epochs=epochs,
        **boxes,
    )


def pretrained(size: str) -> Choice:
    """The published weights of a size."""
    row = zoo.find(WEIGHTS[size])
    return Choice(
        row.name,
        f'ImageNet weights of {row.source}, licence {row.licence}, {row.mb:.0f} MB, downloaded '
        'once (tools/list_weights.py lists others)',
    )


def random(silent: str = '') -> Choice:
    """No weights, maybe because the host ``silent``, which has them, did not answer."""
    why = f', because {silent} did not answer' * bool(silent)
    way = ', once it answers or the file is in the cache' * bool(silent)
    return Choice('', f'random{why}; --pretrained starts from ImageNet weights{way}')


def long_side(survey: Survey, device: str) -> Choice:
    """The longer side of the images for a detector, in pixels, a multiple of 32."""
    native = survey.long_side
    low = _percentile(survey.objects_at(native), 10)
    grow = min(2.0, max(1.0, SMALL / max(low, 1))) if device == 'gpu' else 1.0
    least, most = (512, 1344) if device == 'gpu' else (256, 512)
    side = min(most, max(least, _by_32(native * grow)))
    how = _change(native, side, ', because time and memory grow with the pixels')
    why = f'the longer side is {native} pixels (median), {how}; 90 % of the objects are then over '
    why += f'{low * side / native:.0f} pixels'
    if low * side / native < TINY:
        why += ', which is tiny: cut the images into tiles, or take a larger scale'
    return Choice(side, why)


def short_side(survey: Survey, device: str) -> Choice:
    """The shorter side of the images for a segmentor, in pixels, a multiple of 32."""
    native = survey.short_side
    least, most = (512, 1024) if device == 'gpu' else (256, 512)
    side = min(most, max(least, _by_32(native)))
    why = f'the shorter side is {native} pixels (median), {_change(native, side)}; '
    return Choice(side, why + f'crops of {crop_of(device)} pixels are learnt')


def crop_of(device: str) -> int:
    """The side of the crops that a segmentor learns from, in pixels: that of its base."""
    return 512 if device == 'gpu' else 256


def anchors(survey: Survey, side: int) -> Choice:
    """The scale and the ratios of anchors that overlap the objects best."""
    shapes = survey.objects_at(side)[:: max(1, len(survey.objects) // SAMPLE)]
    overlap = {(s, r): mean_overlap(shapes, s, r) for s in SCALES for r in RATIOS}
    best = (SCALES[0], RATIOS[0])
    for candidate in ((s, r) for r in RATIOS for s in SCALES):
        if overlap[candidate] > overlap[best] + GAIN:
            best = candidate
    low, high = _percentile(shapes, 5), _percentile(shapes, 95)
    why = (
        f'objects measure {low:.0f} to {high:.0f} pixels (square root of the area, 5th to 95th '
        f'percentile), so anchors begin at {best[0] * STRIDES[0]} pixels'
    )
    usual = (SCALES[0], RATIOS[0])
    if best[1] != RATIOS[0]:
        why += ', and are up to four times as long as wide'
    why += f'; the nearest anchor overlaps an object by {overlap[best]:.2f} (mean IoU)'
    why += f", with mmdet's own anchors by {overlap[usual]:.2f}" * (best != usual)
    return Choice(best, why)


def mean_overlap(shapes: np.ndarray, scale: int, ratios: tuple[float, ...]) -> float:
    """The mean IoU of objects (M, 2), in pixels, with the anchor of the same centre that fits best.

    The ratios are height to width, at the same area, as in mmdet.
    """
    sides = scale * np.array(STRIDES, float)[:, None]
    roots = np.sqrt(np.array(ratios))
    widths, heights = (sides / roots).ravel(), (sides * roots).ravel()
    w, h = shapes[:, :1], shapes[:, 1:]
    shared = np.minimum(w, widths) * np.minimum(h, heights)
    return float((shared / (w * h + widths * heights - shared)).max(1).mean())


def detections(survey: Survey) -> Choice:
    """How many objects of an image are kept."""
    most = int(survey.crowding.max())
    kept = min(1000, max(100, 100 * ceil(1.25 * most / 100)))
    return Choice(kept, f'an image has up to {most} objects, so up to {kept} detections are kept')


def batch_size(survey: Survey, task: str, device: str, size: str, side: int) -> Choice:
    """Images in an iteration."""
    if device == 'cpu':
        batch, why = (4 if task == 'semantic' else 2), 'the batch of the base'
    else:
        pixels = crop_of(device) if task == 'semantic' else side
        batch = 8 if pixels < 700 else 4 if pixels < 1000 else 2
        if size in DROP_PATH:
            batch = max(1, batch // 2)
        why = f'for {size} with {pixels} pixels on a GPU of 16 GB; raise it if yours has more'
    if survey.images < batch:
        batch, why = survey.images, 'all images'
    return Choice(batch, why)


def learning_rate(task: str, device: str, batch: int, is_random: bool) -> Choice:
    """AdamW's learning rate, and the factor by which earlier layers get less."""
    if device == 'gpu':  # the published 1e-4 is for 16 images
        lr = float(f'{1e-4 * sqrt(batch / 16):.1e}')
        why = f"the recipe's 1e-4 for 16 images, by the square root of the batch for {batch}"
    else:
        lr, why = (1e-3, 6e-4)[task != 'semantic'], 'the rate of the base'
        if not is_random:
            lr, why = round(lr / 2, 6), 'half of what random weights take, not measured'
    # As published for UPerNet; for detectors the paper's files have 0.7 to 0.95.
    decay = 1.0 if is_random else 0.9 if task == 'semantic' else 0.8
    why += (
        '; all layers are new, so all get it'
        if is_random
        else ('; pretrained layers get less, the earlier the less')
    )
    return Choice((lr, decay), why)


def schedule(survey: Survey, task: str, device: str, batch: int) -> tuple[int, Choice]:
    """Iterations, and the epochs that they are."""
    kind = 'maps' if task == 'semantic' else 'objects'
    least, epochs = LEAST[device, kind]
    an_epoch = max(1, ceil(survey.images / batch))
    iterations = max(least, epochs * an_epoch)
    by = f'{epochs} epochs' if iterations > least else f'at least {least} iterations'
    if kind == 'maps' and iterations > MOST_ITERATIONS:
        iterations, by = MOST_ITERATIONS, f'at most {MOST_ITERATIONS} iterations'
    count = max(1, round(iterations / an_epoch))
    iterations = iterations if kind == 'maps' else count * an_epoch
    why = f'{survey.images} images are {an_epoch} iterations an epoch; {by}'
    return iterations, Choice(count, why)


def work_of(size: str) -> float:
    """The work of a backbone, in arbitrary units: blocks by the square of their channels."""
    arch = ARCHS[size]
    return sum(d * c**2 / 4**i for i, (d, c) in enumerate(zip(arch.depths, arch.channels)))


def _percentile(shapes: np.ndarray, percent: float) -> float:
    """Of the side of a square as large as each object, in pixels."""
    return float(np.percentile(np.sqrt(shapes.prod(1)), percent))


def _change(native: int, side: int, why: str = '') -> str:
    if abs(side - native) <= 16:
        return 'kept' if side == native else f'rounded to {side}'
    return f'enlarged to {side}' if side > native else f'reduced to {side}{why}'


def _by_32(pixels: float) -> int:
    return max(32, 32 * round(pixels / 32))
