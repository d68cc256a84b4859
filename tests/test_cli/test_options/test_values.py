# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/options/values.py: empty paths and names of classes are refused."""

import argparse

import pytest

from mmconvnext.cli.options import PARSERS
from mmconvnext.cli.options.values import name, path


def test_values():
    assert path(' a b') == ' a b' and path('.') == '.'
    assert name(' a b ') == 'a b'
    for text in ('', '  '):
        with pytest.raises(argparse.ArgumentTypeError, match='is no path; is a variable of the'):
            path(text)
        with pytest.raises(argparse.ArgumentTypeError, match='is no name of a class'):
            name(text)


@pytest.mark.parametrize(
    ('tool', 'argv'),
    [
        ('prepare_data', ['', 'b']),
        ('prepare_data', ['a', '']),
        ('prepare_data', ['--check-coco', '']),
        ('prepare_data', ['--check-ade', 'a', '--lay-out', '']),
        ('new_project', ['']),
        ('new_project', ['a', '--out', '']),
        ('new_project', ['a', '--images', 'b', '']),
        ('new_project', ['a', '--annotations', '']),
        ('browse_dataset', ['', '--out', 'b']),
        ('browse_dataset', ['a', '--out', '']),
        ('check_config', ['']),
        ('check_config', ['a', '--work-dir', '']),
        ('train', ['']),
        ('test', ['', 'b']),
    ],
)
def test_tools_take_no_empty_path(tool, argv, capsys):
    with pytest.raises(SystemExit):
        PARSERS[tool]().parse_args(argv)
    assert "'' is no path" in capsys.readouterr().err


@pytest.mark.parametrize(('tool', 'argv'), [('prepare_data', ['a', 'b']), ('new_project', ['a'])])
def test_names_of_classes(tool, argv, capsys):
    assert PARSERS[tool]().parse_args([*argv, '--classes', 'x ', 'y']).classes == ['x', 'y']
    with pytest.raises(SystemExit):
        PARSERS[tool]().parse_args([*argv, '--classes', 'x', ''])
    assert "'' is no name of a class" in capsys.readouterr().err
