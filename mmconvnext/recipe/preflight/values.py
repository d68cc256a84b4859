# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Do mean and std suit the values of images that were read?"""

from __future__ import annotations

import math
from collections.abc import Iterator

from mmengine.config import Config

from ..checks.finding import Finding
from ..checks.loading import preprocessors
from ..checks.normalization import MEAN, STD
from .samples import Samples

UNIT = 2.0  # values, means and spreads below belong to images of 0 to 1; our choice


def check_values(cfg: Config, found: Samples) -> Iterator[Finding]:
    """Compare mean and std of each preprocessor with the values of the images."""
    if found.low > found.high:  # no image was read
        return
    if not (math.isfinite(found.low) and math.isfinite(found.high)):
        yield Finding(
            f'{found.loader}: the images hold values that are no numbers (from {found.low:g} to '
            f'{found.high:g}); correct the files or the transform that makes them',
            'normalization',
        )
        return
    span = f'the images that were read have values of {found.low:g} to {found.high:g}'
    for path, node in preprocessors(cfg):
        mean, std = node['mean'], node.get('std') or ()
        if not mean or not std:
            continue
        unit = max(map(abs, mean)) < UNIT and max(std) < UNIT
        plain = not any(mean) and all(value == 1 for value in std)
        if found.high > UNIT and unit and not plain:
            yield Finding(
                f'{path}: {span}, but mean={list(mean)} and std={list(std)} belong to values of 0 '
                f'to 1; multiply both by 255 (ImageNet: mean={list(MEAN)}, std={list(STD)})',
                'normalization',
            )
        elif found.high < UNIT and max(mean) > UNIT:
            yield Finding(
                f'{path}: {span}, but mean={list(mean)} belong to values of 0 to 255, so that all '
                'images look the same. Images are black, or a transform divides them: divide mean '
                'and std by 255 too, or leave that transform out',
                'normalization',
            )
