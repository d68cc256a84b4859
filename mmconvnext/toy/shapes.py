# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Seeded scenes of textured, overlapping shapes with exact instance and semantic masks.

Every number below that says "chosen" was picked by eye on contact sheets: scenes a person reads
at a glance, but in which neither colour, size nor position tells the class.
"""
from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass
from typing import Sequence, Union

import numpy as np
from PIL import Image, ImageFilter

CLASSES = ('disc', 'square', 'triangle', 'star')
PALETTE = ((220, 60, 50), (50, 120, 220), (60, 180, 75), (245, 190, 40))  # chosen, for drawing
VERSION = 1  # raise it with every change that alters pixels, labels or the files written

# Corners, and the radius midway between two corners over the radius at a corner. Straight sides
# need cos(pi / corners); 0.42 is a chosen star, and 96 corners make a circle to 0.1 %.
_OUTLINES = ((96, math.cos(math.pi / 96)), (4, math.cos(math.pi / 4)),
             (3, math.cos(math.pi / 3)), (5, 0.42))
_HUES = (0.0, 0.6, 0.33, 0.13)  # hue a class leans to, as in PALETTE
_HUE_LEAN = 0.25  # share of objects that follow it; chosen, so colour alone is a poor classifier
_MIN_VISIBLE = 0.3  # least share of an object that is in frame and unhidden; chosen
_MIN_PIXELS = 40  # least visible area of an object, pixels
_MAX_TRIES = 200  # placements tried per scene; chosen, scenes need 10 or so


@dataclass(frozen=True)
class Scene:
    """One image with its labels; arrays of K objects, front to back.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        instance_masks: (K, H, W) bool, visible pixels only, pairwise disjoint.
        labels: (K,) int64 indices into ``CLASSES``.
        semantic: (H, W) uint8, 0 = background, i + 1 = ``CLASSES[i]``.
        crowd: (K,) bool, True where a mask covers a cluster of shapes instead of one.
    """

    image: np.ndarray
    instance_masks: np.ndarray
    labels: np.ndarray
    semantic: np.ndarray
    crowd: np.ndarray


@dataclass(frozen=True)
class _Shape:
    """A shape's geometry in pixels and radians; `aspect` squeezes its second axis."""

    label: int
    x: float
    y: float
    radius: float
    angle: float
    aspect: float

    def area(self) -> float:
        corners, waist = _OUTLINES[self.label]
        return corners * math.sin(math.pi / corners) * waist * self.aspect * self.radius**2

    def local(self, x: np.ndarray, y: np.ndarray) -> tuple:
        """Image coordinates turned into the shape's own axes, in pixels."""
        x, y, cos, sin = x - self.x, y - self.y, math.cos(self.angle), math.sin(self.angle)
        return x * cos + y * sin, (y * cos - x * sin) / self.aspect

    def depth(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Distance in pixels to the outline, positive inside, exact near straight sides."""
        corners, waist = _OUTLINES[self.label]
        u, v = self.local(x, y)
        half = math.pi / corners
        # All sides look alike, so fold the plane onto half a side: corner at 0, middle at `half`.
        fold = np.abs((np.arctan2(v, u) + half) % (2 * half) - half)
        rho = np.hypot(u, v)
        nx, ny = waist * math.sin(half), 1 - waist * math.cos(half)
        along = nx * (self.radius - rho * np.cos(fold)) - ny * rho * np.sin(fold)
        return along / math.hypot(nx, ny)


def _random_shape(rng, label: int, x: float, y: float, diameter: float) -> _Shape:
    # Aspect is chosen to stay where a disc still differs from a lens and a square from a plank.
    return _Shape(label, x, y, diameter / 2, rng.uniform(0, 2 * math.pi), rng.uniform(0.8, 1))


def _layout(rng, x: np.ndarray, y: np.ndarray, crowd: bool) -> list:
    """Places objects front to back: a list of (shapes of the object, visible mask)."""
    height, width = x.shape
    unit = min(height, width)
    free = np.ones(x.shape, dtype=bool)
    placed = []

    def place(shapes: list, least: float) -> None:
        mask = np.logical_or.reduce([shape.depth(x, y) > 0 for shape in shapes]) & free
        if mask.sum() >= max(_MIN_PIXELS, least):
            free[mask] = False
            placed.append((shapes, mask))

    if crowd:  # a dozen shapes of one class, each a fourteenth of the image wide: chosen
        label, spread = int(rng.integers(len(CLASSES))), 0.09 * unit
        centre = rng.uniform(0.25, 0.75, 2) * (width, height)
        spots = centre + rng.normal(0, spread, (14, 2)).clip(-2 * spread, 2 * spread)
        place([_random_shape(rng, label, *spot, unit / 14) for spot in spots], 0)
    count = int(rng.integers(3, 8)) + len(placed)
    for _ in range(_MAX_TRIES):
        if len(placed) == count:
            break
        # Log-uniform, as sizes in photographs are closer to that than to uniform.
        diameter = math.exp(rng.uniform(math.log(unit / 8), math.log(unit / 2.2)))
        shape = _random_shape(rng, int(rng.integers(len(CLASSES))),
                              rng.uniform(0.05, 0.95) * width, rng.uniform(0.05, 0.95) * height,
                              diameter)
        place([shape], _MIN_VISIBLE * shape.area())
    return placed


def _noise(rng, shape: tuple, coarsest: tuple) -> np.ndarray:
    """(H, W) noise of about unit deviation whose octaves fade with frequency as in photographs."""
    height, width = shape
    out, rows, cols = np.zeros(shape, dtype=np.float32), *coarsest
    amplitude = 0.75  # chosen with the factor below: sum of squares over the octaves is near 1
    while max(rows, cols) <= max(shape) / 2:
        grid = rng.standard_normal((min(rows, height), min(cols, width))).astype(np.float32)
        out += amplitude * np.asarray(Image.fromarray(grid).resize((width, height), Image.BICUBIC))
        amplitude, rows, cols = 0.7 * amplitude, 2 * rows, 2 * cols
    return out


def _colour(rng, hue: float, saturation: tuple) -> np.ndarray:
    rgb = colorsys.hsv_to_rgb(hue % 1, rng.uniform(*saturation), rng.uniform(0.25, 0.95))
    return np.array(rgb, dtype=np.float32)


def _material(rng, shape: tuple) -> np.ndarray:
    """(H, W, 3) background surface: a dull colour, grain (often stretched) and a faint tint."""
    coarsest = ((2, 2), (2, 12), (12, 2), (5, 5))[rng.integers(4)]
    base = _colour(rng, rng.uniform(), (0.05, 0.45))
    tint = rng.normal(0, 0.035, 3) * _noise(rng, shape, (3, 3))[..., None]
    return base * (1 + rng.uniform(0.08, 0.28) * _noise(rng, shape, coarsest)[..., None]) + tint


def _background(rng, x: np.ndarray, y: np.ndarray, light: np.ndarray) -> np.ndarray:
    """(H, W, 3) one surface, or two that meet at a slanted edge, under uneven light."""
    image = _material(rng, x.shape)
    across, down = x / x.shape[1] - 0.5, y / x.shape[0] - 0.5
    if rng.uniform() < 0.5:
        edge = down + rng.normal(0, 0.3) * across - rng.uniform(-0.2, 0.2)
        image = np.where((edge > 0)[..., None], _material(rng, x.shape), image)
    lit = 1 + rng.uniform(0.1, 0.6) * (across * light[0] + down * light[1])
    return image * lit[..., None]


def _paint(rng, canvas: np.ndarray, shape: _Shape, x, y, light: np.ndarray) -> np.ndarray:
    """The canvas with a shape's soft shadow and its textured, shaded body on top."""
    size, depth = 2 * shape.radius, shape.depth(x, y)
    offset = rng.uniform(0.04, 0.12) * size
    shadow = shape.depth(x + offset * light[0], y + offset * light[1]) / (0.15 * size)
    canvas = canvas * (1 - rng.uniform(0.25, 0.5) * np.clip(shadow + 0.5, 0, 1))[..., None]

    under = canvas[depth > 0].mean(axis=0) if (depth > 0).any() else 0.5
    for _ in range(8):  # chosen: enough draws that hardly any object melts into what it lies on
        hue = rng.uniform()
        if rng.uniform() < _HUE_LEAN:
            hue = _HUES[shape.label] + rng.normal(0, 0.04)
        base = _colour(rng, hue, (0.2, 0.95))
        if np.abs(base - under).max() > 0.25:
            break
    second = np.clip(base * rng.uniform(0.45, 0.75) + rng.uniform(0, 0.25), 0, 1)
    u, v = (2 * math.pi * axis / (rng.uniform(0.16, 0.4) * size) for axis in shape.local(x, y))
    pattern = (np.full_like(u, -1), np.sin(u), np.cos(u) * np.cos(v) - 0.3,
               _noise(rng, x.shape, (16, 16)))[rng.integers(4)]
    mix = (rng.uniform(0.4, 1) * np.clip(0.5 + 2 * pattern, 0, 1))[..., None]
    body = base * (1 - mix) + second * mix

    towards = ((x - shape.x) * -light[0] + (y - shape.y) * -light[1]) / shape.radius
    shade = 1 + rng.uniform(0.1, 0.35) * towards - 0.2 * np.exp(-depth.clip(0) / (0.08 * size))
    shade += rng.uniform(0.02, 0.08) * _noise(rng, x.shape, (8, 8))
    alpha = np.clip(depth + 0.5, 0, 1)[..., None]  # half covered where the mask's edge runs
    return canvas * (1 - alpha) + body * shade[..., None] * alpha


def make_scene(seed: Union[int, Sequence[int]],
               size: Union[int, tuple] = 192,
               crowd: bool = False) -> Scene:
    """Draws one scene of 3 to 7 objects, the same for the same arguments.

    Objects are laid out first, and one that would show less than 40 pixels or 30 % of itself is
    dropped before anything is painted, so nothing in the image is left unlabeled.

    Args:
        seed: non-negative integer, or several, such as (seed of a dataset, split, index).
        size: pixels, (height, width) or one number for both; at least 64.
        crowd: adds, as object 0, a cluster of tiny shapes of one class under one mask.

    Raises:
        ValueError: a side below 64 pixels, or a negative seed.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 64:
        raise ValueError(f'size must be at least 64 pixels, got {size}')
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(np.float32) + 0.5  # pixel centres
    placed = _layout(rng, x, y, crowd)
    turn = rng.uniform(0, 2 * math.pi)
    light = np.array([math.cos(turn), math.sin(turn)])  # the way light falls, for all objects

    canvas = _background(rng, x, y, light)
    for shapes, _ in reversed(placed):
        for shape in shapes:
            canvas = _paint(rng, canvas, shape, x, y, light)
    canvas = np.clip(canvas * rng.uniform(0.85, 1.15), 0, 1)  # exposure
    photo = Image.fromarray((255 * canvas).round().astype(np.uint8))
    photo = photo.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 0.9)))  # focus, pixels
    noise = rng.uniform(1, 6) * rng.standard_normal(canvas.shape)  # sensor, grey levels
    image = np.clip(np.asarray(photo) + noise, 0, 255).round().astype(np.uint8)

    masks = np.stack([mask for _, mask in placed])
    labels = np.array([shapes[0].label for shapes, _ in placed], dtype=np.int64)
    # Masks are disjoint, so a weighted sum is a union.
    semantic = np.tensordot((labels + 1).astype(np.uint8), masks.astype(np.uint8), 1)
    crowds = np.array([len(shapes) > 1 for shapes, _ in placed])
    return Scene(image, masks, labels, semantic.astype(np.uint8), crowds)
