# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Starts the processes of a run on this machine: torchrun, with fewer words and the right status.

torchrun itself ends with status 1 and a traceback of its own, whatever happened. tools/_launch.py
loads this file by its path, so it imports nothing of ours.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Mapping

USAGE = """\
PROCESSES is a number, or gpu for one for each GPU. Variables of the environment:
  PORT          on one machine (default: a free one)
  MAX_RESTARTS  how often the processes are started again after a failure (0)
  NNODES        number of machines (1); each calls the same command, with
  MASTER_ADDR     the address of one of them, and PORT (29500), the same for all
  NODE_RANK       if set, torchrun's static rendezvous, where MASTER_ADDR is the machine with 0
  JOB_ID          a name of this run (mmconvnext), if several runs meet at the same address
  OMP_NUM_THREADS threads of each process (on CPUs: the cores divided by the processes)"""
HERE = ('127.0.0.1', 'localhost', '::1')
# Seconds between two looks at the processes; our choice.
INTERVAL = 0.5


class Usage(ValueError):
    """A value in the command or the environment that cannot be used."""


def main(argv: list[str]) -> None:
    """Run ``SCRIPT PROCESSES [arguments of the script]`` in several processes.

    Exits with the status of the process that failed first, and 128 + the signal that ended it.
    """
    script, processes, *arguments = argv
    try:
        given = options(processes, os.environ)
    except Usage as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(2)
    from torch.distributed import run  # takes seconds
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    if processes == 'gpu' and not _has_gpu():
        print('error: gpu: torch finds no GPU here; give a number of processes', file=sys.stderr)
        sys.exit(2)
    _quieten()
    _divide_cores(processes)
    os.environ['MMCONVNEXT_LAUNCHED'] = str(time.time())  # read by recipe/ranks.py
    # torch (2.13) keeps one store for all attempts. Processes that are started again find the
    # addresses of those before in it, and cannot connect.
    os.environ.setdefault('TORCH_DISABLE_SHARE_RDZV_TCP_STORE', '1')
    parser = run.get_args_parser()
    if '--signals-to-handle' in parser.format_help():  # torch 2.9 and later
        given.append('--signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1')
    try:
        with tempfile.TemporaryDirectory(prefix='torchelastic_') as logs:  # torchrun would leave it
            run.run(run.parse_args([*given, f'--log-dir={logs}', script, *arguments]))
    except ChildFailedError as error:
        sys.exit(report(error.failures))
    except SignalException as error:
        sys.exit(128 + error.sigval)
    except KeyboardInterrupt:
        sys.exit(130)


def options(processes: str, environ: Mapping[str, str]) -> list[str]:
    """Options of torchrun for this many processes on this machine.

    Raises:
        Usage: a value is none of those allowed.
    """
    if processes != 'gpu':
        _number('PROCESSES', processes, 1)
    nodes = _number('NNODES', environ.get('NNODES', '1'), 1)
    restarts = _number('MAX_RESTARTS', environ.get('MAX_RESTARTS', '0'), 0)
    port = str(_number('PORT', environ.get('PORT', '29500'), 1, 65535))
    address = environ.get('MASTER_ADDR', '')
    found = [
        f'--nnodes={nodes}',
        f'--nproc-per-node={processes}',
        f'--max-restarts={restarts}',
        f'--monitor-interval={INTERVAL}',
    ]
    if nodes > 1 and not address:
        raise Usage(
            f'NNODES={nodes}, but MASTER_ADDR is not set; set it on each machine to the address '
            'of one of them'
        )
    if 'NODE_RANK' in environ or (nodes == 1 and 'PORT' in environ):
        rank = _number('NODE_RANK', environ.get('NODE_RANK', '0'), 0, nodes - 1)
        address = address or HERE[0]
        return [*found, f'--node-rank={rank}', f'--master-addr={address}', f'--master-port={port}']
    if nodes == 1:
        return [*found, '--standalone', f'--local-addr={HERE[0]}']
    found += [
        '--rdzv-backend=c10d',
        f'--rdzv-endpoint={address}:{port}',
        f'--rdzv-id={environ.get("JOB_ID", "mmconvnext")}',
    ]
    # All on this machine: its name need not be known to anybody.
    return [*found, f'--local-addr={HERE[0]}'] if address in HERE else found


def report(failures: Mapping) -> int:
    """Say what the failed processes could not say; return the exit status.

    Args:
        failures: torchrun's record of each rank that did not end well. Those that the launcher
            ended have SIGTERM as their reason.
    """
    own = {r: f for r, f in failures.items() if f.exitcode != -signal.SIGTERM} or failures
    rank, first = min(own.items(), key=lambda item: (item[1].exitcode > 0, item[1].timestamp))
    if first.exitcode > 0:
        return first.exitcode
    name = signal.Signals(-first.exitcode).name
    hint = ''
    if name == 'SIGKILL':
        hint = '; often the machine ran out of memory (dmesg says so)'
    print(f'error: rank {rank} was ended by {name}{hint}', file=sys.stderr)
    return 128 - first.exitcode


def _number(name: str, text: str, least: int, most: int | None = None) -> int:
    if text.isdecimal() and least <= int(text) and (most is None or int(text) <= most):
        return int(text)
    limits = f'from {least} on' if most is None else f'from {least} to {most}'
    raise Usage(f'{name}={text!r}: choose a whole number {limits}')


def _quieten() -> None:
    """Leave out torchrun's warnings about ending the other processes."""
    for name in list(logging.root.manager.loggerDict):
        if name.startswith('torch.distributed.elastic'):
            logging.getLogger(name).setLevel(logging.ERROR)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _divide_cores(processes: str) -> None:
    """Set the threads of each process: on CPUs a share of the cores, on GPUs 1 as torchrun does."""
    import torch

    threads = 1
    if processes != 'gpu' and not torch.cuda.is_available():
        threads = max(1, len(os.sched_getaffinity(0)) // int(processes))
    threads = os.environ.setdefault('OMP_NUM_THREADS', str(threads))
    os.environ.setdefault('MKL_NUM_THREADS', threads)  # mmengine would set it to 1, and warn
