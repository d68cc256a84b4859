# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What becomes of an argument that another package's ConvNeXt takes, see :mod:`.table`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...arch import ARCHS
from ...checkpoint import zoo
from . import values
from .values import Refused

# Gets the value and all arguments of the call; returns arguments of ours, or raises Refused.
Rule = Callable[[object, Mapping], Mapping]


def same(ours: str) -> Rule:
    """Our argument of another name."""
    return lambda value, call: {ours: value}


def design(read: Callable[[object], Mapping]) -> Rule:
    """Fields of ``design``."""
    return lambda value, call: {'design': read(value)}


def switch(ours: str) -> Rule:
    """A field of ``design``, where some have a value for each stage or side."""
    return design(lambda value: {ours: values.one(value)})


def only(*allowed: object, otherwise: str) -> Rule:
    """What is computed here with these values, and with no others."""

    def rule(value, call):
        if not any(type(value) is type(known) and value == known for known in allowed):
            raise Refused(otherwise, {})
        return {}

    return rule


def use_checkpoint(value, call):
    if not isinstance(value, bool):
        raise Refused('it is True or False')
    return dict(with_cp=value)


def use_grn(value, call):
    if not isinstance(value, bool):
        raise Refused('it is True or False')
    if not value:
        return dict(version='v1')
    if 'layer_scale_init_value' in call or 'ls_init_value' in call:
        return dict(version='v2')
    # V1's layer scale, which stays there unless it is turned off.
    return dict(version='v2', layer_scale_init_value=1e-6)


def stages(value, call):
    depths, widths = call.get('depths'), call.get('dims', call.get('hidden_sizes'))
    version = 'v2' if call.get('use_grn') else call.get('version', 'v1')
    if depths and widths and 'arch' not in call:
        return dict(arch=values.size_of(depths, widths, version))
    tiny = ARCHS['tiny']  # the defaults of all of them
    instead = values.size_of(depths or tiny.depths, widths or tiny.channels, version)
    reason = 'arch says the size too; write one of them'
    if 'arch' not in call:
        missing = 'the widths' if depths else 'depths'
        reason = f'a size is depths and widths; {missing} would be those of tiny there'
    raise Refused(reason, dict(arch=instead))


def model_name(value, call):
    found = values.called(value)
    if found is None:
        raise Refused(f'no ConvNeXt of that name is built here; sizes are {list(ARCHS)}')
    (ours, weights), reason = found, 'a size and its weights in one'
    named_elsewhere = call.get('checkpoint_path') or call.get('init_cfg')
    if call.get('pretrained', True) and not named_elsewhere:
        ours = {**ours, 'init_cfg': values.weights(weights or '...')}
        if not weights:
            reason += f'; the nearest names of weights are {zoo.nearest(f"timm/{value}")}'
    raise Refused(f'{reason}. Here each map has a norm of its own, in timm none', ours)


def pretrained(value, call):
    if value is None or value is False:
        return {}
    if value is True:
        if 'model_name' in call or 'checkpoint_path' in call:
            return {}  # they are answered with the weights
        version = 'v2-' if call.get('version') == 'v2' else ''
        found = zoo.nearest(f'convnext-{version}{call.get("arch", "tiny")}_')
        init_cfg = call.get('init_cfg', values.weights('...'))
        raise Refused(f'weights are named here, as {found}', dict(init_cfg=init_cfg))
    if not isinstance(value, str):
        raise Refused('it is a path, a URL or a short name of weights', {})
    mend = (
        'where the base config sets it for the whole model, write model = dict(pretrained=None, '
        '...), or model.pretrained = None on a config in Python'
    )
    if 'init_cfg' in call:
        raise Refused(f'init_cfg names weights too; {mend}', {})
    if values.other_network(value):
        raise Refused(f'these are weights of another network; {mend}', {})
    return dict(init_cfg=values.weights(value))


def checkpoint_path(value, call):
    if not value:
        return {}
    raise Refused('weights are named in init_cfg', dict(init_cfg=values.weights(value)))


def ls_init_value(value, call):
    if value is not None and value == 0:
        raise Refused(
            'timm builds a layer scale then that starts at 0; None is none in both, so write that, '
            'or a start above 0'
        )
    return dict(layer_scale_init_value=0.0 if value is None else value)


def norm_layer(value, call):
    fields = {} if value is None else values.norm(value)
    if 'norm_eps' in call:
        fields.pop('norm_eps', None)
    return dict(design=fields)


def out_features(value, call):
    return dict(out_indices=values.stages(value))


def num_stages(value, call):
    arch = call.get('arch', 'tiny')
    count = values.length(call['depths']) if 'depths' in call else values.num_stages(arch)
    if count not in (None, value):
        raise Refused(f'the arch has {count} stages', {})
    return {}
