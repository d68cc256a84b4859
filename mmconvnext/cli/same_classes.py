# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""A checkpoint that is tested or resumed must mean by label i what the config means."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..recipe.checks.classes import class_names
from ..recipe.checks.finding import Finding, settle
from ..recipe.checks.spelling import folded
from ..recipe.walk import datasets
from .prepare import say


class SameClasses(Hook):
    """Compares the classes that a checkpoint was trained with to those of the config.

    The evaluator and the pictures take the config's, whatever the checkpoint says.

    Args:
        loader: whose dataset's classes count, 'test_dataloader' say.
    """

    def __init__(self, loader: str) -> None:
        self.loader = loader

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Refuse classes in another order; warn of other names.

        Raises:
            RecipeError: a class of the checkpoint has another label in the config.
        """
        meta = checkpoint.get('meta') or {}
        meta = {key.lower(): value for key, value in (meta.get('dataset_meta') or meta).items()}
        trained = [str(name) for name in meta.get('classes') or ()]
        _, dataset = next(datasets(runner.cfg, (self.loader,)), ('', {}))
        for line in settle(runner.cfg, compare(trained, list(class_names(runner.cfg, dataset)))):
            say(line, logging.WARNING)


def compare(trained: list[str], given: list[str]) -> Iterator[Finding]:
    """Names of the classes in a checkpoint and in a config, label by label."""
    if len(trained) != len(given):  # not about this head, which has as many classes as the config
        return
    before, now = [folded(name) for name in trained], [folded(name) for name in given]
    other = [i for i, pair in enumerate(zip(before, now)) if pair[0] != pair[1]]
    if not other:
        return
    moved = [i for i in other if before[i] in now]
    text = f'was trained with class {other[0]} as {trained[other[0]]!r}, the config calls it '
    text += repr(given[other[0]])
    if moved:
        yield Finding(f'the checkpoint {text}; write classes={trained}', 'trained_classes')
    else:
        yield Finding(f'The checkpoint {text}.')
