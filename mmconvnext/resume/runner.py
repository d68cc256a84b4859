# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""mmengine's Runner with exact resume, checkpoints by the clock, and a clean end at signals."""

from __future__ import annotations

import signal
import sys
import time
from multiprocessing.sharedctypes import RawValue

from mmengine.dist import all_gather_object, get_rank, get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.registry import LOOPS
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch import nn

from ..checkpoint.errors import CheckpointError
from ..checkpoint.whole import RESUME, look
from ..distributed.sharded import FullyShardedModel
from ..distributed.together import saved_together
from ..recipe.checks.finding import settle
from ..recipe.errors import RecipeError
from ..recipe.resume_from import BEGUN_FROM
from ..recipe.walk import registered, type_name, type_of
from .batches import keep_workers, place_batches, with_memory
from .changes import compare, settings_of, unequal
from .checkpoints import remove_between, safe_hooks, save_between, tell_removed
from .full_disk import spare_the_run
from .loops import ExactEpochLoop, ExactIterLoop
from .orders import SAVE, Orders, StopValidation
from .patience import patiently
from .signals import Signals
from .state import apply, collect

NO_SETTINGS = ('type', '_scope_', 'by_epoch')  # of a loop
LOOP_OF = {EpochBasedTrainLoop: ExactEpochLoop, IterBasedTrainLoop: ExactIterLoop}


def exact(kind: type[Runner], save_minutes: float = 0) -> type[Runner]:
    """The subclass of a Runner whose trainings can be stopped and go on exactly.

    Args:
        save_minutes: also save a checkpoint when the last one is this old; 0: never.
    """
    return type(f'Exact{kind.__name__}', (_Exact, kind), {'save_minutes': save_minutes})


class _Exact(Runner):
    """Runs mmengine's two training loops exactly; others as mmengine does, after a warning."""

    save_minutes: float
    orders: Orders | None = None  # also says that the loop is exact
    looked = False  # whether a checkpoint of this run was read again

    def train(self) -> nn.Module:
        """Train, or go on."""
        self.signals = Signals()
        self.saved: tuple[int, int] | None = None  # epoch and iteration of the last checkpoint,
        self.saved_file = ''  # and its name
        if isinstance(self.model, FullyShardedModel):
            self.model.saves_together = True
        spare_the_run(self.visualizer, self.logger)
        model = super().train()
        if is_main_process() and self.orders:
            remove_between(self, 0)
        return model

    def dump_config(self) -> None:
        """Write the config as for a new run: what this start resumes is none of its settings."""
        cfg = self.cfg
        kept = {key: cfg[key] for key in ('resume', 'load_from') if key in cfg}
        if cfg.get('resume'):
            cfg.resume, cfg.load_from = False, getattr(cfg, BEGUN_FROM, None)
        super().dump_config()
        for key, value in kept.items():
            cfg[key] = value

    def register_hooks(self, default_hooks=None, custom_hooks=None) -> None:
        """Register mmengine's hooks, with a CheckpointHook that deletes last."""
        super().register_hooks(safe_hooks(default_hooks), custom_hooks)
        self.register_hook(_Keeper())
        self.register_hook(_Changes())

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Build our form of the loop that the config names."""
        if isinstance(loop, BaseLoop):
            return loop
        kind = EpochBasedTrainLoop if loop.get('by_epoch') else IterBasedTrainLoop
        if type_of(loop) is not None:
            kind = registered(self.cfg, LOOPS, loop)
        by_rank = bool(self._randomness_cfg.get('diff_rank_seed', False))
        self._train_dataloader = loader = self.build_dataloader(
            self._train_dataloader, seed=self.seed, diff_rank_seed=by_rank
        )
        placed = None
        if kind in LOOP_OF:
            placed = place_batches(loader, self.seed, get_rank(), get_world_size())
        if placed is None:
            what = 'The loader has no batch sampler' if kind in LOOP_OF else type_name(loop)
            self.logger.warning(
                f'{what}: this run is not exact after --resume, and SIGTERM ends it at once; exact '
                f'are {" and ".join(kind.__name__ for kind in LOOP_OF)} with a batch sampler'
            )
            return super().build_train_loop(loop)
        memory = with_memory(loader)
        if memory:
            self.logger.warning(
                f'{", ".join(memory)}: depends on images before, or on random numbers of its own, '
                'so a run that is resumed is not bitwise the undisturbed one'
            )
        self.running = RawValue('b', 1)
        keep_workers(loader, self.running)
        self.orders = Orders(self.signals, self.save_minutes)
        settings = {key: loop[key] for key in loop if key not in NO_SETTINGS}
        built = LOOP_OF[kind](runner=self, dataloader=loader, **settings)
        built.placed = placed
        return built

    def build_val_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Build the loop that the config names; its samples are the same each time."""
        built = super().build_val_loop(loop)
        if built is not loop and self.orders:
            place_batches(built.dataloader, self.seed, get_rank(), get_world_size())
            keep_workers(built.dataloader, self.running)
        return built

    def resume(self, filename: str, *args: object, **options: object) -> None:
        """Resume as mmengine does, then set the place in the data, and what else it lacks."""
        if is_main_process():
            tell_removed(self, self.work_dir)
        super().resume(filename, *args, **options)
        if self.orders:
            apply(self, self._state)

    def save_checkpoint(self, out_dir: str, filename: str, *args, **options) -> None:
        """Save what all processes need to go on; wait for room on a full disk."""
        full = bool(self.orders) and options.get('save_optimizer', True)
        meta = options.get('meta')
        self._state = collect(self, meta) if full else None
        save = super().save_checkpoint
        with saved_together(self.model, self.optim_wrapper, options.get('save_optimizer', True)):
            patiently(
                lambda: save(out_dir, filename, *args, **options),
                f'{out_dir}/{filename}',
                lambda: self.signals.caught,
            )
        if full:
            self.orders.saved = time.monotonic()
            self.saved = (meta['epoch'], meta['iter']) if meta else None
            self.saved_file = f'{out_dir}/{filename}'
            self._look_once()

    def _look_once(self) -> None:
        """Read the first checkpoint again, as --resume would: a night later it is too late."""
        if self.looked or not is_main_process() or '://' in self.saved_file:
            return
        self.looked = True
        try:
            look(self.saved_file)
        except CheckpointError as error:
            self.logger.warning(
                f'--resume could not read the checkpoints of this run: {error}\nThe state of a '
                "hook, or mmengine's message hub, may hold an object of a class of yours: keep "
                'numbers, texts, lists, dicts and tensors there'
            )

    def obey(self, order: int) -> None:
        """Save, or save and stop, as the processes have agreed.

        Raises:
            SystemExit: with 128 + the number of the signal, as shells say.
        """
        if not order:
            return
        begin, where = time.monotonic(), (self.epoch, self.iter)
        if self.saved != where:
            save_between(self)
        took = time.monotonic() - begin
        if order == SAVE:
            self.logger.info(
                f'Saved {self.saved_file} after {self.save_minutes:g} minutes, in {took:.1f} s'
            )
            return
        name, status = signal.Signals(order).name, 128 + order
        self.logger.warning(
            f'Stopped by {name} after iteration {self.iter}; checkpoint: {self.saved_file}, saved '
            f'in {took:.1f} s. Continue with --resume; exit status {status}'
        )
        self.visualizer.close()
        raise SystemExit(status)


class _Keeper(Hook):
    """Puts our state into checkpoints, and takes it out; compares the processes at the start."""

    priority = 'HIGH'

    def before_train(self, runner: _Exact) -> None:
        """Refuse processes with other settings or data than rank 0's.

        Raises:
            RecipeError: in all of them, and with the first that differs.
        """
        if get_world_size() == 1 or not runner.orders:
            return
        own = settings_of(runner)
        if runner.val_loop is not None:
            own['val_dataloader: samples'] = str(len(runner.val_dataloader.dataset))
        fault = unequal(all_gather_object(own))
        if fault:
            raise RecipeError(fault)

    def before_save_checkpoint(self, runner: _Exact, checkpoint: dict) -> None:
        if runner._state is not None:
            checkpoint[RESUME] = runner._state

    def after_load_checkpoint(self, runner: _Exact, checkpoint: dict) -> None:
        """Take the state out of the checkpoint."""
        runner._state = checkpoint.pop(RESUME, None)

    def after_val_iter(
        self, runner: _Exact, batch_idx: int, data_batch: object = None, outputs: object = None
    ) -> None:
        """Leave a validation, if some process wants to stop; all ask as often."""
        if not runner.orders:
            return
        loader = runner.val_dataloader
        # Of several processes some may have a batch less.
        common = len(loader.dataset) // get_world_size() // (loader.batch_size or sys.maxsize)
        if get_world_size() == 1 or batch_idx < common:
            order = runner.orders.agree()
            if order > SAVE:
                raise StopValidation(order)

    def after_val_epoch(self, runner: _Exact, metrics: object = None) -> None:
        if runner.orders:
            runner.train_loop.validated = True


class _Changes(Hook):
    """Compares the settings last: checks of one thing alone, such as the classes, say more."""

    priority = 'LOWEST'

    def after_load_checkpoint(self, runner: _Exact, checkpoint: dict) -> None:
        """Look for changes, if the run goes on.

        Raises:
            RecipeError: a setting changed that the result depends on.
        """
        if runner._resume and runner.orders and runner._state is not None:
            found = compare(runner._state['settings'], settings_of(runner))
            for line in settle(runner.cfg, found):
                runner.logger.warning(line)
