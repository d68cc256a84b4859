# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Finds the parts of an MM config that several steps need."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from mmengine.config import Config, ConfigDict
from mmengine.config.lazy import LazyAttr, LazyObject
from mmengine.registry import MODELS, Registry, init_default_scope

from .errors import RecipeError

SCOPES = ('mmdet', 'mmseg')
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def task(cfg: Config | ConfigDict) -> str:
    """'mmdet' or 'mmseg': the default scope, else the project that the model's types come from.

    Raises:
        RecipeError: any other scope.
    """
    scope = cfg.get('default_scope') or scope_of_model(cfg)
    if scope not in SCOPES:
        raise RecipeError(
            f"default_scope={scope!r}: these tools run configs of 'mmdet' and 'mmseg'. Write "
            "default_scope='mmdet' or 'mmseg' if the model is from one of these; for other "
            "projects use their own tools with type='mmconvnext.ConvNeXt'"
        )
    return scope


def scope_of_model(cfg: Config | ConfigDict) -> str | None:
    """The project of a model, from the classes or full names of its types; None if it is neither.

    A lazy config's classes are only imported if their names do not give the project.
    """
    model = cfg.get('model') or {}
    found = (_project(dict.get(node, 'type')) for _, node in dicts(model))
    return next((project for project in found if project), None) or _project(type_of(model))


def _project(kind: object) -> str | None:
    """'mmdet' or 'mmseg' if a string, a class or a lazy object names a module of one of them."""
    if inspect.isclass(kind):
        modules = [base.__module__ for base in kind.__mro__]
    else:
        modules = [str(getattr(kind, 'module', kind))]
    packages = (module.partition('.')[0] for module in modules)
    return next((package for package in packages if package in SCOPES), None)


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
    """The innermost datasets of the loaders, inside RepeatDataset and the like, with paths."""
    for loader in loaders:
        if cfg.get(loader):
            for path, node in dicts(cfg[loader].dataset, f'{loader}.dataset'):
                if 'data_root' in node or 'ann_file' in node or 'data_prefix' in node:
                    yield path, node


def default_hook(cfg: Config, name: str, kind: str) -> ConfigDict:
    """One of the hooks that mmengine registers even if a config leaves it out."""
    hooks = cfg.get('default_hooks') or {}
    cfg.default_hooks = {name: dict(type=kind), **hooks}
    return cfg.default_hooks[name]


def pipelines(cfg: Config) -> Iterator[ConfigDict]:
    """Every transform in the pipelines of loaders, hooks and test-time augmentation."""
    for owner in (*LOADERS, 'custom_hooks'):  # PipelineSwitchHook has a switch_pipeline
        for path, node in dicts(cfg.get(owner) or {}, owner):
            if 'pipeline.' in path and 'type' in node:
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


def unimported_name(node: dict) -> str:
    """Like :func:`type_name`, without importing the class of a lazy config."""
    kind = dict.get(node, 'type')  # ConfigDict.get would import it
    return (kind.__name__ if inspect.isclass(kind) else str(kind)).rpartition('.')[2]


def type_of(node: dict) -> object:
    """The ``type`` of a config: a string, a class or None. Lazy configs import the class."""
    kind = node.get('type')
    return kind.build() if isinstance(kind, (LazyObject, LazyAttr)) else kind


def type_name(node: dict) -> str:
    """The bare name of a type: 'LinearLR' for 'LinearLR', 'mmengine.LinearLR' and the class."""
    kind = type_of(node)
    return kind.rpartition('.')[2] if isinstance(kind, str) else getattr(kind, '__name__', '')


def registered(cfg: Config, registry: Registry, node: dict) -> type | None:
    """The class that a config's ``type`` names in its scope; None if it is not registered."""
    kind = type_of(node)
    if inspect.isclass(kind) or not isinstance(kind, str):
        return kind if inspect.isclass(kind) else None
    scope = cfg.get('default_scope') or scope_of_model(cfg)
    if scope in SCOPES:
        init_default_scope(scope)
    with registry.switch_scope_and_registry(None) as scoped:
        try:
            found = scoped.get(kind)
        except RuntimeError:  # a scope that is not installed
            return None
    return found if inspect.isclass(found) else None


def backbones(cfg: Config) -> Iterator[tuple[str, ConfigDict]]:
    """Every ConvNeXt of this package in the model, however deeply nested; subclasses too."""
    ours = MODELS.get('mmconvnext.ConvNeXt')
    for path, node in dicts(cfg.model, 'model'):
        if issubclass(registered(cfg, MODELS, node) or object, ours):
            yield path, node
