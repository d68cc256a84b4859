# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Check that the MM stack can be imported, with an error that says how to fix it."""

from __future__ import annotations

from importlib import import_module

from ..recipe.errors import RecipeError

REMEDY = """\
Tested sets (README, "Install"): openmmlab with mmcv 2.1.0, mmdet 3.3.0, mmsegmentation 1.2.2, or
onedl. mmcv is compiled against the torch that is installed, so after changing torch rebuild it:
  pip install "setuptools<81" wheel ninja psutil
  pip install --no-build-isolation --no-cache-dir --force-reinstall --no-deps mmcv==2.1.0
or let `make setup` do it."""


def require_stack() -> None:
    """Import the packages that every tool needs.

    Raises:
        RecipeError: a package is missing, was built against another torch (``mmcv._ext``), or is
            incompatible with the others (mmdet 3.3 refuses mmcv 2.2).
    """
    for module in ('mmcv.ops', 'mmdet', 'mmseg'):
        try:
            import_module(module)
        except (ImportError, AssertionError, OSError) as error:
            raise RecipeError(f'cannot import {module}: {error}\n{REMEDY}') from error


def require_extra(*modules: str) -> None:
    """Import packages that only some of the tools need.

    Raises:
        RecipeError: one is not installed.
    """
    for module in modules:
        try:
            import_module(module)
        except ImportError as error:
            raise RecipeError(
                f'cannot import {module}: {error}; pip install "mmconvnext[tools]" installs what '
                'this tool needs'
            ) from error
