# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""``own_data``: one dict in a config that makes a recipe train on your data."""

from __future__ import annotations

import sys

from mmengine.config import Config, ConfigDict

from ..walk import LOADERS
from .data import set_cached_files, set_datasets, set_evaluators
from .given import MARK, digest, is_applied, read
from .heads import set_classes
from .kinds import kind_of
from .loading import set_loading
from .namespace import merged, refuse_changes_below, write_back

# The top-level keys of a config that own_data may change.
KEYS = (*LOADERS, 'val_evaluator', 'test_evaluator', 'tta_pipeline', 'model', 'own_data')
# How images are loaded depends on the data too, wherever that is written.
KEYS += ('custom_hooks', 'default_hooks', 'data_preprocessor', 'train_pipeline', 'test_pipeline')


def use_own_data(config: dict | Config) -> None:
    """Apply ``own_data`` while the config is read, so that every tool sees the same config.

    Write ``__import__('mmconvnext').use_own_data(locals())`` as the last line of a config, with
    ``_base_`` or with ``read_base()``. (With ``_base_``, mmengine would mistake an import
    statement for the ``read_base()`` style.) It must be last: it merges the lines above it with the
    base, and an assignment below it would undo what it set. A config whose ``_base_`` has the line
    may change ``own_data`` and repeat the line. mmdet and mmseg are not imported.

    It sets everything that depends on the data:

    - the datasets of all three loaders, with ``metainfo``: the classes, and a colour for each. A
      ConcatDataset becomes one dataset; its pipeline and the wrappers around it stay.
    - the annotation files of the evaluators. Metrics for the files of another dataset (VOC, LVIS,
      OpenImages, ...) become CocoMetric or IoUMetric.
    - the number of classes in every head, including cascades; things and stuff where a head has
      both. Heads with their own classes keep them: RPN, HTC's ``semantic_head``, STDC's
      boundary head.
    - ``class_weight``, if all classes have the same weight ("no object" may differ). Per-class
      weights are dropped with a warning, because they belong to the classes of the base.
    - for semantic segmentation, ``reduce_zero_label`` in every pipeline.

    ``own_data`` has ``root``, ``classes``, ``train`` and ``val``, and may have ``test`` (default:
    ``val``) and ``palette`` (an RGB colour for each class). A split is a dict of paths below the
    root. The recipe determines the kind of data; each kind has a module in ``kinds``:

    - instances: dict(images=folder, annotations=COCO file). ``classes`` are the names of the
      file's categories in the order of the file (checks.categories).
    - panoptic: ``stuff_classes`` too, and dict(images=folder, annotations=panoptic JSON file,
      segments=folder of PNGs); ``val`` and ``test`` may have instances=COCO file, for box and mask
      AP. The file lists ``classes``, then ``stuff_classes``.
    - label maps: dict(images=folder, annotations=folder of PNGs). Class i has id i, or i + 1 with
      ``reduce_zero_label`` (default False). ``image_suffix`` defaults to '.jpg', ``label_suffix``
      to '.png'. Other values: ``ids`` or ``colours`` (R, G, B), one for each class, or
      ``palette_file``, a table of colours; ``ignore_ids`` have no class. ``ignore_exif=True`` loads
      images without turning them.

    ``val`` may be a part of the training images, such as 0.2, which are then not trained on, and a
    split may have ``names``, a list of images or a file with one in each line.

    A ``test`` split with only images gives predictions without metrics.

    Args:
        config: ``locals()`` of a config file, or a Config, which is changed in place. The key
            ``own_data`` stays, with a mark that it was applied.

    Raises:
        RecipeError: a missing or unknown key, no classes, the wrong number of colours, a recipe
            whose data no kind describes (HTC, tracking, ...), a loader that joins datasets which
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
    """Apply ``cfg.own_data`` unless it was applied already and has not changed since.

    So later edits in a config that a tool has saved are kept.

    Raises:
        RecipeError: see use_own_data.
    """
    if 'own_data' in cfg and not is_applied(cfg):
        _apply(cfg)
    elif 'own_data' in cfg:  # the files of splits in the cache may be gone, or be elsewhere
        set_cached_files(cfg, read(cfg.own_data, kind_of(cfg)))


def _apply(cfg: Config | ConfigDict) -> None:
    kind = kind_of(cfg)
    own = read(cfg.get('own_data'), kind)
    set_datasets(cfg, own)
    set_evaluators(cfg, own)
    set_loading(cfg, own.options, kind.scope)
    stuff = kind.num_stuff(own)
    set_classes(cfg['model'], len(own.classes) - stuff, stuff, kind.scope)
    cfg['own_data'][MARK] = digest(cfg['own_data'])
