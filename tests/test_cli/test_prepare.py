# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/prepare.py: options become a config in one order; mistakes end with status 2, one message."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest
from fixtures import MASK_RCNN, NUCLEI, ROOT, UPERNET
from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from mmconvnext.cli import prepare
from mmconvnext.cli.options import train_parser
from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.walk import LOADERS


def read(*argv):
    return prepare.read_config(train_parser().parse_args(list(argv)))


def test_a_plain_config_only_gets_work_dir_and_launcher(load):
    cfg = read(MASK_RCNN, '--launcher', 'slurm')
    assert cfg.work_dir == f'work_dirs/{Path(MASK_RCNN).stem}'
    assert cfg.launcher == 'slurm'
    expected = load(MASK_RCNN)
    expected.update(work_dir=cfg.work_dir, launcher='slurm')
    assert cfg.to_dict() == expected.to_dict()


def test_work_dir_of_the_option_before_the_config_before_the_default(tmp_path):
    config = tmp_path / 'mine.py'
    config.write_text(f'_base_ = {UPERNET!r}\nwork_dir = "from_config"\n')
    assert read(str(config)).work_dir == 'from_config'
    assert read(str(config), '--work-dir', 'given').work_dir == 'given'


def test_a_rehearsal_has_a_folder_of_its_own(toy_data):
    assert read(UPERNET, '--toy').work_dir == f'work_dirs/{Path(UPERNET).stem}_toy'


def test_own_data_are_expanded_and_options_reach_into_them():
    cfg = read(NUCLEI, '--cfg-options', 'own_data.root=elsewhere', 'own_data.classes=[a,b,c]')
    for loader in LOADERS:
        assert cfg[loader].dataset.data_root == 'elsewhere'
        assert cfg[loader].dataset.metainfo.classes == ('a', 'b', 'c')
    assert cfg.val_evaluator.ann_file == 'elsewhere/annotations/instances_val.json'
    assert cfg.model.roi_head.bbox_head.num_classes == 3


def test_without_options_it_is_what_everybody_reads(log_records):
    cfg = read(NUCLEI)
    expected = Config.fromfile(NUCLEI)
    expected.update(work_dir=cfg.work_dir, launcher='none')
    assert cfg.to_dict() == expected.to_dict()
    assert not any('own_data' in r.getMessage() for r in log_records)


def test_the_written_config_can_be_run_again(tmp_path, log_records):
    cfg = read(NUCLEI, '--cfg-options', 'own_data.root=elsewhere')
    file = tmp_path / 'dumped.py'
    cfg.dump(file)
    assert Config.fromfile(file).to_dict() == cfg.to_dict()
    assert read(str(file)).to_dict() == cfg.to_dict()
    # What somebody edits there stays, as long as own_data itself stays.
    file.write_text(file.read_text() + "\nval_evaluator['ann_file'] = 'edited.json'\n")
    assert read(str(file)).val_evaluator.ann_file == 'edited.json'
    again = read(str(file), '--cfg-options', 'own_data.root=moved')
    assert again.val_evaluator.ann_file == 'moved/annotations/instances_val.json'
    assert not any('own_data' in r.getMessage() for r in log_records)


def test_an_old_config_is_applied_and_told_the_line(tmp_path, coco_data, log_records):
    config = tmp_path / 'mine.py'
    config.write_text(f'_base_ = {MASK_RCNN!r}\nown_data = {coco_data}\n')
    old = read(str(config))
    (warning,) = [r.getMessage() for r in log_records if r.levelno == logging.WARNING]
    line = "__import__('mmconvnext').use_own_data(locals())"
    assert warning.startswith(f'own_data of {config} reaches these tools alone')
    assert warning.endswith(f'make this the last line of the file: {line}')
    config.write_text(f'{config.read_text()}{line}\n')
    new = read(str(config))
    assert new.to_dict() == old.to_dict()
    assert new.model.roi_head.bbox_head.num_classes == 2
    assert len([r for r in log_records if r.levelno == logging.WARNING]) == 1


def test_spaces_of_folders_and_classes_stay():
    cfg = read(NUCLEI, '--cfg-options', 'own_data.root=my data', 'own_data.classes=[big cell, b]')
    assert cfg.train_dataloader.dataset.data_root == 'my data'
    assert cfg.train_dataloader.dataset.metainfo.classes == ('big cell', 'b')


def test_options_have_the_last_word_over_toy(toy_data):
    cfg = read(
        MASK_RCNN,
        '--toy',
        '--cfg-options',
        'train_dataloader.batch_size=3',
        'model.backbone.arch=nano',
        'optim_wrapper.optimizer.lr=7',
        'param_scheduler.1.milestones=[5]',
    )
    assert cfg.train_dataloader.batch_size == 3
    assert cfg.model.backbone.arch == 'nano'
    assert cfg.optim_wrapper.optimizer.lr == 7
    assert cfg.param_scheduler[1].milestones == [5]


@pytest.mark.parametrize(
    ('config', 'option', 'end', 'steps'),
    [
        (UPERNET, 'train_cfg.max_iters=100', 1600, None),
        (MASK_RCNN, 'train_cfg.max_epochs=2', 7, [5, 6]),
    ],
    ids=['iterations', 'epochs'],
)
def test_a_length_of_ones_own_does_not_stretch_the_toy_schedule(
    toy_data, config, option, end, steps
):
    scheduler = read(config, '--toy', '--cfg-options', option).param_scheduler[1]
    assert scheduler.end == end
    assert scheduler.get('milestones') == steps


def test_wrong_own_data_and_unknown_config_raise():
    with pytest.raises(RecipeError, match=r"own_data has unknown keys \['roots'\]"):
        read(NUCLEI, '--cfg-options', 'own_data.roots=x')
    with pytest.raises(RecipeError, match='there is no config'):
        read('configs/mask_rcnn/nothing.py')


def test_checks_raise_or_warn(load, coco_data, log_records):
    from mmconvnext.recipe.own_data import apply_own_data

    cfg = load(MASK_RCNN)
    cfg.own_data = coco_data
    apply_own_data(cfg)
    cfg.optim_wrapper.pop('constructor')
    cfg.checks = dict(unread_options=False)
    prepare.checked(cfg, LOADERS)
    warnings = [r.getMessage() for r in log_records if r.levelno == logging.WARNING]
    assert any('DefaultOptimWrapperConstructor ignores' in line for line in warnings)
    assert any("no object of ['dog'] in " in line for line in warnings)
    cfg.train_dataloader.dataset.ann_file = 'gone.json'
    with pytest.raises(RecipeError, match='gone.json does not exist'):
        prepare.checked(cfg, LOADERS)
    prepare.checked(cfg, LOADERS[2:])


def test_an_option_lets_one_refusal_pass(coco_data, tmp_path, log_records):
    coco_data['classes'].reverse()
    config = tmp_path / 'mine.py'
    config.write_text(f'_base_ = {MASK_RCNN!r}\nown_data = {coco_data}\n')
    with pytest.raises(RecipeError, match=r'\(checks\.class_order=False in the config'):
        prepare.checked(read(str(config)), LOADERS)
    prepare.checked(read(str(config), '--cfg-options', 'checks.class_order=False'), LOADERS)
    assert any('passed by checks.class_order=False' in r.getMessage() for r in log_records)
    with pytest.raises(RecipeError, match='must hold True or False for some of channels'):
        prepare.checked(read(str(config), '--cfg-options', 'checks.order=False'), LOADERS)


@pytest.mark.parametrize('variable', ['RANK', 'SLURM_PROCID'])
def test_only_the_first_process_speaks(capsys, monkeypatch, variable):
    for name in ('RANK', 'SLURM_PROCID'):
        monkeypatch.delenv(name, raising=False)
    prepare.say('from the only one')
    monkeypatch.setenv(variable, '0')
    prepare.say('from the first')
    monkeypatch.setenv(variable, '1')
    prepare.say('from the second')
    prepare.say('from the second', logging.WARNING)
    out = capsys.readouterr()
    assert out.out.splitlines() == ['from the only one', 'from the first']
    assert 'second' not in out.err


def test_world_size(monkeypatch):
    for name in ('WORLD_SIZE', 'SLURM_NTASKS'):
        monkeypatch.delenv(name, raising=False)
    assert prepare.world_size() == 1
    monkeypatch.setenv('SLURM_NTASKS', '16')
    assert prepare.world_size() == 16
    monkeypatch.setenv('WORLD_SIZE', '8')
    assert prepare.world_size() == 8


def test_run_shows_a_recipe_error_as_one_message(capsys):
    def fails():
        raise RecipeError('the way out')

    with pytest.raises(SystemExit, match='^2$'):
        prepare.run(fails)
    assert capsys.readouterr().err == 'error: the way out\n'


def test_run_hides_no_other_error():
    def fails():
        raise ValueError('a bug')

    with pytest.raises(ValueError, match='a bug'):
        prepare.run(fails)
    assert prepare.run(lambda: None) is None


@pytest.mark.parametrize('tool, more', [('train.py', ()), ('test.py', ('x.pth',))])
def test_tools_run_from_another_folder_and_end_without_a_traceback(tmp_path, tool, more):
    (tmp_path / 'mine.py').write_text(f'_base_ = {MASK_RCNN!r}\n')
    # An error that is only seen after imports, base configs and checks have worked.
    options = ('--cfg-options', 'model.neck.in_channels=[1,2,3,4]')
    (tmp_path / 'x.pth').touch()
    done = subprocess.run(
        [sys.executable, str(ROOT / 'tools' / tool), 'mine.py', *more, *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert 'error: model.neck.in_channels=[1, 2, 3, 4], but model.backbone' in done.stderr
    assert 'Traceback' not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ['mine.py', 'x.pth']


# The runner


@RUNNERS.register_module()
class LoudRunner(Runner):
    """A user's own, of the same kind."""


@pytest.mark.parametrize('name', ['LoudRunner', 'mmengine.LoudRunner', LoudRunner], ids=str)
def test_a_runner_of_the_same_kind_is_taken(name, monkeypatch):
    cfg = Config(dict(runner_type=name, default_scope='mmdet'))
    monkeypatch.setattr(LoudRunner, 'from_cfg', classmethod(lambda kind, cfg: (kind, cfg)))
    assert prepare.build_runner(cfg) == (LoudRunner, cfg)


@pytest.mark.parametrize('name', [None, 'Runner', 'mmengine.Runner'])
def test_mmengines_runner_is_the_default(name, monkeypatch):
    monkeypatch.setattr(Runner, 'from_cfg', classmethod(lambda kind, cfg: kind))
    assert prepare.build_runner(Config(dict(runner_type=name))) is Runner
    assert prepare.build_runner(Config()) is Runner


@pytest.mark.parametrize('name', ['FlexibleRunner', 'mmengine.FlexibleRunner', 'NoSuchRunner'])
def test_a_runner_of_another_kind_is_refused_by_name(name):
    with pytest.raises(RecipeError, match=rf"^runner_type='{name}': .*take the line out"):
        prepare.build_runner(Config(dict(runner_type=name)))
