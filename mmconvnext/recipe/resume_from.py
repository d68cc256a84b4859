# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What `--resume` continues from: the newest checkpoint that is whole, and the seed of its run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from ..checkpoint.errors import CheckpointError
from ..checkpoint.whole import look
from .errors import RecipeError
from .work_dir import MMENGINES, checkpoints, last_checkpoint, of_run

# Attribute of a config, not a setting: the weights that the run to resume began from.
BEGUN_FROM = '_begun_from'


def newest_whole(
    work_dir: str,
    warn: Callable[[str], None],
    hook: Mapping[str, object] = MMENGINES,
) -> tuple[str, dict]:
    """The newest whole checkpoint of a run, and its ``meta`` ({} if it is not a local file).

    It is the one that `last_checkpoint` names, or a later one, if the run was killed before it
    wrote the name. If it is damaged, the one before it is taken, with a warning.

    Args:
        hook: the config of the run's CheckpointHook, which may save in another folder.

    Raises:
        RecipeError: the folder holds no run, or no whole checkpoint.
    """
    named, warning = last_checkpoint(work_dir, hook)
    if warning:
        warn(warning)
    if '://' in named:
        return named, {}
    note, faults = Path(work_dir) / 'last_checkpoint', []
    others = [path for path in checkpoints(work_dir, hook) if of_run(path)]
    others = [path for path in others if path.resolve() != Path(named).resolve()]
    others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    noted = note.stat().st_mtime if note.is_file() else float('inf')
    newer = [path for path in others if path.stat().st_mtime > noted]
    meta = _meta(named, faults)
    if not meta and not faults:
        faults.append(f'{named} holds no training state')
    found = [(named, meta)] if meta else []
    for path in newer:
        later = _meta(path, faults)
        if later and (not meta or later['iter'] > meta['iter']):
            found.insert(0, (str(path), later))
            break
    if not found:
        metas = ((str(path), _meta(path, faults)) for path in others if path not in newer)
        found = [pair for pair in [next((pair for pair in metas if pair[1]), None)] if pair]
    if not found:
        raise RecipeError(
            f'--resume: {work_dir} holds no whole checkpoint:\n' + '\n'.join(faults) + '\nTo start '
            'again, choose another folder with --work-dir'
        )
    if faults:
        warn('\n'.join(faults) + f'\nResuming from {found[0][0]}')
    return found[0]


def meta_of(source: str | Path) -> dict:
    """The ``meta`` of a checkpoint that the user names; {} if it is no file, or not whole.

    What is wrong with it is said when the run loads it.
    """
    return _meta(source, []) if isinstance(source, Path) else {}


def _meta(path: str | Path, faults: list[str]) -> dict:
    """The ``meta`` of a whole checkpoint of a run; {} for other files, a fault for damaged ones."""
    try:
        content = look(path)
    except CheckpointError as error:
        faults.append(str(error))
        return {}
    meta = content.get('meta')
    runs = 'optimizer' in content and isinstance(meta, Mapping)
    return dict(meta) if runs and isinstance(meta.get('iter'), int) else {}
