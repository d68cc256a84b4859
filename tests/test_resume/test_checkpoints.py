# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Checkpoints are whole before older ones go; a full disk is waited for."""

import errno
from pathlib import Path

import mmengine.runner.runner as mmengine_runner
import pytest
from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from resume_runs import assert_equal, config, stopped, train

from mmconvnext.recipe.errors import RecipeError
from mmconvnext.resume import patience
from mmconvnext.resume.checkpoints import SafeCheckpointHook, remove_parts, safe_hooks


def few(place, keep: int, **more) -> Config:
    cfg = config(place, **more)
    cfg.default_hooks.checkpoint.update(max_keep_ckpts=keep, save_best=None)
    return cfg


def names(place) -> list[str]:
    return sorted(path.name for path in Path(place).glob('*.pth'))


@pytest.fixture
def faults(monkeypatch):
    """Exceptions for the next saves; None lets one pass."""
    left, save = [], mmengine_runner.save_checkpoint

    def fail(*args, **options):
        fault = left.pop(0) if left else None
        if fault:
            raise fault
        save(*args, **options)

    monkeypatch.setattr(mmengine_runner, 'save_checkpoint', fail)
    return left


@pytest.mark.parametrize('keep', [-1, 1, 2, 3])
def test_the_same_files_stay_as_with_mmengines_hook(keep, tmp_path):
    train(few(tmp_path / 'x', keep))
    every = ['epoch_1.pth', 'epoch_2.pth', 'epoch_3.pth']
    assert names(tmp_path / 'x') == (every if keep < 0 else every[-keep:])
    assert (tmp_path / 'x/last_checkpoint').read_text() == str(tmp_path / 'x/epoch_3.pth')


def test_after_resuming_too(tmp_path):
    path = stopped(few(tmp_path / 'x', 1), 11)
    assert names(tmp_path / 'x') == ['epoch_2.pth', 'resume_iter_12.pth']
    train(few(tmp_path / 'x', 1), resume=path)
    assert names(tmp_path / 'x') == ['epoch_3.pth']


@pytest.mark.parametrize('fault', [KeyboardInterrupt(), OSError(errno.EACCES, 'no')], ids=repr)
def test_a_run_that_dies_while_it_saves_keeps_the_one_before(fault, faults, tmp_path):
    faults += [None, fault]
    with pytest.raises(type(fault)):
        train(few(tmp_path / 'x', 1))
    assert names(tmp_path / 'x') == ['epoch_1.pth']
    assert (tmp_path / 'x/last_checkpoint').read_text() == str(tmp_path / 'x/epoch_1.pth')


def test_a_full_disk_is_waited_for_and_changes_nothing(faults, tmp_path, monkeypatch, log_records):
    slept = []
    monkeypatch.setattr(patience.time, 'sleep', slept.append)
    whole = train(config(tmp_path / 'whole'))
    faults += [None, OSError(errno.ENOSPC, 'full'), OSError(errno.ENOSPC, 'full')]
    assert_equal(train(config(tmp_path / 'x')), whole)
    assert len(slept) == 60


def test_a_disk_that_stays_full_ends_the_run_with_words(faults, tmp_path, monkeypatch):
    monkeypatch.setattr(patience.time, 'sleep', lambda seconds: None)
    whole = train(config(tmp_path / 'whole'))
    faults += [None, None, *[OSError(errno.ENOSPC, 'full')] * 21]
    cfg = few(tmp_path / 'x', 1)
    cfg.default_hooks.checkpoint.save_best = 'acc'
    with pytest.raises(
        RecipeError, match=r'epoch_.\.pth cannot be written: No space left.*--resume'
    ):
        train(cfg)
    faults.clear()
    assert_equal(train(cfg, resume=(tmp_path / 'x/last_checkpoint').read_text()), whole)


def test_only_mmengines_own_hook_is_replaced():
    class Mine(CheckpointHook):
        pass

    for kind in ('CheckpointHook', 'mmengine.CheckpointHook', CheckpointHook):
        given = dict(logger=dict(type='LoggerHook'), checkpoint=dict(type=kind, interval=3))
        found = safe_hooks(given)
        assert found['checkpoint'] == dict(type=SafeCheckpointHook, interval=3)
        assert given['checkpoint']['type'] is kind and found['logger'] == given['logger']
    for given in (dict(type='Mine'), dict(type=Mine), Mine(), None):
        assert safe_hooks(dict(checkpoint=given)) == dict(checkpoint=given)
    assert safe_hooks(None) == dict(checkpoint=dict(type=SafeCheckpointHook, interval=1))


def test_a_run_without_a_checkpoint_hook_can_be_stopped(tmp_path):
    cfg = config(tmp_path / 'x')
    cfg.default_hooks.checkpoint = None
    whole = train(cfg)
    assert names(tmp_path / 'x') == []
    path = stopped(cfg, 4)
    assert names(tmp_path / 'x') == ['resume_iter_5.pth']
    assert_equal(train(cfg, resume=path), whole)


def test_checkpoints_of_another_folder_are_found(tmp_path):
    cfg = config(tmp_path / 'x')
    cfg.default_hooks.checkpoint.out_dir = str(tmp_path / 'large disk')
    path = stopped(cfg, 6)
    assert path == str(tmp_path / 'large disk/x/resume_iter_7.pth')
    assert_equal(train(cfg, resume=path), train(config(tmp_path / 'whole')))


def test_what_killed_processes_left_is_removed(tmp_path):
    parts = ['epoch_1.pth.12-139.part', 'resume_iter_3.pth.7-1.part']
    for name in (*parts, 'epoch_1.pth', 'notes.part', 'a.json.3-4.part', 'x.pth.part'):
        (tmp_path / name).touch()
    assert remove_parts(tmp_path) == parts
    left = ['a.json.3-4.part', 'epoch_1.pth', 'notes.part', 'x.pth.part']
    assert sorted(path.name for path in tmp_path.iterdir()) == left


@pytest.mark.parametrize('out_dir', [None, 'large disk'])
def test_a_resumed_run_removes_them(out_dir, tmp_path):
    cfg = config(tmp_path / 'x')
    if out_dir:
        cfg.default_hooks.checkpoint.out_dir = str(tmp_path / out_dir)
    path = Path(stopped(cfg, 2))
    parts = [tmp_path / 'x/epoch_1.pth.12-139.part', path.with_name('resume_iter_9.pth.1-2.part')]
    other = tmp_path / 'epoch_1.pth.12-139.part'  # of another run, which may be at work
    for part in (*parts, other):
        part.touch()
    train(cfg, resume=str(path))
    assert not any(part.exists() for part in parts) and other.exists()
