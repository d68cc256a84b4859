# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Seeded toy scenes, written in the formats of COCO, COCO panoptic and ADE20K."""

from .ade import ADE_CLASSES, ADE_PALETTE, void_labels, write_ade
from .coco import mask_to_polygons, mask_to_rle, write_coco
from .panoptic import PANOPTIC_PALETTE, STUFF_CLASSES, write_panoptic
from .shapes import CLASSES, PALETTE, VERSION, Scene, make_scene

__all__ = [
    'ADE_CLASSES',
    'ADE_PALETTE',
    'CLASSES',
    'PALETTE',
    'PANOPTIC_PALETTE',
    'STUFF_CLASSES',
    'VERSION',
    'Scene',
    'make_scene',
    'mask_to_polygons',
    'mask_to_rle',
    'void_labels',
    'write_ade',
    'write_coco',
    'write_panoptic',
]
