# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Runs a tool: mistakes that the user can fix are one message, without a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module

from ..checkpoint.errors import CheckpointError
from ..recipe.errors import RecipeError
from ..recipe.quiet import ignore_idle_warnings
from .system_errors import told
from .unregistered import unregistered

# What launchers set (recipe/ranks.py); most tools are started by none, and need not import torch.
LAUNCHED = ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK')


def start(tool: str) -> None:
    """Run ``main`` of a module of this folder, as `tools/_start.py` does, which is faster."""
    run_tool(import_module(f'{__package__}.{tool}').main)


def run_tool(main: Callable[[], object]) -> None:
    """Call ``main``; print a RecipeError or CheckpointError as one message, exit with status 2.

    So are a full disk, missing rights and the like (:mod:`.system_errors`), a type that nothing
    registers (:mod:`.unregistered`), and an argument that a class of ours refuses
    (:mod:`.refused`). Ctrl-C, and a reader of the output that stops, end it without
    a traceback. What the console cannot show, such as names of files that are no UTF-8, becomes an
    escape. Warnings that nobody can act on stay away (:mod:`..recipe.quiet`). One of several
    processes says its rank, and ends with them.
    """
    if hasattr(sys.stdout, 'reconfigure'):  # not in notebooks and tests
        sys.stdout.reconfigure(errors='backslashreplace')  # as sys.stderr does
    ignore_idle_warnings()
    if any(name in os.environ for name in LAUNCHED):
        from ..recipe.ranks import world_size

        if world_size() > 1:
            from ..distributed.process import run_one_of_several

            return run_one_of_several(lambda: _explained(main))
    try:
        _explained(main)
    except (RecipeError, CheckpointError) as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print('\nstopped', file=sys.stderr)
        sys.exit(130)  # 128 + SIGINT, as shells say
    except BrokenPipeError:  # the reader has enough, as in `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing left to flush
        sys.exit(1)


def _explained(main: Callable[[], object]) -> None:
    """Call ``main``; what other packages raise for a mistake of the user becomes a RecipeError."""
    try:
        main()
    except (RecipeError, CheckpointError):
        raise
    except (OSError, KeyError, TypeError, ValueError) as error:
        text = told(error) if isinstance(error, OSError) else ''
        if isinstance(error, KeyError):
            text = unregistered(error)
        elif isinstance(error, (TypeError, ValueError)):
            from .refused import refused  # needs mmengine, which raised it

            text = refused(error)
        if not text:
            raise
        raise RecipeError(text) from error
