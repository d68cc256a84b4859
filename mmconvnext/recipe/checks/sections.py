# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Whether a config has the sections that mmengine's Runner needs."""

from __future__ import annotations

import math
from collections.abc import Iterator

from mmengine.config import Config

from ..errors import RecipeError

TRAINING = ('train_dataloader', 'train_cfg', 'optim_wrapper')
VALIDATION = ('val_dataloader', 'val_cfg', 'val_evaluator')
TESTING = ('test_dataloader', 'test_cfg', 'test_evaluator')
LISTS = ('val_evaluator', 'test_evaluator')  # which may also be lists


def check_sections(cfg: Config, *, training: bool) -> None:
    """Check that a config has a model and what training, or a test, needs.

    Raises:
        RecipeError: a section is missing or no dict, only some of those that belong together are
            there, or a number in them cannot be meant.
    """
    needed = ('model', *(TRAINING if training else TESTING))
    missing = [
        name for name in needed if cfg.get(name) is None or (name == 'model' and not cfg.model)
    ]
    if missing:
        raise RecipeError(
            f'the config has no {", ".join(missing)}, which '
            f'{"training" if training else "a test"} needs: begin with _base_ and a recipe of '
            'configs/, or write the section'
        )
    for name in ('model', *TRAINING, *VALIDATION, *TESTING):
        value = cfg.get(name)
        if value is not None and not isinstance(value, (dict, list) if name in LISTS else dict):
            raise RecipeError(f'{name}={str(value)[:80]}: a section is a dict')
    for name, value, least in _numbers(cfg):
        if type(value) is not int or value < least:
            raise RecipeError(f'{name}={value!r}: choose a whole number of {least} or more')
    rate = _below(cfg, 'optim_wrapper', 'optimizer').get('lr', 1)
    if type(rate) not in (int, float) or not 0 <= rate < math.inf:  # NaN is not
        raise RecipeError(f'optim_wrapper.optimizer.lr={rate!r}: choose a number of 0 or more')
    for group in (VALIDATION, TESTING):
        lacking = [name for name in group if cfg.get(name) is None]
        if 0 < len(lacking) < len(group):
            given = [name for name in group if name not in lacking]
            raise RecipeError(
                f'the config has {" and ".join(given)}, but no {" and ".join(lacking)}, which '
                'belong together: write what is missing, or set the others to None'
            )


def _numbers(cfg: Config) -> Iterator[tuple[str, object, int]]:
    """Settings that are whole numbers, and the least that makes sense."""
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        yield f'{loader}.num_workers', _below(cfg, loader).get('num_workers', 0), 0
    for key in ('max_epochs', 'max_iters'):  # of 0 the run ends at once, without a word
        value = _below(cfg, 'train_cfg').get(key)
        if value is not None:
            yield f'train_cfg.{key}', value, 1


def _below(cfg: Config, *keys: str) -> dict:
    node = cfg
    for key in keys:
        found = node.get(key)
        node = found if isinstance(found, dict) else {}
    return node
