# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/options.py: the flags are those of mmdet's and mmseg's own tools."""

import pytest

from mmconvnext.checkpoint import convert
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
        ('demo', '', {}),
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
        ('demo', 'a.py', 'unrecognized arguments: a.py'),
    ],
)
def test_wrong_arguments_of_the_other_tools(tool, argv, message, capsys):
    with pytest.raises(SystemExit, match='^2$'):
        options.PARSERS[tool]().parse_args(argv.split())
    assert message in capsys.readouterr().err


@pytest.mark.parametrize('tool', ['train', 'test'])
@pytest.mark.parametrize('launcher', ['none', 'pytorch', 'slurm', 'mpi'])
def test_launchers(tool, launcher):
    argv = ['a.py', 'x.pth'][: 1 + (tool == 'test')]
    args = options.PARSERS[tool]().parse_args([*argv, '--launcher', launcher])
    assert (args.launcher, args.local_rank) == (launcher, 0)


def test_test_flags_of_both_tools():
    argv = 'a.py x.pth --toy --lenient --work-dir w --cfg-options a=1'.split()
    args = options.test_parser().parse_args(argv)
    assert (args.toy, args.lenient, args.work_dir, args.cfg_options) == (True, True, 'w', ['a=1'])


def test_cfg_options_are_pairs_and_several_options_add_up():
    argv = ['a.py', '--cfg-options', 'a=b c', 'd=[1, 2]', '--amp', '--cfg-options', 'e=']
    assert options.train_parser().parse_args(argv).cfg_options == ['a=b c', 'd=[1, 2]', 'e=']


@pytest.mark.parametrize('flag', ['--local_rank', '--local-rank'])
def test_the_old_launcher_may_pass_its_rank(flag):
    assert options.train_parser().parse_args(['a.py', flag, '3']).local_rank == 3


@pytest.mark.parametrize(
    'argv, message',
    [
        ([], 'the following arguments are required: config'),
        (['a.py', '--launcher', 'ray'], "invalid choice: 'ray'"),
        (['a.py', '--validate'], 'unrecognized arguments: --validate'),
        (['a.py', '--cfg-options', 'a'], "argument --cfg-options: 'a' is not KEY=VALUE, such as"),
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


def test_formats_of_convert_checkpoint_are_those_that_can_be_written():
    assert options.TARGETS == convert.TARGETS


@pytest.mark.parametrize('tool', options.PARSERS)
def test_every_option_has_a_help_text(tool):
    parser = options.PARSERS[tool]()
    assert parser.description
    for action in parser._actions:
        assert action.help, action.dest
