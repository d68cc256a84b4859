# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/trackers.py: TensorBoard and W&B join the config's backends, on rank 0, or say why not."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
from mmengine.config import Config

from mmconvnext.cli.trackers import GroupRates, add_trackers
from mmconvnext.recipe.errors import RecipeError

LOCAL = dict(type='LocalVisBackend')


@pytest.fixture
def installed(monkeypatch):
    """Both packages; returns what W&B answers."""
    answer = SimpleNamespace(mode='online', logged_in=True)
    wandb = ModuleType('wandb')
    wandb.setup = lambda: SimpleNamespace(settings=answer)
    wandb.login = lambda prompt, verify: (not prompt and not verify) and answer.logged_in
    monkeypatch.setitem(sys.modules, 'wandb', wandb)
    monkeypatch.setitem(sys.modules, 'torch.utils.tensorboard', ModuleType('tensorboard'))
    for name in ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK'):
        monkeypatch.delenv(name, raising=False)
    return answer


def config(*backends):
    visualizer = dict(type='DetLocalVisualizer', vis_backends=[LOCAL, *backends], name='visualizer')
    return Config(dict(visualizer=visualizer, work_dir='work_dirs/my run'))


def added(cfg):
    return [dict(backend) for backend in cfg.visualizer.vis_backends[1:]]


def test_neither(installed):
    cfg = config()
    add_trackers(cfg, False, None)
    assert cfg.pretty_text == config().pretty_text


def test_both(installed):
    cfg = config()
    add_trackers(cfg, True, 'my project')
    assert cfg.visualizer.type == 'DetLocalVisualizer' and cfg.visualizer.vis_backends[0] == LOCAL
    assert added(cfg) == [
        dict(type='TensorboardVisBackend', name='tensorboard'),
        dict(
            type='mmconvnext.WandbBackend',
            name='wandb',
            init_kwargs=dict(project='my project', name='my run'),
            define_metric_cfg=[dict(name='*', step_metric='iter')],
        ),
    ]


def test_one_that_the_config_has_stays_alone(installed):
    theirs = dict(type='mmengine.WandbVisBackend', init_kwargs=dict(project='theirs'))
    cfg = config(theirs)
    add_trackers(cfg, True, 'mine')
    assert [backend['type'] for backend in added(cfg)] == [
        'mmengine.WandbVisBackend',
        'TensorboardVisBackend',
    ]


@pytest.mark.parametrize('visualizer', [{}, dict(visualizer=None), dict(visualizer=dict(type='V'))])
def test_a_config_without_backends_keeps_the_local_one(installed, visualizer):
    cfg = Config(dict(work_dir='w', **visualizer))
    add_trackers(cfg, True, None)
    types = [backend.type for backend in cfg.visualizer.vis_backends]
    assert types == ['LocalVisBackend', 'TensorboardVisBackend'] and cfg.visualizer.type


@pytest.mark.parametrize('name', ['RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK'])
def test_only_rank_0_logs(installed, monkeypatch, name):
    monkeypatch.setenv(name, '1')
    installed.logged_in = False
    cfg = config()
    add_trackers(cfg, True, 'p')
    assert added(cfg) == []


@pytest.mark.parametrize(
    ('module', 'flags', 'package'),
    [('wandb', (False, 'p'), 'wandb'), ('torch.utils.tensorboard', (True, None), 'tensorboard')],
)
def test_a_package_that_is_not_installed(installed, monkeypatch, module, flags, package):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        RecipeError, match=rf'--{package} needs {package}.*\n  pip install {package}'
    ):
        add_trackers(config(), *flags)


@pytest.mark.parametrize('mode', ['online', 'shared'])
def test_wandb_without_an_account(installed, mode):
    installed.logged_in, installed.mode = False, mode
    with pytest.raises(
        RecipeError, match='nobody is logged in .* `wandb login`.*WANDB_MODE=offline'
    ):
        add_trackers(config(), False, 'p')


@pytest.mark.parametrize('mode', ['offline', 'disabled', 'dryrun'])
def test_wandb_offline_needs_no_account(installed, mode):
    installed.logged_in, installed.mode = False, mode
    cfg = config()
    add_trackers(cfg, False, 'p')
    assert len(added(cfg)) == 1


class Backend:
    """Keeps what is logged."""

    def __init__(self):
        self.rows, self.experiment = [], self

    def add_scalars(self, values, step):
        self.rows.append((values, step))

    def log(self, values, commit):
        self.rows.append((values, commit))


def runner(groups, iteration=0, **backends):
    return SimpleNamespace(
        optim_wrapper=SimpleNamespace(param_groups=groups),
        visualizer=SimpleNamespace(_vis_backends=backends),
        cfg=Config(dict(default_hooks=dict(logger=dict(interval=3)))),
        train_dataloader=range(4),
        iter=iteration,
    )


def test_rates_of_the_groups_are_logged_when_mmengine_logs():
    """After every 3 iterations of an epoch, and at its end."""
    local, board, wandb = Backend(), Backend(), Backend()
    groups = [
        dict(lr=0.1, initial_lr=0.4),
        dict(lr=0.05, initial_lr=0.2),
        dict(lr=0.1, initial_lr=0.4),
    ]
    run = runner(groups, LocalVisBackend=local, tensorboard=board, wandb=wandb)
    hook = GroupRates()
    hook.before_train(run)
    for batch in range(4):
        run.iter = 4 + batch
        hook.after_train_iter(run, batch)
    rates = {'lr_by_depth/x0.5': 0.05, 'lr_by_depth/x1': 0.1}
    assert board.rows == [(rates, 7), (rates, 8)] and wandb.rows == [(rates, False)] * 2
    assert local.rows == []


@pytest.mark.parametrize(
    'groups', [[dict(lr=0.1), dict(lr=0.1)], [dict(lr=0.0)], dict(gen=[dict(lr=1), dict(lr=2)])]
)
def test_nothing_is_logged_twice_if_all_rates_are_equal(groups):
    board = Backend()
    run = runner(groups, tensorboard=board)
    hook = GroupRates()
    hook.before_train(run)
    hook.after_train_iter(run, 2)
    assert board.rows == []


def test_it_runs_before_the_logger():
    from mmengine.hooks import LoggerHook
    from mmengine.runner import get_priority

    assert get_priority(GroupRates.priority) < get_priority(LoggerHook.priority)
