# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/check_report.py: rows as people read them, JSON as programs do."""

import json
import logging

import pytest
from mmengine.config import Config
from mmengine.logging import MMLogger

from mmconvnext.cli.check_report import Report, quiet
from mmconvnext.recipe.data_table import Split
from mmconvnext.recipe.preflight.measure import CPU, Measured
from mmconvnext.recipe.preflight.samples import Samples
from mmconvnext.recipe.preflight.state import State
from mmconvnext.recipe.schedule import Schedule

STATE = State(
    parameters=3_000_000, trained=2_000_000, weights=12_000_000, gradients=8_000_000, optimizer=1
)
SCHEDULE = Schedule(batch=2, per_epoch=60, epochs=30, iterations=1800, validations=3, checkpoints=3)


def test_long_lines_are_wrapped_behind_their_label(capsys):
    report = Report('a.py')
    report.tell('a note')
    report.tell('words ' * 40 + '\n  an indented line', logging.WARNING)
    report.tell('a note')
    report.end()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == 'note      a note'
    assert lines[1].startswith('warning   words words') and lines[2].startswith(' ' * 10 + 'words')
    assert '            an indented line' in lines
    assert max(map(len, lines)) <= 100
    assert lines[-1] == 'verdict   it can train; read the warning above (1)'


@pytest.mark.parametrize(
    ('measured', 'lines'),
    [
        (
            Measured(3, CPU, 0.1, 0.9, 0.9, 861_000_000),
            [
                'memory    861 MB of the process at its peak; of these weights 12 MB, gradients '
                '8 MB, optimizer 0 MB',
                'time      1.00 s an iteration on this CPU (3 steps measured), 30 min of training',
                '          + 3 validations of 60 s = 33 min',
            ],
        ),
        (
            Measured(1, CPU, 0.1, 0.9, 0.25, 861_000_000),
            ['          other programs run here too: alone, a step takes 0.25 s or less'],
        ),
        (
            Measured(1, 'NVIDIA H100', 0.0, 0.5, 0.1, 2_000_000_000),
            ['time      0.50 s an iteration on NVIDIA H100 (1 step measured), 15 min of training'],
        ),
    ],
)
def test_estimates(capsys, measured, lines):
    report = Report('a.py')
    report.show_estimates(measured, 0, 60.0, SCHEDULE, STATE)
    said = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line not in said] == []
    assert ('of the GPU' in said[0]) is (measured.device != CPU)
    assert report.facts['estimates']['seconds_per_validation'] == 60.0


@pytest.mark.parametrize(
    ('found', 'text'),
    [
        (dict(read=8, listed=27, objects=20, emptied=2), 'train: 8 read in 0.50 s, 20 of 27 objects'
         ' usable, 2 left without an object'),
        (dict(read=8, objects=900, emptied=1), 'train: 8 read in 0.50 s, 7 with labels'),
        (dict(read=8), 'train: 8 read in 0.50 s'),
        (dict(read=8, discarded=dict(Crop=3)), 'train: 8 read in 0.50 s, 3 discarded by Crop and '
         'read again'),
    ],
)  # fmt: skip
def test_samples(capsys, found, text):
    report = Report('a.py')
    report.show_samples([Samples('train_dataloader', seconds=0.5, **found)])
    assert capsys.readouterr().out == f'samples   {text}\n'
    json.dumps(report.facts, allow_nan=False)


def test_the_table_is_shown_once(capsys):
    from mmconvnext.recipe.data_table import format_table

    report = Report('a.py')
    report.table += [Split('train', 'a.json', 5, 4, 20, 18, classes=dict(cat=18))]
    report.tell(format_table(report.table))
    report.end(error='no')
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ['data', 'images'] and '18 of 20' in lines[1]
    assert lines[3:] == ['verdict   refused: tools/train.py would not start']
    assert report.notes == []


def test_json_is_all_there_is(capsys):
    report = Report('a.py', as_json=True)
    report.row('model', 'x')
    report.show_schedule(Config({}), SCHEDULE)
    report.tell('Gr\u00f6\u00dfe')
    report.end()
    facts = json.loads(capsys.readouterr().out)
    assert facts['verdict'] == 'sound' and facts['notes'] == ['Gr\u00f6\u00dfe']
    assert facts['schedule']['iterations'] == 1800


def test_only_warnings_of_ours_are_heard(capsys):
    logger, told = MMLogger.get_current_instance(), []

    def warn(file):
        record = logger.makeRecord('x', logging.WARNING, file, 1, f'from {file}', (), None)
        logger.handle(record)

    import mmconvnext.optim.layer_decay as ours

    handlers = list(logger.handlers)
    with quiet(lambda *line: told.append(line)):
        print('of pycocotools')
        logger.info('no warning')
        warn(ours.__file__)
        warn(logging.__file__)
    assert told == [(f'from {ours.__file__}', logging.WARNING)]
    with pytest.raises(ZeroDivisionError), quiet(lambda *line: told.append(line), everyone=True):
        warn(logging.__file__)
        raise ZeroDivisionError
    assert len(told) == 2 and logger.handlers == handlers
    assert capsys.readouterr().out == ''
