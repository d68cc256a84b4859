# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Encoder-decoder segmentors: heads that take maps by their index and label every pixel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from mmengine.config import Config
from torch import Tensor, nn

from ..errors import RecipeError
from ..walk import unimported_name
from .family import Family, Input

HEADS = ('decode_head', 'auxiliary_head')
KERNELS = 'kernel_generate_head'  # K-Net: the head inside IterativeDecodeHead that takes the maps
# Heads tied to one backbone, which returns different maps in training and in inference.
TIED = dict(DDRHead='DDRNet', PIDHead='PIDNet')


class EncoderDecoder(Family):
    """mmseg's ``EncoderDecoder``, cascades of heads, and any model with a ``decode_head``."""

    name = 'encoder-decoder segmentors'
    members = 'UPerNet, FCN, PSPNet, SegFormer, K-Net, Segmenter, Mask2Former of mmseg'
    batch_size = 4
    lr = 1e-3
    epochs = 15
    image_scale = 128 / 512
    pools_to_single_values = True  # UPerNet, PSPNet, ASPP

    def matches(self, bases: set[str], model: dict) -> bool:
        return 'EncoderDecoder' in bases or bool(model.get('decode_head'))

    def inputs(self, model: dict, count: int) -> list[Input]:
        if model.get('neck'):
            return super().inputs(model, count)
        found = []
        for path, node in _heads(model):
            maps = _maps_of_head(path, node, count)
            first = {0} if node.get('c1_in_channels') else set()  # for DeepLabV3+
            found.append(Input(path, node, maps, sorted({*maps} | first), by_index=True))
        return found

    def shrink(self, cfg: Config, model: dict, channels: list[int]) -> None:
        for path, node in _heads(model):
            if unimported_name(node) in TIED:
                name = unimported_name(node)
                raise RecipeError(
                    f'{path}.type={name!r} only works with the backbone {TIED[name]}; use another '
                    'head'
                )
        super().shrink(cfg, model, channels)

    def fit_inputs(self, model: dict, channels: list[int]) -> None:
        super().fit_inputs(model, channels)
        if not model.get('neck'):
            for _, node in _heads(model):
                if node.get('c1_in_channels'):
                    node['c1_in_channels'] = channels[0]

    def has_own_classes(self, path: str, node: dict) -> bool:
        return unimported_name(node) == 'STDCHead'  # boundary or not

    def run_heads(self, model: nn.Module, maps: tuple[Tensor, ...]) -> None:
        for head in _modules(model, 'auxiliary_head'):
            with suppress(Exception):  # batch norm itself, or a head that takes other inputs
                head(maps)
        before: tuple = ()
        for head in _modules(model, 'decode_head'):  # a cascade passes its outputs on
            before = (head(maps, *before),)


def _heads(model: dict) -> Iterator[tuple[str, dict]]:
    """The heads that take maps, with their path below the model."""
    for key in HEADS:
        given = model.get(key) or []
        many = isinstance(given, (list, tuple))
        for i, node in enumerate(given if many else [given]):
            path = f'{key}.{i}' if many else key
            yield (f'{path}.{KERNELS}', node[KERNELS]) if KERNELS in node else (path, node)


def _maps_of_head(path: str, node: dict, count: int) -> list[int]:
    if 'in_channels' not in node:  # unknown: it may take any
        return list(range(count))
    index = node.get('in_index')
    if index is None:  # mmdet-style heads take all maps, mmseg's own the last one
        several = isinstance(node['in_channels'], (list, tuple))
        index = list(range(count)) if several else -1
    taken = index if isinstance(index, (list, tuple)) else [index]
    if any(not -count <= i < count for i in taken):
        raise RecipeError(
            f'{path}.in_index={index} selects a map that the backbone does not return; '
            f'it returns {count}'
        )
    return [i % count for i in taken]


def _modules(model: nn.Module, name: str) -> list[nn.Module]:
    head = getattr(model, name, None)
    return list(head) if isinstance(head, nn.ModuleList) else [head] if head else []
