# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/options/runs.py: the options of training, and how thorough the check is."""

import pytest

from mmconvnext.cli import options


def test_defaults():
    args = vars(options.check_parser().parse_args(['a.py']))
    train = vars(options.train_parser().parse_args(['a.py']))
    assert args == {**train, 'json': False, 'strict': False, 'samples': 8, 'steps': 5}


def test_flags():
    flags = 'a.py --json --strict --samples 3 --steps 0 --toy --amp --cfg-options a=1'
    args = options.check_parser().parse_args(flags.split())
    assert (args.json, args.strict, args.samples, args.steps) == (True, True, 3, 0)
    assert (args.toy, args.amp, args.cfg_options) == (True, True, ['a=1'])


@pytest.mark.parametrize(
    ('flag', 'value', 'least'),
    [('--samples', '0', 1), ('--samples', 'all', 1), ('--steps', '-1', 0), ('--steps', '1.5', 0)],
)
def test_wrong_numbers(capsys, flag, value, least):
    with pytest.raises(SystemExit, match='^2$'):
        options.check_parser().parse_args(['a.py', f'{flag}={value}'])
    said = ' '.join(capsys.readouterr().err.split())
    assert f"argument {flag}: '{value}' is no whole number from {least} on" in said
