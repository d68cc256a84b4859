# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Seeded scenes of textured, overlapping shapes with exact instance and semantic masks.

All numbers that affect the look were chosen by eye, so that a person recognises every object at a
glance.
Classes differ in shape and, nearly always, in hue, but not in size or position.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

VERSION = 1  # raise it with every change that alters pixels, labels or the files written


class ShapeClass(NamedTuple):
    """A class of objects; its outline is a polygon or a star around a centre."""

    name: str
    colour: tuple[int, int, int]  # RGB, for drawing labels
    hue: float  # of most objects, near that of the colour; 0 red, 1/3 green, 2/3 blue
    corners: int
    waist: float  # radius midway between two corners over the radius at a corner


def _straight(corners: int) -> float:
    return math.cos(math.pi / corners)


# A new shape is a row; all values are our choice. 96 corners make a circle to 0.1 %.
SHAPES = (
    ShapeClass('disc', (220, 60, 50), hue=0.0, corners=96, waist=_straight(96)),
    ShapeClass('square', (50, 120, 220), hue=0.6, corners=4, waist=_straight(4)),
    ShapeClass('triangle', (60, 180, 75), hue=0.33, corners=3, waist=_straight(3)),
    ShapeClass('star', (245, 190, 40), hue=0.13, corners=5, waist=0.42),
)
CLASSES = tuple(shape.name for shape in SHAPES)
PALETTE = tuple(shape.colour for shape in SHAPES)

_HUE_LEAN = 0.97  # share of objects with the hue of their class; our choice, for short training
_MIN_VISIBLE, _MIN_PIXELS = 0.5, 40  # least visible share and area of an object; our choice


@dataclass(frozen=True)
class Scene:
    """One image with the labels of its K objects, front to back."""

    image: np.ndarray  # (H, W, 3) uint8, RGB
    instance_masks: np.ndarray  # (K, H, W) bool, visible pixels only, pairwise disjoint
    labels: np.ndarray  # (K,) int64 indices into CLASSES
    semantic: np.ndarray  # (H, W) uint8, 0 = background, i + 1 = CLASSES[i]
    crowd: np.ndarray  # (K,) bool, True where a mask covers a cluster of shapes, not one


@dataclass(frozen=True)
class _Shape:
    """Position and pose of a shape, in pixels and radians; `aspect` squeezes its second axis."""

    label: int
    x: float
    y: float
    radius: float
    angle: float
    aspect: float

    def local(self, x: np.ndarray, y: np.ndarray) -> tuple:
        """Image coordinates rotated to the shape's own axes, in pixels."""
        x, y, cos, sin = x - self.x, y - self.y, math.cos(self.angle), math.sin(self.angle)
        return x * cos + y * sin, (y * cos - x * sin) / self.aspect

    def depth(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Distance in pixels to the outline, positive inside, exact near straight sides."""
        (u, v), kind = self.local(x, y), SHAPES[self.label]
        half = math.pi / kind.corners
        # All sides look alike, so fold the plane onto half a side: corner at 0, middle at `half`.
        fold = np.abs((np.arctan2(v, u) + half) % (2 * half) - half)
        rho = np.hypot(u, v)
        nx, ny = kind.waist * math.sin(half), 1 - kind.waist * math.cos(half)
        along = nx * (self.radius - rho * np.cos(fold)) - ny * rho * np.sin(fold)
        return along / math.hypot(nx, ny)


def _layout(rng, x: np.ndarray, y: np.ndarray, crowd: bool) -> list:
    """Places objects front to back: a list of (shapes of the object, visible mask)."""
    (height, width), unit = x.shape, min(x.shape)
    placed, free = [], np.ones(x.shape, dtype=bool)

    def pose() -> tuple:
        return rng.uniform(0, 2 * math.pi), rng.uniform(0.8, 1)  # angle, aspect

    def place(shapes: list, least: float) -> None:
        mask = np.logical_or.reduce([shape.depth(x, y) > 0 for shape in shapes]) & free
        if mask.sum() >= max(_MIN_PIXELS, least):
            free[mask] = False
            placed.append((shapes, mask))

    if crowd:
        label, centre = int(rng.integers(len(SHAPES))), rng.uniform(0.25, 0.75, 2)
        spots = centre * (width, height) + 0.09 * unit * rng.normal(0, 1, (14, 2)).clip(-2, 2)
        place([_Shape(label, *spot, unit / 28, *pose()) for spot in spots.tolist()], 0)
    count = int(rng.integers(3, 8)) + len(placed)
    while len(placed) < count:  # ends soon: these objects never fill the image
        # Log-uniform: closer to the sizes in photographs than uniform.
        diameter = math.exp(rng.uniform(math.log(unit / 6), math.log(unit / 2.2)))
        left, top = rng.uniform(0.05, 0.95, 2).tolist()
        label = int(rng.integers(len(SHAPES)))
        shape = _Shape(label, left * width, top * height, diameter / 2, *pose())
        kind = SHAPES[label]
        unit_area = kind.corners * math.sin(math.pi / kind.corners) * kind.waist
        area = unit_area * shape.aspect * shape.radius**2
        place([shape], _MIN_VISIBLE * area)
    return placed


def _noise(rng, shape: tuple, coarsest: tuple) -> np.ndarray:
    """(H, W) noise of about unit deviation; its octaves fade with frequency as in photographs."""
    out, cells, amplitude = np.zeros(shape, dtype=np.float32), coarsest, 0.75
    while max(cells) <= max(shape) / 2:
        grid = Image.fromarray(rng.standard_normal(cells).astype(np.float32))
        out += amplitude * np.asarray(grid.resize(shape[::-1], Image.BICUBIC))
        cells, amplitude = (2 * cells[0], 2 * cells[1]), 0.7 * amplitude
    return out


def _colour(rng, hue: float, saturation: tuple) -> np.ndarray:
    """(3,) RGB in 0..1 of random saturation and brightness."""
    rgb = colorsys.hsv_to_rgb(hue % 1, rng.uniform(*saturation), rng.uniform(0.25, 0.95))
    return np.array(rgb, dtype=np.float32)


def _material(rng, shape: tuple) -> np.ndarray:
    """(H, W, 3) background surface: a dull colour, grain (often stretched) and a faint tint."""
    coarsest = ((2, 2), (2, 12), (12, 2), (5, 5))[rng.integers(4)]
    grain = 1 + rng.uniform(0.08, 0.28) * _noise(rng, shape, coarsest)[..., None]
    tint = rng.normal(0, 0.025, 3) * _noise(rng, shape, (3, 3))[..., None]
    return _colour(rng, rng.uniform(), (0.05, 0.45)) * grain + tint


def _background(rng, x: np.ndarray, y: np.ndarray, light: tuple) -> np.ndarray:
    """(H, W, 3) one surface, or two that meet at a slanted edge, under uneven light."""
    image = _material(rng, x.shape)
    across, down = x / x.shape[1] - 0.5, y / x.shape[0] - 0.5
    if rng.uniform() < 0.5:
        edge = down + rng.normal(0, 0.3) * across - rng.uniform(-0.2, 0.2)
        image += (_material(rng, x.shape) - image) * np.clip(100 * edge + 0.5, 0, 1)[..., None]
    lit = 1 - rng.uniform(0.1, 0.6) * (across * light[0] + down * light[1])
    return (image * lit[..., None]).astype(np.float32)


def _paint(rng, image: np.ndarray, shape: _Shape, x, y, light: tuple) -> None:
    """Puts a shape's soft shadow and its textured, shaded body on the image, in place."""
    size, reach = 2 * shape.radius, 1.5 * shape.radius + 2  # the shadow stays within it
    box = tuple(slice(max(0, int(c - reach)), int(c + reach)) for c in (shape.y, shape.x))
    x, y, canvas = x[box], y[box], image[box]
    depth, offset = shape.depth(x, y), rng.uniform(0.04, 0.12) * size
    shadow = shape.depth(x - offset * light[0], y - offset * light[1]) / (0.15 * size)
    canvas = canvas * (1 - rng.uniform(0.25, 0.5) * np.clip(shadow + 0.5, 0, 1))[..., None]

    under = canvas[depth > 0].mean(axis=0)
    for _ in range(8):  # enough draws that hardly any object blends into what is behind it
        leans = rng.uniform() < _HUE_LEAN
        hue = rng.normal(SHAPES[shape.label].hue, 0.04) if leans else rng.uniform()
        base = _colour(rng, hue, (0.2, 0.95))
        if np.abs(base - under).max() > 0.25:
            break
    second = np.clip(base * rng.uniform(0.45, 0.75) + rng.uniform(0, 0.25), 0, 1)
    u, v = (axis / (rng.uniform(0.025, 0.065) * size) for axis in shape.local(x, y))
    plain, grain = np.full_like(u, -1), _noise(rng, x.shape, (4, 4))
    pattern = (plain, np.sin(u), np.cos(u) * np.cos(v) - 0.3, grain)[rng.integers(4)]
    mix = (rng.uniform(0.4, 1) * np.clip(0.5 + 2 * pattern, 0, 1))[..., None]
    body = base * (1 - mix) + second * mix

    towards = ((shape.x - x) * light[0] + (shape.y - y) * light[1]) / shape.radius
    shade = 1 + rng.uniform(0.1, 0.35) * towards - 0.2 * np.exp(-depth.clip(0) / (0.08 * size))
    shade += rng.uniform(0.02, 0.08) * _noise(rng, x.shape, (8, 8))
    alpha = np.clip(depth + 0.5, 0, 1)[..., None]  # half covered at the mask's edge
    image[box] = canvas * (1 - alpha) + body * shade[..., None] * alpha


def make_scene(seed: int | Sequence[int], size: int | tuple = 192, crowd: bool = False) -> Scene:
    """Draws one scene of 3 to 7 objects, the same for the same arguments.

    An object with less than 40 pixels or half of its area visible is dropped before anything is
    painted, so nothing in the image is left unlabeled.

    `seed` is a non-negative integer or several, such as (seed of a dataset, split, index); `size`
    is (height, width) in pixels or one number for both. `crowd` adds, as object 0, a cluster of
    tiny shapes of one class under one mask. Raises ValueError on a side below 64 pixels and on a
    negative seed.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 64:
        raise ValueError(f'size must be at least 64 pixels, got {size}')
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(np.float32) + 0.5  # pixel centres
    placed = _layout(rng, x, y, crowd)
    turn = rng.uniform(0, 2 * math.pi)
    light = math.cos(turn), math.sin(turn)  # the direction it falls in, everywhere
    canvas = _background(rng, x, y, light)
    for shapes, _ in reversed(placed):
        for shape in shapes:
            _paint(rng, canvas, shape, x, y, light)
    canvas = np.clip(canvas * rng.uniform(0.85, 1.15), 0, 1)  # exposure
    photo = Image.fromarray((255 * canvas).round().astype(np.uint8))
    photo = photo.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 0.9)))  # focus, pixels
    noise = rng.uniform(1, 6) * rng.standard_normal(canvas.shape)  # sensor, grey levels
    image = np.clip(np.asarray(photo) + noise, 0, 255).round().astype(np.uint8)

    masks = np.stack([mask for _, mask in placed])
    labels = np.array([shapes[0].label for shapes, _ in placed], dtype=np.int64)
    semantic = ((labels + 1)[:, None, None] * masks).sum(axis=0)  # a union, as masks are disjoint
    crowds = np.array([len(shapes) > 1 for shapes, _ in placed])
    return Scene(image, masks, labels, semantic.astype(np.uint8), crowds)
