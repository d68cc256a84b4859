# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Checks that find, before anything is built, settings that would fail or be silently wrong."""

from collections.abc import Callable, Iterable, Iterator

from mmengine.config import Config

from ..errors import RecipeError
from ..own_data.kinds import check_data
from ..walk import LOADERS
from .batch_norm import check_batch_norm
from .classes import check_class_names, check_num_classes
from .files import check_files
from .finding import Finding, settle
from .images import check_images
from .loading import check_preprocessor
from .model import check_channels, check_unused_maps
from .names import check_names
from .normalization import check_normalization
from .optimizer import check_constructor, check_hooks, check_num_layers, check_type


def check_recipe(
    cfg: Config, loaders: tuple = LOADERS, mend: Callable[[], Iterable[Finding]] = tuple
) -> list[str]:
    """Check a config against itself and against the data of ``loaders``; return warnings.

    ``mend`` is called before the data are checked, and its findings are among the others.

    Each refusal has a name that turns it into a warning, as in ``checks = dict(label_ids=False)``.
    finding.CHECKS lists the names, and each message contains its own.

    Raises:
        RecipeError: the first problem that ``checks`` does not let pass.
    """
    return settle(cfg, _findings(cfg, loaders, mend))


def _findings(cfg: Config, loaders: tuple, mend: Callable) -> Iterator[Finding]:
    training = 'train_dataloader' in loaders
    check_names(cfg, training=training)
    if training:
        check_type(cfg)
        yield from check_constructor(cfg)
        yield from check_hooks(cfg)
    yield from _refusal('channels', check_channels, cfg)
    if training:
        yield from check_num_layers(cfg)
    yield from check_preprocessor(cfg)
    yield from check_normalization(cfg)
    if training:
        yield from check_unused_maps(cfg)
        yield from check_batch_norm(cfg)
    yield from check_num_classes(cfg, loaders)
    yield from check_class_names(cfg, loaders)
    yield from _refusal('files', check_files, cfg, loaders)
    yield from mend()
    yield from check_images(cfg, loaders)
    yield from check_data(cfg, loaders)


def _refusal(name: str, check: Callable, *args: object) -> Iterator[Finding]:
    """Turn the RecipeError of a check into a finding."""
    try:
        check(*args)
    except RecipeError as error:
        yield Finding(str(error), name)
