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
from ..recipe.known_bad import FILE, entries
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
                skip=self.settings.policy == 'skip',
                measures=name != LOADERS[0],
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
        self.listed = len(entries(runner.work_dir))
        if self.listed and self.settings.policy == 'skip':
            runner.logger.info(f'bad files that {FILE} names already: {self.listed}')

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: object = None, outputs: object = None
    ) -> None:
        """Warn of files that were listed since; of many, each time that their number doubles."""
        if self.settings.policy != 'skip' or rank():
            return
        size = listed.size(runner.work_dir)
        if size == self.size:
            return
        rows, self.size = entries(runner.work_dir), size
        before, self.listed = self.listed, len(rows)
        for number, row in enumerate(rows[before:], before + 1):
            if number <= MANY or number & (number - 1) == 0:
                where = f', rank {row.rank}' if get_world_size() > 1 else ''
                last = f'; the next ones are named in {FILE} only' if number == MANY else ''
                runner.logger.warning(
                    f'bad data {number}: {row.file}: {row.reason}{where}; another sample takes its '
                    f'place{last}'
                )

    def after_train(self, runner: Runner) -> None:
        """Say once more how many there were."""
        count = self.boards[LOADERS[0]].total if self.boards else 0
        if count:
            where = ' in this process' if get_world_size() > 1 else ''
            runner.logger.warning(
                f'bad data: samples that were replaced by others{where}: {count}; files that '
                f'{FILE} names: {len(entries(runner.work_dir))}'
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
        if not died:
            raise
        file = hook.file_of(set(map(int, died[1].split(','))))
        what = f'{file}: the worker that was reading it' if file else 'a worker, between two files,'
        ways = 'look at its size, or take fewer workers' if file else 'take fewer workers'
        how = died[2].partition('. ')[0].strip()
        text, whole = f'{what} ended ({how}). It may need more memory than there is: {ways}', False
    # Outside of the handler nothing holds the frames of the error: what they had changed, such as
    # the state of the random generators, is put back.
    training = runner.model.training  # else the averages may be in the place of the weights
    done = runner.iter
    when = f'iteration {done + 1}' if training else f'validation after iteration {done}'
    if get_world_size() > 1 and not rank():
        when += ', rank 0'  # distributed/process.py says that of the others
    raise BadDataError(f'{when}: {text}{_checkpoint(runner, whole and training)}')


def _checkpoint(runner: Runner, whole: bool) -> str:
    """Save what came before, if no other process has to take part; name the last checkpoint.

    Args:
        whole: whether the run stands between two iterations.
    """
    if not getattr(runner, 'orders', None):
        return ''
    new = runner.iter and runner.saved != (runner.epoch, runner.iter)
    if whole and new and get_world_size() == 1:
        try:
            save_between(runner)
        except (RecipeError, OSError) as error:
            return f'\nNo checkpoint could be saved: {error}'
    last = runner.saved_file
    if not last:
        return '\nThere is no checkpoint yet, so nothing to --resume: start again when it is mended'
    return f'\nLast checkpoint: {last}; continue with --resume'


def expected(cfg: Config) -> Expected:
    """What the samples of a config's loaders have to be."""
    channels = {node.get('in_channels', 3) for _, node in backbones(cfg)}
    return Expected(
        passed=passed(cfg),
        channels=channels.pop() if len(channels) == 1 else 0,
        spread=task(cfg) == 'mmseg',
        sized=not any(type_name(node) == 'FilterAnnotations' for node in pipelines(cfg)),
    )
