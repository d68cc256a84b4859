# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/options/analysis.py: defaults, and what the options refuse."""

import pytest

from mmconvnext.cli import options


def test_defaults():
    args = vars(options.plot_parser().parse_args(['w']))
    assert args == dict(runs=['w'], out='run.png', keys=None, smooth=None)
    args = vars(options.flops_parser().parse_args([]))
    assert args == dict(
        config=None, shape=None, published=False, json=False, config_only_data=False
    )
    args = vars(options.maps_parser().parse_args(['a.py', 'b.pth', 'c.jpg', '--out', 'd.png']))
    assert args == dict(
        config='a.py',
        checkpoint='b.pth',
        image='c.jpg',
        out='d.png',
        stage=None,
        pca=False,
        channels=None,
        device=None,
        config_only_data=False,
    )


def test_flags():
    args = options.plot_parser().parse_args('a b --keys loss mAP --smooth 0 --out c.png'.split())
    assert (args.runs, args.keys, args.smooth, args.out) == (
        ['a', 'b'],
        ['loss', 'mAP'],
        0,
        'c.png',
    )
    args = options.flops_parser().parse_args('a.py --shape 800 1280 --json'.split())
    assert (args.config, args.shape, args.json) == ('a.py', [800, 1280], True)
    argv = 'a.py b.pth c.jpg --out d.png --stage 0 --channels'.split()
    args = options.maps_parser().parse_args(argv)
    assert (args.stage, args.channels) == (0, 16)
    assert options.maps_parser().parse_args([*argv, '5']).channels == 5


@pytest.mark.parametrize(
    ('tool', 'argv', 'message'),
    [
        ('plot_run', '', 'required: RUN'),
        ('plot_run', 'w --smooth 1', "'1' is not a number from 0 to below 1"),
        ('plot_run', 'w --smooth -0.1', "'-0.1' is not a number from 0 to below 1"),
        ('plot_run', 'w --smooth x', "'x' is not a number from 0 to below 1"),
        ('get_flops', 'a.py --shape 0', "'0' is not a whole number above 0"),
        ('get_flops', 'a.py --shape 8.5', "'8.5' is not a whole number above 0"),
        ('feature_maps', 'a.py b.pth c.jpg', 'required: --out'),
        ('feature_maps', 'a b c --out d --stage -1', "'-1' is not the number of a map"),
        ('feature_maps', 'a b c --out d --stage x', "'x' is not the number of a map"),
        ('feature_maps', 'a b c --out d --channels 0', "'0' is not a whole number above 0"),
        ('feature_maps', 'a b c --out d --pca --channels 4', 'not allowed with argument --pca'),
    ],
)
def test_wrong_arguments_end_with_status_2(capsys, tool, argv, message):
    with pytest.raises(SystemExit, match='^2$'):
        options.PARSERS[tool]().parse_args(argv.split())
    assert message in capsys.readouterr().err
