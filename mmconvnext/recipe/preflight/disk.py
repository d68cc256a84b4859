# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Is there room for the checkpoints?"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from .. import work_dir
from ..checks.finding import Finding
from ..walk import dicts, type_name
from .state import State
from .units import size

# Checkpoints between those of the recipe that are kept, by --save-minutes and signals: the one
# before the newest is there in case that the newest is damaged; our choice.
BETWEEN = 2
HEADER = 2**20  # bytes of a checkpoint besides tensors: names, config, logs; our choice


@dataclass(frozen=True)
class Room:
    """What checkpoints take and what is free, in bytes."""

    folder: str
    each: int  # a checkpoint
    count: int  # of those that are kept, and not there yet
    free: int

    @property
    def total(self) -> int:
        return self.each * self.count


def room(cfg: Config, state: State, checkpoints: int, between: int = BETWEEN) -> Room | None:
    """The room for ``checkpoints``, and for those ``between`` them; None if none is saved, or not
    on a disk here."""
    hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    folder = hook.get('out_dir') or cfg.get('work_dir') or '.'
    if not checkpoints or '://' in str(folder) or 's3:' in str(folder):
        return None
    each = state.weights + HEADER
    if hook.get('save_optimizer', True):
        each += state.optimizer
    if averages_weights(cfg):
        each += state.weights
    most = hook.get('max_keep_ckpts', -1)
    kept = min(checkpoints, most) if most > 0 else checkpoints
    best = hook.get('save_best') or []
    kept += len(best) if isinstance(best, (list, tuple)) else 1
    kept += between
    present = len(work_dir.checkpoints(cfg.get('work_dir') or '.', hook))
    return Room(str(folder), each, max(1, kept - present), _free(Path(folder)))


def averages_weights(cfg: Config) -> bool:
    """Whether a run keeps a second set of weights, an average."""
    return any(type_name(node) == 'EMAHook' for _, node in dicts(cfg.get('custom_hooks') or []))


def check_disk(found: Room | None) -> Iterator[Finding]:
    """Refuse a disk without room for one checkpoint; warn if it has none for all."""
    if found is None:
        return
    ways = (
        'free some, choose another folder with --work-dir, keep fewer '
        '(default_hooks.checkpoint.max_keep_ckpts=2), or leave the optimizer out '
        '(default_hooks.checkpoint.save_optimizer=False, which cannot be resumed)'
    )
    if found.free < found.each:
        yield Finding(
            f'{found.folder}: {size(found.free)} are free, but a checkpoint takes '
            f'{size(found.each)}; {ways}',
            'disk',
        )
    elif found.free < found.total:
        yield Finding(
            f'{found.folder}: {size(found.free)} are free, but {found.count} checkpoints of '
            f'{size(found.each)} take {size(found.total)}; {ways}'
        )


def _free(folder: Path) -> int:
    """Free bytes of the disk that holds a folder, which may not exist yet."""
    here = Path(os.path.abspath(folder))
    while not here.exists():
        here = here.parent
    return shutil.disk_usage(here).free
