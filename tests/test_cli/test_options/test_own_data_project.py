# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/options/own_data.py: options of the tool that writes a config."""

import pytest

from mmconvnext.cli import options
from mmconvnext.cli.options.own_data import SIZES
from mmconvnext.project.choices import WEIGHTS


def test_defaults_and_flags():
    assert vars(options.project_parser().parse_args(['data'])) == dict(
        data='data',
        task=None,
        size=None,
        device=None,
        pretrained=False,
        random=False,
        out=None,
        images=None,
        annotations=None,
        classes=None,
    )
    flags = 'd --task det --size nano --device gpu --random --annotations a b --images c'
    args = options.project_parser().parse_args(flags.split())
    assert (args.annotations, args.images, args.random) == (['a', 'b'], ['c'], True)


def test_sizes_are_those_with_weights():
    assert tuple(WEIGHTS) == SIZES


def test_weights_are_one_or_the_other(capsys):
    with pytest.raises(SystemExit):
        options.project_parser().parse_args(['d', '--random', '--pretrained'])
    assert 'not allowed with' in capsys.readouterr().err
