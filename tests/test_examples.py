# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""examples/: the files can be read, and their commands are ours."""

import re
import runpy
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from fixtures import ROOT

from mmconvnext.cli import options as parsers
from mmconvnext.distributed import launch

FOLDER = ROOT / 'examples'
# What each platform sets, for the second of two machines.
GIVEN = {
    'kubernetes': dict(RANK='1', MASTER_PORT='23456', MASTER_ADDR='mask-rcnn-master-0'),
    'skypilot': dict(
        SKYPILOT_NUM_NODES='2',
        SKYPILOT_NODE_RANK='1',
        SKYPILOT_NODE_IPS='10.0.0.1\n10.0.0.2',
        SKYPILOT_NUM_GPUS_PER_NODE='8',
    ),
}


def pods(config) -> list[dict]:
    return [replica['template']['spec'] for replica in config['spec'].values() for replica in
            replica.values()]  # fmt: skip


def shell(platform) -> str:
    """What each machine runs."""
    config = yaml.safe_load((FOLDER / f'{platform}.yaml').read_text())
    if platform == 'skypilot':
        assert config['num_nodes'] == 2
        return config['run']
    first, second = pods(config)
    assert first == second and config['kind'] == 'PyTorchJob'
    (container,) = first['containers']
    assert container['name'] == 'pytorch'
    mounts = {mount['name'] for mount in container['volumeMounts']}
    assert mounts == {volume['name'] for volume in first['volumes']}
    (argument,) = container['args']
    return argument


@pytest.mark.parametrize('platform', GIVEN)
def test_the_command_of_each_machine(platform, tmp_path):
    """With a stand-in for the interpreter, which dist_train.sh calls."""
    shows = tmp_path / 'python'
    shows.write_text('#!/bin/sh\nprintf "%s\\n" "$@" NNODES=$NNODES NODE_RANK=$NODE_RANK '
                     'PORT=$PORT MASTER_ADDR=$MASTER_ADDR\n')  # fmt: skip
    shows.chmod(0o755)
    text = shell(platform).replace('PYTHON=.venv/bin/python', '')
    environ = dict(PYTHON=str(shows), PATH='/usr/bin:/bin', **GIVEN[platform])
    done = subprocess.run(
        ['bash', '-ec', text], cwd=ROOT, env=environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    _, script, tool, config, processes, *rest = done.stdout.splitlines()
    assert script.endswith('tools/dist_train.sh') and (tool, processes) == ('train', '8')
    environ = dict(row.split('=', 1) for row in rest[-4:])
    check(config, rest[:-4])
    assert set(launch.options(processes, environ)) >= {
        '--nnodes=2',
        '--node-rank=1',
        '--nproc-per-node=8',
        f'--master-addr={"10.0.0.1" if platform == "skypilot" else "mask-rcnn-master-0"}',
        f'--master-port={29500 if platform == "skypilot" else 23456}',
    }


def check(config, argv) -> None:
    """The config exists; the tool knows the options, and the job may be started again."""
    assert (ROOT / config).is_file()
    args = parsers.train_parser().parse_args([config, *argv])
    assert args.resume == 'if-any' and args.work_dir


@pytest.mark.parametrize(
    ('status', 'requeued'), [(0, 0), (1, 0), (2, 0), (137, 0), (138, 1), (143, 1)]
)
def test_a_slurm_job_goes_back_to_the_queue_when_it_was_stopped(status, requeued, tmp_path):
    for name, text in [
        ('srun', f'printf "%s\\n" "$@" > {tmp_path}/srun.txt; exit {status}'),
        ('scontrol', f'echo "$@" >> {tmp_path}/scontrol.txt'),
    ]:
        (tmp_path / name).write_text(f'#!/bin/sh\n{text}\n')
        (tmp_path / name).chmod(0o755)
    environ = dict(PATH=f'{tmp_path}:/usr/bin:/bin', SLURM_JOB_ID='77', SLURM_CPUS_PER_TASK='5')
    done = subprocess.run([FOLDER / 'slurm.sh'], env=environ, cwd=ROOT)
    assert done.returncode == status
    asked = tmp_path / 'scontrol.txt'
    assert (asked.read_text() if asked.exists() else '') == 'requeue 77\n' * requeued
    argv = (tmp_path / 'srun.txt').read_text().splitlines()
    assert argv[:4] == ['--cpus-per-task=5', '--kill-on-bad-exit=1', 'python', '-u']
    assert argv[4] == 'tools/train.py' and argv[argv.index('--launcher') + 1] == 'slurm'
    check(argv[5], argv[6:])


def test_slurm_signals_before_the_limit():
    text = (FOLDER / 'slurm.sh').read_text()
    asked = dict(
        line.removeprefix('#SBATCH --').split('=', 1) if '=' in line else (line[10:], '')
        for line in text.splitlines()
        if line.startswith('#SBATCH')
    )
    assert asked['signal'] == 'USR1@120' and 'requeue' in asked
    assert int(asked['ntasks-per-node']) == int(asked['gres'].removeprefix('gpu:'))


def test_ray_calls_our_tool(monkeypatch, tmp_path):
    """In the folder of the command: Ray starts its workers in another one."""
    called = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('mmconvnext.cli.train.main', called.append)
    example = runpy.run_path(str(FOLDER / 'ray_train.py'), run_name='example')
    config = 'configs/mask_rcnn/mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py'
    example['train'](dict(config=config, work_dir='w', options=['--toy'], current=str(ROOT)))
    assert Path.cwd() == ROOT
    ((first, *rest),) = called
    check(first, rest)
    args = parsers.train_parser().parse_args(called[0])
    assert (args.launcher, args.toy, args.work_dir) == ('pytorch', True, 'w')


def test_the_table_names_every_file():
    text = (FOLDER / 'README.md').read_text()
    named = set(re.findall(r'^\| `([^`]+)`', text, re.MULTILINE))
    assert named == {path.name for path in FOLDER.iterdir() if path.is_file()} - {'README.md'}
    for command in re.findall(r'`((?:sbatch|kubectl|sky|python) [^`]+)`', text):
        (file,) = [word for word in shlex.split(command) if word.startswith('examples/')]
        assert (ROOT / file).is_file()
