# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Checks of the names in a model: ours have their scope, and every part has a type."""

from __future__ import annotations

from mmengine.config import Config
from mmengine.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS, Registry

from ..errors import RecipeError
from ..walk import SCOPES, dicts, registered

# Parts of a detector or segmentor that a registry builds.
PARTS = ('neck', 'rpn_head', 'roi_head', 'bbox_head', 'mask_head', 'panoptic_head', 'decode_head')
PARTS += ('auxiliary_head',)
BACKBONE = 'ConvNeXt'
CONSTRUCTOR = 'LayerDecayOptimWrapperConstructor'


def check_names(cfg: Config, *, training: bool = True) -> None:
    """Check that no class of ours is named without its scope, which release 0.1.0 allowed.

    Raises:
        RecipeError: a name without scope is one of ours, and no other package registers it; or a
            part of the model has no type, since the base config has no such part.
    """
    _require_types(cfg)
    names = [(f'{path}.type', node.get('type')) for path, node in dicts(cfg.model, 'model')]
    _require(cfg, MODELS, BACKBONE, names)
    if training:
        constructor = (cfg.get('optim_wrapper') or {}).get('constructor')
        names = [('optim_wrapper.constructor', constructor)]
        _require(cfg, OPTIM_WRAPPER_CONSTRUCTORS, CONSTRUCTOR, names)


def _require_types(cfg: Config) -> None:
    """A class of mmdet or mmseg builds its parts by type; what others do with a dict is theirs."""
    for path, node in dicts(cfg.model, 'model'):
        module = getattr(registered(cfg, MODELS, node), '__module__', '')
        if module.partition('.')[0] not in SCOPES:
            continue
        for part in PARTS:
            given = node.get(part)
            given = given[0] if isinstance(given, (list, tuple)) and given else given
            if isinstance(given, dict) and given and not given.get('type'):
                raise RecipeError(
                    f'{path}.{part}={dict(given)} has no type: the base config has no {part}. Take '
                    'it out, and set in_channels of the part that takes the maps of the backbone '
                    'instead, such as panoptic_head or decode_head'
                )


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
