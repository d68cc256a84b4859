# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/options/own_data.py: options of prepare_data."""

import pytest

from mmconvnext.cli.options.own_data import prepare_parser
from mmconvnext.data.exports.prepare import Settings


def parse(*argv):
    return prepare_parser().parse_args([*map(str, argv)])


def test_defaults_are_those_of_the_settings():
    args = parse('a', 'b')
    assert Settings(*(getattr(args, name) for name in Settings._fields)) == Settings(classes=[])
    assert (str(args.source), str(args.out)) == ('a', 'b')


def test_values():
    args = parse('a', 'b', '--val', '0.3', '--group', '(.+)_', '--classes', 'x', 'y', '--copy')
    assert (args.val, args.group, args.classes, args.copy) == (0.3, '(.+)_', ['x', 'y'], True)
    assert parse('a', 'b', '--resplit').again and parse('--check-ade', 'x').source is None


@pytest.mark.parametrize(
    ('argv', 'message'),
    [
        (['a'], 'required: source, out'),
        (['a', 'b', '--val', '0'], "'0' is not between 0 and 1"),
        (['a', 'b', '--val', '1'], "'1' is not between 0 and 1"),
        (['a', 'b', '--val', 'x'], "'x' is not between 0 and 1"),
        (['a', 'b', '--group', '('], "'(' is no regular expression"),
        (['a', 'b', '--group', 'film'], "'film' has 0 groups"),
        (['a', 'b', '--group', '(a)(b)'], "'(a)(b)' has 2 groups"),
        (['a', 'b', '--link', '--copy'], 'not allowed with argument'),
        (['a', 'b', '--lay-out', 'c'], '--lay-out needs --check-coco or --check-ade'),
        (['--check-coco', 'a', '--check-ade', 'b'], 'give one of'),
        (['a', 'b', '--check-coco', 'c'], 'take no SOURCE'),
    ],
)
def test_wrong_options(argv, message, capsys):
    with pytest.raises(SystemExit):
        parse(*argv)
    assert message in capsys.readouterr().err
