# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""hooks/preflight.py: the last look before training, and the data once more."""

import json
import logging
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from fixtures import TINY_SEGMENTOR, UPERNET, forget_runs
from mmengine.config import Config

from mmconvnext.cli.train import main
from mmconvnext.hooks import preflight
from mmconvnext.hooks.preflight import LINE, Preflight
from mmconvnext.recipe.checks.finding import Finding
from mmconvnext.recipe.data_table import Split
from mmconvnext.recipe.errors import RecipeError


def train(*options):
    forget_runs()
    argv = [UPERNET, '--toy', '--work-dir', 'run', '--cfg-options', *TINY_SEGMENTOR]
    return main([*argv, 'train_cfg.max_iters=1', *options])


def test_data_and_warnings_come_again_before_the_first_iteration(workplace, capsys):
    train('experiment_name=again')  # a log file of its own, also within one second
    (log,) = Path('run').glob('*/*.log')
    text = log.read_text()
    _, config, rest = text.partition('INFO - Config:')
    assert config
    line = 'Data (used_data.json in the work dir): train: 4 images of 5 classes; val: 3 images of 5'
    assert line in rest and 'in short:\n  - val has 3 images, so its metrics are noisy' in rest
    assert rest.index(line) < rest.index('Iter(train)')


def test_a_fault_stops_the_run_before_weights_are_initialized(workplace, monkeypatch):
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: SimpleNamespace(free=1000))
    monkeypatch.setattr('mmengine.runner.Runner._init_model_weights', lambda self: 1 / 0)
    with pytest.raises(RecipeError, match=r'(?s)^run: 0 MB are free, .*checks\.disk=False'):
        train()


def test_samples_are_read(workplace, monkeypatch):
    def fail(self, results):
        raise OSError('of no use')

    monkeypatch.setattr('mmcv.transforms.RandomFlip.__call__', fail)
    with pytest.raises(RecipeError, match=r'sample 0 \(.*\) fails in RandomFlip: OSError: of no'):
        train()


def test_the_run_is_the_same_as_without(workplace, monkeypatch):
    def losses():
        (file,) = Path('run').glob('*/vis_data/scalars.json')
        rows = [json.loads(line) for line in file.open()]
        shutil.rmtree('run')
        return [row['loss'] for row in rows if 'loss' in row]

    train('train_cfg.max_iters=2')
    checked = losses()
    monkeypatch.setattr(Preflight, 'before_run', lambda self, runner: None)
    train('train_cfg.max_iters=2')
    assert len(checked) == 2 and checked == losses()


def test_what_is_repeated_is_short():
    said = []
    logger = SimpleNamespace(info=said.append)
    rows = [
        Split('train', 'a.json', 120, 118, 400, 390, classes=dict(cat=380, dog=10)),
        Split('val', 'b.json', 9, 9, 30, 30, classes=dict(cat=30)),
    ]
    hook = Preflight(rows, ['short\nand more', 'x' * (LINE + 1), 'y' * LINE])
    hook.before_train(SimpleNamespace(logger=logger))
    (text,) = said
    first, head, *lines = text.splitlines()
    assert first.endswith(
        'train: 118 images, 390 objects of 2 classes; val: 9 images, 30 objects of 1 class'
    )
    assert lines == ['  - short', f'  - {"x" * (LINE - 4)} ...', '  - ' + 'y' * LINE]
    Preflight([], []).before_train(SimpleNamespace(logger=logger))
    assert len(said) == 1


def test_other_ranks_only_wait(monkeypatch):
    monkeypatch.setenv('RANK', '1')
    Preflight([], []).before_run(None)


def test_warnings_of_the_last_look_are_logged_and_kept(monkeypatch):
    findings = [Finding('little room'), Finding('unreadable', 'samples')]
    monkeypatch.setattr(preflight, '_findings', lambda runner, table: findings)
    logged, hook = [], Preflight([], ['before'])
    logger = SimpleNamespace(log=lambda level, line: logged.append((level, line)))
    hook.before_run(SimpleNamespace(cfg=Config(dict(checks=dict(samples=False))), logger=logger))
    lines = ['little room', 'unreadable (passed by checks.samples=False)']
    assert logged == [(logging.WARNING, line) for line in lines]
    assert hook.warnings == ['before', *lines]
