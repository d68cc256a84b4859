# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The checkpoints of a run: a new one is whole before an old one is deleted.

mmengine deletes first: with ``max_keep_ckpts=1``, a run that dies while it saves has lost all.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from ..checkpoint.atomic import atomic_path
from ..recipe.preflight.disk import BETWEEN
from .patience import patiently

NAME = 'resume_iter_{}.pth'  # between those of the recipe, by --save-minutes and signals
# What a process that was killed while it wrote a checkpoint left behind, see atomic_path.
REPLACED = ('CheckpointHook', 'mmengine.CheckpointHook', CheckpointHook)
PART = re.compile(r'.+\.pth\.\d+-\d+\.part')


class SafeCheckpointHook(CheckpointHook):
    """mmengine's CheckpointHook with the same files, saved in a safe order."""

    def before_train(self, runner: Runner) -> None:
        """Find the folder, as mmengine does; delete what a killed run left in it."""
        super().before_train(runner)
        if runner._resume and is_main_process():
            tell_removed(runner, self.out_dir)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        outdated = self._outdated(runner, step)
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            name,
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if is_main_process():
            note(runner, self.last_ckpt)
            if outdated is not None:
                self._delete(outdated)

    def _outdated(self, runner: Runner, step: int) -> str | None:
        """The checkpoint that this one replaces; the list that mmengine keeps is updated."""
        if self.max_keep_ckpts <= 0 or (self.keep_ckpt_ids and self.keep_ckpt_ids[-1] == step):
            return None
        full = len(self.keep_ckpt_ids) == self.max_keep_ckpts
        oldest = self.keep_ckpt_ids.popleft() if full else None
        self.keep_ckpt_ids.append(step)
        runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        if oldest is None:
            return None
        return self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(oldest))

    def _delete(self, path: str) -> None:
        if self.file_backend.isfile(path):
            self.file_backend.remove(path)
        elif self.file_backend.isdir(path):
            self.file_backend.rmtree(path)


def safe_hooks(hooks: dict | None) -> dict:
    """``default_hooks`` of a config with a SafeCheckpointHook in place of mmengine's own hook."""
    hooks = dict(hooks or {})
    hook = hooks.get('checkpoint', dict(type='CheckpointHook', interval=1))  # mmengine's default
    if isinstance(hook, dict) and hook.get('type') in REPLACED:
        hook = {**hook, 'type': SafeCheckpointHook}
    hooks['checkpoint'] = hook
    return hooks


def save_between(runner: Runner) -> None:
    """Save a checkpoint of all of a run between two of its iterations.

    Older ones of this kind are deleted, but BETWEEN.
    """
    folder = _folder(runner)
    path = Path(folder, NAME.format(runner.iter))
    runner.save_checkpoint(
        folder,
        path.name,
        meta=dict(epoch=runner.epoch, iter=runner.iter),
        by_epoch=False,
        save_param_scheduler=runner.param_schedulers is not None,
    )
    if is_main_process():
        note(runner, str(path))
        remove_between(runner, BETWEEN)


def remove_between(runner: Runner, kept: int) -> None:
    """Delete the checkpoints of save_between, except the newest, and the one that is noted."""
    noted = Path(runner.work_dir, 'last_checkpoint')
    noted = Path(noted.read_text()).name if noted.is_file() else ''
    pattern = re.compile(r'resume_iter_(\d+)\.pth')
    found = [(pattern.fullmatch(path.name), path) for path in Path(_folder(runner)).glob('*.pth')]
    paths = sorted((int(match[1]), path) for match, path in found if match)
    for _, path in paths[: len(paths) - kept]:
        if path.name != noted:
            path.unlink(missing_ok=True)


def _folder(runner: Runner) -> str:
    """Where the CheckpointHook saves, if that is a disk, so that they can be found again."""
    hook = next((hook for hook in runner.hooks if isinstance(hook, CheckpointHook)), None)
    folder = str(getattr(hook, 'out_dir', None) or runner.work_dir)
    return runner.work_dir if '://' in folder else folder


def note(runner: Runner, path: str) -> None:
    """Write the name of the newest checkpoint to `last_checkpoint`, as mmengine does."""
    file = Path(runner.work_dir, 'last_checkpoint')

    def write() -> None:
        with atomic_path(file) as part:
            part.write_text(path)

    patiently(write, file)


def tell_removed(runner: Runner, folder: str) -> None:
    """Delete what killed processes left of checkpoints in a folder, and say so."""
    removed = [] if '://' in folder else remove_parts(folder)
    if removed:
        runner.logger.info(f'Removed what a killed process left: {", ".join(removed)}')


def remove_parts(folder: str | Path) -> list[str]:
    """Delete what killed processes left of checkpoints; return the names."""
    parts = [path for path in sorted(Path(folder).glob('*.part')) if PART.fullmatch(path.name)]
    for path in parts:
        os.remove(path)
    return [path.name for path in parts]
