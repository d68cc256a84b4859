# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Folders for what a tool writes: nothing that is there is overwritten."""

from __future__ import annotations

import os
from pathlib import Path

from ..recipe.errors import RecipeError
from .system_errors import short


def new_folder(path: str | Path, option: str = '--out') -> Path:
    """Create the folder of an option, or take it if it is empty.

    Raises:
        RecipeError: it holds files, is itself a file, or cannot be written.
    """
    folder = Path(os.path.expanduser(path))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        used = any(folder.iterdir())
    except OSError as error:
        raise RecipeError(
            f'{option}: {short(folder)} cannot be a folder: {error.strerror}; choose another'
        ) from error
    if used:
        raise RecipeError(
            f'{option}: {folder} is not empty, and files of the same name would be overwritten; '
            'choose a new folder'
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise RecipeError(f'{option}: {folder} cannot be written; choose another folder')
    return folder
