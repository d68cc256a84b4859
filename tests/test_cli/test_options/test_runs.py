# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/options/runs.py: the flags are those of mmdet's and mmseg's own tools."""

import pytest

from mmconvnext.cli import options


def test_train_defaults():
    args = vars(options.train_parser().parse_args(['a.py']))
    args.pop('local_rank')
    assert args == dict(
        config='a.py',
        resume=None,
        save_minutes=30,
        on_bad_numbers=None,
        on_bad_data=None,
        amp=False,
        auto_scale_lr=False,
        tensorboard=False,
        wandb=None,
        work_dir=None,
        toy=False,
        lenient=False,
        cfg_options=None,
        config_only_data=False,
        launcher='none',
    )


@pytest.mark.parametrize('text', ['-1', 'nan', 'inf', 'x', ''])
def test_minutes_between_checkpoints(text, capsys):
    read = options.train_parser().parse_args
    for given, minutes in (('0', 0), ('0.5', 0.5), ('90', 90)):
        assert read(['a.py', '--save-minutes', given]).save_minutes == minutes
    with pytest.raises(SystemExit):
        read(['a.py', '--save-minutes', text])
    assert f'{text!r} is no number of minutes from 0 on' in capsys.readouterr().err


def test_what_to_do_with_bad_numbers(capsys):
    read = options.train_parser().parse_args
    for policy in ('stop', 'skip'):
        assert read(['a.py', '--on-bad-numbers', policy]).on_bad_numbers == policy
    with pytest.raises(SystemExit):
        read(['a.py', '--on-bad-numbers', 'ignore'])
    assert '(choose from' in capsys.readouterr().err


def test_repeat_options(capsys):
    read = options.repeat_parser().parse_args
    assert vars(read(['d.pth'])) == dict(dump='d.pth', config=None, config_only_data=False)
    assert read(['d.pth', '--config', 'a.py']).config == 'a.py'
    with pytest.raises(SystemExit):
        read([])
    assert 'required: dump' in capsys.readouterr().err


def test_bad_data(capsys):
    read = options.train_parser().parse_args
    for policy in ('stop', 'skip'):
        assert read(['a.py', '--on-bad-data', policy]).on_bad_data == policy
    with pytest.raises(SystemExit):
        read(['a.py', '--on-bad-data', 'ignore'])
    assert "invalid choice: 'ignore'" in capsys.readouterr().err


def test_soak_options(capsys):
    read = options.soak_parser().parse_args
    assert vars(read([])) == dict(out='work_dirs/soak', kills=50, seed=0)
    assert vars(read(['--out', 'x', '--kills', '3', '--seed', '0'])) == dict(
        out='x', kills=3, seed=0
    )
    with pytest.raises(SystemExit):
        read(['--kills', '0'])
    assert "'0' is no whole number from 1 on" in capsys.readouterr().err


def test_train_flags():
    flags = 'a.py --resume --amp --auto-scale-lr --toy --lenient --work-dir w --launcher pytorch'
    args = options.train_parser().parse_args(flags.split())
    assert (args.resume, args.amp, args.auto_scale_lr, args.toy) == ('auto', True, True, True)
    assert (args.work_dir, args.launcher, args.lenient) == ('w', 'pytorch', True)
    for value in ('x.pth', 'if-any'):
        assert options.train_parser().parse_args(['a.py', '--resume', value]).resume == value


def test_trackers():
    args = options.train_parser().parse_args(['a.py', '--tensorboard', '--wandb'])
    assert (args.tensorboard, args.wandb) == (True, 'mmconvnext')
    assert options.train_parser().parse_args(['a.py', '--wandb', 'mine']).wandb == 'mine'


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
        config_only_data=False,
        launcher='none',
    )
    args = options.test_parser().parse_args('a.py x.pth --out o.pkl --show-dir s --tta'.split())
    assert (args.out, args.show_dir, args.tta) == ('o.pkl', 's', True)


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


@pytest.mark.parametrize('tool', options.PARSERS)
def test_every_option_has_a_help_text(tool):
    parser = options.PARSERS[tool]()
    assert parser.description
    for action in parser._actions:
        assert action.help, action.dest


ARGUMENTS = dict(
    train=['a.py'],
    test=['a.py', 'x.pth'],
    check_config=['a.py'],
    predict=['a.py', 'x.pth', 'a.jpg', '--out', 'o'],
    analyze=['a.py', 'x.pth', '--out', 'o'],
    browse_dataset=['a.py', '--out', 'o'],
    get_flops=['a.py'],
    feature_maps=['a.py', 'x.pth', 'a.jpg', '--out', 'a.png'],
)


@pytest.mark.parametrize('tool', ARGUMENTS)
def test_a_config_may_be_read_as_data_only(tool):
    parse = options.PARSERS[tool]().parse_args
    assert parse(ARGUMENTS[tool]).config_only_data is False
    assert parse([*ARGUMENTS[tool], '--config-only-data']).config_only_data is True
