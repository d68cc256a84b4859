# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Does training data that mmdet's CocoDataset does not read, such as LVIS', have masks?

The masks of COCO files are judged one by one before: see data/coco.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator

from mmengine.config import Config

from ..walk import LOADERS, datasets, dicts, type_name
from .files import is_remote
from .finding import Finding
from .readers import reads_coco

SAMPLE = 200  # annotations inspected; our choice


def check_masks(cfg: Config, loaders: tuple) -> Iterator[Finding]:
    """If the training pipeline loads masks, check that the annotations have masks it can read.

    Files with only boxes are refused (mmdet: ``KeyError: 'gt_masks'`` from a worker), and so are
    RLE masks with ``poly2mask=False``, which mmdet silently marks as ignored.
    """
    if LOADERS[0] not in loaders:
        return
    loads = [
        node
        for _, node in dicts(cfg.get(LOADERS[0]) or {})
        if type_name(node) == 'LoadAnnotations' and node.get('with_mask')
    ]
    if not loads:
        return
    for path, dataset in datasets(cfg, LOADERS[:1]):
        file = os.path.join(dataset.get('data_root') or '', dataset.get('ann_file') or '')
        if is_remote(dataset) or not file.endswith('.json') or reads_coco(cfg, dataset):
            continue
        if not os.path.isfile(file) or os.path.getsize(file) == 0:
            continue  # reported by the checks of files and of categories
        starts = _segmentations(file)
        if not starts:
            yield Finding(
                f'{path}: {file} has boxes but no masks ("segmentation"), which this recipe '
                'trains on; use configs/faster_rcnn/'
                'faster-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py',
                'masks',
            )
        elif set(starts) == {b'{'} and any(node.get('poly2mask') is False for node in loads):
            yield Finding(
                f'{path}: 0 of {len(starts)} masks are usable: {file} has RLE masks, which need '
                'poly2mask=True in LoadAnnotations',
                'masks',
            )


def _segmentations(file: str) -> list[bytes]:
    """The first character of each segmentation: ``[`` for polygons, ``{`` for RLE."""
    key, starts, at = b'"segmentation"', [], -1
    with open(file, 'rb') as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as text:
        while len(starts) < SAMPLE and (at := text.find(key, at + 1)) >= 0:
            value = text[at + len(key) : at + len(key) + 100].lstrip(b': \r\n\t')
            starts.append(value[:1])
    return starts
