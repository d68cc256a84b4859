# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Checks that every optimizer option is used, and that no hook misreads the parameter groups."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from mmengine.config import Config
from mmengine.registry import HOOKS, OPTIM_WRAPPER_CONSTRUCTORS, OPTIMIZERS, Registry

from ..errors import RecipeError
from ..families import build_backbone
from ..walk import backbones, dicts, registered, type_name, type_of
from .finding import Finding

OURS = 'LayerDecayOptimWrapperConstructor'
THEIRS = 'LearningRateDecayOptimizerConstructor'  # of mmdet and mmseg
DECAY = {'decay_rate', 'decay_type', 'num_layers', 'layer_decay_rate', 'head_lr_mult'}
# The keys of paramwise_cfg that each constructor reads. Sources: mmengine's default_constructor.py,
# layer_decay_optimizer_constructor.py of mmdet and mmseg, mmseg's force_default_constructor.py.
# Other constructors are not checked; ours raises by itself.
DEFAULT = {'custom_keys', 'bias_lr_mult', 'bias_decay_mult', 'norm_decay_mult', 'bypass_duplicate'}
DEFAULT |= {'dwconv_decay_mult', 'flat_decay_mult', 'dcn_offset_lr_mult'}
READS = dict(
    DefaultOptimWrapperConstructor=DEFAULT,
    ForceDefaultOptimWrapperConstructor=DEFAULT | {'force_default_settings'},
    LearningRateDecayOptimizerConstructor={'decay_rate', 'decay_type', 'num_layers'},
)
# Keys that a constructor does not read, with the values for what it does anyway: it never
# decays vectors and biases, and it lists a shared parameter once. mmdet's
# rtmdet_l_convnext_b_4xb32-100e_coco.py writes all three.
DONE = dict(
    LearningRateDecayOptimizerConstructor=dict(
        norm_decay_mult=0, bias_decay_mult=0, bypass_duplicate=True
    )
)
# mmyolo's hook takes group 2 for the biases (its engine/hooks/yolov5_param_scheduler_hook.py).
COUNTING_HOOK = 'YOLOv5ParamSchedulerHook'


def check_type(cfg: Config) -> None:
    """Check that there is such an optimizer; mmengine would say "None is not a callable object".

    Raises:
        RecipeError: its type is in no registry.
    """
    node = (cfg.get('optim_wrapper') or {}).get('optimizer') or {}
    if isinstance(type_of(node), str) and registered(cfg, OPTIMIZERS, node) is None:
        near = difflib.get_close_matches(type_name(node), OPTIMIZERS.module_dict, n=3)
        hint = f'did you mean {", ".join(near)}?' if near else 'choose one of torch.optim'
        raise RecipeError(f'optim_wrapper.optimizer.type={type_of(node)!r} is unknown; {hint}')


def check_constructor(cfg: Config) -> Iterator[Finding]:
    """Check that the constructor reads every key of ``paramwise_cfg``, or it has no effect."""
    wrapper = cfg.get('optim_wrapper') or {}
    kind = _names(cfg, OPTIM_WRAPPER_CONSTRUCTORS, _constructor(wrapper))[0]
    options, done = wrapper.get('paramwise_cfg') or {}, DONE.get(kind, {})
    given = {key for key, value in options.items() if key not in done or value != done[key]}
    unread = sorted(given - READS.get(kind, given))
    if not unread:
        return
    reads = f'it reads {sorted(READS[kind])}'
    if DECAY & set(unread):
        reads = (
            "all layers would learn at the full rate. Set optim_wrapper.constructor='mmconvnext."
        )
        reads += f"{OURS}'"
    yield Finding(
        f'optim_wrapper.paramwise_cfg has {unread}, which {kind} ignores: {reads}', 'unread_options'
    )


def check_num_layers(cfg: Config) -> Iterator[Finding]:
    """Check that ``num_layers`` is that of the backbone, if the constructor reads it.

    mmdet's and mmseg's take any number: with that of a shallower backbone the last layers learn
    faster than the head, 4 times with decay rate 0.7 and 6 for 12. Ours raises, but only when the
    optimizer is built.
    """
    wrapper = cfg.get('optim_wrapper') or {}
    names = _names(cfg, OPTIM_WRAPPER_CONSTRUCTORS, _constructor(wrapper))
    options = wrapper.get('paramwise_cfg') or {}
    if names[0] != THEIRS and (OURS not in names or options.get('num_layers') is None):
        return
    kind = options.get('decay_type', 'layer_wise')
    for path, backbone in backbones(cfg):
        built = build_backbone(cfg, path, backbone)
        try:
            groups = built.get_layer_depth('downsample_layers.0.0.weight', decay_type=kind)[1]
        except ValueError:  # another fault, which the constructor explains
            return
        if options.get('num_layers') != groups - 2:
            yield Finding(
                f'optim_wrapper.paramwise_cfg.num_layers={options.get("num_layers")}, but {path} '
                f'with depths {list(built.arch.depths)} needs {groups - 2}, or layers would get '
                f'learning rates of other layers; set num_layers={groups - 2}, or leave it out '
                f"with constructor='mmconvnext.{OURS}'",
                'num_layers',
            )


def check_hooks(cfg: Config) -> Iterator[Finding]:
    """Check that no hook mistakes one of our groups, which belong to layers, for the biases."""
    wrapper = cfg.get('optim_wrapper') or {}
    if OURS not in _names(cfg, OPTIM_WRAPPER_CONSTRUCTORS, _constructor(wrapper)):
        return
    for key in ('default_hooks', 'custom_hooks'):
        for path, hook in dicts(cfg.get(key) or [], key):
            if COUNTING_HOOK not in _names(cfg, HOOKS, hook):
                continue
            epochs = (cfg.get('train_cfg') or {}).get('max_epochs', 300)
            way = f"set {path}=dict(_delete_=True, type='ParamSchedulerHook')"
            if key == 'custom_hooks':
                way = f'remove {path}'
            yield Finding(
                f'{path} is {COUNTING_HOOK}, which expects the biases in parameter group 2, but '
                f'{OURS} groups parameters by layer, so a whole stage would get the warm-up of '
                f'the biases; {way}, and\n'
                "  param_scheduler=[dict(type='LinearLR', start_factor=0.001, by_epoch=False, "
                "begin=0, end=1000), dict(type='CosineAnnealingLR', by_epoch=True, begin=0, "
                f'end={epochs}, T_max={epochs}, convert_to_iter_based=True)]',
                'group_hooks',
            )


def _constructor(wrapper: dict) -> dict:
    return dict(type=wrapper.get('constructor') or 'DefaultOptimWrapperConstructor')


def _names(cfg: Config, registry: Registry, node: dict) -> list[str]:
    """Names of a class and its base classes, or only its own if it is not installed."""
    kind = registered(cfg, registry, node)
    return [base.__name__ for base in kind.__mro__] if kind else [type_name(node)]
