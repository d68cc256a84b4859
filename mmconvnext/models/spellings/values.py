# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Values of other packages' arguments in our terms: sizes, norms, activations, stages, weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from ...arch import ARCHS
from ...checkpoint import zoo
from ..design import CHOICES

# Our norms by their names in mmcv, mmpretrain, timm and torch.
NORMS = {
    'LN': 'LN',
    'LN2d': 'LN',
    'LayerNorm': 'LN',
    'LayerNorm2d': 'LN',
    'layernorm': 'LN',
    'layernorm2d': 'LN',
    'simplenorm': 'SimpleNorm',
    'simplenorm2d': 'SimpleNorm',
    'BN': 'BN',
    'BN2d': 'BN',
    'BatchNorm2d': 'BN',
    'SyncBN': 'SyncBN',
    'SyncBatchNorm': 'SyncBN',
}
# The default eps of torch's modules, and so of mmcls and mmpretrain, and of timm's own norms, whose
# names are in lower case.
TORCH_EPS, TIMM_EPS = 1e-5, 1e-6
# Activations, in lower case, of mmcv, timm and transformers. mmcv's Swish is torch's SiLU.
ACTIVATIONS = {
    'gelu': 'GELU',
    'gelu_tanh': 'GELU_tanh',
    'gelu_new': 'GELU_tanh',
    'gelu_pytorch_tanh': 'GELU_tanh',
    'relu': 'ReLU',
    'silu': 'SiLU',
    'swish': 'SiLU',
}
# timm's sizes that ``ARCHS`` does not have, and the stems of convnext_*_ols that are not
# 'overlap_tiered' (timm/models/convnext.py).
TIMM_SIZES = {
    'xxlarge': dict(
        arch=dict(depths=[3, 4, 30, 3], channels=[384, 768, 1536, 3072]),
        design=dict(norm_eps=1e-5),
    ),
    'zepto-rms': dict(
        arch=dict(depths=[2, 2, 4, 2], channels=[32, 64, 128, 256]),
        design=dict(norm='SimpleNorm'),
    ),
}
TIMM_STEMS = {'nano-ols': 'overlap', 'zepto-rms-ols': 'overlap_act'}
LETTERS = {name[0]: name for name in ARCHS if name != 'xlarge'} | {'xl': 'xlarge'}
_NAME = re.compile(
    r'(?P<family>(?:.*[/-])?conv_?next[-_]?(?P<v2>v2)?[-_])?'
    rf'(?P<size>{"|".join([*ARCHS, "xxlarge", "zepto", *LETTERS])})(?P<rest>(?![a-z0-9]).*)',
    re.IGNORECASE,
)
# Zoos (mmcv's, torchvision's) in which every ConvNeXt has 'convnext' in its name.
_ZOOS = re.compile(r'(open-mmlab|openmmlab|torchvision|modelzoo|mmcls|jhu)://')


class Refused(ValueError):
    """An argument that cannot be translated: why, and which of ours to write ``instead``.

    ``instead`` is None if the user has to choose, and empty if there is nothing to write.
    """

    def __init__(self, reason: str, instead: Mapping | None = None) -> None:
        super().__init__(reason)
        self.instead = instead


class Named(NamedTuple):
    """A published network: its size, its version, and our name for its weights."""

    arch: str
    version: str
    weights: str | None


def named(name: object) -> Named | None:
    """Read 'convnext_tiny.fb_in1k', 'facebook/convnextv2-base-1k-224', 'ConvNeXt-T' or 'Tiny'."""
    found = _read(name)
    return found if found and found.arch in ARCHS else None


def called(name: object) -> tuple[dict, str | None] | None:
    """Our arguments and the weights for the names that :func:`named` reads, and timm's others."""
    found = _read(name)
    if not found:
        return None
    size = found.arch[:-4] if found.arch.endswith('-ols') else found.arch
    if size in ARCHS:
        row = ARCHS[size]
        dimensions = dict(depths=list(row.depths), channels=list(row.channels))
        arguments = dict(arch=size if found.version in row.versions else dimensions)
    elif size in TIMM_SIZES:
        arguments = dict(TIMM_SIZES[size])
    else:
        return None
    if found.version == 'v2':
        arguments['version'] = 'v2'
    design = dict(arguments.get('design', {}))
    if size != found.arch:
        design['stem'] = TIMM_STEMS.get(found.arch, 'overlap_tiered')
    if any(value not in CHOICES.get(field, (value,)) for field, value in design.items()):
        return None
    return ({**arguments, 'design': design} if design else arguments), found.weights


def _read(name: object) -> Named | None:
    """Read a name; the size is written as in column ``arch`` of ``zoo.csv``."""
    if not isinstance(name, str):
        return None
    name = re.sub(r'^hf[-_]hub:(timm/)?', '', name)
    row = next(filter(None, (zoo.find(source + name) for source in ('', 'timm/', 'hf/'))), None)
    if row:
        return Named(row.arch, row.version, row.name)
    match = _NAME.fullmatch(name)
    if not match or (match['rest'] and not match['family']):
        return None
    size = LETTERS.get(match['size'].lower(), match['size'].lower())
    version = ARCHS[size].versions[0] if size in ARCHS else 'v1'
    variants = re.findall('_(rms|ols)', match['rest'])
    return Named('-'.join([size, *variants]), 'v2' if match['v2'] else version, None)


def size_of(depths: object, channels: object, version: str) -> str | dict:
    """The ``arch`` with these stages: a published name if there is one."""
    if not all(isinstance(value, (list, tuple)) for value in (depths, channels)):
        return dict(depths=depths, channels=channels)  # refused later, as an arch
    size = tuple(depths), tuple(channels)
    for name, row in ARCHS.items():
        if version in row.versions and (row.depths, row.channels) == size:
            return name
    return dict(depths=list(depths), channels=list(channels))


def num_stages(arch: object) -> int | None:
    """The number of stages of an ``arch`` in any spelling, or None if it is invalid."""
    if isinstance(arch, Mapping):
        return length(arch.get('depths'))
    if not isinstance(arch, str):
        return None
    if arch not in ARCHS:
        found = called(arch)
        return num_stages(found[0]['arch']) if found else None
    return len(ARCHS[arch].depths)


def length(values: object) -> int | None:
    """The length of a list, or None if it is empty or not a list."""
    return len(values) or None if isinstance(values, (list, tuple)) else None


def norm(cfg: object) -> dict:
    """``design`` of a ``norm_cfg`` dict, or of the name or class of a norm layer."""
    given = dict(cfg) if isinstance(cfg, Mapping) else dict(type=cfg)
    kind = _type_name(given.pop('type', None))
    eps = given.pop('eps', TIMM_EPS if kind.islower() else TORCH_EPS)
    chosen = NORMS.get(kind)
    if chosen not in CHOICES['norm']:
        raise Refused(f'norm {kind!r} is not supported; choose one of {list(CHOICES["norm"])}')
    design = dict(norm=chosen, norm_eps=eps)
    if given.pop('requires_grad', True) is not True:
        raise Refused(
            'norms alone cannot be frozen; frozen_stages freezes whole stages', dict(design=design)
        )
    if given:
        raise Refused(f'{sorted(given)} cannot be set here', dict(design=design))
    return design


def activation(cfg: object) -> dict:
    """``design`` of an ``act_cfg`` dict, or of the name or class of an activation."""
    given = dict(cfg) if isinstance(cfg, Mapping) else dict(type=cfg)
    kind = _type_name(given.pop('type', None))
    given.pop('inplace', None)  # affects memory, not the result
    tanh = '_tanh' if given.pop('approximate', 'none') == 'tanh' else ''
    chosen = ACTIVATIONS.get(kind.lower() + tanh)
    if chosen not in CHOICES['act'] or given:
        options = ''.join(f', {key}={value!r}' for key, value in given.items())
        raise Refused(
            f'activation {kind!r}{options} is not supported; choose one of {list(CHOICES["act"])}'
        )
    return dict(act=chosen)


def one(value: object) -> object:
    """7 for (7, 7, 7, 7); a tuple whose values differ, or a single number, is left unchanged."""
    if not isinstance(value, (list, tuple)):
        return value
    return value[0] if len(set(value)) == 1 else tuple(value)


def stem(kind: object) -> dict:
    """``design`` of timm's ``stem_type``."""
    chosen = 'patchify' if kind == 'patch' else kind
    known = ['patch', *(name for name in CHOICES['stem'] if name.startswith('overlap'))]
    if kind not in known:
        raise Refused(f'choose one of {known}')
    return dict(stem=chosen)


def stages(names: object) -> tuple[int, ...]:
    """``out_indices`` of transformers' ``out_features``: 'stage1' is our stage 0."""
    numbers = [re.fullmatch(r'stage([1-9]\d*)', str(name)) for name in names]
    if not all(numbers):
        raise Refused("only stages ('stage1', 'stage2', ...) can be returned, not the stem")
    return tuple(int(number[1]) - 1 for number in numbers)


def without_stem(indices: object) -> object:
    """Our ``out_indices`` for those of transformers, where 0 is the stem."""
    many = indices if isinstance(indices, (list, tuple)) else [indices]
    return [i - 1 if i > 0 else i for i in many if i != 0]


def other_network(checkpoint: str) -> bool:
    """Whether the path shows another network's weights, such as 'open-mmlab://resnet50_v1c'."""
    return bool(_ZOOS.match(checkpoint)) and 'convnext' not in checkpoint.lower()


def weights(checkpoint: str) -> dict:
    """The ``init_cfg`` that loads them."""
    return dict(type='Pretrained', checkpoint=checkpoint)


def _type_name(kind: object) -> str:
    """'LN2d' of 'mmpretrain.LN2d', and of a class its name."""
    if isinstance(kind, str):
        return kind.rpartition('.')[2]
    return getattr(kind, '__name__', str(kind))
