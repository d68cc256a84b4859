# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The processes of a run meet: ours on CPUs, where mmengine's way asks for a GPU.

mmengine's ``init_dist`` always calls ``torch.cuda.set_device``, unless there is a process group
already, and its Runner gives DistributedDataParallel a GPU. On GPUs nothing is changed.
"""

from __future__ import annotations

import os
import socket
import subprocess
from datetime import timedelta

import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import MODEL_WRAPPERS
from mmengine.runner import Runner
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ..recipe.errors import RecipeError
from ..recipe.ranks import log_rank0
from ..recipe.walk import dicts, registered, type_name
from .sync_batch_norm import share_batch_norm

# For each launcher what mmengine reads: rank, number of processes, rank on this machine.
VARIABLES = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
}
# What starts each of them.
STARTS = {
    'pytorch': 'tools/dist_train.sh, tools/dist_test.sh or torchrun',
    'slurm': 'tools/slurm_train.sh or srun',
    'mpi': 'mpirun',
}
HERE = ('127.0.0.1', 'localhost', '::1')
# Jobs on one node need different ports. IANA leaves 49152 to 65535 to anybody; Linux gives
# 32768 to 60999 to outgoing connections. So our choice is a range below both.
FIRST_PORT, PORTS = 20000, 10000


def start(cfg: Config) -> bool:
    """Check how this process was started; on CPUs, join the others.

    An existing process group is used, so another framework may have made it. Returns whether this
    is one of several processes on CPUs, whose runner has to be made by :func:`on_cpus`.

    Raises:
        RecipeError: the variables of the launcher are missing; there are more processes than GPUs;
            ``env_cfg.dist_cfg.timeout`` is no number of seconds; a layer needs GPUs.
    """
    launcher = cfg.get('launcher', 'none')
    if launcher == 'none':
        _refuse_twins()
        return False
    _require_variables(launcher)
    _set_port(cfg, launcher)
    if get_device() != 'cpu':
        _require_gpus(launcher)
        return False
    _refuse_gpu_layers(cfg)
    if not dist.is_initialized():
        _meet(cfg, launcher)
    return True


def on_cpus(kind: type[Runner]) -> type[Runner]:
    """A subclass of this runner whose model is wrapped without a GPU, and shares batch norm."""

    class OnCPUs(kind):
        def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
            if count := share_batch_norm(model):
                log_rank0(f'{count} SyncBN layers normalise over the images of all processes.')
            return super().wrap_model(without_gpu(self.cfg, model_wrapper_cfg), model)

    OnCPUs.__name__ = OnCPUs.__qualname__ = kind.__name__
    return OnCPUs


def without_gpu(cfg: Config, wrapper: dict | None) -> dict:
    """A copy of ``model_wrapper_cfg`` that gives DistributedDataParallel no GPU."""
    if wrapper is None:  # what mmengine's Runner takes then, but for the GPU
        unused = cfg.get('find_unused_parameters', False)
        wrapper = dict(broadcast_buffers=False, find_unused_parameters=unused)
    wrapper = dict(dict(type='MMDistributedDataParallel'), **wrapper)
    kind = registered(cfg, MODEL_WRAPPERS, wrapper)
    if kind is not None and issubclass(kind, DistributedDataParallel):
        wrapper.setdefault('device_ids', None)
    return wrapper


def _refuse_twins() -> None:
    """Without a launcher each process would train the same alone, and write the same files."""
    for launcher, (rank, world, local) in VARIABLES.items():
        count, started = os.environ.get(world, '1'), local in os.environ
        # A script in a Slurm job of several tasks is a single process with rank 0.
        if started and count != '1' and (launcher != 'slurm' or os.environ.get(rank) != '0'):
            raise RecipeError(
                f'{count} processes were started ({world}={count}), but --launcher is none, so '
                f'each would do the same alone; add --launcher {launcher}, or start one process'
            )


def _require_variables(launcher: str) -> None:
    missing = [name for name in VARIABLES[launcher] if name not in os.environ]
    if launcher == 'slurm' and missing == ['SLURM_LOCALID']:
        return  # mmengine counts the GPUs
    if missing:
        raise RecipeError(
            f'--launcher {launcher}: {", ".join(missing)} not set; {STARTS[launcher]} sets it. '
            'For a single process leave --launcher out'
        )


def _set_port(cfg: Config, launcher: str) -> None:
    """Under Slurm a port from the numbers of job and step, instead of mmengine's 29500 for all."""
    given = 'MASTER_PORT' in os.environ or _options(cfg).get('port') is not None
    if launcher == 'slurm' and not given:
        job = int(os.environ.get('SLURM_JOB_ID', 0)) + int(os.environ.get('SLURM_STEP_ID', 0))
        os.environ['MASTER_PORT'] = str(FIRST_PORT + job % PORTS)


def _require_gpus(launcher: str) -> None:
    rank, gpus = int(os.environ.get(VARIABLES[launcher][2], 0)), torch.cuda.device_count()
    if get_device() == 'cuda' and rank >= gpus:
        raise RecipeError(
            f'process {rank + 1} of this machine needs a GPU of its own, but torch sees {gpus}; '
            f'start {gpus} processes a machine, or look at CUDA_VISIBLE_DEVICES'
        )


def _refuse_gpu_layers(cfg: Config) -> None:
    layers = [path for path, node in dicts(cfg.model, 'model') if type_name(node) == 'MMSyncBN']
    layers += ["sync_bn='mmcv'"] if cfg.get('sync_bn') == 'mmcv' else []
    if layers:
        raise RecipeError(
            f"{layers[0]} is mmcv's MMSyncBN, which runs on GPUs only; take torch's: "
            "norm_cfg=dict(type='SyncBN'), sync_bn='torch'"
        )


def _options(cfg: Config) -> dict:
    return dict((cfg.get('env_cfg') or {}).get('dist_cfg') or {})


def _meet(cfg: Config, launcher: str) -> None:
    """Make the process group, with the variables that mmengine would set."""
    options = _options(cfg)
    names = VARIABLES[launcher]
    rank, world = os.environ[names[0]], os.environ[names[1]]
    local = os.environ.get(names[2], '0')
    os.environ.update(RANK=rank, WORLD_SIZE=world, LOCAL_RANK=local)
    if options.get('port') is not None:
        os.environ['MASTER_PORT'] = str(options['port'])
    os.environ.setdefault('MASTER_PORT', '29500')  # as mmengine does
    if 'MASTER_ADDR' not in os.environ:
        os.environ['MASTER_ADDR'] = _first_machine(launcher)
    if os.environ['MASTER_ADDR'] in HERE and 'GLOO_SOCKET_IFNAME' not in os.environ:
        # Otherwise gloo looks up this machine's name, which may be unknown, or slow.
        for _, name in socket.if_nameindex():
            if name in ('lo', 'lo0'):
                os.environ['GLOO_SOCKET_IFNAME'] = name
    backend = options.get('backend', 'nccl')
    dist.init_process_group('gloo' if backend == 'nccl' else backend, **_timeout(options))
    log_rank0(f'No GPU: {world} processes train on CPUs and exchange gradients through gloo.')


def _timeout(options: dict) -> dict:
    seconds = options.get('timeout')
    if seconds is None:
        return {}
    if (
        isinstance(seconds, bool)
        or not isinstance(seconds, (int, float))
        or (not 0 < seconds < float('inf'))
    ):
        raise RecipeError(
            f'env_cfg.dist_cfg.timeout={seconds!r}: choose a number of seconds above 0, such as '
            '3600; without it torch waits 1800 s for another process'
        )
    return dict(timeout=timedelta(seconds=seconds))


def _first_machine(launcher: str) -> str:
    """Where the processes meet: this machine, or the first of the job's.

    Raises:
        RecipeError: there are several, and it cannot be known which is the first.
    """
    if launcher == 'slurm':
        nodes = os.environ.get('SLURM_STEP_NODELIST') or os.environ.get('SLURM_NODELIST', '')
        if os.environ.get('SLURM_STEP_NUM_NODES', os.environ.get('SLURM_NNODES')) == '1':
            return HERE[0]
        try:
            done = subprocess.run(
                ['scontrol', 'show', 'hostnames', nodes], capture_output=True, text=True
            )
        except FileNotFoundError:
            done = None
        if done is not None and done.returncode == 0 and done.stdout.strip():
            return done.stdout.split()[0]
    elif launcher == 'mpi':
        names = ('OMPI_COMM_WORLD_LOCAL_SIZE', 'OMPI_COMM_WORLD_SIZE')
        if len({os.environ.get(name) for name in names}) == 1:
            return HERE[0]
    raise RecipeError(
        f'--launcher {launcher}: MASTER_ADDR is not set, and the first machine is unknown; set '
        'MASTER_ADDR to the address of the machine with rank 0'
    )
