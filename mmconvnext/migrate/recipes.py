# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Find the shipped recipe that is equal or closest to a migrated config."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from mmengine.config import Config

from ..recipe.load import shipped_configs
from .diff import differing
from .source import plain

PARTS = ('model', 'optim_wrapper', 'param_scheduler', 'train_cfg', 'train_pipeline', 'batch_size')
NEAR = 6  # differences up to which a recipe counts as close, our choice


def recipe_line(target: dict) -> str:
    """A line that names the recipe that is equal or close to the config; '' if none is."""
    parts = _parts(target)
    scope = target.get('default_scope')
    found = {path: differing(recipe, parts) for path, recipe in _recipes(scope).items()}
    path = min(found, key=lambda path: len(found[path]), default=None)
    if path is None or len(found[path]) > NEAR:
        return ''
    if not found[path]:
        return f'the config is the same as our recipe {path}: use that one'
    return f'our closest recipe is {path}; it differs in {", ".join(found[path])}'


@cache
def _recipes(scope: str | None) -> dict[Path, dict]:
    recipes = {}
    for path in shipped_configs():
        recipe = plain(Config.fromfile(str(path), import_custom_modules=False).to_dict())
        if recipe.get('default_scope') == scope:
            recipes[path] = _parts(recipe)
    return recipes


def _parts(cfg: dict) -> dict:
    """What defines a recipe: everything but paths, logging and evaluation."""
    loader = cfg.get('train_dataloader') or {}
    dataset = loader.get('dataset') or {}
    parts = {key: cfg.get(key) for key in PARTS[:4]}
    parts['model'] = _without_weights(parts['model'] or {})
    parts['train_cfg'] = {
        k: v for k, v in (parts['train_cfg'] or {}).items() if k != 'val_interval'
    }
    parts['train_pipeline'] = _without_backend(dataset.get('pipeline'))
    parts['batch_size'] = loader.get('batch_size')
    return parts


def _without_weights(model: dict) -> dict:
    backbone = {k: v for k, v in (model.get('backbone') or {}).items() if k != 'init_cfg'}
    return {**{k: v for k, v in model.items() if k != 'pretrained'}, 'backbone': backbone}


def _without_backend(node: object) -> object:
    if isinstance(node, dict):
        return {k: _without_backend(v) for k, v in node.items() if k != 'backend_args'}
    if isinstance(node, (list, tuple)):
        return [_without_backend(item) for item in node]
    return node
