# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Shapes of labelling tools as polygons (x, y, x, y, ...)."""

from __future__ import annotations

import math

POINTS = 64  # of a circle or an ellipse: 0.2 % less area than it has; our choice


def turned_rectangle(cx: float, cy: float, w: float, h: float, angle: float) -> list[float]:
    """A rectangle around its centre, turned by an angle in radians."""
    sine, cosine = math.sin(angle), math.cos(angle)
    corners = [(-w / 2, -h / 2), (w / 2, -h / 2), (w / 2, h / 2), (-w / 2, h / 2)]
    return [v for x, y in corners for v in (cx + x * cosine - y * sine, cy + x * sine + y * cosine)]


def ellipse(cx: float, cy: float, rx: float, ry: float, angle: float = 0.0) -> list[float]:
    """An ellipse with these radii, turned by an angle in radians."""
    sine, cosine = math.sin(angle), math.cos(angle)
    found = []
    for i in range(POINTS):
        turn = 2 * math.pi * i / POINTS
        x, y = rx * math.cos(turn), ry * math.sin(turn)
        found += [cx + x * cosine - y * sine, cy + x * sine + y * cosine]
    return found
