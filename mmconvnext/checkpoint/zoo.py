# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The published ConvNeXt weights, one row a file in ``zoo.csv``, each with a short name.

A row says what the file holds and where it is; nothing is downloaded here.

- Meta: the files that the READMEs of facebookresearch/ConvNeXt (the classifiers, COCO, ADE20K) and
  ConvNeXt-V2 link. ``convnext-tiny_in1k`` is the file without EMA, from which the dense recipes
  start; ``..._ema`` is the better classifier.
- OpenMMLab, ``mm/``: the metafiles of mmpretrain 1.2.0, mmcls 0.25.0, mmdet 3.3.0 and mmseg 1.2.2;
  ``mm/downstream/``: the copies without the last norm, from which mmdet's and mmseg's own recipes
  start.
- timm, ``timm/``: ``default_cfgs`` of timm 1.0.31.
- Hugging Face, ``hf/``: Meta's files as transformers' two conversion scripts rename them.
- torchvision: its 0.29.2.
- OpenCLIP, ``openclip/``: its 3.3.0. The backbone is the visual tower of the file.
- DINOv3, ``dinov3/``: the README of facebookresearch/dinov3. One has to accept the licence on the
  file's page first, and to download with a token.

Columns: ``arch`` is a name of ``mmconvnext.arch.ARCHS``, or one which that table does not have
(``xxlarge``, isotropic ``iso-*``, timm's ``*-ols`` with an overlapping stem, ``*-rms``, ``test*``):
loaded into another backbone, their error says which ``arch`` and ``design`` they need; ``iso-*``,
which have no pyramid, do not load.
``data`` tells the order of training: ``in21k-in1k`` is ImageNet-21K, then 1K; ``laiona`` is LAION
aesthetic. ``pixels`` is the side of the training images, for COCO the longest of the short sides,
and where it is not published (DINOv3) the one of timm. ``ema`` of Meta's files and their copies is
what the original's name says, ``unknown`` where nobody tells.

``mb``, in 1e6 bytes, is published for torchvision and two files of OpenMMLab (tiny downstream, Mask
R-CNN). For all others it is computed: 4 bytes a parameter of the whole file, with its classifier,
text tower, detector or segmentor; FCMAE files have neither classifier nor last norm.

``licence`` of copies is the original's, except that timm's and Hugging Face's of V1 is what they
state. **V2 weights may not be used commercially**: they are CC BY-NC 4.0 whoever converted them,
also where a model card says Apache-2.0. Read DINOv3's and FAIR's own licences before use.
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
    """One published file; the module's docstring tells what the fields mean."""

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
    """All published weights by their short names; one dict for all callers."""
    with TABLE.open(encoding='ascii', newline='') as file:
        rows = [
            PublishedWeights(**{**row, 'pixels': int(row['pixels']), 'mb': float(row['mb'])})
            for row in csv.DictReader(file)
        ]
    return {row.name: row for row in rows}


def find(name: str) -> PublishedWeights | None:
    """The weights of that short name, or None."""
    return published().get(name)


def nearest(name: str) -> list[str]:
    """At most three short names: those that begin with ``name``, then the most alike."""
    longer = [other for other in published() if name and other.startswith(name)]
    alike = difflib.get_close_matches(name, published(), n=3, cutoff=0.4)  # 0.4: our choice
    return list(dict.fromkeys(longer + alike))[:3]
