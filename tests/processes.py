# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""New processes in a tenth of a second: forks of one that has imported torch and mmengine.

For tests that need a process of their own: for several ranks, to be killed, or because nothing of
ours may be imported yet. What a user starts, such as a tool, a test starts in the same way.
"""

import multiprocessing
import os
import runpy
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing import connection
from subprocess import CompletedProcess

SECONDS, GRACE = 300, 3
_FORKS = multiprocessing.get_context('forkserver')
_FORKS.set_forkserver_preload(['torch', 'mmengine.runner'])


def call(
    function: Callable, *arguments: object, count: int = 1, folder: object = '.', **variables: str
) -> list[CompletedProcess]:
    """Call ``function(rank, *arguments)`` in ``count`` processes that run side by side.

    It must be importable by name. Variables of the environment count as they are now, with
    ``variables``, except those that torch reads at its import.
    """
    with tempfile.TemporaryDirectory() as outputs:
        outs = [(f'{outputs}/{rank}.out', f'{outputs}/{rank}.err') for rank in range(count)]
        state = os.path.abspath(folder), os.environ | variables
        processes = [
            _FORKS.Process(target=_call, args=(*outs[rank], *state, function, rank, *arguments))
            for rank in range(count)
        ]
        for process in processes:
            process.start()
        _wait(processes)
        return [
            CompletedProcess(function, process.exitcode, *map(_read, files))
            for process, files in zip(processes, outs)
        ]


def launch(
    function: Callable, *arguments: object, count: int, folder: object = '.', **variables: str
) -> list[CompletedProcess]:
    """Like ``call``; each process finds the variables that torchrun sets."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    variables |= dict(
        MASTER_ADDR='127.0.0.1',
        MASTER_PORT=port,
        WORLD_SIZE=str(count),
        OMP_NUM_THREADS='1',
        MKL_NUM_THREADS='1',
    )
    return call(_launched, function, *arguments, count=count, folder=folder, **variables)


def run(code: str) -> CompletedProcess:
    """Run a program, as ``python -c`` does."""
    return call(_run, code)[0]


def script(file: object, *arguments: object, **options: object) -> CompletedProcess:
    """Run a file, as ``python FILE ARGUMENTS`` does, with the ``options`` of ``call``."""
    return call(_script, str(file), [str(value) for value in arguments], **options)[0]


def _wait(processes: list) -> None:
    """Until all have ended; a rank that failed leaves the others waiting for it."""
    end = time.monotonic() + SECONDS
    while running := [process for process in processes if process.exitcode is None]:
        connection.wait([process.sentinel for process in running], end - time.monotonic())
        if any(process.exitcode for process in processes):
            end = min(end, time.monotonic() + GRACE)
        if time.monotonic() >= end:
            for process in running:
                process.kill()
                process.join()


def _read(file: str) -> str:
    with open(file) as opened:
        return opened.read()


def _call(out: str, err: str, folder: str, environment: dict, function: Callable, *arguments):
    for number, file in ((1, out), (2, err)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    function(*arguments)


def _launched(rank: int, function: Callable, *arguments: object) -> None:
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
    function(rank, *arguments)


def _script(rank: int, file: str, arguments: list[str]) -> None:
    sys.argv = [file, *arguments]
    sys.path.insert(0, os.path.dirname(file))
    runpy.run_path(file, run_name='__main__')


def _run(rank: int, code: str) -> None:
    exec(compile(code, '<test>', 'exec'), {'__name__': '__main__'})
