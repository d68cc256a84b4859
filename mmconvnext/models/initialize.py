# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""How weights start: those of a new network, and of one that was built on the meta device."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain

from torch import Tensor, nn


def initialize(model: nn.Module) -> None:
    """Give all parameters and buffers below ``model`` the values that they start with.

    Raises:
        ValueError: a module does not know how, see :func:`initialize_layer`.
    """
    for name, module in model.named_modules():
        initialize_layer(module, name)


def initialize_layer(layer: nn.Module, name: str = '') -> None:
    """Give the layer's own parameters and buffers, not its children's, their start values.

    Truncated normal of std 0.02, zero biases (official models/convnext.py); all other layers have
    ``reset_parameters``, as is torch's custom: norms 1 and 0, GRN 0, layer scale its argument. FSDP
    calls that too, for convolutions torch's own, so let it have the paper's:
    ``param_init_fn=lambda layer: initialize_layer(layer.to_empty(device='cuda', recurse=False))``.

    Raises:
        ValueError: a module with parameters or buffers but without ``reset_parameters``, or a
            weight that is sharded or computed by a parametrization.
    """
    own = {name for name, _ in layer.named_parameters(recurse=False)}
    own |= {name for name, _ in layer.named_buffers(recurse=False)}
    if not own:
        return
    what = f'{name or "the module"} (a {type(layer).__name__})'
    if isinstance(layer, (nn.Conv2d, nn.Linear)):
        if 'weight' not in own or layer.weight.ndim < 2:
            raise ValueError(
                f'{what} has a weight that is sharded or computed from others, and is not '
                'initialized; call init_weights() before that is done to it'
            )
        nn.init.trunc_normal_(layer.weight, std=0.02)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    elif hasattr(layer, 'reset_parameters'):
        layer.reset_parameters()
    else:
        raise ValueError(
            f'{what} holds {sorted(own)} and has no reset_parameters(), so nobody knows what they '
            'start with; give its class that method, or build the backbone on a real device'
        )


def on_meta(model: nn.Module) -> list[str]:
    """The parameters and buffers that have no memory, by name."""
    tensors = chain(model.named_parameters(), model.named_buffers())
    return [name for name, tensor in tensors if tensor.is_meta]


def refuse_meta(model: nn.Module) -> None:
    """Raise a ValueError if there is no memory yet that could be initialized."""
    missing = on_meta(model)
    if missing:
        raise ValueError(
            f'the backbone is on the meta device ({missing[0]} and {len(missing) - 1} more have no '
            'memory); call to_empty(device=...) before init_weights()'
        )


def start_before_loading(backbone: nn.Module, state_dict: Mapping, metadata: Mapping) -> bool:
    """Initialize what a state dict may leave out; whether none of the memory is raw after loading.

    With ``assign=True`` the weights may still be on the meta device: the state dict brings the
    memory, but for the output norms, which a classifier's has not.
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
