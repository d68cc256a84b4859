# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/options/first_steps.py: the flags of the demo and of the look at the environment."""

import pytest

from mmconvnext.cli import options


@pytest.mark.parametrize(
    ('tool', 'argv', 'expected'),
    [
        ('demo', '', dict(task='instance')),
        ('demo', '--task semantic', dict(task='semantic')),
        ('doctor', '', dict(json=False)),
        ('doctor', '--json', dict(json=True)),
    ],
)
def test_options(tool, argv, expected):
    assert vars(options.PARSERS[tool]().parse_args(argv.split())) == expected


@pytest.mark.parametrize(
    ('tool', 'argv', 'message'),
    [
        ('demo', 'a.py', 'unrecognized arguments: a.py'),
        ('demo', '--task panoptic', "invalid choice: 'panoptic'"),
        ('doctor', '--yaml', 'unrecognized arguments: --yaml'),
    ],
)
def test_wrong_options(tool, argv, message, capsys):
    with pytest.raises(SystemExit, match='^2$'):
        options.PARSERS[tool]().parse_args(argv.split())
    assert message in capsys.readouterr().err
