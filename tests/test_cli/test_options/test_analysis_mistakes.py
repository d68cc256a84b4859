# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/options/analysis.py: the options of the look at mistakes."""

import pytest

from mmconvnext.cli import options


def parse(text):
    return options.analyze_parser().parse_args(text.split())


def test_defaults():
    assert vars(parse('a.py x.pth --out o')) == dict(
        config='a.py',
        checkpoint='x.pth',
        out='o',
        split='val',
        worst=16,
        score=0.3,
        iou=0.5,
        toy=False,
        lenient=False,
        cfg_options=None,
        config_only_data=False,
    )


def test_the_folder_of_a_run_is_enough():
    args = parse('work_dirs/run --out o')
    assert (args.config, args.checkpoint) == ('work_dirs/run', None)


def test_flags():
    args = parse(
        'a.py x.pth --out o --split test --worst 0 --score 0.05 --iou 0.95 --toy --lenient'
    )
    assert (args.split, args.worst, args.score, args.iou) == ('test', 0, 0.05, 0.95)
    assert args.toy and args.lenient
    assert parse('a.py x.pth --out o --cfg-options a=1 b=2').cfg_options == ['a=1', 'b=2']


@pytest.mark.parametrize(
    ('argv', 'message'),
    [
        ('a.py x.pth', 'the following arguments are required: --out'),
        ('--out o', 'the following arguments are required: config'),
        ('a.py x.pth --out o --split train', "invalid choice: 'train'"),
        ('a.py x.pth --out o --worst -1', "--worst: '-1' is not a number of images: 0, 1, 2, ..."),
        ('a.py x.pth --out o --worst 1.5', "--worst: '1.5' is not a number of images"),
        ('a.py x.pth --out o --score 0', "--score: '0' is not between 0 and 1, such as 0.3"),
        ('a.py x.pth --out o --iou 1', "--iou: '1' is not between 0 and 1, such as 0.3"),
        ('a.py x.pth --out o --iou 50', "--iou: '50' is not between 0 and 1, such as 0.3"),
        ('a.py x.pth --out o --score nan', "--score: 'nan' is not between 0 and 1"),
        ('a.py x.pth --out o --score half', "--score: 'half' is not between 0 and 1"),
        ('a.py x.pth --out o --launcher pytorch', 'unrecognized arguments: --launcher'),
    ],
)
def test_wrong_arguments_end_with_status_2(capsys, argv, message):
    with pytest.raises(SystemExit, match='^2$'):
        parse(argv)
    assert message in capsys.readouterr().err
