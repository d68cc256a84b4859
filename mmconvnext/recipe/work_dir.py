# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Where a run writes, and that it overwrites no other run."""

from __future__ import annotations

from pathlib import Path

from .errors import RecipeError


def default_work_dir(config: str, toy: bool = False) -> str:
    """``work_dirs/<config name>``, with ``_toy`` behind it for a rehearsal on toy data."""
    return str(Path('work_dirs') / (Path(config).stem + ('_toy' if toy else '')))


def refuse_used(work_dir: str) -> None:
    """Raise if ``work_dir`` holds the checkpoints of another run.

    mmengine would write over ``epoch_1.pth`` and ``last_checkpoint``; logs are safe, they go into a
    folder of their own for each start.

    Raises:
        RecipeError: checkpoints lie there.
    """
    found = sorted(p.name for p in Path(work_dir).glob('*.pth'))
    if found:
        raise RecipeError(
            f'{work_dir} holds another run ({", ".join(found[:3])}{" ..." if found[3:] else ""}), '
            'whose checkpoints this one would overwrite; continue it with --resume, or choose '
            'another folder with --work-dir'
        )
