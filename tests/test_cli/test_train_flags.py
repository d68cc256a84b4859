# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/train.py: what each flag does, and what happens without it, up to the start of the run."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from fixtures import CONFIGS, MASK_RCNN, UPERNET

from mmconvnext.cli import next_steps, runner, train
from mmconvnext.cli.trackers import GroupRates
from mmconvnext.faults.hook import BadData
from mmconvnext.hooks.empty_batches import EmptyBatches
from mmconvnext.hooks.loading import Loading
from mmconvnext.hooks.preflight import Preflight
from mmconvnext.hooks.same_classes import SameClasses
from mmconvnext.hooks.same_schedule import SameSchedule
from mmconvnext.recipe import machine
from mmconvnext.recipe.errors import RecipeError

LARGE = str(CONFIGS / 'upernet/convnext-large_upernet_8xb2-160k_ade20k-640x640.py')
XLARGE = str(
    CONFIGS / 'cascade_mask_rcnn/'
    'cascade-mask-rcnn_convnext-xl-p4-w7-in21k_fpn_4conv1fc-giou_ms-crop-3x_coco.py'
)
# What torchrun, slurm and Open MPI tell a process: its rank and the number of processes.
LAUNCHERS = {
    'pytorch': ('RANK', 'WORLD_SIZE'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE'),
}


@pytest.fixture
def start(monkeypatch, workplace):
    """A function that runs the tool up to mmengine's part, on a machine with a GPU."""

    class Fake:
        @classmethod
        def from_cfg(cls, cfg):
            fake = cls()
            fake.cfg, fake.hooks, fake.trained = cfg, [], 0
            return fake

        def register_hook(self, hook):
            assert not self.trained
            self.hooks.append(hook)

        def train(self):
            self.trained += 1

    monkeypatch.setattr(runner, 'Runner', Fake)
    monkeypatch.setattr(train, 'exact', lambda kind, save_minutes: kind)
    monkeypatch.setattr(runner, 'start', lambda cfg: False)  # the processes need not meet
    monkeypatch.setattr(train, 'watch_numbers', lambda run, policy: setattr(run, 'policy', policy))
    gpu = SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: True))
    monkeypatch.setattr(machine, 'torch', gpu)
    for name in sum(LAUNCHERS.values(), ()):
        monkeypatch.delenv(name, raising=False)

    def call(*argv, toy=True):
        fake = train.main([*argv[:1], *(['--toy'] if toy else []), *argv[1:]])
        assert fake.trained == 1
        assert type(fake.hooks.pop(0)) is Preflight  # first, in every run
        (fake.bad_data,) = [hook for hook in fake.hooks if type(hook) is BadData]
        fake.hooks.remove(fake.bad_data)
        return fake

    return call


@pytest.mark.parametrize('config', [LARGE, XLARGE], ids=['L', 'XL'])
def test_amp_for_recipes_without(start, config):
    assert start(config).cfg.optim_wrapper.type == 'OptimWrapper'
    assert start(config, '--amp').cfg.optim_wrapper.type == 'AmpOptimWrapper'


def test_amp_for_recipes_with(start):
    for flag in ((), ('--amp',)):
        assert start(UPERNET, *flag).cfg.optim_wrapper.type == 'AmpOptimWrapper'


def test_learning_rates_are_scaled_on_request_only(start):
    for flags, enabled in (((), False), (('--auto-scale-lr',), True)):
        assert start(UPERNET, *flags).cfg.auto_scale_lr.enable is enabled


def test_bad_numbers_stop_a_run_or_are_skipped(start):
    given = ['--cfg-options', 'on_bad_numbers=skip']
    assert start(UPERNET).policy == 'stop'
    assert start(UPERNET, '--on-bad-numbers', 'skip').policy == 'skip'
    assert start(UPERNET, *given).policy == 'skip'
    assert start(UPERNET, '--on-bad-numbers', 'stop', *given).policy == 'stop'
    for name in ('on_bad_numbers', 'on_bad_data'):
        with pytest.raises(RecipeError, match=f"{name}='no': choose 'stop' or 'skip'"):
            start(UPERNET, '--cfg-options', f'{name}=no')


def test_bad_data(start):
    settings = [
        start(UPERNET, *flags).bad_data.settings
        for flags in (
            (),
            ('--on-bad-data', 'skip'),
            ('--cfg-options', 'on_bad_data=skip', 'data_waits=[2]'),
            ('--on-bad-data', 'stop', '--cfg-options', 'on_bad_data=skip'),
        )
    ]
    assert [one.policy for one in settings] == ['stop', 'skip', 'skip', 'stop']
    assert settings[2].waits == (2,) != settings[0].waits
    with pytest.raises(RecipeError, match="on_bad_data='go on': choose 'stop' or 'skip'"):
        start(UPERNET, '--cfg-options', 'on_bad_data=go on')


@pytest.mark.parametrize(
    ('flags', 'args', 'hooks'),
    [
        ((), (False, None), []),
        (('--tensorboard',), (True, None), [GroupRates]),
        (('--wandb', 'mine'), (False, 'mine'), [GroupRates]),
    ],
)
def test_trackers(start, monkeypatch, flags, args, hooks):
    given = []
    monkeypatch.setattr(train, 'add_trackers', lambda cfg, *args: given.append(args))
    assert [type(hook) for hook in start(UPERNET, *flags).hooks] == hooks and given == [args]


def test_where_it_writes(start):
    assert start(UPERNET).cfg.work_dir == f'work_dirs/{Path(UPERNET).stem}_toy'
    assert start(UPERNET, '--work-dir', 'my runs/1').cfg.work_dir == 'my runs/1'
    written = {str(file) for file in Path().rglob('*') if file.is_file()}
    assert written == {
        f'work_dirs/{Path(UPERNET).stem}_toy/used_data.json',
        'my runs/1/used_data.json',
        f'work_dirs/{Path(UPERNET).stem}_toy/.lock',
        'my runs/1/.lock',
    }


def test_data_that_changed_are_told_when_a_run_goes_on(start, log_records):
    def told():
        return [r.getMessage() for r in log_records if 'are not those with which' in r.getMessage()]

    Path('x.pth').touch()
    start(UPERNET)
    file = Path(f'work_dirs/{Path(UPERNET).stem}_toy/used_data.json')
    rows = file.read_text()
    start(UPERNET, '--resume', 'x.pth')
    assert told() == []
    for flags, count in (((), 0), (('--resume', 'x.pth'), 1)):
        file.write_text(rows.replace('"images": ', '"images": 9'))
        start(UPERNET, *flags)
        assert len(told()) == count and file.read_text() == rows


@pytest.mark.parametrize(('rank', 'said'), [('0', 'next: x\n'), ('1', '')])
def test_what_comes_next_is_said_once(start, monkeypatch, capsys, rank, said):
    monkeypatch.setattr(
        next_steps, 'after_training', lambda runner: [f'next: {"x" * runner.trained}']
    )
    monkeypatch.setenv('RANK', rank)
    start(UPERNET)
    assert ('next: ' in (out := capsys.readouterr().out)) == bool(said) and out.endswith(said)


def test_nothing_comes_next_after_an_interruption(start, monkeypatch, capsys):
    def interrupted(runner):
        raise KeyboardInterrupt

    monkeypatch.setattr(next_steps, 'after_training', lambda runner: ['next'])
    monkeypatch.setattr(runner.Runner, 'train', interrupted)
    with pytest.raises(KeyboardInterrupt):
        start(UPERNET)
    assert 'next' not in capsys.readouterr().out


@pytest.mark.parametrize(('config', 'hooks'), [(MASK_RCNN, [EmptyBatches]), (UPERNET, [])])
def test_detectors_tell_of_batches_without_objects(start, config, hooks):
    assert [type(hook) for hook in start(config, '--work-dir', 'run').hooks] == hooks


@pytest.mark.parametrize(
    ('flags', 'hooks'),
    [
        ((), []),
        (('--cfg-options', 'load_from=x.pth'), [('load_from', False), ('train_dataloader', True)]),
        (
            ('--lenient', '--cfg-options', 'load_from=x.pth'),
            [('load_from', True), ('train_dataloader', True)],
        ),
        (
            ('--cfg-options', 'load_from=x.pth', 'lenient_loading=True'),
            [('load_from', True), ('train_dataloader', True)],
        ),
        (('--resume', 'x.pth'), [('resume', False), ('train_dataloader', False), 'schedule']),
        (
            ('--resume', 'x.pth', '--lenient'),
            [('resume', True), ('train_dataloader', False), 'schedule'],
        ),
        (('--cfg-options', 'resume=True'), []),  # no checkpoint there: the run begins
        (
            ('--cfg-options', 'resume=True', 'load_from=x.pth'),
            [('resume', False), ('train_dataloader', False), 'schedule'],
        ),
    ],
    ids=str,
)
def test_what_looks_at_the_checkpoint(start, flags, hooks):
    Path('x.pth').touch()
    found = []
    fake = start(UPERNET, '--work-dir', 'run', *flags)
    for hook in fake.hooks:
        if isinstance(hook, Loading):
            found.append((hook.purpose, hook.lenient))
        elif isinstance(hook, SameClasses):
            found.append((hook.loader, hook.only_warn))
        else:
            assert isinstance(hook, SameSchedule)
            found.append('schedule')
    assert found == hooks
    assert bool(fake.cfg.get('resume')) == (('resume', False) in hooks or ('resume', True) in hooks)
    assert fake.cfg.get('load_from') == ('x.pth' if 'x.pth' in str(flags) else None)


def test_options_reach_the_config(start):
    pairs = ['--cfg-options', 'randomness.seed=7', 'experiment_name=my run', 'model.x=[a b, 2]']
    cfg = start(UPERNET, *pairs, '--cfg-options', 'randomness.deterministic=True').cfg
    assert cfg.randomness == dict(seed=7, deterministic=True)
    assert (cfg.experiment_name, cfg.model.x) == ('my run', ['a b', 2])


def test_without_toy_the_recipes_own_data_are_needed(start):
    with pytest.raises(RecipeError, match='data/ade/ADEChallengeData2016 does not exist'):
        start(UPERNET, toy=False)


@pytest.mark.parametrize('launcher', LAUNCHERS)
def test_processes_of_each_launcher(start, launcher, monkeypatch, capsys):
    """Each has two images; only the first one writes lines, and without a launcher there is one."""
    rank, size = LAUNCHERS[launcher]
    argv = (UPERNET, '--cfg-options', 'train_dataloader.batch_size=2')
    monkeypatch.setenv(size, '6')
    monkeypatch.setenv(rank, '0')
    assert start(*argv).cfg.launcher == 'none'
    said = capsys.readouterr().out
    assert 'Effective batch size 2,' in said and 'One process: SyncBN' in said
    assert start(*argv, '--launcher', launcher).cfg.launcher == launcher
    said = capsys.readouterr().out
    assert 'Effective batch size 12,' in said and 'One process' not in said
    monkeypatch.setenv(rank, '5')
    start(*argv, '--launcher', launcher)
    assert capsys.readouterr() == ('', '')


def test_the_stack_is_checked_and_formats_are_installed_first(start, monkeypatch):
    calls = []
    for name in ('require_stack', 'install', 'prepare_config'):
        real = getattr(train, name)
        fake = lambda *a, real=real, name=name, **k: (calls.append(name), real(*a, **k))[1]  # noqa: E731
        monkeypatch.setattr(train, name, fake)
    start(MASK_RCNN)
    assert calls == ['require_stack', 'install', 'prepare_config']
