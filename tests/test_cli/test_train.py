# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/train.py and its launchers: runs resume where they stopped and never overwrite another."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from fixtures import MASK_RCNN, ROOT, TINY_DETECTOR, TINY_SEGMENTOR, UPERNET, forget_runs

from mmconvnext.checkpoint.errors import CheckpointNotFound
from mmconvnext.cli.train import main
from mmconvnext.recipe.errors import RecipeError


def detector(work_dir, *argv, options=()):
    forget_runs()
    return main(
        [
            MASK_RCNN,
            '--toy',
            '--work-dir',
            str(work_dir),
            *argv,
            '--cfg-options',
            *TINY_DETECTOR,
            *options,
        ]
    )


def segmentor(work_dir, *argv, options=(), config=UPERNET):
    forget_runs()
    return main(
        [
            config,
            '--toy',
            '--work-dir',
            str(work_dir),
            *argv,
            '--cfg-options',
            *TINY_SEGMENTOR,
            *options,
        ]
    )


def logged(work_dir) -> list:
    """Rows of the training log of all starts in a folder, oldest first."""
    files = sorted(Path(work_dir).glob('*/vis_data/scalars.json'))
    rows = [json.loads(line) for file in files for line in file.open()]
    return [row for row in rows if 'loss' in row]


# Where a run writes


def test_a_used_work_dir_is_refused_and_kept(detector_run, workplace):
    shutil.copytree(detector_run.work_dir, 'used')
    before = {p: p.read_bytes() for p in Path('used').rglob('*') if p.is_file()}
    with pytest.raises(RecipeError, match=r'used holds another run \(epoch_1\.pth\).*--resume'):
        detector('used')
    assert {p: p.read_bytes() for p in Path('used').rglob('*') if p.is_file()} == before


def test_resume_without_a_run_is_refused(workplace):
    with pytest.raises(RecipeError, match=r'--resume: new holds no run to continue .*--work-dir'):
        segmentor('new', '--resume')
    assert not Path('new').exists()


def test_resume_from_a_missing_file_is_refused(workplace):
    with pytest.raises(CheckpointNotFound, match=r"^'gone\.pth' is neither a file nor the name"):
        segmentor('new', '--resume', 'gone.pth')
    assert not Path('new').exists()


# Resuming


def test_resume_from_elsewhere_spares_another_run(detector_run, workplace):
    Path('other.pth').touch()
    with pytest.raises(RecipeError, match='holds another run'):
        detector(detector_run.work_dir, '--resume', 'other.pth')


@pytest.fixture
def still_upernet(workplace):
    """UPerNet without anything random in its images or layers, so that runs can be compared."""
    steps = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', reduce_zero_label=True),
        dict(type='Resize', scale=(64, 64)),
        dict(type='PackSegInputs'),
    ]
    off = dict(dropout_ratio=0.0)
    file = workplace / 'still.py'
    file.write_text(
        f'_base_ = {UPERNET!r}\n'
        f'model = {dict(decode_head=off, auxiliary_head=off)}\n'
        f'train_dataloader = dict(dataset=dict(pipeline={steps}))\n'
    )
    return str(file)


@pytest.mark.slow
def test_a_resumed_run_is_the_uninterrupted_one(still_upernet):
    def run(folder, iterations, *argv):
        options = ('model.backbone.drop_path_rate=0.0', f'train_cfg.max_iters={iterations}')
        return segmentor(folder, *argv, options=options, config=still_upernet)

    whole = run('whole', 4)
    run('halves', 2)
    resumed = run('halves', 4, '--resume')
    assert resumed.iter == 4
    assert [row['step'] for row in logged('halves')] == [1, 2, 3, 4]
    for key in ('lr', 'loss', 'decode.loss_ce'):
        assert [row[key] for row in logged('halves')] == [row[key] for row in logged('whole')]
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name
    for ours, theirs in zip(
        whole.optim_wrapper.optimizer.state.values(),
        resumed.optim_wrapper.optimizer.state.values(),
    ):
        assert ours['step'] == theirs['step'] == 4
        assert torch.equal(ours['exp_avg'], theirs['exp_avg'])
        assert torch.equal(ours['exp_avg_sq'], theirs['exp_avg_sq'])
    assert sorted(path.name for path in Path('halves').glob('*.pth')) == [
        'iter_2.pth',
        'iter_4.pth',
    ]


@pytest.mark.slow
def test_epochs_and_their_schedule_continue(workplace):
    def run(folder, epochs, *argv):
        # One iteration an epoch; the warm-up's end and a step come after the interruption.
        return detector(
            folder,
            *argv,
            options=(
                f'train_cfg.max_epochs={epochs}',
                'train_cfg.val_interval=9',
                'train_dataloader.batch_size=4',
                'default_hooks.checkpoint.interval=1',
                'param_scheduler.0.end=2',
                'param_scheduler.1.milestones=[2]',
            ),
        )

    run('whole', 3)
    run('halves', 1)
    resumed = run('halves', 3, '--resume')
    assert (resumed.epoch, resumed.iter) == (3, 3)
    ours, theirs = logged('halves'), logged('whole')
    assert [row['epoch'] for row in ours] == [row['epoch'] for row in theirs] == [1, 2, 3]
    assert [row['lr'] for row in ours] == [row['lr'] for row in theirs]
    assert ours[2]['lr'] == pytest.approx(0.1 * ours[1]['lr'])
    assert ours[0]['lr'] < ours[1]['lr']
    steps = {int(state['step']) for state in resumed.optim_wrapper.optimizer.state.values()}
    assert steps == {3}


def test_resume_from_a_named_checkpoint(segmentor_run, workplace):
    runner = segmentor(
        'elsewhere', '--resume', segmentor_run.checkpoint, options=('train_cfg.max_iters=3',)
    )
    assert runner.iter == 3
    assert [row['step'] for row in logged('elsewhere')] == [3]


def test_a_run_whose_note_was_cut_off_resumes_from_its_newest_checkpoint(segmentor_run, workplace):
    shutil.copytree(segmentor_run.work_dir, 'killed')
    Path('killed/last_checkpoint').write_text('')
    Path('killed/iter_4.pth.part').write_bytes(b'half')
    runner = segmentor('killed', '--resume', options=('train_cfg.max_iters=3',))
    assert runner.iter == 3


@pytest.mark.parametrize(
    ('change', 'match'),
    [
        (lambda c: c.pop('optimizer'), r'no optimizer\), so it cannot be resumed; start from'),
        (lambda c: c.pop('message_hub'), r'no message_hub\), so it cannot be resumed'),
        (lambda c: c['meta'].pop('iter'), r'no iteration count\), so it cannot be resumed'),
        (
            lambda c: c['state_dict'].pop('decode_head.conv_seg.bias'),
            r'1 missing: decode_head\.conv_seg\.bias\nUse the config',
        ),
    ],
    ids=['optimizer', 'message hub', 'iteration', 'head'],
)
def test_resume_from_what_is_no_run_is_refused(change, match, segmentor_run, workplace):
    content = torch.load(segmentor_run.checkpoint, weights_only=False)
    change(content)
    torch.save(content, 'published.pth')
    with pytest.raises(RecipeError, match=match):
        segmentor('elsewhere', '--resume', 'published.pth')


# What the machine and the batch change


def test_auto_scale_lr_scales_every_group(workplace, capsys):
    one = ('train_cfg.max_iters=1',)
    plain = segmentor('plain', options=one).optim_wrapper.optimizer.param_groups
    said = capsys.readouterr().out
    assert 'Effective batch size 2, but the recipe has 4: learning rates are NOT scaled' in said
    assert 'x 0.5' in said and 'optim_wrapper.accumulative_counts=2' in said
    runner = segmentor('scaled', '--auto-scale-lr', options=one)
    scaled = runner.optim_wrapper.optimizer.param_groups
    assert 'learning rates are scaled by 0.5' in capsys.readouterr().out
    assert len(plain) == len(scaled) > 4
    assert len({group['initial_lr'] for group in plain}) > 2
    for ours, theirs in zip(scaled, plain):
        assert ours['initial_lr'] == pytest.approx(0.5 * theirs['initial_lr'])


def test_accumulated_steps_make_the_recipes_batch(workplace, capsys):
    segmentor('run', options=('train_cfg.max_iters=1', 'optim_wrapper.accumulative_counts=2'))
    assert 'Effective batch' not in capsys.readouterr().out


def test_auto_scale_lr_without_a_base_is_refused(workplace):
    config = workplace / 'mine.py'
    config.write_text(f'_base_ = {UPERNET!r}\nauto_scale_lr = dict(_delete_=True)\n')
    with pytest.raises(RecipeError, match=r'--auto-scale-lr needs .*base_batch_size'):
        main([str(config), '--auto-scale-lr'])


def test_amp_on_a_cpu_is_float32_and_said_once(workplace, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    runner = segmentor('run', '--amp', options=('train_cfg.max_iters=1',))
    assert type(runner.optim_wrapper).__name__ == 'OptimWrapper'
    said = capsys.readouterr().out
    assert said.count('training runs in float32') == 1
    assert said.count('SyncBN becomes BN over a batch of 2 images') == 1


def test_checks_come_before_anything_is_written(workplace):
    with pytest.raises(RecipeError, match="arch='tinny' is unknown; choose one of"):
        main([MASK_RCNN, '--work-dir', 'run', '--cfg-options', 'model.backbone.arch=tinny'])
    with pytest.raises(RecipeError, match='data/coco does not exist. Expected layout'):
        main([MASK_RCNN, '--work-dir', 'run'])
    assert not Path('run').exists()


# Launchers


SLURM = ROOT / 'tools/slurm_train.sh'  # dist_train.sh: tests/test_distributed/test_launch.py


def call(*argv):
    return subprocess.run([str(SLURM), *argv], capture_output=True, text=True)


def test_too_few_arguments_show_the_usage(fake_program):
    assert subprocess.run(['bash', '-n', str(SLURM)]).returncode == 0
    fake_program('srun')
    done = call('part', 'job', 'a.py')
    usage = 'PARTITION JOB_NAME CONFIG WORK_DIR [options of train.py]'
    assert (done.returncode, done.stdout) == (2, '')
    assert done.stderr == f'usage: {SLURM} {usage}\n'


def test_slurm_train(fake_program, monkeypatch):
    for name in ('GPUS', 'GPUS_PER_NODE', 'CPUS_PER_TASK', 'SRUN_ARGS', 'GRES', 'PYTHON'):
        monkeypatch.delenv(name, raising=False)
    fake_program('srun')
    argv = ('part', 'my job', 'a.py', 'work dir', '--resume')
    rest = [
        'python',
        '-u',
        f'{ROOT}/tools/train.py',
        'a.py',
        '--work-dir',
        'work dir',
        '--launcher',
        'slurm',
        '--resume',
    ]
    assert call(*argv).stdout.splitlines() == [
        '-p',
        'part',
        '--job-name=my job',
        '--gres=gpu:8',
        '--ntasks=8',
        '--ntasks-per-node=8',
        '--cpus-per-task=5',
        '--kill-on-bad-exit=1',
        *rest,
    ]
    for name, value in dict(
        GPUS='16', GPUS_PER_NODE='4', CPUS_PER_TASK='3', SRUN_ARGS='--qos=high --exclusive'
    ).items():
        monkeypatch.setenv(name, value)
    assert call(*argv).stdout.splitlines() == [
        '-p',
        'part',
        '--job-name=my job',
        '--gres=gpu:4',
        '--ntasks=16',
        '--ntasks-per-node=4',
        '--cpus-per-task=3',
        '--kill-on-bad-exit=1',
        '--qos=high',
        '--exclusive',
        *rest,
    ]


def test_slurm_train_on_cpus(fake_program, monkeypatch):
    """Without GPUs; the threads of each process are its cores."""
    for name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'GPUS_PER_NODE', 'SRUN_ARGS', 'PYTHON'):
        monkeypatch.delenv(name, raising=False)
    fake_program('srun')
    shows = Path(os.environ['PATH'].partition(':')[0], 'srun')
    shows.write_text('#!/bin/sh\nprintf "%s\\n" "$OMP_NUM_THREADS $MKL_NUM_THREADS" "$@"\n')
    monkeypatch.setenv('CPUS_PER_TASK', '3')
    monkeypatch.setenv('PYTHON', 'my python')
    monkeypatch.setenv('GRES', '')
    threads, *options = call('part', 'job', 'a.py', 'w').stdout.splitlines()
    assert threads == '3 3' and 'my python' in options
    assert not any(option.startswith('--gres') for option in options)
    monkeypatch.setenv('GRES', 'gpu:a100:4')
    threads, *options = call('part', 'job', 'a.py', 'w').stdout.splitlines()
    assert threads == '1 1' and '--gres=gpu:a100:4' in options
