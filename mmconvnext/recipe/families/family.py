# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The interface of a model family: what ``--toy``, own data and the checks need to know."""

from __future__ import annotations

from typing import NamedTuple

from mmengine.config import Config
from torch import Tensor, nn

from ..errors import RecipeError
from .shrink import add_norm, shrink_sizes


class Input(NamedTuple):
    """A part of the model that takes maps of the backbone."""

    path: str  # below the model: 'neck', 'neck.0', 'auxiliary_head.1'
    node: dict
    maps: list[int]  # the maps whose channels ``in_channels`` lists, in its order
    used: list[int]  # the maps that reach a loss
    by_index: bool = False  # whether ``in_index`` chooses the maps


class Family:
    """One kind of model; the defaults fit a detector with a neck.

    A subclass sets ``name`` and ``members``, implements ``matches`` and overrides what differs.
    ``model`` is always the config of the detector or segmentor that holds the backbone, without a
    wrapper such as one for semi-supervised training.
    """

    name = ''  # plural, for messages: 'two-stage detectors'
    members = ''  # some well-known ones, for messages

    # The training settings of --toy. Our choice: minutes on a CPU, from random weights.
    batch_size = 2
    lr = 6e-4  # of Adam and AdamW
    epochs = 7  # if the recipe counts epochs
    iterations = 1600  # if it counts iterations
    image_scale = 192 / 800  # short side of the toy images over the recipes'
    size_multiple = 1  # scaled image sizes are multiples of this

    # Whether a head pools a map to a single value, which batch norm cannot normalise in a batch
    # of one image. If so, ``run_heads`` lets the check find the layer.
    pools_to_single_values = False

    def matches(self, bases: set[str], model: dict) -> bool:
        """Whether ``model`` belongs here.

        ``bases`` holds the names of the registered class and its base classes; it is empty for a
        type that is not registered.
        """
        raise NotImplementedError

    def inputs(self, model: dict, count: int) -> list[Input]:
        """The parts that take some of the backbone's ``count`` maps; empty if unknown.

        The checks compare their channels, ``--toy`` sets them.
        """
        return neck_inputs(model, count)

    def shrink(self, cfg: Config, model: dict, channels: list[int]) -> None:
        """Make the model small for ``--toy``, in place; the backbone already is.

        ``channels`` are those of the backbone's maps. Losses and their weights, assigners, strides
        and the number of stages must stay.
        """
        shrink_sizes(model)
        for node in necks(model):
            add_norm(cfg, node)
        self.fit_inputs(model, channels)

    def fit_inputs(self, model: dict, channels: list[int]) -> None:
        """Set ``in_channels`` of every input to the channels of its maps.

        Raises:
            RecipeError: no part is known to take the maps.
        """
        inputs = [part for part in self.inputs(model, len(channels)) if 'in_channels' in part.node]
        if not inputs:
            raise RecipeError(
                f'--toy cannot tell which part of {model["type"]!r} takes the maps of the '
                f'backbone: in {self.name} it looks for a neck or a head with in_channels. Try '
                'the recipe on a small data set of your own, with own_data'
            )
        for part in inputs:
            given, listed = part.node['in_channels'], [channels[i] for i in part.maps]
            several = isinstance(given, (list, tuple))
            part.node['in_channels'] = type(given)(listed) if several else listed[0]

    def has_own_classes(self, path: str, node: dict) -> bool:
        """Whether the part ``node`` at ``path`` predicts other classes than the data has.

        ``own_data`` leaves its ``num_classes`` alone, and so do the checks.
        """
        return False

    def run_heads(self, model: nn.Module, maps: tuple[Tensor, ...]) -> None:
        """Run every head of a built model on ``maps``, for ``pools_to_single_values``."""


def necks(model: dict) -> list[dict]:
    """The neck of a model's config, or several in a row."""
    given = model.get('neck') or []
    return list(given) if isinstance(given, (list, tuple)) else [given]


def neck_inputs(model: dict, count: int) -> list[Input]:
    """The first neck as the only input; empty without a neck."""
    if not necks(model):
        return []
    node = necks(model)[0]
    path = 'neck.0' if isinstance(model['neck'], (list, tuple)) else 'neck'
    maps = list(range(count))
    if isinstance(node.get('in_channels'), int):  # CTResNetNeck, DilatedEncoder
        return [Input(path, node, maps[-1:], maps[-1:])]
    start, end = node.get('start_level', 0), node.get('end_level', -1)
    return [Input(path, node, maps, maps[start : count if end == -1 else end + 1])]
