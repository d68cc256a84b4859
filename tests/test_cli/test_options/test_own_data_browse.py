# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/options/own_data.py: defaults, and numbers that are none."""

import pytest

from mmconvnext.cli import options


def test_browse_defaults_and_flags():
    args = vars(options.browse_parser().parse_args(['a.py', '--out', 'o']))
    assert args == dict(
        config='a.py',
        out='o',
        split='train',
        num=24,
        augmented=1,
        seed=0,
        toy=False,
        cfg_options=None,
        config_only_data=False,
    )
    flags = 'a.py --out o --split val --num 0 --augmented 3 --seed 7 --toy --cfg-options a=1'
    args = options.browse_parser().parse_args(flags.split())
    assert (args.split, args.num, args.augmented, args.seed) == ('val', 0, 3, 7)
    assert args.toy and args.cfg_options == ['a=1']


@pytest.mark.parametrize('argv', ['a.py', 'a.py --out o --num -1', 'a.py --out o --seed x'])
def test_what_is_refused(argv, capsys):
    with pytest.raises(SystemExit):
        options.browse_parser().parse_args(argv.split())
    err = capsys.readouterr().err
    assert 'is no whole number, such as 0 or 24' in err or '--out' in err
