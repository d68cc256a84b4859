# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/options.py: the flags are those of mmdet's and mmseg's own tools."""

import pytest

from mmconvnext.cli import options


def test_train_defaults():
    args = vars(options.train_parser().parse_args(['a.py']))
    args.pop('local_rank')
    assert args == dict(
        config='a.py',
        resume=None,
        amp=False,
        auto_scale_lr=False,
        work_dir=None,
        toy=False,
        lenient=False,
        cfg_options=None,
        launcher='none',
    )


def test_train_flags():
    flags = 'a.py --resume --amp --auto-scale-lr --toy --lenient --work-dir w --launcher pytorch'
    args = options.train_parser().parse_args(flags.split())
    assert (args.resume, args.amp, args.auto_scale_lr, args.toy) == ('auto', True, True, True)
    assert (args.work_dir, args.launcher, args.lenient) == ('w', 'pytorch', True)
    assert options.train_parser().parse_args(['a.py', '--resume', 'x.pth']).resume == 'x.pth'


def test_test_defaults_and_flags():
    args = vars(options.test_parser().parse_args(['a.py', 'x.pth']))
    args.pop('local_rank')
    assert args == dict(
        config='a.py',
        checkpoint='x.pth',
        out=None,
        show_dir=None,
        tta=False,
        work_dir=None,
        toy=False,
        lenient=False,
        cfg_options=None,
        launcher='none',
    )
    args = options.test_parser().parse_args('a.py x.pth --out o.pkl --show-dir s --tta'.split())
    assert (args.out, args.show_dir, args.tta) == ('o.pkl', 's', True)


def test_cfg_options_have_types():
    args = options.train_parser().parse_args(
        ['a.py', '--cfg-options', 'a.b=1', 'c=0.5', 'd=[1,2]', 'e=None', 'f=True', 'g=text']
    )
    assert args.cfg_options == {
        'a.b': 1,
        'c': 0.5,
        'd': [1, 2],
        'e': None,
        'f': True,
        'g': 'text',
    }


@pytest.mark.parametrize('flag', ['--local_rank', '--local-rank'])
def test_the_old_launcher_may_pass_its_rank(flag):
    assert options.train_parser().parse_args(['a.py', flag, '3']).local_rank == 3


@pytest.mark.parametrize(
    'argv, message',
    [
        ([], 'the following arguments are required: config'),
        (['a.py', '--launcher', 'ray'], "invalid choice: 'ray'"),
        (['a.py', '--validate'], 'unrecognized arguments: --validate'),
    ],
)
def test_wrong_arguments_end_with_status_2(capsys, argv, message):
    with pytest.raises(SystemExit, match='^2$'):
        options.train_parser().parse_args(argv)
    assert message in capsys.readouterr().err


def test_test_needs_a_checkpoint(capsys):
    with pytest.raises(SystemExit, match='^2$'):
        options.test_parser().parse_args(['a.py'])
    assert 'required: checkpoint' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('a b', 'a b'),
        ('"a b"', 'a b'),
        ('my (old) data', 'my (old) data'),
        ('[traffic light, car]', ['traffic light', 'car']),
        ('[\'traffic light\', "car"]', ['traffic light', 'car']),
        ('[(1, 2), (3, 4.5)]', [(1, 2), (3, 4.5)]),
        ('[ a , [b c , 1 ] ]', ['a', ['b c', 1]]),
        ('a b, 3', ['a b', 3]),
        ('1 2', '1 2'),
        (' 7 ', 7),
        ('None', None),
    ],
)
def test_cfg_options_keep_spaces_inside_of_values(text, value):
    args = options.train_parser().parse_args(['a.py', '--cfg-options', f'key={text}'])
    assert args.cfg_options == {'key': value}
