# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Finds the config and the checkpoint that belong together."""

from __future__ import annotations

import os
from pathlib import Path

from ..checkpoint.lookup import look_up
from ..recipe.errors import RecipeError
from ..recipe.work_dir import last_checkpoint
from .arguments import cut

WEIGHTS, CONFIGS = ('.pth', '.pt', '.bin', '.safetensors'), ('.py', '.yml', '.yaml')


def find_run(config: str | Path, checkpoint: str | Path | None) -> tuple[Path, str]:
    """The config file and the checkpoint: a path, URL or short name that exists.

    Args:
        config: a config file, or the folder of a run: a work dir.
        checkpoint: None takes that of the work dir; a work dir is possible here too.

    Raises:
        RecipeError: the folder has no config or no checkpoint, or several configs; or a config is
            given where a checkpoint is expected.
        CheckpointNotFound: there is no such checkpoint.
    """
    config = os.path.expanduser(config)  # Path's fails for ~nobody
    if checkpoint is None:
        if not os.path.isdir(config):  # Path's fails for a name that is too long
            raise RecipeError(_alone(config))
        checkpoint = config
    if os.path.isdir(config):
        config = _config_in(Path(config))
    return Path(config), find_checkpoint(checkpoint)


def find_checkpoint(checkpoint: str | Path) -> str:
    """The path of a checkpoint, or the best one of a work dir; a URL or short name that exists.

    Raises:
        RecipeError: the folder has none, or it is a config.
        CheckpointNotFound: there is no such checkpoint.
    """
    folder = os.path.expanduser(checkpoint)
    if os.path.isdir(folder):
        checkpoint = _checkpoint_in(Path(folder))
    elif Path(folder).suffix in CONFIGS:
        raise RecipeError(
            f'{checkpoint} is a config, where a checkpoint is expected; the config comes first, '
            'then the checkpoint, or the folder of a run alone'
        )
    return str(look_up(str(checkpoint)))


def _alone(given: str) -> str:
    """What to do if a single path was given, which is no folder."""
    config = Path(given)
    if not os.path.exists(given):
        return f'there is no {cut(given)}: give the folder of a run, or a config and a checkpoint'
    if config.suffix in WEIGHTS:
        return (
            f'{config} is a checkpoint, which needs its config: give the config first, then the '
            f'checkpoint, or the folder of the run alone: {config.parent}'
        )
    return (
        f'{config} needs a checkpoint: give the config, then the checkpoint, or the folder of a '
        'run alone, such as work_dirs/CONFIG'
    )


def _config_in(folder: Path) -> Path:
    found = sorted(folder.glob('*.py'))
    if len(found) != 1:
        names = ', '.join(file.name for file in found[:5])
        raise RecipeError(
            f'{folder} holds {f"several configs ({names})" if found else "no config (*.py)"}: give '
            'the config file and the checkpoint'
        )
    return found[0]


def _checkpoint_in(folder: Path) -> Path | str:
    """The newest of the best checkpoints, else the last one."""
    best = sorted(folder.glob('best_*.pth'), key=lambda file: file.stat().st_mtime)
    if best:
        return best[-1]
    if not [*folder.glob('*.pth')] and not (folder / 'last_checkpoint').is_file():
        raise RecipeError(f'{folder} holds no checkpoint (*.pth): give the folder of a run, or one')
    return last_checkpoint(str(folder))[0]
