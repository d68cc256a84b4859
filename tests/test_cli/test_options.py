# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/options.py: the flags are those of mmdet's and mmseg's own tools."""

import argparse

import pytest
from mmengine.config import DictAction

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
    'text, value',
    [
        ('a b', 'a b'),
        ('/my data/set (1)', '/my data/set (1)'),
        ('"a b"', 'a b'),
        ("' a b '", ' a b '),
        (' 1 ', 1),
        (' True', True),
        ('[traffic light, stop sign]', ['traffic light', 'stop sign']),
        ('["traffic light", "dog"]', ['traffic light', 'dog']),
        ('a b , c', ['a b', 'c']),
        ('[ (1, 2), ( 3 ,4 ), [a b] ]', [(1, 2), (3, 4), ['a b']]),
        ('[set (1), b]', ['set (1)', 'b']),
        ('( [ 1 ] )', ([1],)),
    ],
)
def test_spaces_of_names_stay_and_those_between_are_dropped(text, value):
    args = options.train_parser().parse_args(['a.py', '--cfg-options', f'k={text}', 'l=2'])
    assert args.cfg_options == {'k': value, 'l': 2}


@pytest.mark.parametrize(
    'text', ['1', '0.5', '1e-3', 'true', 'None', '', 'a=b', '1,2', '[1,[2,(3,4)],x]', '(1,)', '[]']
)
def test_values_without_spaces_are_as_in_mmengine(text):
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    theirs = parser.parse_args(['--cfg-options', f'k={text}']).cfg_options
    argv = ['a.py', '--cfg-options', f'k={text}']
    assert options.train_parser().parse_args(argv).cfg_options == theirs


def test_pairs_of_several_options_are_kept():
    argv = ['a.py', '--cfg-options', 'a=b c', '--cfg-options', 'd=1']
    assert options.train_parser().parse_args(argv).cfg_options == {'a': 'b c', 'd': 1}
