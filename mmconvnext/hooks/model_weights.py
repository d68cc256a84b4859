# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Compares the weights of a checkpoint with those of a whole model: names, shapes, modules."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.registry import MODELS
from mmengine.utils import is_seq_of
from torch import Tensor, nn

from ..checkpoint.checkpoint_key import unwrap
from ..checkpoint.errors import CheckpointUnreadable
from ..checkpoint.formats import listed
from ..checkpoint.load import fills, is_pretrained
from ..recipe.errors import RecipeError

# Prefixes that DistributedDataParallel and torch.compile add to all names, in any order.
WRAPPERS = re.compile(r'((module|_orig_mod)\.)+')

Shapes = dict[str, tuple[tuple[int, ...], tuple[int, ...]]]  # name: shapes in file and model


def unwrapped_model(model: nn.Module) -> nn.Module:
    """The model inside DistributedDataParallel and test-time augmentation."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def unwrapped_name(name: object) -> str:
    """The name without the prefixes of wrappers; a key that is not a string becomes one."""
    name = str(name)
    prefix = WRAPPERS.match(name)
    return name[prefix.end() :] if prefix else name


def weights_of(checkpoint: object, source: str) -> dict[str, object]:
    """The weights in the content of the file ``source``, by the names of the unwrapped model.

    Raises:
        RecipeError: it is not a checkpoint, or has a tensor both with and without a prefix.
    """
    try:
        content = unwrap(checkpoint)
    except CheckpointUnreadable as error:
        raise RecipeError(f'{source} {error}') from error
    # Keep every key of mmengine's own checkpoints: non-tensors are errors, or reported.
    weights = checkpoint['state_dict'] if content.path == 'state_dict' else content.tensors
    names = {name: unwrapped_name(name) for name in weights}
    twice = [name for name, count in Counter(names.values()).items() if count > 1]
    if twice:
        both = [str(name) for name in names if names[name] == twice[0]]
        raise RecipeError(
            f'{source} has {len(twice)} tensors twice, with and without the prefix of a '
            f'wrapper: {listed(both)}; keep one of each'
        )
    return {names[name]: value for name, value in weights.items()}


def shared_tensors(weights: Mapping[str, object], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the file whose names the model has."""
    return {k: v for k, v in weights.items() if k in state and isinstance(v, Tensor)}


def other_shapes(weights: Mapping[str, object], model: nn.Module) -> Shapes:
    """The tensors with another shape in the file, except in our backbones, which adapt them."""
    tensors = shared_tensors(weights, state := model.state_dict())
    pairs = {name: (tuple(tensors[name].shape), tuple(state[name].shape)) for name in tensors}
    ours = backbone_prefixes(model)
    return {
        name: pair
        for name, pair in pairs.items()
        if pair[0] != pair[1] and not name.startswith(ours)
    }


def backbone_prefixes(model: nn.Module) -> tuple[str, ...]:
    """Prefixes of the tensors of each ConvNeXt of this package in the model."""
    return tuple(f'{name}.' for name, module in model.named_modules() if _is_convnext(module))


def loads_pretrained(module: nn.Module) -> bool:
    """Whether ``init_weights`` would read weights from a file or download them."""
    configs = getattr(module, 'init_cfg', None) or []
    configs = configs if isinstance(configs, (list, tuple)) else [configs]
    return is_seq_of(configs, dict) and any(map(is_pretrained, configs))


def fills_module(weights: Mapping[str, object], module: nn.Module, name: str) -> bool:
    """Whether the file fills all of a module, so that its ``init_cfg`` would have no effect."""
    prefix = f'{name}.' if name else ''
    if _is_convnext(module):
        return fills(module, weights, prefix)
    return all(
        getattr(weights.get(prefix + key), 'shape', None) == tensor.shape
        for key, tensor in module.state_dict().items()
        if not key.endswith('num_batches_tracked')
    )


def _is_convnext(module: nn.Module) -> bool:
    return isinstance(module, MODELS.get('mmconvnext.ConvNeXt'))
