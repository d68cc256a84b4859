# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/options/any_order.py: paths stand before, between and after options."""

import pytest

from mmconvnext.cli import options


@pytest.mark.parametrize('text', ['a.py x.pth --out o', 'a.py --out o x.pth', '--out o a.py x.pth'])
def test_an_optional_path(text):
    args = options.analyze_parser().parse_args(text.split())
    assert (args.config, args.checkpoint, args.out) == ('a.py', 'x.pth', 'o')


@pytest.mark.parametrize('text', ['run a b --out o', 'run --out o a b', 'run a --out o b'])
def test_repeated_paths(text):
    args = options.predict_parser().parse_args([*text.split(), '--json'])
    assert (args.paths, args.out, args.json) == (['run', 'a', 'b'], 'o', True)


def test_paths_after_a_picture_of_runs():
    args = options.plot_parser().parse_args('a --out o.png b'.split())
    assert (args.runs, args.out) == (['a', 'b'], 'o.png')


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('a.py x.pth', 'arguments are required: --out'),
        ('--out o', 'arguments are required: config'),
        ('a.py --out o x.pth y.pth', 'unrecognized arguments: y.pth'),
    ],
)
def test_what_is_missing_or_too_much(text, message, capsys):
    with pytest.raises(SystemExit) as end:
        options.analyze_parser().parse_args(text.split())
    assert end.value.code == 2 and message in capsys.readouterr().err
