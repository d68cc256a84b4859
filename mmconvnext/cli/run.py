# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Runs a tool: mistakes that the user can fix are one message, without a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module

from ..checkpoint.errors import CheckpointError
from ..recipe.errors import RecipeError
from .system_errors import told
from .unregistered import unregistered


def start(tool: str) -> None:
    """Run ``main`` of a module of this folder, as `tools/_start.py` does, which is faster."""
    run_tool(import_module(f'{__package__}.{tool}').main)


def run_tool(main: Callable[[], object]) -> None:
    """Call ``main``; print a RecipeError or CheckpointError as one message, exit with status 2.

    So are a full disk, missing rights and the like (:mod:`.system_errors`), and a type that nothing
    registers (:mod:`.unregistered`). Ctrl-C, and a reader of the output that stops, end it without
    a traceback.
    """
    try:
        main()
    except (RecipeError, CheckpointError) as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print('\nstopped', file=sys.stderr)
        sys.exit(130)  # 128 + SIGINT, as shells say
    except BrokenPipeError:  # the reader has enough, as in `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing left to flush
        sys.exit(1)
    except (OSError, KeyError) as error:
        text = told(error) if isinstance(error, OSError) else unregistered(error)
        if not text:
            raise
        print(f'error: {text}', file=sys.stderr)
        sys.exit(2)
