# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""``own_data``: one dict in a config that points a recipe at other data."""

from __future__ import annotations

import sys

from mmengine.config import Config, ConfigDict

from ..walk import LOADERS
from .data import set_datasets, set_evaluators
from .given import MARK, digest, is_applied, read
from .heads import set_classes
from .kinds import kind_of
from .namespace import merged, refuse_changes_below, write_back

# All that own data may change, top-level keys of a config.
KEYS = (*LOADERS, 'val_evaluator', 'test_evaluator', 'tta_pipeline', 'model', 'own_data')


def use_own_data(config: dict | Config) -> None:
    """Expand ``own_data`` where the config is read, so that it means the same to every tool.

    The last line of a config is ``__import__('mmconvnext').use_own_data(locals())``, both in those
    with ``_base_`` and in those with ``read_base()``. (mmengine would take an import statement in
    the first kind for the second.) Its place counts: what stands above it is merged with the base
    first, and an assignment below it would undo what it set. A config whose ``_base_`` has the line
    may change ``own_data`` and repeat it. Nothing of mmdet or mmseg is imported.

    It sets, everywhere at once, what users otherwise forget in one of the places:

    - the data of all three loaders, with ``metainfo``: the classes, and a colour for each. A
      ConcatDataset becomes the one dataset; the wrappers around it and its pipeline stay.
    - the evaluators' annotation file. Metrics for the files of another dataset (VOC, LVIS,
      OpenImages, ...) become CocoMetric or IoUMetric.
    - the number of classes of every head (the three of a cascade too, Mask2Former's things). Heads
      that have classes of their own keep them: RPN, HTC's ``semantic_head``, STDC's boundaries.
    - ``class_weight``, where it weighs all classes alike ("no object" apart). Weights of single
      classes of the base are dropped with a warning: they mean nothing for other classes.
    - for segmentation, ``reduce_zero_label`` in every pipeline.

    ``own_data`` holds ``root``, ``classes``, ``train`` and ``val``; optionally ``test`` (else it is
    ``val``), ``palette`` (RGB a class) and for segmentation ``reduce_zero_label`` (False),
    ``image_suffix`` ('.jpg'), ``label_suffix`` ('.png'). A split is dict(images=, annotations=),
    below the root: a folder and a COCO file for detection, two folders for segmentation. A ``test``
    without ``annotations`` is predicted on, without metrics.
    ``classes`` are the names in the COCO files, in the order of the files (checks.categories);
    for segmentation name i is id i, or i + 1 with ``reduce_zero_label``.

    Args:
        config: ``locals()`` of a config file, or a Config, which is changed in place. The key
            ``own_data`` stays, with a mark of what was applied.

    Raises:
        RecipeError: a missing or unknown key, no classes, too few colours, a recipe that trains
            on label maps beside the boxes (panoptic, HTC), a loader that joins datasets which
            differ in more than their data, or an assignment below the line.
    """
    if isinstance(config, Config):
        _apply(config)
        return
    frame = sys._getframe(1)
    if frame.f_globals is config:
        refuse_changes_below(frame, KEYS)
    cfg = merged(config)
    _apply(cfg)
    write_back(config, {key: cfg[key] for key in KEYS if key in cfg})


def apply_own_data(cfg: Config) -> None:
    """Expand ``cfg.own_data`` unless that was done and it has not changed since.

    So what somebody changed in a config that a tool has written stays.

    Raises:
        RecipeError: see use_own_data.
    """
    if 'own_data' in cfg and not is_applied(cfg):
        _apply(cfg)


def _apply(cfg: Config | ConfigDict) -> None:
    kind = kind_of(cfg)
    own = read(cfg.get('own_data'), kind)
    set_datasets(cfg, own)
    set_evaluators(cfg, own)
    stuff = kind.num_stuff(own)
    set_classes(cfg['model'], len(own.classes) - stuff, stuff, kind.scope)
    cfg['own_data'][MARK] = digest(cfg['own_data'])
