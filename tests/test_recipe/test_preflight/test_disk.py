# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/preflight/disk.py: what checkpoints take, and what is free."""

import inspect
import shutil
from types import SimpleNamespace

import pytest
from mmengine.config import Config

from mmconvnext.recipe.preflight.disk import BETWEEN, HEADER, check_disk, room
from mmconvnext.recipe.preflight.state import State

STATE = State(parameters=10, trained=10, weights=5_000_000, gradients=7, optimizer=3_000_000)


def found(tmp_path, checkpoints=4, hooks=(), work_dir=None, between=0, **checkpoint):
    cfg = Config(
        dict(
            work_dir=str(work_dir or tmp_path / 'not' / 'yet'),
            default_hooks=dict(checkpoint=checkpoint),
            custom_hooks=list(hooks),
        )
    )
    return room(cfg, STATE, checkpoints, between)


def test_a_checkpoint_holds_weights_and_optimizer(tmp_path):
    assert found(tmp_path).each == 8_000_000 + HEADER
    assert found(tmp_path, save_optimizer=False).each == 5_000_000 + HEADER
    assert found(tmp_path, hooks=[dict(type='EMAHook')]).each == 13_000_000 + HEADER


@pytest.mark.parametrize(
    ('settings', 'count'),
    [
        ({}, 4),
        (dict(max_keep_ckpts=3), 3),
        (dict(max_keep_ckpts=9), 4),
        (dict(max_keep_ckpts=1, save_best='auto'), 2),
        (dict(max_keep_ckpts=1, save_best=['a', 'b']), 3),
    ],
    ids=str,
)
def test_how_many_are_kept(tmp_path, settings, count):
    assert found(tmp_path, **settings).count == count
    assert found(tmp_path, **settings).total == count * found(tmp_path).each


def test_those_between_are_counted_too(tmp_path):
    assert found(tmp_path, between=BETWEEN, max_keep_ckpts=3).count == 5
    (tmp_path / 'resume_iter_4.pth').touch()
    assert found(tmp_path, between=BETWEEN, max_keep_ckpts=3, work_dir=tmp_path).count == 4
    assert inspect.signature(room).parameters['between'].default == BETWEEN == 2


def test_those_that_are_there_count_no_more(tmp_path):
    for number in (1, 2, 3):
        (tmp_path / f'epoch_{number}.pth').touch()
    assert found(tmp_path, work_dir=tmp_path).count == 1
    assert found(tmp_path, checkpoints=2, work_dir=tmp_path).count == 1


def test_none_are_saved_here(tmp_path):
    assert found(tmp_path, checkpoints=0) is None
    assert found(tmp_path, out_dir='s3://bucket/runs') is None
    assert list(check_disk(None)) == []


def test_free_space_is_that_of_the_folder_that_will_hold_them(tmp_path, monkeypatch):
    asked = []
    usage = lambda path: asked.append(path) or SimpleNamespace(free=1)  # noqa: E731
    monkeypatch.setattr(shutil, 'disk_usage', usage)
    elsewhere = tmp_path / 'elsewhere'
    elsewhere.mkdir()
    assert found(tmp_path).folder.endswith('yet')
    assert found(tmp_path, out_dir=str(elsewhere)).folder == str(elsewhere)
    assert asked[0] == tmp_path and elsewhere in asked


@pytest.mark.parametrize(
    ('free', 'check', 'text'),
    [
        (8_000_000 + HEADER - 1, 'disk', 'yet: 9 MB are free, but a checkpoint takes 9 MB; free'),
        (8_000_000 + HEADER, '', '9 MB are free, but 2 checkpoints of 9 MB take 18 MB; free some'),
        (2 * (8_000_000 + HEADER) - 1, '', '2 checkpoints of'),
    ],
)
def test_too_little(tmp_path, monkeypatch, free, check, text):
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: SimpleNamespace(free=free))
    (finding,) = check_disk(found(tmp_path, checkpoints=2))
    assert finding.check == check and text in finding.text
    assert 'max_keep_ckpts=2' in finding.text and '--work-dir' in finding.text


def test_enough(tmp_path, monkeypatch):
    free = 2 * (8_000_000 + HEADER)
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: SimpleNamespace(free=free))
    assert list(check_disk(found(tmp_path, checkpoints=2))) == []
