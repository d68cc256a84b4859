# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Is anything left of long, thin images when the pipeline resizes them?"""

from __future__ import annotations

from collections.abc import Iterator

from ..walk import dicts, type_name
from .finding import Finding

RESIZES = ('Resize', 'FixScaleResize', 'RandomResize', 'RandomChoiceResize')


def check_thin(
    path: str, dataset: dict, sides: tuple[float, float], file: str
) -> Iterator[Finding]:
    """Refuse an image whose shorter side has no pixel left, with which cv2 fails in training.

    Args:
        path: of the dataset in the config.
        sides: the longer and the shorter side, in pixels, of the thinnest image ``file``.
    """
    long, short = sides
    for scale in _scales(dataset):
        # As mmcv.rescale_size: the whole image fits into the scale.
        factor = min(max(scale) / long, min(scale) / short)
        if int(short * factor + 0.5) < 1:
            yield Finding(
                f'{path}: of {file}, {long:g} pixels long and {short:g} wide, nothing is left when '
                f'it is resized to {max(scale):g} pixels at most: leave it out of the data, or cut '
                'it into pieces',
                'thin_images',
            )
            return


def _scales(dataset: dict) -> Iterator[tuple[float, float]]:
    """The sizes into which the transforms of a dataset fit images, (long, short) or reversed."""
    for _, node in dicts(dataset.get('pipeline')):
        if 'type' in node and type_name(node) in RESIZES and node.get('keep_ratio'):
            for key in ('scale', 'scales'):
                given = node.get(key)
                if not isinstance(given, (list, tuple)):  # absent, or a factor
                    continue
                several = given if isinstance(given[0], (list, tuple)) else [given]
                least = min(node.get('ratio_range') or (1,))
                for scale in several:
                    yield scale[0] * least, scale[1] * least
