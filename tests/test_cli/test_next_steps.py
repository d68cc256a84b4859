# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/next_steps.py: the checkpoint that the next tools take, its figure, and their commands."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.config import Config
from mmengine.hooks import CheckpointHook, IterTimerHook

from mmconvnext.cli.next_steps import after_training

COCO = dict(type='CocoMetric', metric=['bbox', 'segm'])
PANOPTIC = dict(type='CocoPanopticMetric')


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A function that makes a finished run with these files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', ['pytest'])

    def make(*files, save_best=None, info=(), val=(), evaluator=COCO, work_dir='work_dirs/my run'):
        for name in ('mine.py', *files):
            Path(work_dir).mkdir(parents=True, exist_ok=True)
            Path(work_dir, name).touch()
        cfg = Config(dict(work_dir=work_dir, default_scope='mmdet', val_evaluator=evaluator))
        scalars = {
            name: SimpleNamespace(current=lambda value=value: value)
            for name, value in dict(val).items()
        }
        hub = SimpleNamespace(runtime_info=dict(info), log_scalars=scalars)
        hooks = [IterTimerHook(), CheckpointHook(save_best=save_best)]
        return SimpleNamespace(cfg=cfg, message_hub=hub, hooks=hooks)

    return make


def test_the_best_checkpoint(run, tmp_path):
    best = 'best_coco_bbox_mAP_epoch_7.pth'
    info = dict(best_ckpt=str(tmp_path / 'work_dirs/my run' / best), best_score=0.36249)
    runner = run(best, 'epoch_8.pth', save_best='coco/bbox_mAP', info=info)
    assert after_training(runner) == [
        '',
        f'best checkpoint: work_dirs/my run/{best} (coco/bbox_mAP 0.3625)',
        'next, with images of yours for IMAGES:',
        "  python tools/predict.py 'work_dirs/my run' IMAGES --out 'work_dirs/my run/predictions'",
        "  python tools/analyze.py 'work_dirs/my run' --out 'work_dirs/my run/mistakes'",
    ]


def test_the_newest_of_several_best_ones(run):
    info = {'best_ckpt_mIoU': '/x/best_mIoU_iter_5.pth', 'best_score_mIoU': 40.5}
    info |= {'best_ckpt_aAcc': '/x/best_aAcc_iter_4.pth', 'best_score_aAcc': 90.25}
    runner = run('best_aAcc_iter_4.pth', save_best=['mIoU', 'aAcc'], info=info)
    assert 'best_aAcc_iter_4.pth (aAcc 90.25)' in after_training(runner)[1]


def test_the_last_checkpoint_with_the_last_validation(run):
    val = {'val/coco/bbox_mAP': 0.25, 'val/coco/bbox_mAP_50': 0.5, 'val/time': 3.0, 'loss': 1.0}
    lines = after_training(run('epoch_8.pth', val=val))
    assert lines[1] == 'last checkpoint: work_dirs/my run/epoch_8.pth (coco/bbox_mAP 0.25)'
    assert after_training(run('epoch_8.pth'))[1].endswith('/epoch_8.pth')


@pytest.mark.parametrize('evaluator', [PANOPTIC, [COCO, PANOPTIC], None])
def test_what_cannot_be_analyzed_is_only_predicted(run, evaluator):
    lines = after_training(run('epoch_8.pth', evaluator=evaluator))
    assert 'predict.py' in lines[-1] and not any('analyze.py' in line for line in lines)


def test_nothing_is_said_without_a_checkpoint(run):
    assert after_training(run()) == []


def test_a_real_run(detector_run):
    lines = after_training(detector_run.runner)
    name = Path(detector_run.checkpoint).name
    assert lines[1].startswith('last checkpoint: ') and f'{name} (coco/bbox_mAP ' in lines[1]
    assert 'coco/segm_mAP ' in lines[1] and 'analyze.py' in lines[-1]


def test_a_training_does_not_wait_for_charts_at_its_start():
    code = 'import sys, mmconvnext.cli.train\nassert "matplotlib" not in sys.modules'
    subprocess.run([sys.executable, '-W', 'ignore', '-c', code], check=True)
