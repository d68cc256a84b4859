# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""TensorBoard and Weights & Biases: the flags --tensorboard and --wandb of tools/train.py."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..recipe.errors import RecipeError
from ..recipe.ranks import log_rank0, rank
from ..recipe.walk import type_name

TENSORBOARD, WANDB = 'tensorboard', 'wandb'  # names of the backends in the visualizer
OFFLINE = ('offline', 'disabled', 'dryrun')  # W&B's modes that need no login


def add_trackers(cfg: Config, tensorboard: bool, wandb: str | None) -> None:
    """Add backends to the visualizer of a config, on rank 0 only.

    Others than rank 0 have nothing to log, and a second connection of W&B can block a run.

    Args:
        wandb: the project; None: no W&B.

    Raises:
        RecipeError: the package is not installed, or W&B has no account to log to.
    """
    if rank() != 0:
        return
    if tensorboard:
        _require('torch.utils.tensorboard', '--tensorboard', 'tensorboard')
        _add(cfg, 'TensorboardVisBackend', dict(type='TensorboardVisBackend', name=TENSORBOARD))
        log_rank0(f'to watch this run: tensorboard --logdir {cfg.work_dir}')
    if wandb is not None:
        _require_login(_require('wandb', '--wandb', 'wandb'))
        backend = dict(
            type='mmconvnext.WandbBackend',
            name=WANDB,
            init_kwargs=dict(project=wandb, name=Path(cfg.work_dir).name),
            # mmengine passes no step: without this, curves count log lines.
            define_metric_cfg=[dict(name='*', step_metric='iter')],
        )
        _add(cfg, 'WandbVisBackend', backend)


def _add(cfg: Config, theirs: str, backend: dict) -> None:
    """Add a backend unless the config has one of the kind."""
    if not cfg.get('visualizer'):
        cfg.visualizer = dict(type='Visualizer')
    backends = list(cfg.visualizer.get('vis_backends') or [dict(type='LocalVisBackend')])
    if theirs not in map(type_name, backends):
        cfg.visualizer.vis_backends = [*backends, backend]


def _require(module: str, flag: str, package: str) -> object:
    try:
        return import_module(module)
    except ImportError as error:
        raise RecipeError(
            f'{flag} needs {package}, which cannot be imported ({error}); install it with\n'
            f'  pip install {package}'
        ) from error


def _require_login(wandb) -> None:
    """Raise if W&B would ask for an account in the middle of the start, or fail."""
    if wandb.setup().settings.mode in OFFLINE:
        return
    if not wandb.login(prompt=False, verify=False):
        raise RecipeError(
            '--wandb: nobody is logged in to Weights & Biases here. Run `wandb login`, or set '
            'WANDB_API_KEY; to log into the work dir only, set WANDB_MODE=offline (and upload it '
            'later with `wandb sync`)'
        )


class GroupRates(Hook):
    """Logs the learning rate of every group to the backends of this module.

    mmengine logs the rate of one group. The others would fill the log on the screen, so only
    TensorBoard and W&B get them, as ``lr_by_depth/x0.0279``: the factor of the highest rate.
    """

    priority = 'NORMAL'  # before LoggerHook, whose call ends W&B's step

    def before_train(self, runner: Runner) -> None:
        """Choose a group for each learning rate; none if all are equal."""
        self._chosen: dict[str, int] = {}
        groups = getattr(runner.optim_wrapper, 'param_groups', None)
        if not isinstance(groups, list):  # several optimizers
            return
        starts = [group.get('initial_lr', group['lr']) for group in groups]
        highest = max(starts) or 1
        for index in sorted(range(len(starts)), key=lambda index: starts[index]):
            self._chosen.setdefault(f'lr_by_depth/x{starts[index] / highest:.3g}', index)
        if len(self._chosen) == 1:
            self._chosen = {}

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: object = None, outputs: object = None
    ) -> None:
        """Log when LoggerHook does."""
        logger = (runner.cfg.get('default_hooks') or {}).get('logger') or {}
        logged = self.every_n_inner_iters(batch_idx, logger.get('interval', 10))
        if not self._chosen or not (
            logged or self.end_of_epoch(runner.train_dataloader, batch_idx)
        ):
            return
        groups = runner.optim_wrapper.param_groups
        rates = {name: groups[index]['lr'] for name, index in self._chosen.items()}
        backends = runner.visualizer._vis_backends
        if TENSORBOARD in backends:
            backends[TENSORBOARD].add_scalars(rates, runner.iter + 1)
        if WANDB in backends:
            backends[WANDB].experiment.log(rates, commit=False)
