# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Finding the parts of an MM config that more than one step looks at."""

from __future__ import annotations

from collections.abc import Iterator

from mmengine.config import Config, ConfigDict

from .errors import RecipeError

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def task(cfg: Config) -> str:
    """'mmdet' or 'mmseg', from the config's default scope.

    Raises:
        RecipeError: any other scope.
    """
    scope = cfg.get('default_scope')
    if scope not in ('mmdet', 'mmseg'):
        raise RecipeError(
            f"default_scope={scope!r}: these tools run configs of 'mmdet' and 'mmseg'; for other "
            "projects use their own tools with type='mmconvnext.ConvNeXt'"
        )
    return scope


def dicts(node: object, path: str = '') -> Iterator[tuple[str, ConfigDict]]:
    """Every dict below ``node`` with its dotted path, parents first."""
    if isinstance(node, dict):
        yield path, node
        items = node.items()
    elif isinstance(node, (list, tuple)):
        items = enumerate(node)
    else:
        return
    for key, value in list(items):
        yield from dicts(value, f'{path}.{key}' if path else str(key))


def datasets(cfg: Config, loaders: tuple = LOADERS) -> Iterator[tuple[str, ConfigDict]]:
    """The innermost datasets of the loaders (inside RepeatDataset and the like), and paths."""
    for loader in loaders:
        if cfg.get(loader):
            for path, node in dicts(cfg[loader].dataset, f'{loader}.dataset'):
                if 'data_root' in node or 'ann_file' in node or 'data_prefix' in node:
                    yield path, node


def pipelines(cfg: Config) -> Iterator[ConfigDict]:
    """Every transform in the pipelines of the loaders and of test-time augmentation."""
    for loader in LOADERS:
        for path, node in dicts(cfg.get(loader) or {}, loader):
            if '.pipeline.' in path and 'type' in node:
                yield node
    for _, node in dicts(cfg.get('tta_pipeline') or []):
        if 'type' in node:
            yield node


def evaluators(cfg: Config) -> Iterator[ConfigDict]:
    """Every metric of validation and test."""
    for key in ('val_evaluator', 'test_evaluator'):
        value = cfg.get(key)
        for metric in value if isinstance(value, (list, tuple)) else [value]:
            if metric:
                yield metric


def backbones(cfg: Config) -> Iterator[tuple[str, ConfigDict]]:
    """The ConvNeXt of this package in the model, wherever it is nested."""
    for path, node in dicts(cfg.model, 'model'):
        if node.get('type') in ('mmconvnext.ConvNeXt', 'ConvNeXt'):
            yield path, node
