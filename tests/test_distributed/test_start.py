# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""distributed/start.py: processes on CPUs meet as mmengine's do on GPUs; faults are named."""

import copy
import os
import subprocess
from datetime import timedelta

import processes
import pytest
import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.runner import Runner

from mmconvnext.distributed import start as module
from mmconvnext.distributed.start import VARIABLES, on_cpus, start, without_gpu
from mmconvnext.recipe.errors import RecipeError

NAMES = [name for names in VARIABLES.values() for name in names]
NAMES += ['MASTER_ADDR', 'MASTER_PORT', 'GLOO_SOCKET_IFNAME', 'SLURM_JOB_ID', 'SLURM_STEP_ID']
NAMES += ['SLURM_NNODES', 'SLURM_STEP_NUM_NODES', 'SLURM_NODELIST', 'SLURM_STEP_NODELIST']
NAMES += ['OMPI_COMM_WORLD_LOCAL_SIZE']


@pytest.fixture
def environ(monkeypatch):
    """A function that sets variables, on a machine where no launcher has set any."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    return lambda **values: [monkeypatch.setenv(name, value) for name, value in values.items()]


@pytest.fixture
def groups(monkeypatch):
    """The process groups that are made; none is."""
    made = []
    monkeypatch.setattr(module, 'get_device', lambda: 'cpu')
    monkeypatch.setattr(dist, 'is_initialized', lambda: False)
    monkeypatch.setattr(
        dist, 'init_process_group', lambda *args, **options: made.append((*args, options))
    )
    return made


def config(launcher='pytorch', **options):
    return Config(dict(dict(model=dict(type='A'), launcher=launcher), **options))


def torchrun(rank='1', count='4', local='1'):
    return dict(RANK=rank, WORLD_SIZE=count, LOCAL_RANK=local)


# On CPUs


def test_the_group_of_torchrun(environ, groups, capsys):
    environ(**torchrun('0'), MASTER_ADDR='127.0.0.1', MASTER_PORT='1234')
    cfg = config(env_cfg=dict(dist_cfg=dict(backend='nccl')))
    before = cfg.to_dict()
    assert start(cfg) is True and cfg.to_dict() == before
    assert groups == [('gloo', {})]
    assert os.environ['GLOO_SOCKET_IFNAME'] == 'lo'
    assert capsys.readouterr().out == (
        'No GPU: 4 processes train on CPUs and exchange gradients through gloo.\n'
    )


def test_another_machine_is_reached_by_its_own_interface(environ, groups):
    environ(**torchrun(), MASTER_ADDR='10.0.0.1', MASTER_PORT='1234')
    start(config())
    assert len(groups) == 1 and 'GLOO_SOCKET_IFNAME' not in os.environ


@pytest.mark.parametrize('seconds', [7, 0.5])
def test_the_timeout_is_passed_on(environ, groups, seconds):
    environ(**torchrun(), MASTER_ADDR='127.0.0.1')
    start(config(env_cfg=dict(dist_cfg=dict(backend='gloo', timeout=seconds))))
    assert groups == [('gloo', dict(timeout=timedelta(seconds=seconds)))]


@pytest.mark.parametrize('seconds', [0, -1, '7', True, float('nan'), float('inf')])
def test_no_timeout(environ, groups, seconds):
    environ(**torchrun(), MASTER_ADDR='127.0.0.1')
    match = rf'dist_cfg\.timeout={seconds!r}: choose a number of seconds above 0'
    with pytest.raises(RecipeError, match=match):
        start(config(env_cfg=dict(dist_cfg=dict(timeout=seconds))))


def test_slurm_on_one_machine(environ, groups):
    environ(SLURM_PROCID='2', SLURM_NTASKS='3', SLURM_LOCALID='2', SLURM_NNODES='1')
    environ(SLURM_JOB_ID='1234567', SLURM_STEP_ID='3')
    start(config('slurm'))
    found = {name: os.environ[name] for name in torchrun()}
    assert found == torchrun('2', '3', '2') and len(groups) == 1
    assert (os.environ['MASTER_ADDR'], os.environ['MASTER_PORT']) == ('127.0.0.1', '24570')


@pytest.mark.parametrize('way', ['variable', 'config'])
def test_a_given_port_counts(environ, groups, way):
    environ(SLURM_PROCID='0', SLURM_NTASKS='1', SLURM_LOCALID='0', SLURM_NNODES='1')
    environ(SLURM_JOB_ID='9', **(dict(MASTER_PORT='1234') if way == 'variable' else {}))
    start(config('slurm', env_cfg=dict(dist_cfg=dict(port=1234))))
    assert os.environ['MASTER_PORT'] == '1234'


def test_slurm_on_several_machines(environ, groups, monkeypatch):
    environ(SLURM_PROCID='2', SLURM_NTASKS='3', SLURM_LOCALID='0', SLURM_NNODES='2')
    environ(SLURM_NODELIST='n[7-8]')
    asked = []

    def answer(command, **_):
        asked.append(command)
        return subprocess.CompletedProcess(command, 0, stdout='n7\nn8\n')

    monkeypatch.setattr(subprocess, 'run', answer)
    start(config('slurm'))
    assert asked == [['scontrol', 'show', 'hostnames', 'n[7-8]']]
    assert os.environ['MASTER_ADDR'] == 'n7'


def test_an_unknown_first_machine(environ, groups, monkeypatch):
    environ(SLURM_PROCID='2', SLURM_NTASKS='3', SLURM_LOCALID='0', SLURM_NNODES='2')
    monkeypatch.setenv('PATH', '')
    match = '--launcher slurm: MASTER_ADDR is not set, and the first machine is unknown; set'
    with pytest.raises(RecipeError, match=match):
        start(config('slurm'))
    environ(SLURM_PROCID='0')  # of a job, not of this launcher
    environ(**dict(zip(VARIABLES['mpi'], '120')), OMPI_COMM_WORLD_LOCAL_SIZE='1')
    with pytest.raises(RecipeError, match='--launcher mpi: MASTER_ADDR is not set'):
        start(config('mpi'))


def test_mpi_on_one_machine(environ, groups):
    environ(**dict(zip(VARIABLES['mpi'], '121')), OMPI_COMM_WORLD_LOCAL_SIZE='2')
    start(config('mpi'))
    found = {name: os.environ[name] for name in torchrun()}
    assert found == torchrun('1', '2', '1') and len(groups) == 1
    assert (os.environ['MASTER_ADDR'], os.environ['MASTER_PORT']) == ('127.0.0.1', '29500')


def test_a_group_of_another_framework_is_used(environ, groups, monkeypatch):
    environ(**torchrun())
    monkeypatch.setattr(dist, 'is_initialized', lambda: True)
    assert start(config()) is True and not groups


DDP = dict(type='MMDistributedDataParallel')


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        (None, dict(DDP, broadcast_buffers=False, find_unused_parameters=True, device_ids=None)),
        (dict(static_graph=True), dict(DDP, static_graph=True, device_ids=None)),
        (dict(device_ids=[0]), dict(DDP, device_ids=[0])),
        (dict(type='MMFullyShardedDataParallel'), dict(type='MMFullyShardedDataParallel')),
    ],
)
def test_a_wrapper_gets_no_gpu_and_stays_otherwise(given, expected):
    cfg = config(find_unused_parameters=True)
    before = copy.deepcopy(given)
    assert without_gpu(cfg, given) == expected and given == before


def test_a_runner_on_cpus_is_still_of_its_kind():
    kind = on_cpus(Runner)
    assert issubclass(kind, Runner) and kind.__name__ == 'Runner'


@pytest.mark.parametrize(
    ('change', 'layer'),
    [
        (
            dict(model=dict(type='A', head=dict(norm_cfg=dict(type='MMSyncBN')))),
            r'model\.head\.norm_cfg is',
        ),
        (dict(sync_bn='mmcv'), r"sync_bn='mmcv' is"),
    ],
)
def test_a_layer_for_gpus(environ, groups, change, layer):
    environ(**torchrun(), MASTER_ADDR='127.0.0.1')
    with pytest.raises(RecipeError, match=rf"^{layer} mmcv's MMSyncBN, .*norm_cfg=dict"):
        start(config(**change))
    assert not groups


# On GPUs


def test_gpus_are_left_to_mmengine(environ, groups, monkeypatch):
    monkeypatch.setattr(module, 'get_device', lambda: 'cuda')
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    environ(**torchrun())
    cfg = config(model=dict(norm_cfg=dict(type='MMSyncBN')))
    before = cfg.to_dict()
    assert start(cfg) is False
    assert not groups and cfg.to_dict() == before
    environ(LOCAL_RANK='2')
    match = 'process 3 of this machine needs a GPU of its own, but torch sees 2; start 2 processes'
    with pytest.raises(RecipeError, match=match):
        start(cfg)


# How it was started


@pytest.mark.parametrize('launcher', VARIABLES)
def test_missing_variables(environ, launcher):
    first, *others = VARIABLES[launcher]
    environ(**{first: '0'})
    match = f'--launcher {launcher}: {others[0]}.* not set; .* sets it. For a single process'
    with pytest.raises(RecipeError, match=match):
        start(config(launcher))


@pytest.mark.parametrize('launcher', VARIABLES)
def test_processes_without_a_launcher(environ, groups, launcher):
    """Each would do the same; but one process needs no launcher."""
    start(config('none'))
    rank, world, local = VARIABLES[launcher]
    environ(**{rank: '1', world: '1', local: '0'})
    start(config('none'))
    environ(**{world: '4'})
    match = rf'^4 processes were started \({world}=4\), .*add --launcher {launcher}, or start one'
    with pytest.raises(RecipeError, match=match):
        start(config('none'))
    assert not groups


def test_the_script_of_a_slurm_job_is_one_process(environ):
    environ(SLURM_PROCID='0', SLURM_NTASKS='4', SLURM_LOCALID='0')
    start(config('none'))


# In real processes


def _sum(rank, launcher, folder) -> None:
    """As a job of that launcher would; torchrun's variables are taken away."""
    given = {name: os.environ.pop(name) for name in (*torchrun(), 'MASTER_ADDR', 'MASTER_PORT')}
    names = VARIABLES[launcher]
    os.environ.update({names[0]: str(rank), names[1]: '2', names[2]: str(rank)})
    if launcher == 'pytorch':
        os.environ['MASTER_ADDR'] = '127.0.0.1'
    if launcher == 'slurm':
        os.environ['SLURM_NNODES'] = '1'
    if launcher == 'mpi':
        os.environ['OMPI_COMM_WORLD_LOCAL_SIZE'] = '2'
    os.environ['MASTER_PORT'] = given['MASTER_PORT']
    start(config(launcher))
    total = torch.tensor([rank + 1.0])
    dist.all_reduce(total)
    assert total == 3
    dist.barrier()
    dist.destroy_process_group()
    os._exit(0)


@pytest.mark.parametrize('launcher', VARIABLES)
def test_two_processes_meet(launcher, tmp_path):
    done = processes.launch(_sum, launcher, tmp_path, count=2)
    assert [process.returncode for process in done] == [0, 0], [p.stderr for p in done]
