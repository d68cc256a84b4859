# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Runs a tool: mistakes that the user can fix are one message, without a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module

from ..checkpoint.errors import CheckpointError
from ..recipe.errors import RecipeError


def start(tool: str) -> None:
    """Run ``main`` of a module of this folder, as `tools/_start.py` does, which is faster."""
    run_tool(import_module(f'{__package__}.{tool}').main)


def run_tool(main: Callable[[], object]) -> None:
    """Call ``main``; print a RecipeError or CheckpointError as one message, exit with status 2."""
    try:
        main()
    except (RecipeError, CheckpointError) as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(2)
