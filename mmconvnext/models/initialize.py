# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Initial weights for a new network, and for one that was built on the meta device."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain

from torch import Tensor, nn


def initialize(model: nn.Module) -> None:
    """Initialize all parameters and buffers of ``model``.

    Raises:
        ValueError: a module cannot be initialized, see :func:`initialize_layer`.
    """
    for name, module in model.named_modules():
        initialize_layer(module, name)


def initialize_layer(layer: nn.Module, name: str = '') -> None:
    """Initialize the layer's own parameters and buffers, not those of its children.

    Convolutions and linear layers: weights from a truncated normal of std 0.02, zero biases
    (official models/convnext.py). All other layers: their ``reset_parameters``, the usual name in
    torch. Norms start at 1 and 0, GRN at 0, layer scale at ``layer_scale_init_value``.

    FSDP calls ``reset_parameters`` of all layers, which gives convolutions torch's defaults. Pass
    ``param_init_fn=lambda layer: initialize_layer(layer.to_empty(device='cuda', recurse=False))``.

    Raises:
        ValueError: the module has parameters or buffers but no ``reset_parameters``, or its weight
            is sharded or computed by a parametrization.
    """
    own = {name for name, _ in layer.named_parameters(recurse=False)}
    own |= {name for name, _ in layer.named_buffers(recurse=False)}
    if not own:
        return
    what = f'{name or "the module"} (a {type(layer).__name__})'
    if isinstance(layer, (nn.Conv2d, nn.Linear)):
        if 'weight' not in own or layer.weight.ndim < 2:
            raise ValueError(
                f'{what} has a weight that is sharded or computed from others, so it cannot be '
                'initialized; call init_weights() before sharding or parametrizing it'
            )
        nn.init.trunc_normal_(layer.weight, std=0.02)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    elif hasattr(layer, 'reset_parameters'):
        layer.reset_parameters()
    else:
        raise ValueError(
            f'{what} has {sorted(own)} but no reset_parameters(), so their initial values are '
            'unknown; add that method to its class, or build the backbone on a real device'
        )


def on_meta(model: nn.Module) -> list[str]:
    """Names of the parameters and buffers on the meta device, which have no memory."""
    tensors = chain(model.named_parameters(), model.named_buffers())
    return [name for name, tensor in tensors if tensor.is_meta]


def refuse_meta(model: nn.Module) -> None:
    """Raise a ValueError if a parameter or buffer has no memory yet."""
    missing = on_meta(model)
    if missing:
        raise ValueError(
            f'the backbone is on the meta device ({missing[0]} and {len(missing) - 1} more have no '
            'memory); call to_empty(device=...) before init_weights()'
        )


def start_before_loading(backbone: nn.Module, state_dict: Mapping, metadata: Mapping) -> bool:
    """Before a state dict is loaded, initialize the parameters that it may lack.

    With ``assign=True`` the backbone may still be on the meta device: the state dict's tensors
    become the parameters. Only a classifier's state dict lacks the output norms; they are
    initialized here.

    Returns:
        Whether all weights will have values after loading.
    """
    if not on_meta(backbone):
        initialize(backbone)
        return True
    if not metadata.get('assign_to_params_buffers'):
        return False  # torch warns that it copies nothing
    device = next((t.device for t in state_dict.values() if isinstance(t, Tensor)), 'cpu')
    for norm in (getattr(backbone, f'norm{i}') for i in backbone.out_indices):
        if on_meta(norm):
            initialize(norm.to_empty(device=device))
    return True
