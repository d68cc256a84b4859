# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""mmengine's training loops, from any batch on.

mmengine's start only between epochs, or read all earlier batches again; their validation draws from
the random numbers of the training, and one that a checkpoint came before is lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from mmengine.hooks import EMAHook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from torch import nn
from torch.utils.data import Dataset

from ..recipe.errors import RecipeError
from .batches import PlacedBatches, set_epoch
from .orders import StopValidation
from .randomness import State, kept, restore, take
from .signals import StopWaiting

END = object()  # what comes after the last batch


class _Exact:
    """What both loops share.

    ``first`` is the iteration with which the current epoch, or pass through the data, began;
    ``passes`` counts the passes before it. ``validated`` says that the validation after the last
    iteration has ended, if one was due.
    """

    placed: PlacedBatches
    first = passes = 0
    validated = False
    _start: State | None = None  # the random numbers to go on with
    _training: State | None = None  # those of the training, during a validation

    def run(self) -> nn.Module:
        """Train to the end, or until a signal."""
        begun = self._iter
        try:
            with self.runner.signals:
                self._train()
            if self._iter == begun and self.runner._resume:
                self.runner.logger.info(self._finished())
        finally:
            self.runner.running.value = 0  # its workers may end
        return self.runner.model

    def _finished(self) -> str:
        """What a run is told that was resumed when nothing was left to train."""
        key, done, most = self._length()
        if self.stop_training:
            return f'This run has finished, by early stopping, after {done} of {most}.'
        return (
            f'This run has finished: {done} of {most}. To train longer, resume it with a larger '
            f'train_cfg.{key}; if its schedule has ended too (param_scheduler), begin a new run '
            'from its weights with load_from=FILE instead'
        )

    def go_on(self, batch: int, passes: int, validated: bool, randomness: State | None) -> None:
        """Continue after ``batch`` batches of an epoch; runner.resume has set ``_iter``."""
        self.first, self.passes, self.validated = self._iter - batch, passes, validated
        self._start = randomness

    def randomness(self) -> State:
        """The random numbers that the training goes on with."""
        return self._training or take()

    def _restore(self) -> None:
        if self._start is not None:
            restore(self._start)
            self._start = None

    def _next_place(self, epoch: int) -> None:
        self.placed.epoch, self.placed.skip = epoch, self._iter - self.first

    def _fetch(self, batches: Iterator) -> object:
        """The next batch, or END. A signal ends the wait for it, if there are no other processes.

        Raises:
            SystemExit: after a signal, with the state before that batch saved.
        """
        with suppress(StopWaiting), self.runner.signals.waiting():
            return next(batches, END)
        # Outside of the handler nothing holds what was being read, and random numbers are put back.
        return self.runner.obey(self.runner.signals.caught)

    def _check_all_came(self, count: int) -> None:
        """Refuse an end of the data before their end: Python takes a StopIteration for one.

        Raises:
            RecipeError: not all batches came, or there was none.
        """
        given = self.placed.given
        if count < given or not count and not self.placed.skip:
            raise RecipeError(
                f'iteration {self._iter}: the data ended after {count} of {given} batches. What '
                'reads them raises StopIteration: the dataset, a transform, or collate_fn'
            )

    def _obey(self) -> None:
        """Between two iterations: save, or save and stop, if some process wants to."""
        self.runner.obey(self.runner.orders.agree())

    def _validate(self, step: int, last: int) -> None:
        """Validate after ``step`` of ``last`` epochs or iterations, if mmengine would."""
        due = step >= self.val_begin and (step % self.val_interval == 0 or step == last)
        if self.runner.val_loop is None or not due or not step or self.validated:
            return
        self._training = take()
        stop = None
        try:
            with kept():
                self.runner.val_loop.run()
            self.validated = True
        except StopValidation as error:
            stop = error
            for hook in self.runner.hooks:
                if isinstance(hook, EMAHook):  # it has put the averages in the model's place
                    hook._swap_ema_parameters()
        finally:
            self._training = None
        if stop:
            self.runner.obey(stop.order)


class ExactEpochLoop(_Exact, EpochBasedTrainLoop):
    """mmengine's EpochBasedTrainLoop; its loader needs a PlacedBatches."""

    def _train(self) -> None:
        self.runner.call_hook('before_train')
        if self._iter == self.first:
            self._restore()
        self._decide_current_val_interval()
        self._validate_epoch()  # if a run was stopped before or in it
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self._decide_current_val_interval()
            self._obey()
            self._validate_epoch()
        self.runner.call_hook('after_train')

    def _length(self) -> tuple[str, str, str]:
        return 'max_epochs', str(self._epoch), f'{self._max_epochs} epochs'

    def run_epoch(self) -> None:
        """Train an epoch, or the rest of it."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        self._next_place(self._epoch)
        with kept():  # an iterator draws a seed for its workers
            batches = iter(self.dataloader)
        self._restore()
        index = self.placed.skip
        while (batch := self._fetch(batches)) is not END:
            self.validated = False
            self.run_iter(index, batch)
            self._obey()
            index += 1
        self._check_all_came(index - self.placed.skip)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1
        self.first = self._iter

    def _validate_epoch(self) -> None:
        if self._iter == self.first:
            self._validate(self._epoch, self._max_epochs)


class ExactIterLoop(_Exact, IterBasedTrainLoop):
    """mmengine's IterBasedTrainLoop; its loader needs a PlacedBatches."""

    def __init__(self, runner, dataloader, **settings: object) -> None:
        super().__init__(runner, _Unread(dataloader.dataset), **settings)
        self.dataloader = dataloader
        self.dataloader_iterator = self._batches()

    def _train(self) -> None:
        self.runner.call_hook('before_train')
        # As in mmengine, all iterations are one epoch for hooks.
        self.runner.call_hook('before_train_epoch')
        self._restore()
        self._decide_current_val_interval()
        self._validate(self._iter, self._max_iters)  # if a run was stopped before or in it
        while self._iter < self._max_iters and not self.stop_training:
            self.runner.model.train()
            batch = self._fetch(self.dataloader_iterator)
            self.validated = False
            self.run_iter(batch)
            self._obey()
            self._decide_current_val_interval()
            self._validate(self._iter, self._max_iters)
        self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')

    def _length(self) -> tuple[str, str, str]:
        return 'max_iters', str(self._iter), f'{self._max_iters} iterations'

    def _batches(self) -> Iterator:
        """Batches without end, from the place where the run continues."""
        while True:
            if self.passes:
                set_epoch(self.dataloader, self.passes)
            self._next_place(self.passes)
            with kept():
                batches = iter(self.dataloader)
            begun = self._iter
            yield from batches
            self._check_all_came(self._iter - begun)
            self.passes, self.first = self.passes + 1, self._iter


class _Unread:
    """A stand-in for a loader: mmengine starts the workers before it knows where to begin."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __iter__(self) -> Iterator:
        return iter(())
