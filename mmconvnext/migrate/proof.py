# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Compare what the old and the new config build: parameters, rates, outputs."""

from __future__ import annotations

import copy
import io
import logging
import warnings
from collections.abc import Mapping
from contextlib import contextmanager, redirect_stdout
from importlib import import_module

import torch
from mmengine.config import ConfigDict
from mmengine.logging import MMLogger
from mmengine.registry import MODELS
from mmengine.utils import import_modules_from_strings
from torch import nn

from ..arch import get_arch
from ..models.convnext import ConvNeXt
from .backbone import Renewed
from .mm2.model import task_of
from .optimizer import our_name
from .rates import compare, rates_of

SIDE = 64  # pixels of the image on which outputs are compared
NOT_COUNTED = ('kernel_sizes', 'norm_layer', 'output_stride')


def prove(
    model: nn.Module | str, target: Mapping, before: Mapping | None, renewed: list[Renewed]
) -> list[str]:
    """Compare both sides; return lines for the report.

    Args:
        model: the model of ``target``, see :func:`built`.
        target: the new config.
        before: the ``optim_wrapper`` of the old one.
        renewed: the backbones that were replaced.
    """
    with _quiet():
        return _prove(model, target, before, renewed)


def built(cfg: Mapping) -> nn.Module | str:
    """The model of a config, on the meta device if possible; or why it cannot be built."""
    with _quiet():
        try:
            return build(cfg)
        except Exception as error:  # any error of other packages' modules
            return _told(error)


def shares_parameters(model: nn.Module | str) -> bool:
    """Whether modules share a parameter, as in RTMDet's head."""
    if isinstance(model, str):
        return False
    every = sum(1 for _ in model.named_parameters(remove_duplicate=False))
    return every > sum(1 for _ in model.parameters())


@contextmanager
def _quiet():
    """Silence what constructors and heads log and print."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logger.setLevel(level)


def _prove(
    model: nn.Module | str, target: Mapping, before: Mapping | None, renewed: list[Renewed]
) -> list[str]:
    lines = [line for one in renewed if one.path.startswith('model') for line in _backbone(one)]
    if isinstance(model, str):
        return [*lines, f'the whole model cannot be built, so rates were not compared: {model}']
    total = sum(param.numel() for param in model.parameters())
    lines.append(f'the model builds: {total:,} parameters')
    peer = _peer_model(target, renewed)
    if peer is not None:
        there = sum(param.numel() for param in peer.parameters())
        lines[-1] += f"; mmpretrain's too, with {there:,}"
    if before and target.get('optim_wrapper'):
        places = [one.path.removeprefix('model.') + '.' for one in renewed]
        lines += _rates(model, peer, before, target, places)
    return lines


def _peer_model(target: Mapping, renewed: list[Renewed]) -> nn.Module | None:
    """The same model with mmpretrain's backbone; None if it cannot be built."""
    cfg = copy.deepcopy(dict(target))
    for one in renewed:
        node = cfg
        for key in one.path.split('.'):
            node = node[int(key)] if isinstance(node, list) else node[key]
        node.clear()
        node.update({**one.before, 'type': 'mmpretrain.ConvNeXt'})
    try:
        import_module('mmpretrain.models')
        return build(cfg) if all(one.peer == 'mmpretrain' for one in renewed) else None
    except Exception:  # not installed, or not for this mmcv
        return None


def build(cfg: Mapping) -> nn.Module:
    """The model of a config, on the meta device, or on the CPU if that fails."""
    scope = cfg.get('default_scope') or task_of(cfg)
    if imports := cfg.get('custom_imports'):
        import_modules_from_strings(**imports)
    model = ConfigDict(cfg['model'])
    with MODELS.switch_scope_and_registry(scope) as registry:
        try:
            with torch.device('meta'):
                return registry.build(copy.deepcopy(model))
        except (NotImplementedError, RuntimeError):
            return registry.build(model)


def _rates(
    model: nn.Module, peer: nn.Module | None, before: Mapping, target: Mapping, places: list[str]
) -> list[str]:
    scope = target.get('default_scope') or task_of(target)
    new = target['optim_wrapper']
    try:
        # Without the peer's model, its constructor is given ours, whose names it knows.
        theirs = rates_of(model if peer is None else peer, before, scope)
    except Exception as error:
        return [f'rates were not compared: the old constructor fails with {_told(error)}']
    theirs = {
        our_name(name) if name.startswith(tuple(places)) else name: rate
        for name, rate in theirs.items()
    }
    try:
        ours = rates_of(model, new, scope)
    except ValueError as error:
        return [f'rates were not compared: {error}']
    if different := compare(theirs, ours):
        return [f'rates differ in {len(different)} kinds of parameters:', *(
            f'  {line}' for line in different)]  # fmt: skip
    how = before.get('constructor') or "mmengine's constructor"
    return [f'learning rate and weight decay of all {len(ours)} parameters are those of {how}']


def _backbone(one: Renewed) -> list[str]:
    arguments = {k: v for k, v in one.after.items() if k not in ('type', 'init_cfg')}
    with torch.device('meta'):
        count = sum(param.numel() for param in ConvNeXt(**arguments).parameters())
    lines = [f'{one.path}: {count:,} parameters, {_counted(one, count)}']
    if one.peer == 'timm':
        return [
            *lines,
            f'{one.path}: outputs not compared: timm returns feature maps without norms, ours have '
            'norms',
        ]
    return [*lines, _outputs(one, arguments)]


def _counted(one: Renewed, count: int) -> str:
    if any(key in one.before for key in NOT_COUNTED):
        return "not compared: we cannot count the peer's parameters with some of its arguments"
    expected, unused = expected_parameters(one)
    if one.peer == 'timm':
        return f"timm's {expected:,} and {count - expected:,} for the output norms"
    if unused:
        return f"Meta's has {expected:,}, of which {unused:,} are for norms that it never uses"
    whose = "Meta's" if one.peer == 'meta' else f"{one.peer}'s"
    return f'as many as {whose}' if count == expected else f'{whose} has {expected:,}'


def expected_parameters(one: Renewed) -> tuple[int, int]:
    """The number of parameters of the peer's backbone, and of norms that Meta's never uses."""
    asked = one.before
    version = 'v2' if asked.get('use_grn') else 'v1'
    size = asked.get('arch', 'tiny')
    if one.peer == 'timm':
        size, version = one.after['arch'], one.after.get('version', 'v1')
    if one.peer == 'meta':
        row = get_arch('tiny')
        size = dict(
            depths=asked.get('depths', row.depths), channels=asked.get('dims', row.channels)
        )
    elif isinstance(size, str):
        row = get_arch(one.after['arch'], one.after.get('version', 'v1'))
        size = dict(depths=row.depths, channels=row.channels)
    depths, widths = size['depths'], size['channels']
    image = asked.get('in_channels', asked.get('in_chans', 3))
    patch = asked.get('stem_patch_size', asked.get('patch_size', 4))
    scale = asked.get('layer_scale_init_value', asked.get('ls_init_value', 1e-6))
    if one.peer == 'timm' and version == 'v2':
        scale = 0  # models/convnext.py of timm: ls_init_value=None
    total = image * patch**2 * widths[0] + 3 * widths[0]
    for before, after in zip(widths, widths[1:]):
        total += 2 * before + 4 * before * after + after
    for depth, c in zip(depths, widths):
        block = 50 * c + 2 * c + 8 * c * c + 5 * c  # depthwise 7x7, norm, two pointwise layers
        total += depth * (block + (c if scale else 0) + (8 * c if version == 'v2' else 0))
    last = len(depths) - 1
    out = asked.get('out_indices', -1 if one.peer == 'mmpretrain' else range(4))
    used = {i % (last + 1) for i in ([out] if isinstance(out, int) else out)}
    if one.peer == 'timm':
        return total, 0
    norms = {i: 2 * width for i, width in enumerate(widths)}
    unused = sum(norms[i] for i in norms if i not in used) if one.peer == 'meta' else 0
    return total + sum(norms[i] for i in used) + unused, unused


def _outputs(one: Renewed, arguments: Mapping) -> str:
    if one.peer == 'meta':
        return f"{one.path}: outputs not compared: Meta's code cannot be imported as a package"
    try:
        peer = import_module('mmpretrain.models').ConvNeXt
    except Exception as error:
        installed = not isinstance(error, ModuleNotFoundError) or error.name != 'mmpretrain'
        why = f'cannot be imported: {_told(error)}' if installed else 'is not installed'
        return f'{one.path}: outputs not compared: mmpretrain {why}'
    asked = {k: v for k, v in one.before.items() if k not in ('type', '_scope_', 'init_cfg')}
    if isinstance(asked.get('out_indices'), (list, tuple)):
        asked['out_indices'] = list(asked['out_indices'])  # mmpretrain changes it in place
    theirs, ours = peer(**asked), ConvNeXt(**arguments)
    with torch.no_grad():
        for param in theirs.parameters():
            param.normal_(std=0.1)  # layer scale of 1e-6, or GRN of 0, would hide a difference
    ours.load_state_dict(theirs.state_dict())
    theirs.eval()
    ours.eval()
    image = torch.randn(1, asked.get('in_channels', 3), SIDE, SIDE)
    with torch.no_grad():
        maps = theirs(image), ours(image)
    said = f'{one.path}: outputs with the same weights are'
    if len({tuple(each.shape for each in side) for side in maps}) > 1:
        return f"{said} DIFFERENT from mmpretrain's in number or shape"
    differences = [(a - b).abs().max() / a.abs().max() for a, b in zip(*maps)]
    worst = torch.stack(differences).max().item()  # unlike Python's max, not a number if one is
    same = 'equal' if worst < 1e-4 else 'DIFFERENT'  # rounding of float32, our choice
    return f"{said} {same} to mmpretrain's: largest difference {worst:.1e} of the largest value"


def _told(error: Exception) -> str:
    text = str(error).splitlines()
    return f'{type(error).__name__}: {text[0] if text else ""}'
