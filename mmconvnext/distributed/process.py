# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""One of several processes: what it prints, how it fails, how it ends.

The first process to fail says why, with its rank. Then the launcher ends the others, which find no
partner any more; they stay silent, because that is no news.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import re
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable

import torch.distributed as dist

from ..checkpoint.errors import CheckpointError
from ..recipe.errors import RecipeError
from ..recipe.ranks import LAUNCHED, rank, world_size

# Seconds in which a launcher ends the others after one has failed: torchrun's agent looks every
# half second (launch.py). Our choice.
GRACE = 10.0
KEY = 'mmconvnext/failures'
SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of linux/prctl.h
# gloo's and NCCL's words when another process is gone.
LOST = re.compile(
    'Connection closed by peer|Connection reset by peer|Broken pipe|Connection refused'
    '|remote process exited'
)


def run_one_of_several(main: Callable[[], object]) -> None:
    """Call ``main`` in one of the processes of a run, say its failure once, leave the others.

    Only rank 0 writes to stdout and shows warnings: the others have the same to say.
    """
    _end_with_launcher()
    if rank():
        sys.stdout = open(os.devnull, 'w')  # until the process ends
        warnings.simplefilter('ignore')
    try:
        main()
        _leave()
        status = 0
    except SystemExit as end:
        if not dist.is_initialized():
            raise
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if status > 128:  # a signal that stopped all after the same iteration: rank 0 may save yet
            _leave()
    except KeyboardInterrupt:
        if not rank():
            print('\nstopped', file=sys.stderr)
        status = 130  # 128 + SIGINT, as shells say
    except BaseException as error:
        status = _fail(error)
    _end(status)


def _end_with_launcher() -> None:
    """Let Linux send SIGTERM to this process when tools/dist_train.sh is killed.

    torchrun gives each process a session of its own, so it would train on, unseen, beside a run
    that the user resumes. Other launchers may start processes from threads that end, for which
    Linux would send the signal too.
    """
    if LAUNCHED in os.environ:
        end_with_parent(signal.SIGTERM)


def end_with_parent(number: int) -> None:
    """Let Linux send a signal to this process when the thread that started it ends."""
    if sys.platform == 'linux':
        ctypes.CDLL(None).prctl(SET_DEATH_SIGNAL, number)


def _leave() -> None:
    """Wait for the others, and close the connections."""
    if not dist.is_initialized():
        return
    dist.barrier()  # rank 0 may hold the store that the others still need
    dist.destroy_process_group()


def _fail(error: BaseException) -> int:
    """Say what happened, if no other process has; return the exit status."""
    expected = isinstance(error, (RecipeError, CheckpointError))
    lost = None if expected else LOST.search(str(error))
    if _is_first():
        sys.stderr.write(_text(error, expected, lost))
        sys.stderr.flush()
        if not lost:
            return 2 if expected else 1
    if not getattr(error, 'signal', 0):  # resume/signals.py: the launcher has ended it already
        time.sleep(GRACE)  # the launcher ends this process now, as one that did not fail by itself
    return 1


def _text(error: BaseException, expected: bool, lost: re.Match | None) -> str:
    where = f'rank {rank()} of {world_size()}'
    if lost:
        return f'{where} lost another process, which has ended ({lost.group()})\n'
    if expected:
        # What rank 0 finds before the processes meet, all of them find.
        return f'error: {error}\n' if not rank() else f'error in {where}: {error}\n'
    lines = ''.join(traceback.format_exception(type(error), error, error.__traceback__))
    return f'{lines}error in {where}, see above\n'


def _is_first() -> bool:
    """Whether no other process has failed before."""
    if not dist.is_initialized():
        # The same mistake, found by all: rank 0 says it, and the launcher ends the others.
        if rank():
            time.sleep(GRACE)
        return True
    try:
        return dist.distributed_c10d._get_default_store().add(KEY, 1) == 1
    except RuntimeError:  # the store has gone with the process that held it
        return False


def _end(status: int) -> None:
    """End without the destructors of C++, in which threads of gloo abort the process."""
    atexit._run_exitfuncs()  # trackers and data loaders finish here
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)
