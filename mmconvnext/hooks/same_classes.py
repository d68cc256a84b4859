# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Label i must mean the same class in the checkpoint that is loaded and in the config."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..recipe.checks.classes import class_names
from ..recipe.checks.finding import Finding, settle
from ..recipe.checks.spelling import folded, shown
from ..recipe.ranks import log_rank0
from ..recipe.walk import datasets


class SameClasses(Hook):
    """Compares the classes of a checkpoint with those of the config.

    Evaluators and visualizers use the config's, whatever the model was trained with.

    Args:
        loader: the loader whose dataset has the classes, such as 'test_dataloader'.
        only_warn: warn instead of refusing; for ``load_from``, where the head is trained again.
    """

    def __init__(self, loader: str, only_warn: bool = False) -> None:
        self.loader, self.only_warn = loader, only_warn

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Refuse other classes, and the same classes in another order.

        Raises:
            RecipeError: a label means another class in the checkpoint than in the config.
        """
        _, dataset = next(datasets(runner.cfg, (self.loader,)), ('', {}))
        findings = compare(trained_classes(checkpoint), list(class_names(runner.cfg, dataset)))
        if self.only_warn:
            note = ' (load_from: training starts from the class layers of the checkpoint)'
            lines = [finding.text + note for finding in findings]
        else:
            lines = settle(runner.cfg, findings)
        for line in lines:
            log_rank0(line, logging.WARNING)


def trained_classes(checkpoint: Mapping) -> list[str]:
    """The class names in a checkpoint of mmengine or mmcv; empty if it has none."""
    meta = checkpoint.get('meta')
    meta = meta if isinstance(meta, Mapping) else {}
    for holder in (meta.get('dataset_meta'), meta):
        for key in ('classes', 'CLASSES'):
            names = holder.get(key) if isinstance(holder, Mapping) else None
            if names and isinstance(names, (list, tuple)):
                return [str(name) for name in names]
    return []


def compare(trained: list[str], given: list[str]) -> Iterator[Finding]:
    """Compare the class names of a checkpoint and of a config, label by label."""
    if len(trained) != len(given):  # not the classes of this head
        return
    # If a list has both 'A' and 'a', these are two classes: compare their exact names.
    counts = [Counter(map(folded, set(names))) for names in (trained, given)]
    unclear = {key for count in counts for key, times in count.items() if times > 1}
    before, now = (
        [name if folded(name) in unclear else folded(name) for name in names]
        for names in (trained, given)
    )
    other = [i for i, pair in enumerate(zip(before, now)) if pair[0] != pair[1]]
    if not other:
        return
    moved = [i for i in other if before[i] in now]
    others = [i for i in other if folded(trained[i]) != folded(given[i])]
    i = (moved or others or other)[0]
    theirs, ours = shown(trained[i], given[i])
    text = f'was trained with class {i} as {theirs}, the config calls it {ours}'
    if moved or others:
        yield Finding(f'the checkpoint {text}; write classes={trained}', 'trained_classes')
    else:
        yield Finding(f'The checkpoint {text}.')
