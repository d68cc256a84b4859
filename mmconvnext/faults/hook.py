# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""A training whose bad data are named: stopped at, or replaced and counted."""

from __future__ import annotations

import re

from mmengine.config import Config
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..recipe.checks.finding import passed
from ..recipe.errors import RecipeError
from ..recipe.ranks import rank
from ..recipe.walk import LOADERS, backbones, pipelines, task, type_name
from ..resume.checkpoints import save_between
from . import listed
from .bad_data import BadDataError, DataSettings
from .board import Board
from .looks import Expected
from .samples import Rules, guard

MANY = 10  # bad files that are named on the console one by one; our choice
# torch's words when a worker is gone.
DIED = re.compile(r'DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (.*)')


class BadData(Hook):
    """Names bad data from the first iteration on; before it, the checks do.

    Args:
        settings: what to do about them in training; in a validation they always stop the run.
        expected: what the samples have to be, see :func:`expected`.
    """

    priority = 'LOWEST'

    def __init__(self, settings: DataSettings, expected: Expected = Expected()) -> None:  # noqa: B008
        self.settings, self.expected = settings, expected
        self.boards: dict[str, Board] = {}
        self.listed = self.size = 0  # lines and bytes of the list

    def before_train(self, runner: Runner) -> None:
        """Guard the datasets, before workers get copies of them."""
        loaders = {LOADERS[0]: runner.train_dataloader}
        if runner.val_loop is not None:
            loaders[LOADERS[1]] = runner.val_loop.dataloader
        for name, loader in loaders.items():
            board = self.boards[name] = Board(loader.num_workers)
            rules = Rules(
                skip=self.settings.policy == 'skip' and name == LOADERS[0],
                waits=self.settings.waits,
                folder=runner.work_dir,
                board=board,
                expected=self.expected,
            )
            if not loader.num_workers:  # in this process, which notes signals
                rules.hurried = lambda: getattr(runner, 'signals', None) and runner.signals.caught
            if not guard(loader.dataset, rules):
                runner.logger.warning(
                    f'{name}: {type(loader.dataset).__name__} is no dataset of mmengine, so an '
                    'error in a sample stops the run without the name of its file'
                )
        self.listed = len(listed.entries(runner.work_dir))
        if self.listed and self.settings.policy == 'skip':
            runner.logger.info(f'{self.listed} bad files are listed in {listed.FILE} already')

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: object = None, outputs: object = None
    ) -> None:
        """Warn of files that were listed since; of many, each time that their number doubles."""
        if self.settings.policy != 'skip' or rank():
            return
        size = listed.size(runner.work_dir)
        if size == self.size:
            return
        rows, self.size = listed.entries(runner.work_dir), size
        before, self.listed = self.listed, len(rows)
        for number, (file, reason, who) in enumerate(rows[before:], before + 1):
            if number <= MANY or number & (number - 1) == 0:
                where = f', rank {who}' if get_world_size() > 1 else ''
                last = f'; the next ones are named in {listed.FILE} only' if number == MANY else ''
                runner.logger.warning(
                    f'bad data {number}: {file}: {reason}{where}; another sample takes its place'
                    f'{last}'
                )

    def after_train(self, runner: Runner) -> None:
        """Say once more how many there were."""
        count = self.boards[LOADERS[0]].total if self.boards else 0
        if count:
            others = ' in this process' if get_world_size() > 1 else ''
            runner.logger.warning(
                f'{count} samples were replaced by others{others}, because their files are bad: '
                f'{listed.FILE} in the work dir lists {len(listed.entries(runner.work_dir))} files'
            )

    def file_of(self, pids: set[int]) -> str:
        """What dead workers were reading."""
        return ', '.join(file for board in self.boards.values() for file in board.read_by(pids))


def train_naming(runner: Runner, hook: BadData) -> None:
    """Train; if bad data stop the run, save what it has and say where.

    Raises:
        BadDataError: with the iteration, the file, and the checkpoint.
    """
    try:
        runner.train()
        return
    except BadDataError as error:
        text, whole = str(error), True
    except RuntimeError as error:
        died = DIED.search(str(error))
        file = hook.file_of(set(map(int, died[1].split(',')))) if died else ''
        if not file:
            raise
        text, whole = f'{file}: the worker that was reading it ended ({died[2].strip()})', False
        text += '. It may need more memory than there is: look at its size, or take fewer workers'
    # Outside of the handler nothing holds the frames of the error: what they had changed, such as
    # the state of the random generators, is put back.
    if not runner.model.training:
        raise BadDataError(f'validation after iteration {runner.iter}: {text}')
    raise BadDataError(
        f'iteration {runner.iter + 1}: {text}' + (_checkpoint(runner) if whole else '')
    )


def _checkpoint(runner: Runner) -> str:
    """Save a checkpoint of the iterations before, if no other process would have to; say so."""
    exact = getattr(runner, 'orders', None)
    if not exact or get_world_size() > 1 or not runner.iter:
        return ''
    try:
        if runner.saved != (runner.epoch, runner.iter):
            save_between(runner)
    except (RecipeError, OSError) as error:
        return f'\nNo checkpoint could be saved: {error}'
    return (
        f'\nCheckpoint after iteration {runner.iter}: {runner.saved_file}; continue with --resume'
    )


def expected(cfg: Config) -> Expected:
    """What the samples of a config's loaders have to be."""
    channels = {node.get('in_channels', 3) for _, node in backbones(cfg)}
    return Expected(
        passed=passed(cfg),
        channels=channels.pop() if len(channels) == 1 else 0,
        spread=task(cfg) == 'mmseg',
        sized=not any(type_name(node) == 'FilterAnnotations' for node in pipelines(cfg)),
    )
