# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The published ConvNeXt weights: one row of ``zoo.csv`` per file, each with a short name.

A row says what the file holds and where it is. This module downloads nothing.

- Meta: the files linked from the READMEs of facebookresearch/ConvNeXt (the classifiers, COCO,
  ADE20K) and ConvNeXt-V2. ``convnext-tiny_in1k`` is the file without EMA, from which the dense
  recipes start; ``..._ema`` is the better classifier.
- OpenMMLab, ``mm/``: the metafiles of mmpretrain 1.2.0, mmcls 0.25.0, mmdet 3.3.0 and mmseg 1.2.2;
  ``mm/downstream/``: the copies without the last norm, from which mmdet's and mmseg's own recipes
  start.
- timm, ``timm/``: ``default_cfgs`` of timm 1.0.31.
- Hugging Face, ``hf/``: Meta's files, renamed by transformers' two conversion scripts.
- torchvision: version 0.29.2.
- OpenCLIP, ``openclip/``: version 3.3.0. The backbone is the visual tower of the file.
- DINOv3, ``dinov3/``: the README of facebookresearch/dinov3. Accept the licence on the file's page
  first, and download with a token.

Columns: ``arch`` is a name in ``mmconvnext.arch.ARCHS``, or one that is not in that table
(``xxlarge``, isotropic ``iso-*``, timm's ``*-ols`` with an overlapping stem, ``*-rms``, ``test*``).
To find the ``arch`` and ``design`` that the latter need, load them into any backbone: the error
says it. ``iso-*``, which have no pyramid, cannot be loaded.
``data`` lists the training sets in order: ``in21k-in1k`` is ImageNet-21K, then 1K; ``laiona`` is
LAION aesthetic. ``pixels`` is the side of the training images; for COCO, the largest short side;
for DINOv3, which does not publish it, timm's value. For Meta's files and their copies, ``ema``
follows the name of the original; it is ``unknown`` if no source says.

``mb``, in 1e6 bytes, is published for torchvision and two files of OpenMMLab (tiny downstream, Mask
R-CNN). For all others it is computed: 4 bytes per parameter of the whole file, with its classifier,
text tower, detector or segmentor; FCMAE files have neither classifier nor last norm.

A copy has the ``licence`` of the original, except for timm's and Hugging Face's copies of V1, which
have the one they state. **V2 weights may not be used commercially**: they are CC BY-NC 4.0, no
matter who converted them, even if a model card says Apache-2.0. Read DINOv3's and FAIR's own
licences before use.
"""

from __future__ import annotations

import csv
import difflib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_suffix('.csv')


@dataclass(frozen=True)
class PublishedWeights:
    """One published file; the module's docstring explains the fields."""

    name: str
    kind: str
    version: str
    arch: str
    data: str
    pixels: int
    ema: str
    mb: float
    source: str
    licence: str
    url: str


@cache
def published() -> dict[str, PublishedWeights]:
    """All published weights by their short names; all callers share one dict."""
    with TABLE.open(encoding='ascii', newline='') as file:
        rows = [
            PublishedWeights(**{**row, 'pixels': int(row['pixels']), 'mb': float(row['mb'])})
            for row in csv.DictReader(file)
        ]
    return {row.name: row for row in rows}


def find(name: str) -> PublishedWeights | None:
    """The weights with this short name, or None."""
    return published().get(name)


def nearest(name: str) -> list[str]:
    """At most three short names: those that begin with ``name``, then the most similar."""
    longer = [other for other in published() if name and other.startswith(name)]
    alike = difflib.get_close_matches(name, published(), n=3, cutoff=0.4)  # 0.4: our choice
    return list(dict.fromkeys(longer + alike))[:3]
