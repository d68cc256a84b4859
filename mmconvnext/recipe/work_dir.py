# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The work dir of a run: its default, what to resume there, and no overwriting of other runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from .errors import RecipeError

# A CheckpointHook that saves in the work dir under mmengine's names.
MMENGINES: Mapping[str, object] = MappingProxyType({})


def default_work_dir(config: str, toy: bool = False) -> str:
    """``work_dirs/<config name>``, plus ``_toy`` for a rehearsal on toy data."""
    return str(Path('work_dirs') / (Path(config).stem + ('_toy' if toy else '')))


def folders(work_dir: str, hook: Mapping[str, object] = MMENGINES) -> list[Path]:
    """Where a run saves checkpoints on a disk: its work dir, and where its CheckpointHook does.

    Args:
        hook: the config of the CheckpointHook.
    """
    place, out = os.path.abspath(work_dir), str(hook.get('out_dir') or '')
    found = [Path(work_dir)]
    if out and out != place and '://' not in out:
        found.append(Path(out, os.path.basename(place)))  # as mmengine's hook does
    return found


def checkpoints(work_dir: str, hook: Mapping[str, object] = MMENGINES) -> list[Path]:
    """The checkpoints that a run has saved on a disk, the best ones too; see :func:`folders`."""
    endings = {'.pth', Path(str(hook.get('filename_tmpl') or '')).suffix} - {''}
    inside = (folder.iterdir() for folder in folders(work_dir, hook) if folder.is_dir())
    return [path for paths in inside for path in sorted(paths) if path.suffix in endings]


def refuse_used(work_dir: str, hook: Mapping[str, object] = MMENGINES) -> None:
    """Raise if ``work_dir`` holds the checkpoints of another run, or names them.

    mmengine would overwrite ``epoch_1.pth`` and ``last_checkpoint``; logs are safe, because each
    start has its own folder for them.

    Raises:
        RecipeError: the folder holds checkpoints.
    """
    noted = _noted(work_dir)
    found = [path.name for path in checkpoints(work_dir, hook)] or [noted] * ('://' in noted)
    if found:
        raise RecipeError(
            f'{work_dir} holds another run ({", ".join(found[:3])}{" ..." if found[3:] else ""}), '
            'whose checkpoints this one would overwrite; continue it with --resume, or choose '
            'another folder with --work-dir'
        )


def refuse_unwritable(work_dir: str) -> None:
    """Raise if a run could not write to ``work_dir``, which may not exist yet.

    Raises:
        RecipeError: it is below a file, or a folder that this user may not write to.
    """
    here = Path(os.path.abspath(work_dir))
    while not here.exists():
        here = here.parent
    fault = 'is a file' if not here.is_dir() else ''
    if not fault and not os.access(here, os.W_OK | os.X_OK):
        fault = 'may not be written to by this user'
    if fault:
        raise RecipeError(f'work dir {work_dir}: {here} {fault}; choose a folder with --work-dir')


def _noted(work_dir: str) -> str:
    """What mmengine has written to the file ``last_checkpoint``; '' if there is none."""
    note = Path(work_dir) / 'last_checkpoint'
    return note.read_text().strip() if note.is_file() else ''


def of_run(path: Path) -> bool:
    """Whether a checkpoint is no copy of the best weights, which a run does not go on from."""
    return not path.name.startswith('best_')


def last_checkpoint(work_dir: str, hook: Mapping[str, object] = MMENGINES) -> tuple[str, str]:
    """The checkpoint that ``--resume`` continues from, and a warning or ''.

    mmengine writes its path to the file ``last_checkpoint`` after each save. In a folder that was
    copied or moved, that path points to the original, so a file of this name in ``work_dir`` takes
    precedence. If the process was killed before the path was written, the newest checkpoint is
    used.

    Raises:
        RecipeError: the folder holds no run.
    """
    note, named = Path(work_dir) / 'last_checkpoint', _noted(work_dir)
    if '://' in named:
        return named, ''
    beside = Path(work_dir) / Path(named).name
    if named and beside.is_file():
        moved = Path(named).is_file() and not beside.samefile(named)
        other = f'{note} names {named}, in another folder; resuming from {beside}'
        return str(beside), other if moved else ''
    saved = [path for path in checkpoints(work_dir, hook) if of_run(path)]
    elsewhere = named and Path(named).is_file()
    own = [folder.resolve() for folder in folders(work_dir, hook)]
    if elsewhere and (not saved or Path(named).resolve().parent in own):
        return named, ''  # CheckpointHook saves in another folder: out_dir
    saved.sort(key=lambda path: path.stat().st_mtime)
    if not saved:
        raise RecipeError(
            f'--resume: {work_dir} holds no run to continue (no checkpoints); give its folder with '
            '--work-dir, or a checkpoint with --resume FILE'
        )
    fault = f'names {named!r}, which does not exist' if named else 'is missing or empty'
    fault = f'names {named}, in another folder' if elsewhere else fault
    return str(saved[-1]), f'{note} {fault}; resuming from the newest checkpoint, {saved[-1]}'


def holds_checkpoint(
    work_dir: str,
    hook: Mapping[str, object] = MMENGINES,
    since: float = 0.0,
) -> bool:
    """Whether a run has saved a checkpoint, ``since`` a time in seconds since 1970."""
    saved = [path for path in checkpoints(work_dir, hook) if of_run(path)]
    noted = _noted(work_dir)
    if '://' in noted:
        saved.append(Path(work_dir) / 'last_checkpoint')
    elif noted and Path(noted).is_file():
        saved.append(Path(noted))
    return any(path.stat().st_mtime >= since for path in saved)


def keep_in_work_dir(info: dict[str, object], work_dir: str) -> None:
    """Replace the folder of the checkpoint paths in a run's state with ``work_dir``, in place.

    CheckpointHook deletes the best checkpoint when a better one appears. In a copied folder, or a
    run resumed in another folder, the saved path is that of the original's checkpoint.
    """
    for key, value in info.items():
        if key.startswith(('best_ckpt', 'last_ckpt')) and isinstance(value, str):
            if '://' not in value:
                info[key] = str(Path(work_dir) / Path(value).name)
