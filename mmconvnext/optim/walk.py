# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""All parameters of a model with their modules and names, regardless of wrappers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

# Attributes where wrappers keep the wrapped module: torch.compile, activation checkpointing and
# offloading, FSDP1 (`FullyShardedDataParallel`; FSDP2 wraps nothing), data parallelism.
WRAPPED = ('_orig_mod', '_checkpoint_wrapped_module', '_fsdp_wrapped_module', 'module')
# FSDP's name for a module's flattened parameters, with use_orig_params=False.
FLAT = '_flat_param'


@dataclass(frozen=True)
class Place:
    """A parameter and its place in the model; names do not contain those of wrappers."""

    name: str  # in the model
    inner: str  # in the backbone, or in the model if it is outside
    own: str  # in its module
    param: nn.Parameter
    module: nn.Module
    parent: nn.Module | None  # of the module
    backbone: nn.Module | None  # the outermost module around it with get_layer_depth()


def walk(
    module: nn.Module,
    prefix: str = '',
    parent: nn.Module | None = None,
    backbone: nn.Module | None = None,
    start: int = 0,
) -> Iterator[Place]:
    """Yield the places of all parameters in the model's order, like mmengine's constructor.

    A module shared by two parents is therefore visited twice; one that a single parent has under
    two names, once. ``start`` is the index in a name where the name inside the backbone begins.
    """
    if backbone is None and knows_depth(module):
        backbone, start = module, len(prefix)
    for own, param in module.named_parameters(recurse=False):
        name = prefix + own
        yield Place(name, name[start:], own, param, module, parent, backbone)
    wrapper = is_wrapper(module)
    for name, child in module.named_children():
        if wrapper:
            yield from walk(child, prefix, parent, backbone, start)
        else:
            yield from walk(child, f'{prefix}{name}.', module, backbone, start)


def knows_depth(module: nn.Module) -> bool:
    """Whether the module defines ``get_layer_depth``; most wrappers forward attributes."""
    return hasattr(type(module), 'get_layer_depth') or 'get_layer_depth' in vars(module)


def is_wrapper(module: nn.Module) -> bool:
    """Whether the module's only child is a module that it wraps."""
    children = list(module._modules)
    return len(children) == 1 and children[0] in WRAPPED and not knows_depth(module)


def unwrap(module: nn.Module) -> nn.Module:
    """The module inside all wrappers."""
    while is_wrapper(module):
        (module,) = module.children()
    return module


def shell(module: nn.Module) -> nn.Module:
    """A wrapper that does not forward the module's attributes."""
    return nn.ModuleDict({WRAPPED[0]: module})


def whole_shapes(model: nn.Module) -> dict[int, torch.Size]:
    """Unsharded shapes, by ``id``, of parameters sharded by FSDP1 or DeepSpeed (ZeRO 3).

    FSDP2's parameters are DTensors and have their whole shape.
    """
    shapes = {}
    for module in model.modules():
        flat = getattr(vars(module).get('_handle'), 'flat_param', None)
        if getattr(flat, '_params', None):  # with use_orig_params=True
            shapes.update(zip(map(id, flat._params), flat._shapes))
    for param in model.parameters():
        if hasattr(param, 'ds_shape'):
            shapes[id(param)] = torch.Size(param.ds_shape)
    return shapes
