# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Rules that translate one argument of another package's ConvNeXt, see :mod:`.table`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...arch import ARCHS
from ...checkpoint import zoo
from . import values
from .values import Refused

# Takes the value and all arguments of the call; returns our arguments, or raises Refused.
Rule = Callable[[object, Mapping], Mapping]


def same(ours: str) -> Rule:
    """The same argument under our name."""
    return lambda value, call: {ours: value}


def design(read: Callable[[object], Mapping]) -> Rule:
    """Fields of ``design``."""
    return lambda value, call: {'design': read(value)}


def switch(ours: str) -> Rule:
    """A field of ``design``; other packages may give one value per stage or side."""
    return design(lambda value: {ours: values.one(value)})


def only(*allowed: object, otherwise: str) -> Rule:
    """Values that change nothing here; all others are refused."""

    def rule(value, call):
        if not any(type(value) is type(known) and value == known for known in allowed):
            raise Refused(otherwise, {})
        return {}

    return rule


def use_checkpoint(value, call):
    if not isinstance(value, bool):
        raise Refused('it must be True or False')
    return dict(with_cp=value)


def use_grn(value, call):
    if not isinstance(value, bool):
        raise Refused('it must be True or False')
    if not value:
        return dict(version='v1')
    if 'layer_scale_init_value' in call or 'ls_init_value' in call:
        return dict(version='v2')
    # In these packages V1's layer scale stays unless it is turned off.
    return dict(version='v2', layer_scale_init_value=1e-6)


def stages(value, call):
    depths, widths = call.get('depths'), call.get('dims', call.get('hidden_sizes'))
    version = 'v2' if call.get('use_grn') else call.get('version', 'v1')
    if depths and widths and 'arch' not in call:
        return dict(arch=values.size_of(depths, widths, version))
    tiny = ARCHS['tiny']  # the default size of all these packages
    instead = values.size_of(depths or tiny.depths, widths or tiny.channels, version)
    reason = 'arch sets the size as well; write only one of them'
    if 'arch' not in call:
        missing = 'the widths' if depths else 'depths'
        reason = f'a size needs depths and widths; there, {missing} default to those of tiny'
    raise Refused(reason, dict(arch=instead))


def model_name(value, call):
    found = values.called(value)
    if found is None:
        raise Refused(f'no ConvNeXt of this name can be built here; the sizes are {list(ARCHS)}')
    (ours, weights), reason = found, 'it names both the size and the weights'
    named_elsewhere = call.get('checkpoint_path') or call.get('init_cfg')
    if call.get('pretrained', True) and not named_elsewhere:
        ours = {**ours, 'init_cfg': values.weights(weights or '...')}
        if not weights:
            reason += f'; the closest names of weights are {zoo.nearest(f"timm/{value}")}'
    raise Refused(f'{reason}. Here each map has an output norm, unlike in timm', ours)


def pretrained(value, call):
    if value is None or value is False:
        return {}
    if value is True:
        if 'model_name' in call or 'checkpoint_path' in call:
            return {}  # their own rules name the weights
        version = 'v2-' if call.get('version') == 'v2' else ''
        found = zoo.nearest(f'convnext-{version}{call.get("arch", "tiny")}_')
        init_cfg = call.get('init_cfg', values.weights('...'))
        raise Refused(f'weights need a name here, such as {found}', dict(init_cfg=init_cfg))
    if not isinstance(value, str):
        raise Refused('it must be a path, a URL or a short name of weights', {})
    mend = (
        'if the base config sets it for the whole model, write model = dict(pretrained=None, '
        '...), or model.pretrained = None in a pure Python config'
    )
    if 'init_cfg' in call:
        raise Refused(f'init_cfg names weights too; {mend}', {})
    if values.other_network(value):
        raise Refused(f'these are weights of another network; {mend}', {})
    return dict(init_cfg=values.weights(value))


def checkpoint_path(value, call):
    if not value:
        return {}
    raise Refused('init_cfg names the weights', dict(init_cfg=values.weights(value)))


def ls_init_value(value, call):
    if value is not None and value == 0:
        raise Refused(
            'in timm, 0 builds a layer scale that starts at 0; write None for no layer scale, or a '
            'positive initial value'
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
