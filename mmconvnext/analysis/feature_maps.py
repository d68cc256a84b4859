# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What the stages of a backbone make of an image, as pictures.

Every map is drawn as large as the image, a cell of the map as a block of pixels. Two views:

- principal components: at each place the map has C values; their first three principal components
  over the image are shown as red, green and blue. Places that the network sees alike have like
  colours; the colours of two stages have nothing to do with each other.
- strength: the mean absolute value over the channels. (The mean itself says little, because the
  norm at the end of a stage makes it nearly the same everywhere.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib import colormaps
from mmengine.dataset import pseudo_collate

from ..draw import as_picture, sheet, with_title
from ..draw.layout import fit
from ..inference import Model
from ..inference.scope import in_scope
from ..recipe.errors import RecipeError

CELL = 400  # long side of a picture in pixels; our choice
NARROWEST = 230  # room for a title; our choice
CHANNELS = 16
DARKEST, BRIGHTEST = 1, 99  # percentiles of the values of a map; our choice


class Stage(NamedTuple):
    """The feature map of a stage."""

    index: int
    values: np.ndarray  # (C, H, W) float32, without the cells of padding
    stride: tuple[float, float]  # pixels of the network's input for a cell, down and across
    shape: tuple[int, int, int]  # of the map, with padding

    def title(self) -> list[str]:
        channels, height, width = self.shape
        down, across = (round(number, 1) for number in self.stride)
        stride = f'{down:g}' if down == across else f'{down:g} x {across:g}'
        bad = 1 - np.isfinite(self.values).mean()
        size = f'{channels} channels, {height} x {width}' + (
            f', {bad:.0%} NaN or inf' if bad else ''
        )
        return [f'stage {self.index}, stride {stride}', size]


class Features(NamedTuple):
    """An image, as the network gets it, and its feature maps."""

    image: np.ndarray  # (H, W, 3) uint8 in RGB
    stages: list[Stage]


def feature_maps(model: Model, image: object) -> Features:
    """The maps that the backbone returns for an image (see Model for what that may be).

    Raises:
        RecipeError: it is no image, or the model has no backbone that returns maps.
    """
    try:
        data = model.pipeline.pack(model.pipeline.load(image))
    except ValueError as error:
        raise RecipeError(str(error)) from error
    if not hasattr(model.net, 'backbone'):
        raise RecipeError(f'{type(model.net).__name__} has no backbone')
    with in_scope(model.scope), torch.no_grad():
        batch = model.net.data_preprocessor(pseudo_collate([data]), False)
        maps = model.net.backbone(batch['inputs'])
    maps = [maps] if isinstance(maps, torch.Tensor) else list(maps)
    if not maps or any(not isinstance(m, torch.Tensor) or m.ndim != 4 for m in maps):
        raise RecipeError(
            f'{type(model.net.backbone).__name__} returns no feature maps (N, C, H, W), so there '
            'is nothing to draw'
        )
    pixels = data['inputs'].numpy().transpose(1, 2, 0)
    padded = batch['inputs'].shape[2:]
    stages = [_stage(index, m[0], pixels.shape[:2], padded) for index, m in enumerate(maps)]
    return Features(as_picture(pixels[..., 2::-1] if pixels.shape[2] >= 3 else pixels), stages)


def _stage(index: int, values: torch.Tensor, image: Sequence[int], padded: Sequence[int]) -> Stage:
    shape = tuple(values.shape)
    stride = padded[0] / shape[1], padded[1] / shape[2]
    rows, columns = (math.ceil(side / step) for side, step in zip(image, stride))
    return Stage(index, values[:, :rows, :columns].float().cpu().numpy(), stride, shape)


def draw_overview(features: Features) -> np.ndarray:
    """The image and the principal components of all stages in a row, their strengths below."""
    stages = features.stages
    above = [_titled(fit(features.image, CELL), _about(features.image))]
    below = [_titled(np.full_like(fit(features.image, CELL), 255), [])]
    for stage in stages:
        above.append(_titled(components(stage.values, *_cells(features, stage)), stage.title()))
        below.append(_titled(strength(stage.values, *_cells(features, stage)), ['mean strength']))
    return sheet(above + below, len(stages) + 1)


def draw_components(features: Features) -> np.ndarray:
    """The image and the principal components of the stages in a row."""
    pictures = [_titled(fit(features.image, CELL), _about(features.image))]
    for stage in features.stages:
        pictures.append(_titled(components(stage.values, *_cells(features, stage)), stage.title()))
    return sheet(pictures, len(pictures))


def draw_channels(features: Features, count: int = CHANNELS) -> np.ndarray:
    """A row for each stage: its ``count`` channels that vary most over the image."""
    pictures = []
    columns = min(count, max(len(stage.values) for stage in features.stages)) + 1
    for stage in features.stages:
        row = [_titled(fit(features.image, CELL // 2), stage.title())]
        rows, across = _cells(features, stage, CELL // 2)
        for channel in strongest(stage.values, count):
            values = stage.values[channel][rows][:, across]
            row.append(_titled(coloured(values, 'viridis'), ['', f'channel {channel}']))
        blank = np.full((1, 1, 3), 255, np.uint8)
        pictures += row + [blank] * (columns - len(row))
    return sheet(pictures, columns)


def components(values: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The first three principal components of a map (C, H, W) as a picture in RGB.

    ``rows`` and ``columns`` are those of the map that each row and column of the picture shows.
    """
    flat = finite(values).reshape(len(values), -1).astype(np.float64)
    flat = flat - flat.mean(axis=1, keepdims=True)
    _, vectors = np.linalg.eigh(flat @ flat.T)  # least variance first
    vectors = vectors[:, ::-1][:, :3]
    # An eigenvector may have either sign: let its largest entry be positive.
    largest = np.abs(vectors).argmax(axis=0)
    vectors = vectors * np.sign(vectors[largest, np.arange(vectors.shape[1])])
    found = np.zeros((3, *values.shape[1:]))
    found[: vectors.shape[1]] = (vectors.T @ flat).reshape(-1, *values.shape[1:])
    picture = np.stack([stretched(part) for part in found], axis=-1)
    return (255 * picture).round().astype(np.uint8)[rows][:, columns]


def strength(values: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The mean absolute value over the channels of a map (C, H, W) as a picture."""
    return coloured(np.abs(finite(values)).mean(axis=0)[rows][:, columns], 'inferno')


def strongest(values: np.ndarray, count: int) -> list[int]:
    """The channels of a map (C, H, W) whose values vary most over the image, most first."""
    spread = finite(values).reshape(len(values), -1).std(axis=1)
    return np.argsort(-spread, kind='stable')[:count].tolist()


def coloured(values: np.ndarray, colours: str) -> np.ndarray:
    """Values (H, W) as a picture in one of matplotlib's colour maps."""
    return (255 * colormaps[colours](stretched(values))[..., :3]).round().astype(np.uint8)


def stretched(values: np.ndarray) -> np.ndarray:
    """Values from 0 to 1 between the darkest and the brightest percentile; 0.5 if all are equal."""
    values = finite(values)
    low, high = np.percentile(values, (DARKEST, BRIGHTEST))
    if high <= low:
        low, high = values.min(), values.max()
    if high <= low:
        return np.full(values.shape, 0.5)
    return ((values - low) / (high - low)).clip(0, 1)


def finite(values: np.ndarray) -> np.ndarray:
    """The values with 0 in place of nan and infinity; titles tell of these."""
    return np.nan_to_num(values, posinf=0, neginf=0)


def _cells(features: Features, stage: Stage, side: int = CELL) -> tuple[np.ndarray, np.ndarray]:
    """For each row and column of a picture of the image, the row or column of the map."""
    height, width = features.image.shape[:2]
    scale = side / max(height, width)
    found = []
    for length, stride, cells in zip((height, width), stage.stride, stage.values.shape[1:]):
        pixels = (np.arange(max(1, round(scale * length))) + 0.5) / scale
        found.append((pixels / stride).astype(int).clip(0, cells - 1))
    return tuple(found)


def _about(image: np.ndarray) -> list[str]:
    return ['image', f'{image.shape[0]} x {image.shape[1]} pixels']


def _titled(picture: np.ndarray, lines: Sequence[str]) -> np.ndarray:
    missing = NARROWEST - picture.shape[1]
    if missing > 0:
        picture = np.pad(picture, ((0, 0), (0, missing), (0, 0)), constant_values=255)
    for line in reversed(lines):
        picture = with_title(picture, line)
    return picture
