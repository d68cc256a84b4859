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


def last_checkpoint(work_dir: str) -> tuple[str, str]:
    """The checkpoint that ``--resume`` continues from, and a warning or ''.

    mmengine notes its name in ``last_checkpoint`` after each save. If the process was killed in
    between, or before the note was written to its end, the newest checkpoint is taken.

    Raises:
        RecipeError: the folder holds no run.
    """
    note = Path(work_dir) / 'last_checkpoint'
    named = note.read_text().strip() if note.is_file() else ''
    beside = Path(work_dir) / Path(named).name  # the folder may have been moved since
    if '://' in named:
        return named, ''
    for path in (Path(named), beside):
        if named and path.is_file():
            return str(path), ''
    saved = [path for path in Path(work_dir).glob('*.pth') if not path.name.startswith('best_')]
    saved.sort(key=lambda path: path.stat().st_mtime)
    if not saved:
        raise RecipeError(
            f'--resume: {work_dir} holds no run to continue (no checkpoints); name its folder with '
            '--work-dir, or a checkpoint with --resume FILE'
        )
    fault = f'names {named!r}, which is gone' if named else 'is missing or empty'
    return str(saved[-1]), f'{note} {fault}; resuming from the newest checkpoint, {saved[-1]}'
