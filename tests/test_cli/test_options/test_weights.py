# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/options/weights.py: the flags of the tools for weights and for other packages' configs."""

import pytest

from mmconvnext.checkpoint import convert
from mmconvnext.cli import options

NO_CONVERSION = dict(
    source='a.pth',
    destination='b.pth',
    to='timm',
    backbone_only=False,
    drop_optimizer=False,
    publish=False,
    drop_norms=False,
    prefix=None,
    envelope=None,
)
NO_MIGRATION, NO_LIST = dict(config='a.py', out=None, bases=[]), dict(pattern='', urls=False)


@pytest.mark.parametrize(
    ('tool', 'argv', 'expected'),
    [
        ('convert', 'a.pth b.pth --to timm', NO_CONVERSION),
        ('migrate', 'a.py', NO_MIGRATION),
        ('migrate', 'a.py -o b.py', dict(NO_MIGRATION, out='b.py')),
        ('migrate', 'a.py --out b.py', dict(NO_MIGRATION, out='b.py')),
        ('migrate', 'a.py --bases c d', dict(NO_MIGRATION, bases=['c', 'd'])),
        ('list_weights', '', NO_LIST),
        ('list_weights', 'v2', dict(NO_LIST, pattern='v2')),
        ('list_weights', '--urls', dict(NO_LIST, urls=True)),
    ]
    + [
        ('convert', f'a.pth b.pth --to timm --{name.replace("_", "-")}{value}', change)
        for name, value, change in [
            *((n, '', {**NO_CONVERSION, n: True}) for n in list(NO_CONVERSION)[3:7]),
            *((n, ' x', {**NO_CONVERSION, n: 'x'}) for n in ('prefix', 'envelope')),
        ]
    ],
)
def test_options_of_the_other_tools(tool, argv, expected):
    assert vars(options.PARSERS[tool]().parse_args(argv.split())) == expected


@pytest.mark.parametrize(
    ('tool', 'argv', 'message'),
    [
        ('convert', 'a.pth b.pth', 'required: --to'),
        ('convert', 'a.pth b.pth --to onnx', "invalid choice: 'onnx'"),
        ('convert', 'a.pth --to timm', 'required: destination'),
        ('migrate', '', 'required: config'),
        ('migrate', 'a.py --bases', 'expected at least one argument'),
    ],
)
def test_wrong_arguments_of_the_other_tools(tool, argv, message, capsys):
    with pytest.raises(SystemExit, match='^2$'):
        options.PARSERS[tool]().parse_args(argv.split())
    assert message in capsys.readouterr().err


def test_formats_of_convert_checkpoint_are_those_that_can_be_written():
    assert options.TARGETS == convert.TARGETS
