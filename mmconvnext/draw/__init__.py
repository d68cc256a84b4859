# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Pictures: objects and label maps on images, legends, and sheets of pictures side by side.

A picture is an (H, W, 3) uint8 array in RGB; every function returns a new one.
"""

from .colours import distinct_colours, fill_up
from .label_map import draw_label_map
from .layout import beside, enlarge, sheet, with_legend, with_title, with_titles
from .objects import Objects, draw_objects, line_width, write_texts
from .picture import as_picture, brightened, brightness

__all__ = [
    'Objects',
    'as_picture',
    'beside',
    'brightened',
    'brightness',
    'distinct_colours',
    'draw_label_map',
    'draw_objects',
    'enlarge',
    'fill_up',
    'line_width',
    'sheet',
    'with_legend',
    'with_title',
    'with_titles',
    'write_texts',
]
