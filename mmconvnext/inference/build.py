# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""From a config and a checkpoint to a model that is ready for images."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from types import SimpleNamespace

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import MODELS
from torch import nn

from ..checkpoint.mmengine_io import load_by_scheme
from ..recipe.checks.classes import class_names
from ..recipe.checks.finding import settle
from ..recipe.errors import RecipeError
from ..recipe.prepare import is_lenient
from ..recipe.walk import LOADERS, datasets, dicts


def test_pipeline(cfg: Config) -> Sequence[dict]:
    """The pipeline of the test data; that of the validation, or ``test_pipeline``, without one.

    Raises:
        RecipeError: the config has none of them.
    """
    for loader in (LOADERS[2], LOADERS[1]):
        for _, node in dicts((cfg.get(loader) or {}).get('dataset') or {}):
            if isinstance(node.get('pipeline'), (list, tuple)):
                return node['pipeline']
    if cfg.get('test_pipeline'):
        return cfg['test_pipeline']
    raise RecipeError('the config has no test pipeline: set test_dataloader.dataset.pipeline')


def use_tta(cfg: Config) -> None:
    """Wrap the model of a recipe in its test-time augmentation, in place.

    Raises:
        RecipeError: the recipe has none.
    """
    if not cfg.get('tta_model') or not cfg.get('tta_pipeline'):
        raise RecipeError(
            '--tta: this recipe has no test-time augmentation (tta_model and tta_pipeline); the '
            'UPerNet recipes do'
        )
    if cfg.get('tta_test_cfg'):
        cfg.model.test_cfg = cfg.tta_test_cfg
    wrapper = dict(**cfg.tta_model, module=cfg.model)
    if cfg.model.get('data_preprocessor'):  # else the Runner puts the base's, at the top, over it
        wrapper['data_preprocessor'] = cfg.model.data_preprocessor
    cfg.model = wrapper


def fuse(model: nn.Module) -> None:
    """Fold the weights of our backbones once for all images."""
    for module in model.modules():
        if isinstance(module, MODELS.get('mmconvnext.ConvNeXt')):
            module.fuse()


def skip_pretrained(cfg: Config) -> None:
    """Do not download pretrained weights, which the checkpoint would replace."""
    for _, node in dicts(cfg.model):
        if isinstance(node.get('backbone'), dict):
            node.backbone.init_cfg = None


def raise_threshold(cfg: Config, score: float) -> None:
    """Let detectors drop objects below ``score`` before they compute their masks.

    What remains is the same: hard NMS goes down the scores, so none below removes one above.
    """
    for path, node in dicts(cfg.model, 'model'):
        low, nms = node.get('score_thr'), node.get('nms') or {}
        if path.endswith(('test_cfg', 'test_cfg.rcnn')) and nms.get('type') == 'nms':
            if isinstance(low, (int, float)) and low < score:
                node['score_thr'] = score


def build(cfg: Config, checkpoint: str, device: torch.device) -> tuple[nn.Module, dict]:
    """The model on its device, in evaluation mode and fused, and the content of the checkpoint.

    The default scope must be that of the config.

    Raises:
        RecipeError: the checkpoint does not fill the model, or its classes are not the config's.
        CheckpointError: it cannot be read.
    """
    from mmengine.model import revert_sync_batchnorm

    from ..hooks.loading import Loading

    skip_pretrained(cfg)
    if cfg.get('data_preprocessor'):
        cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
    content = load_by_scheme(checkpoint, 'cpu')
    with torch.random.fork_rng(devices=[]):  # the caller's random numbers stay as they were
        model = MODELS.build(cfg.model)
    model = revert_sync_batchnorm(model)
    loading = Loading('test', is_lenient(cfg))
    loading.source = checkpoint
    try:
        loading.after_load_checkpoint(SimpleNamespace(model=model, cfg=cfg), content)
    except RecipeError as error:  # of the ways out, here is no option
        raise RecipeError(str(error).replace('--lenient, or ', '')) from error
    if loading.level > logging.INFO:
        print_log(loading.line, logger='current', level=loading.level)
    model.eval()
    fuse(model)
    return model.to(device), content


def names_of(cfg: Config, checkpoint: Mapping) -> tuple[str, ...]:
    """The names of the classes: the checkpoint's, which must be the config's, or the config's.

    Raises:
        RecipeError: a label means another class in the checkpoint than in the config; or no list
            has as many names as the model has classes.
    """
    from ..hooks.class_layers import class_counts
    from ..hooks.same_classes import compare, trained_classes

    trained = trained_classes(checkpoint)
    dataset = _dataset(cfg)
    given = list(class_names(cfg, dataset)) if dataset else []
    for line in settle(cfg, compare(trained, given)):
        print_log(line, logger='current', level=logging.WARNING)
    counts = class_counts(cfg.model)
    for names in (trained, given):
        if names and (not counts or len(names) in counts or _is_panoptic(cfg, len(names))):
            return tuple(names)
    raise RecipeError(
        f'the model has {" or ".join(map(str, counts))} classes, but the checkpoint names '
        f'{len(trained) or "none"} and the config {len(given) or "none"}; write '
        'test_dataloader.dataset.metainfo=dict(classes=[...])'
    )


def palette_of(cfg: Config, checkpoint: Mapping) -> list | None:
    """The colours of the classes in the config or in the checkpoint; None if there are none."""
    from ..recipe.checks.classes import dataset_type

    dataset = _dataset(cfg)
    meta = checkpoint.get('meta') or {}
    holders = [meta.get('dataset_meta') or {}]
    if dataset:
        of_type = getattr(dataset_type(cfg, dataset), 'METAINFO', None) or {}
        holders = [dataset.get('metainfo') or {}, *holders, of_type]
    for holder in holders:
        palette = holder.get('palette')
        if isinstance(palette, (list, tuple)) and palette:
            return list(palette)
    return None


def _dataset(cfg: Config) -> dict | None:
    return next((dataset for _, dataset in datasets(cfg, LOADERS[::-1])), None)


def _is_panoptic(cfg: Config, names: int) -> bool:
    counts = (
        node['num_things_classes'] + node['num_stuff_classes']
        for _, node in dicts(cfg.model)
        if {'num_things_classes', 'num_stuff_classes'} <= node.keys()
    )
    return names in counts
