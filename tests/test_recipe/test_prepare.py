# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/prepare.py: a config and options become a config that runs, in the right order."""

import logging
from pathlib import Path

import pytest
import torch
from fixtures import MASK_RCNN, NUCLEI, UPERNET
from mmengine.config import Config

from mmconvnext.checkpoint.errors import CheckpointNotFound
from mmconvnext.recipe import prepare
from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.prepare import is_lenient, prepare_config, run_checks
from mmconvnext.recipe.walk import LOADERS


@pytest.fixture
def read(monkeypatch):
    """prepare_config, without checks of data and of sections that are not there."""
    monkeypatch.setattr(prepare, 'check_sections', lambda cfg, training: None)
    monkeypatch.setattr(prepare, 'check_recipe', lambda cfg, loaders, mend: [])
    monkeypatch.setattr(prepare, 'fit_to_machine', lambda cfg, world_size: [])
    return prepare_config


def test_a_plain_config_only_gets_work_dir_and_launcher(read, load):
    cfg = read(MASK_RCNN, launcher='slurm')
    assert cfg.work_dir == f'work_dirs/{Path(MASK_RCNN).stem}'
    assert cfg.launcher == 'slurm'
    expected = load(MASK_RCNN)
    expected.update(work_dir=cfg.work_dir, launcher='slurm')
    assert cfg.to_dict() == expected.to_dict()


def test_work_dir_of_the_option_before_the_config_before_the_default(read, tmp_path):
    config = tmp_path / 'my r\u00fcn.v2.py'
    config.write_text('model = dict()\n')
    assert read(str(config)).work_dir == 'work_dirs/my r\u00fcn.v2'
    assert read(str(config), training=False).work_dir == 'work_dirs/my r\u00fcn.v2/test'
    config.write_text('model = dict()\nwork_dir = "from_config"\n')
    for training, below in ((True, ''), (False, '/test')):
        assert read(str(config), training=training).work_dir == f'from_config{below}'
        assert read(str(config), work_dir='~/given', training=training).work_dir == '~/given'


def test_a_rehearsal_has_a_folder_of_its_own(read, toy_data):
    assert read(UPERNET, toy=True).work_dir == f'work_dirs/{Path(UPERNET).stem}_toy'


@pytest.mark.parametrize(('training', 'needs'), [(True, 'training'), (False, 'a test')])
def test_a_config_without_its_sections_is_refused_first(tmp_path, training, needs):
    config = tmp_path / 'little.py'
    config.write_text('model = dict(type="FCOS")\n')
    with pytest.raises(RecipeError, match=f'dataloader, .*, which {needs} needs'):
        prepare_config(str(config), training=training, toy=True)


def test_an_option_without_effect_that_may_pass_is_told_like_other_warnings(read, tmp_path):
    config, told = tmp_path / 'passes.py', []
    config.write_text('max_epochs = 3\nmodel = dict()\nchecks = dict(variables=False)\n')
    read(str(config), {'max_epochs': 5}, tell=lambda line, level=0: told.append((level, line)))
    ((level, line),) = told
    assert level == logging.WARNING and 'max_epochs=... has no effect' in line


def test_own_data_are_expanded_and_options_reach_into_them(read):
    options = {'own_data.root': 'elsewhere', 'own_data.classes': ['a', 'b', 'c']}
    cfg = read(NUCLEI, options)
    for loader in LOADERS:
        assert cfg[loader].dataset.data_root == 'elsewhere'
        assert cfg[loader].dataset.metainfo.classes == ('a', 'b', 'c')
    assert cfg.val_evaluator.ann_file == 'elsewhere/annotations/instances_val.json'
    assert cfg.model.roi_head.bbox_head.num_classes == 3


def test_without_options_it_is_what_everybody_reads(read, log_records):
    cfg = read(NUCLEI)
    expected = Config.fromfile(NUCLEI)
    expected.update(work_dir=cfg.work_dir, launcher='none')
    assert cfg.to_dict() == expected.to_dict()
    assert not any('own_data' in r.getMessage() for r in log_records)


def test_the_written_config_can_be_run_again(read, tmp_path, log_records):
    cfg = read(NUCLEI, {'own_data.root': 'elsewhere'})
    file = tmp_path / 'dumped.py'
    cfg.dump(file)
    assert Config.fromfile(file).to_dict() == cfg.to_dict()
    assert read(str(file)).to_dict() == cfg.to_dict()
    # Edits there stay, as long as own_data itself does not change.
    file.write_text(file.read_text() + "\nval_evaluator['ann_file'] = 'edited.json'\n")
    assert read(str(file)).val_evaluator.ann_file == 'edited.json'
    again = read(str(file), {'own_data.root': 'moved'})
    assert again.val_evaluator.ann_file == 'moved/annotations/instances_val.json'
    assert not any('own_data' in r.getMessage() for r in log_records)


def test_an_old_config_is_applied_and_told_the_line(read, tmp_path, coco_data, log_records):
    config = tmp_path / 'mine.py'
    config.write_text(f'_base_ = {MASK_RCNN!r}\nown_data = {coco_data}\n')
    old = read(str(config))
    (warning,) = [r.getMessage() for r in log_records if r.levelno == logging.WARNING]
    line = "__import__('mmconvnext').use_own_data(locals())"
    assert warning.startswith(f'only these tools apply own_data of {config}; init_detector and')
    assert warning.endswith(f'end the file with this line: {line}')
    config.write_text(f'{config.read_text()}{line}\n')
    new = read(str(config))
    assert new.to_dict() == old.to_dict()
    assert new.model.roi_head.bbox_head.num_classes == 2
    assert len([r for r in log_records if r.levelno == logging.WARNING]) == 1


def test_options_have_the_last_word_over_toy(read, toy_data):
    cfg = read(
        MASK_RCNN,
        {
            'train_dataloader.batch_size': 3,
            'model.backbone.arch': 'nano',
            'optim_wrapper.optimizer.lr': 7,
            'param_scheduler.1.milestones': [5],
        },
        toy=True,
    )
    assert cfg.train_dataloader.batch_size == 3
    assert cfg.model.backbone.arch == 'nano'
    assert cfg.optim_wrapper.optimizer.lr == 7
    assert cfg.param_scheduler[1].milestones == [5]


@pytest.mark.parametrize(
    ('config', 'option', 'end', 'steps'),
    [
        (UPERNET, {'train_cfg.max_iters': 100}, 1600, None),
        (MASK_RCNN, {'train_cfg.max_epochs': 2}, 7, [5, 6]),
    ],
    ids=['iterations', 'epochs'],
)
def test_a_length_of_ones_own_does_not_stretch_the_toy_schedule(
    read, toy_data, config, option, end, steps
):
    scheduler = read(config, option, toy=True).param_scheduler[1]
    assert scheduler.end == end
    assert scheduler.get('milestones') == steps


def test_wrong_own_data_and_unknown_config_raise(read):
    with pytest.raises(RecipeError, match=r"own_data has unknown keys \['roots'\]"):
        read(NUCLEI, {'own_data.roots': 'x'})
    with pytest.raises(RecipeError, match='there is no config'):
        read('configs/mask_rcnn/nothing.py')


def test_checks_raise_or_warn(load, coco_data, log_records):
    from mmconvnext.recipe.own_data import apply_own_data

    cfg = load(MASK_RCNN)
    cfg.own_data = coco_data
    apply_own_data(cfg)
    cfg.optim_wrapper.pop('constructor')
    cfg.checks = dict(unread_options=False)
    run_checks(cfg, LOADERS)
    warnings = [r.getMessage() for r in log_records if r.levelno == logging.WARNING]
    assert any('DefaultOptimWrapperConstructor ignores' in line for line in warnings)
    assert any("no object of ['dog'] in " in line for line in warnings)
    cfg.train_dataloader.dataset.ann_file = 'gone.json'
    with pytest.raises(RecipeError, match='gone.json does not exist'):
        run_checks(cfg, LOADERS)
    run_checks(cfg, LOADERS[2:])


def test_an_option_lets_one_refusal_pass(coco_data, tmp_path, log_records):
    coco_data['classes'][1] = 'cow'
    config = tmp_path / 'mine.py'
    config.write_text(f'_base_ = {MASK_RCNN!r}\nown_data = {coco_data}\n')
    with pytest.raises(RecipeError, match=r'\(checks\.missing_class=False in the config'):
        prepare_config(str(config))
    prepare_config(str(config), {'checks.missing_class': False})
    assert any('passed by checks.missing_class=False' in r.getMessage() for r in log_records)
    with pytest.raises(RecipeError, match='must hold True or False for some of channels'):
        prepare_config(str(config), {'checks.order': False})


def test_the_steps_have_one_order(monkeypatch):
    """Each step is called once; the options of own_data come before it, the others after it."""
    calls = []

    def record(name, result=None):
        return lambda *args, **_: calls.append(name) or result

    class Recorded(Config):
        def merge_from_dict(self, options, *args):
            calls.append(f'options {sorted(options)}')

    for name in ('check_sections', 'make_toy', 'apply_own_data', 'refuse_used'):
        monkeypatch.setattr(prepare, name, record(name))
    monkeypatch.setattr(prepare, 'load_config', record('load_config', Recorded()))
    monkeypatch.setattr(prepare, 'check_recipe', record('check_recipe', []))
    monkeypatch.setattr(prepare, 'fit_to_machine', record('fit_to_machine', []))
    prepare_config('c.py', {'a.b': 1, 'own_data.root': 'r'}, toy=True, edit=record('edit'))
    assert calls == [
        'load_config',
        'check_sections',
        "options ['own_data.root']",
        'make_toy',
        'apply_own_data',
        "options ['a.b']",
        'edit',
        'refuse_used',
        'check_recipe',
        'fit_to_machine',
    ]


@pytest.fixture
def small(tmp_path):
    """A config of which the steps need nothing."""
    file = tmp_path / 'small.py'
    file.write_text("model = dict(type='A')\nown_data_2 = dict(root='x')\n")
    return str(file)


@pytest.mark.parametrize('training', [True, False])
def test_a_test_needs_no_training_data_and_is_not_fitted_to_the_machine(
    small, monkeypatch, log_records, capsys, training
):
    def check(cfg, loaders, mend):
        seen.append((cfg.edited, loaders))
        return ['odd data']

    def fit(cfg, world_size):
        seen.append(world_size)
        return ['a small machine']

    seen = []
    monkeypatch.setattr(prepare, 'check_sections', lambda cfg, training: None)
    monkeypatch.setattr(prepare, 'check_recipe', check)
    monkeypatch.setattr(prepare, 'fit_to_machine', fit)
    for name in ('WORLD_SIZE', 'SLURM_NTASKS', 'OMPI_COMM_WORLD_SIZE', 'RANK', 'SLURM_PROCID'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('WORLD_SIZE', '6')
    edit = dict(edit=lambda cfg: cfg.update(edited=True))
    for launcher in ('none', 'pytorch'):
        prepare_config(small, training=training, launcher=launcher, **edit)
    loaders = ('train_dataloader', 'val_dataloader', 'test_dataloader')
    checked = (True, loaders if training else loaders[2:])
    assert seen == ([checked, 1, checked, 6] if training else [checked] * 2)
    assert [(r.levelno, r.getMessage()) for r in log_records] == [(30, 'odd data')] * 2
    assert capsys.readouterr().out.count('a small machine\n') == 2 * training


def test_only_own_data_itself_is_set_before_it_is_applied(read, small, log_records):
    cfg = read(small, {'own_data_2.root': 'y', 'x.own_data': 1})
    assert (cfg.own_data_2.root, cfg.x.own_data) == ('y', 1)
    assert 'own_data' not in cfg and log_records == []


@pytest.mark.parametrize('place', ['run', 'my other r\u00fcn'])
def test_what_a_run_resumes(read, small, tmp_path, monkeypatch, log_records, place):
    monkeypatch.chdir(tmp_path)
    assert {'resume', 'load_from'} & set(read(small, work_dir=place)) == set()
    Path(place).mkdir()
    for count in (1, 2):
        content = dict(meta=dict(iter=count, seed=10 + count), optimizer={})
        torch.save(content, Path(place, f'iter_{count}.pth'))
    Path(place, 'last_checkpoint').write_text(f'{place}/iter_1.pth')

    def resumed(resume, work_dir=place, **given):
        cfg = read(small, work_dir=work_dir, resume=resume, **given)
        return cfg.get('resume'), cfg.get('load_from')

    assert resumed('auto') == (True, f'{place}/iter_1.pth')
    assert read(small, work_dir=place, resume='auto').randomness.seed == 11
    given = read(small, {'randomness.seed': 0}, work_dir=place, resume='auto')
    assert given.randomness.seed == 0  # it is compared when the run begins
    named = read(small, work_dir=place, resume=f'{place}/iter_2.pth')
    assert named.randomness.seed == 12 and 'randomness' not in read(small, work_dir='new')
    assert log_records == []
    for path in (f'{place}/iter_2.pth', str(tmp_path / place / 'iter_2.pth')):
        assert resumed(path) == resumed(path, 'new') == (True, path)
    for resume, work_dir in ((None, place), ('other/iter_1.pth', place)):
        Path('other').mkdir(exist_ok=True)
        Path('other/iter_1.pth').touch()
        with pytest.raises(RecipeError, match=f'{place} holds another run'):
            resumed(resume, work_dir)
    assert resumed(None, training=False) == (None, None)  # a test overwrites nothing
    Path(place, 'last_checkpoint').unlink()
    assert resumed('auto')[1].startswith(place)
    (record,) = log_records
    assert record.levelno == logging.WARNING and 'resuming from the newest' in record.getMessage()
    with pytest.raises(RecipeError, match='new holds no run to continue'):
        resumed('auto', 'new')


def test_lenient_is_a_flag_or_a_setting(read, small):
    assert not is_lenient(read(small)) and 'lenient_loading' not in read(small)
    assert read(small, lenient=True).lenient_loading is True
    assert is_lenient(read(small, {'lenient_loading': True}))
    assert not is_lenient(read(small, {'lenient_loading': False}))
    with pytest.raises(RecipeError, match="lenient_loading='yes': choose True or False"):
        read(small, {'lenient_loading': 'yes'})


def checkpoint(file: Path) -> None:
    """A whole one, as far as anybody looks before it is loaded."""
    torch.save(dict(state_dict={}, optimizer={}, meta=dict(iter=9)), file)


def test_resume_if_there_is_anything(read, small, tmp_path, monkeypatch):
    """For jobs that are started again by the same command."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / 'run'
    folder.mkdir()
    cfg = read(small, work_dir='run', resume='if-any')
    assert {'resume', 'load_from'} & set(cfg) == set()
    (folder / 'best_AP_epoch_1.pth').touch()  # not where a run stops
    with pytest.raises(RecipeError, match='run holds another run'):
        read(small, work_dir='run', resume='if-any')
    checkpoint(folder / 'epoch_1.pth')
    (folder / 'last_checkpoint').write_text('run/epoch_1.pth')
    cfg = read(small, work_dir='run', resume='if-any')
    assert (cfg.resume, cfg.load_from) == (True, 'run/epoch_1.pth')


def test_a_run_that_saves_elsewhere_goes_on(read, small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'out/run').mkdir(parents=True)
    checkpoint(tmp_path / 'out/run/epoch_1.pth')
    out = {'default_hooks.checkpoint.out_dir': 'out'}
    with pytest.raises(RecipeError, match=r'run holds another run \(epoch_1\.pth\)'):
        read(small, out, work_dir='run')
    for resume in ('if-any', 'auto', 'out/run/epoch_1.pth'):
        cfg = read(small, out, work_dir='run', resume=resume)
        assert (cfg.resume, cfg.load_from) == (True, 'out/run/epoch_1.pth')


def test_mmengines_own_way_to_resume(read, small, tmp_path, monkeypatch):
    """resume=True, with load_from or without: the same checkpoint, checked, and its seed."""
    monkeypatch.chdir(tmp_path)
    cfg = read(small, {'resume': True}, work_dir='run')
    assert (cfg.resume, cfg.get('load_from')) == (False, None)
    for name, count in (('run', 5), ('other', 7)):
        Path(name).mkdir()
        content = dict(meta=dict(iter=count, seed=10 + count), optimizer={})
        torch.save(content, Path(name, 'epoch_1.pth'))
    cfg = read(small, {'resume': True}, work_dir='run')
    assert (cfg.resume, cfg.load_from, cfg.randomness.seed) == (True, 'run/epoch_1.pth', 15)
    named = {'resume': True, 'load_from': 'other/epoch_1.pth'}
    cfg = read(small, named, work_dir='new')
    assert (cfg.resume, cfg.load_from, cfg.randomness.seed) == (True, 'other/epoch_1.pth', 17)
    with pytest.raises(RecipeError, match='run holds another run'):
        read(small, named, work_dir='run')
    with pytest.raises(RecipeError, match='run holds another run'):
        read(small, {'resume': False}, work_dir='run')


@pytest.mark.parametrize('resume', [None, 'auto', 'if-any', 'other/epoch_9.pth'])
def test_a_run_that_is_started_again_goes_on(read, small, tmp_path, monkeypatch, resume):
    """From what it saved itself since tools/dist_train.sh began; never from another run."""
    monkeypatch.chdir(tmp_path)
    for name in ('run', 'other'):
        Path(name).mkdir()
        checkpoint(Path(name, 'epoch_9.pth'))
    Path('run/last_checkpoint').write_text('run/epoch_9.pth')
    saved = Path('run/epoch_9.pth').stat().st_mtime
    said = []

    def found():
        said.clear()
        cfg = read(small, work_dir='run', resume=resume, tell=lambda line, *_: said.append(line))
        return cfg.load_from

    def without():
        if resume in (None, 'other/epoch_9.pth'):
            with pytest.raises(RecipeError, match='run holds another run'):
                found()
        else:
            assert found() == 'run/epoch_9.pth'
        assert not said

    without()
    monkeypatch.setenv('MMCONVNEXT_LAUNCHED', str(saved - 1))
    without()
    monkeypatch.setenv('TORCHELASTIC_MAX_RESTARTS', '0')
    without()
    monkeypatch.setenv('TORCHELASTIC_MAX_RESTARTS', '2')
    assert found() == 'run/epoch_9.pth'
    assert said == ['Started again after a failure: this run goes on from its last checkpoint.']
    monkeypatch.setenv('MMCONVNEXT_LAUNCHED', str(saved + 1))
    without()


def test_a_checkpoint_to_resume_that_does_not_exist_is_refused(read, small):
    with pytest.raises(CheckpointNotFound, match=r"'convnext-tiny_in1'.*mean convnext-tiny_in1k"):
        read(small, resume='convnext-tiny_in1')
