# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/console.py: the console is short, the log file complete, other runners as they were."""

import logging
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from torch import nn

from mmconvnext.cli.console import for_the_console, with_short_console
from mmconvnext.cli.test import main

DASHES = '-' * 60


@pytest.fixture(autouse=True)
def _loggers(monkeypatch):
    """Those of these tests write to the captured output, which is closed afterwards."""
    monkeypatch.setattr(MMLogger, '_instance_dict', MMLogger._instance_dict.copy())


@pytest.mark.parametrize(
    ('text', 'shown'),
    [
        ('Config:\nmodel=dict()', False),
        (f'\n{DASHES}\nSystem environment:\n    Python: 3.11\n{DASHES}\n', False),
        ('Hooks will be executed in the following order:\nbefore_run:', False),
        ('"FileClient" will be deprecated in future. Please use io functions', False),
        ('"HardDiskBackend" is the alias of "LocalBackend"', False),
        ('Config: the file is new', True),
        ('Epoch(train) [1][10/60]  loss: 3.0077', True),
        ('\nConfig of the data', True),
        ('100 % of the objects', True),
    ],
)
def test_what_the_console_shows(text, shown):
    record = logging.LogRecord('mmengine', logging.INFO, 'a.py', 1, text, (), None)
    assert for_the_console(record) is shown


def test_a_runner_of_ours_and_one_of_others(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for number, kind in enumerate((with_short_console(Runner), Runner)):
        name = f'console_{number}'
        runner = kind(nn.Identity(), name, cfg=Config(dict(a_key=1)), experiment_name=name)
        runner.logger.info('a line')
        runner.logger.warning('a warning')
        (log,) = Path(name).glob('*/*.log')
        out, written = capsys.readouterr().out, log.read_text()
        for text in ('a line\n', 'a warning\n'):
            assert text in out and text in written
        for text in ('a_key', 'System environment:', 'Hooks will be executed'):
            assert text in written and (text in out) == (kind is Runner)
        told = f'Config, environment and hooks are in the log file: {log}\n'
        assert (told in out) == (told in written) == (kind is not Runner)
        assert type(runner).__name__ == 'Runner'


def test_a_test_on_toy_data_fits_on_a_screen(detector_run, workplace, capsys):
    flags = ['--toy', '--work-dir', 'tested', '--cfg-options', *detector_run.options]
    main([detector_run.config, detector_run.checkpoint, *flags])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 80, '\n'.join(lines)
    assert any('coco/bbox_mAP: ' in line for line in lines)
    (log,) = Path('tested').glob('*/*.log')
    text = log.read_text()
    assert 'Config:\n' in text and 'System environment:' in text and 'coco/bbox_mAP: ' in text
    assert f'in the log file: {log}' in '\n'.join(lines)
