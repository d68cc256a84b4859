# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""NaN or inf in a loss or a gradient: the run stops before the step, or leaves the step out.

:mod:`.gate` notices it, :mod:`.repeat` computes the step again to find where it begins, and
:mod:`.dump` writes down what a repetition needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import AmpOptimWrapper, OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from ..recipe.errors import RecipeError
from ..resume.checkpoints import save_between
from ..resume.randomness import restore, take
from .dump import FOLDER, write_dump
from .gate import STEPS, Gate, has_scaler
from .overflows import Overflows
from .repeat import Found, Turn, bad_weights, copies, finite, put, repeat, told_losses
from .told import Report, not_again, told_files, told_reports
from .zero_losses import ZeroLosses

# Steps that may be left out, our choice: one bad file costs a step in each epoch, while a training
# that has blown up fails in every step.
IN_A_ROW, IN_TOTAL = 10, 100
COUNTS = 'mmconvnext_bad_numbers'  # in mmengine's message hub, which checkpoints hold
REPLACED = 'CheckInvalidLossHook'  # mmdet's: it ends a run in which a loss was not finite


def watch_numbers(runner: Runner, policy: str) -> None:
    """Let a training stop at numbers that are not finite, or leave such steps out.

    Args:
        policy: 'stop' or 'skip'.
    """
    if policy == 'skip' and any(type(hook).__name__ == REPLACED for hook in runner.hooks):
        runner._hooks = [hook for hook in runner.hooks if type(hook).__name__ != REPLACED]
        runner.logger.info(f"{REPLACED} is left out: on_bad_numbers='skip' takes its place")
    hook = BadNumbers(policy)
    runner.register_hook(hook)
    runner.register_hook(_Reader(hook))


class BadNumbers(Hook):
    """Watches the numbers of a training.

    Args:
        policy: 'stop' or 'skip'.
    """

    priority = 'LOWEST'  # the random numbers are noted just before the forward pass

    def __init__(self, policy: str) -> None:
        self.policy = policy
        self.turns: list[Turn] = []
        self.zero_losses, self.overflows = ZeroLosses(), Overflows()
        self.counts = dict(total=0, row=0, overflows=0)

    def before_train(self, runner: Runner) -> None:
        """Stand before the steps of the optimizer."""
        self.runner, model = runner, runner.model
        self.model = model.module if is_model_wrapper(model) else model
        # Sharded parameters cannot be computed with by one process alone.
        self.whole = self.model is model or isinstance(model, DistributedDataParallel)
        self.counts.update(runner.message_hub.get_info(COUNTS) or {})
        wrapper = runner.optim_wrapper
        wrappers = list(wrapper.values()) if isinstance(wrapper, OptimWrapperDict) else [wrapper]
        known = [one for one in wrappers if getattr(type(one), 'step', None) in STEPS]
        for one in wrappers:
            if one not in known:
                runner.logger.warning(
                    f'{type(one).__name__} has a step of its own: NaN and inf in gradients are not '
                    'looked for'
                )
        self.window = max((one._accumulative_counts for one in known), default=1)
        ask = get_world_size() > 1 and not isinstance(model, DistributedDataParallel)
        self.gate = Gate(self.model, known, self._refuse, _for_all if ask else bool)
        if runner.cfg.get('compile'):  # torch.compile would trace it
            self.gate.hide_from_compiler()
        self.gate.__enter__()

    def after_train(self, runner: Runner) -> None:
        """Leave the model and the optimizer as they were."""
        self.gate.__exit__()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: object = None) -> None:
        """Note what a repetition needs."""
        self.gate.begin()
        if not self.turns:
            self.buffers = copies(self.model)
        self.turns.append(Turn(data_batch, take()))
        del self.turns[: -self.window]  # of a model that takes its steps in a way of its own

    def end_iteration(self, outputs: object) -> None:
        """Look at the losses, before mmengine logs them."""
        self.gate.read()
        self.turns[-1].losses = self.gate.losses
        for line in self.zero_losses.count(self.gate.losses):
            self.runner.logger.warning(line)
        if self.policy == 'skip' and isinstance(outputs, dict):
            # Averages of a log would be NaN for many lines.
            for name, value in list(outputs.items()):
                if isinstance(value, Tensor) and not finite(value.detach()):
                    del outputs[name]
        if self.gate.stepped:
            self.turns.clear()
            if not self.gate.refused and any((self.counts['row'], self.counts['overflows'])):
                self._count(row=0, overflows=0)

    def _count(self, **counts: int) -> None:
        self.counts.update(counts)
        self.runner.message_hub.update_info(COUNTS, dict(self.counts))

    def _refuse(self, wrapper: OptimWrapper) -> None:
        """Stop, or return to leave the step out; all processes come here together."""
        self.gate.read()
        self.turns[-1].losses = self.gate.losses
        scale = wrapper.loss_scaler.get_scale() if has_scaler(wrapper) else 1.0
        overflow = has_scaler(wrapper) and not any(
            all_gather_object(any(turn.bad for turn in self.turns))
        )
        if overflow:
            self._count(overflows=self.counts['overflows'] + 1)
            warning, loop = self.overflows.judge(self.counts['overflows'], scale)
            if warning:
                self.runner.logger.warning(warning)
            if not loop:
                return
        own = self._look(wrapper, scale)
        reports = all_gather_object(own)
        put(self.model, self.buffers)  # a bad image has made averages of batch norm bad
        weights = any(report.found.weights for report in reports)
        row, total = self.counts['row'] + 1, self.counts['total'] + 1
        what = loop if overflow else ''
        if self.policy == 'skip' and not weights and not overflow:
            if row <= IN_A_ROW and total <= IN_TOTAL:
                self._count(row=row, total=total)
                self.runner.logger.warning(self._told_skip(reports))
                return
            what = f'{row - 1} steps in a row and {total - 1} in total were left out, at most '
            what += f'{IN_A_ROW} and {IN_TOTAL} may be. The next one is bad too'
        self._stop(reports, what, scale, weights)

    def _look(self, wrapper: OptimWrapper, scale: float) -> Report:
        """What is wrong in this process."""
        if not self.whole:
            found = Found(weights=bad_weights(self.model))
        else:
            found = repeat(self.model, wrapper, self.turns, self.buffers, scale)
        bad = next((index for index, turn in enumerate(self.turns) if turn.bad), found.turn)
        files = [told_files(turn.batch) for turn in self.turns]
        images = sum(files, []) if bad is None else files[bad]
        losses = '' if bad is None else told_losses(self.turns[bad].losses)
        return Report(get_rank(), images, losses, found)

    def _told_skip(self, reports: list[Report]) -> str:
        text, _ = told_reports(reports)
        return (
            f'{self._where()}: a number is not finite, and the step is left out '
            f'({self.counts["row"]} in a row, {self.counts["total"]} of at most {IN_TOTAL}).\n'
            f'{text}'
        )

    def _where(self) -> str:
        return f'iteration {self.runner.iter + 1}, epoch {self.runner.epoch + 1}'

    def _stop(self, reports: list[Report], what: str, scale: float, weights: bool) -> None:
        """Write a dump and a checkpoint, then stop.

        Raises:
            RecipeError: always.
        """
        text, rank = told_reports(reports)
        lines = [f'{self._where()}: a number in the loss or the gradient is not finite']
        lines += [f'{what}.'] if what else []
        lines.append(text)
        if not self.whole:  # for both, the processes would have to give each other their parts
            lines.append('It was not computed again, and there is no dump: the model is sharded')
        else:
            if not any(report.found.lines() for report in reports):
                lines.append(not_again(self.model))
            dump = self._dump('\n'.join(lines), rank, scale) if get_rank() == rank else ''
            lines += [line for line in all_gather_object(dump) if line]
        lines.append(self._way_out(self._save(weights), weights))
        raise RecipeError('\n'.join(lines))

    def _dump(self, told: str, rank: int, scale: float) -> str:
        iteration = self.runner.iter + 1
        folder = Path(self.runner.work_dir, FOLDER)
        path, count = folder / f'iter_{iteration}_rank_{rank}.pth', 1
        while path.exists():
            count += 1
            path = folder / f'iter_{iteration}_rank_{rank}_{count}.pth'
        about = dict(iteration=iteration, rank=rank, told=told)
        try:
            write_dump(path, self.model, self.buffers, self.turns, scale, **about)
        except (OSError, TypeError, RuntimeError) as error:  # torch's own for a full disk
            return f'no dump was written: {error}'
        return f'compute it again with:  python tools/repeat_step.py {path}'

    def _save(self, weights: bool) -> str:
        """Save a checkpoint from before the step; its path, or '' if that is not possible."""
        runner = self.runner
        if weights or self.window > 1 or getattr(runner, 'orders', None) is None:
            return ''
        restore(self.turns[0].randomness)
        runner.train_loop.validated = True  # as it was before this iteration
        if runner.saved != (runner.epoch, runner.iter):
            save_between(runner)
        return runner.saved_file

    def _way_out(self, checkpoint: str, weights: bool) -> str:
        mixed = any(isinstance(wrapper, AmpOptimWrapper) for wrapper in self.gate.wrappers)
        float32 = " or float32 (optim_wrapper.type='OptimWrapper')" if mixed else ''
        resume = '--resume FILE' if weights else '--resume'
        # A resumed run keeps its learning rates, whatever the config says.
        ways = (
            f'with clip_grad{float32} go on by {resume} --cfg-options checks.resumed_config=False; '
            'with a lower learning rate or a longer warm-up begin a new run from an earlier '
            'checkpoint: --cfg-options load_from=FILE --work-dir NEW'
        )
        if weights:
            return (
                'weights are not finite already, and no step can mend them. Take an older '
                f'checkpoint: {ways}'
            )
        saved = f'saved before this step: {checkpoint}. ' if checkpoint else ''
        skip = '. Or leave such steps out: --resume --on-bad-numbers skip'
        return (
            f'{saved}If a file is at fault, repair it and go on with --resume. If the training '
            f'diverges: {ways}{"" if self.policy == "skip" else skip}'
        )


class _Reader(Hook):
    """Reads the losses before RuntimeInfoHook does."""

    priority = 'HIGHEST'

    def __init__(self, owner: BadNumbers) -> None:
        self.owner = owner

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: object = None,
        outputs: Mapping | None = None,
    ) -> None:
        self.owner.end_iteration(outputs)


def _for_all(fine: bool) -> bool:
    """Whether it is so in all processes."""
    return all(all_gather_object(fine))
