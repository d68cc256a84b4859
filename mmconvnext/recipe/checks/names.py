# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Checks that our classes are named with their scope, so that every MM project finds them."""

from __future__ import annotations

from mmengine.config import Config
from mmengine.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS, Registry

from ..errors import RecipeError
from ..walk import dicts

BACKBONE = 'ConvNeXt'
CONSTRUCTOR = 'LayerDecayOptimWrapperConstructor'


def check_names(cfg: Config, *, training: bool = True) -> None:
    """Check that no class of ours is named without its scope, which release 0.1.0 allowed.

    Raises:
        RecipeError: a name without scope is one of ours, and no other package registers it.
    """
    names = [(f'{path}.type', node.get('type')) for path, node in dicts(cfg.model, 'model')]
    _require(cfg, MODELS, BACKBONE, names)
    if training:
        constructor = (cfg.get('optim_wrapper') or {}).get('constructor')
        names = [('optim_wrapper.constructor', constructor)]
        _require(cfg, OPTIM_WRAPPER_CONSTRUCTORS, CONSTRUCTOR, names)


def _require(cfg: Config, root: Registry, plain: str, names: list[tuple[str, object]]) -> None:
    path = next((path for path, name in names if name == plain), None)
    if path is None:
        return
    with root.switch_scope_and_registry(cfg.get('default_scope')) as registry:
        if registry.get(plain) is None:
            raise RecipeError(
                f'{path}={plain!r} is not registered. For the class of this package write '
                f"{path.rpartition('.')[2]}='mmconvnext.{plain}'; a class of another package needs "
                'custom_imports'
            )
