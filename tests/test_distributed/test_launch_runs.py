# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Whole runs by tools/dist_train.sh and slurm_train.sh: one log, one console, one message."""

import os
import subprocess
import sys

import pytest
from fixtures import CONFIGS, ROOT

pytestmark = pytest.mark.slow
DETECTOR = CONFIGS / 'own_data/mask-rcnn_convnext-atto_toy.py'
SEGMENTOR = CONFIGS / 'own_data/segformer-head_convnext-atto_toy.py'
TINY = [
    'model.backbone.arch._delete_=True',
    'model.backbone.arch.depths=[1,1,2,1]',
    'model.backbone.arch.channels=[8,16,32,64]',
    'train_dataloader.batch_size=2',
    'default_hooks.logger.interval=1',
    'randomness.seed=0',
]
# As Slurm does on one machine: --ntasks=N processes; if one fails, the others are ended.
SRUN = """#!{python}
import os, subprocess, sys, time
options = [word for word in sys.argv[1:] if word.startswith('--')]
count = next(int(word[9:]) for word in options if word.startswith('--ntasks='))
command = sys.argv[sys.argv.index('-u') - 1:]
tasks = []
for rank in range(count):
    given = dict(SLURM_PROCID=str(rank), SLURM_LOCALID=str(rank), SLURM_NTASKS=str(count))
    given |= dict(SLURM_NNODES='1', SLURM_NODELIST='here', SLURM_JOB_ID='{job}')
    tasks.append(subprocess.Popen(command, env=os.environ | given))
while None in (codes := [task.poll() for task in tasks]):
    if any(codes):
        [task.terminate() for task in tasks]
    time.sleep(0.2)
sys.exit(next((code for code in codes if code and code > 0), 0))
"""


@pytest.fixture
def folder(shared_root, tmp_path):
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data/toy').symlink_to(shared_root)
    return tmp_path


def run(folder, script, *argv, **variables):
    removed = ('NNODES', 'NODE_RANK', 'MASTER_ADDR', 'PORT', 'MAX_RESTARTS', 'MKL_NUM_THREADS')
    environ = {name: value for name, value in os.environ.items() if name not in removed}
    environ |= dict(PYTHON=sys.executable, OMP_NUM_THREADS='1') | variables
    command = [ROOT / 'tools' / script, *map(str, argv)]
    return subprocess.run(
        command, env=environ, cwd=folder, capture_output=True, text=True, timeout=240
    )


def sound(done, folder, marks) -> None:
    """It ended well; each line is shown once, and nothing is complained of."""
    assert done.returncode == 0, done.stderr
    for mark in marks:
        assert done.stdout.count(mark) == 1, (mark, done.stdout)
    errors = done.stderr.lower()
    for word in ('stride', 'unused', 'terminate called', 'traceback', 'num_threads', 'destroy'):
        assert word not in errors, done.stderr
    assert len(list((folder / 'run').rglob('*.log'))) == 1


def test_a_detector_by_torchrun(folder):
    options = [*TINY, 'model.neck.in_channels=[8,16,32,64]', 'train_cfg.max_epochs=1']
    options += ['train_cfg.val_interval=1', 'default_hooks.checkpoint.interval=1']
    argv = [DETECTOR, 2, '--work-dir', 'run', '--cfg-options', *options]
    done = run(folder, 'dist_train.sh', *argv)
    marks = ['Epoch(train) [1][1/2]', 'Epoch(train) [1][2/2]', 'Epoch(val) [1][3/3]    coco/bbox']
    sound(done, folder, [*marks, 'No GPU: 2 processes', 'Evaluating bbox', 'Saving checkpoint'])
    # pycocotools prints in any rank: for two datasets and the metric, rank 0 alone.
    assert done.stdout.count('loading annotations into memory') == 3
    assert (folder / 'run/epoch_1.pth').is_file()
    # The same again is refused: once, in one line, with status 2.
    done = run(folder, 'dist_train.sh', *argv)
    assert done.returncode == 2
    assert done.stderr.count('run holds another run (epoch_1.pth)') == 1
    assert 'Traceback' not in done.stderr


def test_a_segmentor_by_slurm(folder):
    srun = folder / 'bin/srun'
    srun.parent.mkdir()
    srun.write_text(SRUN.format(python=sys.executable, job=os.getpid()))
    srun.chmod(0o755)
    options = [*TINY, 'model.decode_head.in_channels=[8,16,32,64]', 'train_cfg.max_iters=2']
    options += ['train_cfg.val_interval=2', 'default_hooks.checkpoint.interval=2']
    options += ['model.decode_head.norm_cfg._delete_=True']
    options += ['model.decode_head.norm_cfg.type=SyncBN']
    done = run(
        folder,
        'slurm_train.sh',
        *('part', 'job', SEGMENTOR, 'run', '--cfg-options', *options),
        **dict(GPUS='2', GRES='', PATH=f'{srun.parent}:{os.environ["PATH"]}'),
    )
    marks = ['Iter(train) [1/2]', 'Iter(train) [2/2]', 'aAcc: ', 'No GPU: 2 processes']
    marks += ['SyncBN layers normalise over the images of all processes']
    sound(done, folder, marks)
