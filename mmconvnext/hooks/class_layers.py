# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Which tensors of a model depend on the number of classes, found by building it with one more."""

from __future__ import annotations

import copy
import re

import torch
from mmengine.registry import MODELS
from torch import nn

from ..recipe.walk import dicts

# num_classes, and the num_things_classes and num_stuff_classes of panoptic heads.
COUNT = re.compile(r'num_(\w+_)?classes')


def class_counts(model: dict) -> list[int]:
    """All numbers of classes in the config of a model, sorted, without zeros (panoptic heads)."""
    nodes = (node for _, node in dicts(model))
    return sorted({v for node in nodes for k, v in node.items() if _is_count(k, v) and v})


def class_dimensions(model: dict, own: dict[str, tuple]) -> dict[str, set[int]]:
    """The dimensions of each tensor that change if one class is added.

    Args:
        model: the config of the model.
        own: names and shapes of the model's tensors.
    """
    try:
        larger = _shapes(_one_more(model))
    except Exception:  # it cannot be built with one more class, so all shapes must match
        return {}
    return {
        name: {i for i, (ours, theirs) in enumerate(zip(shape, larger[name])) if ours != theirs}
        for name, shape in own.items()
        if name in larger and len(larger[name]) == len(shape)
    }


def _is_count(key: object, value: object) -> bool:
    return isinstance(key, str) and bool(COUNT.fullmatch(key)) and type(value) is int


def _one_more(model: dict) -> dict:
    model = copy.deepcopy(model)
    for _, node in dicts(model):
        counts = [key for key, value in node.items() if _is_count(key, value)]
        if 'out_channels' in node and 'num_classes' in counts:  # the decode heads of mmseg
            if node['out_channels'] == node['num_classes']:
                node['out_channels'] += 1
            elif node['out_channels'] == 1:  # one channel separates two classes
                del node['out_channels']
        for key in counts:
            node[key] += 1
    return model


def _shapes(config: dict) -> dict[str, tuple]:
    """Names and shapes of a model's tensors; built on the meta device if its layers allow that."""
    with torch.random.fork_rng(devices=[]):  # building must not change a seeded run
        try:
            with torch.device('meta'):
                model: nn.Module = MODELS.build(copy.deepcopy(config))
        except Exception:  # a layer reads values, which meta tensors do not have
            model = MODELS.build(copy.deepcopy(config))
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
