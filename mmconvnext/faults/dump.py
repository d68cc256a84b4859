# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""A dump: all that it takes to compute a step again whose numbers were not finite."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ..checkpoint.atomic import atomic_path
from ..checkpoint.safe_globals import torch_load
from ..recipe.errors import RecipeError
from .plain import from_plain, to_plain
from .repeat import Turn

FOLDER, VERSION = 'bad_numbers', 1
KEYS = {'version', 'iteration', 'rank', 'state_dict', 'buffers', 'turns', 'scale', 'told'}


def write_dump(
    path: Path,
    model: nn.Module,
    buffers: Mapping[str, Tensor],
    turns: list[Turn],
    scale: float,
    **about: object,
) -> None:
    """Write a dump, and beside it what was told.

    Args:
        path: of a .pth file; its folder is made.
        model: not wrapped, before the step.
        buffers: those that the forward pass has changed, as they were before.
        turns: the iterations of the step.
        scale: of the loss.
        about: ``iteration``, ``rank`` and ``told``.

    Raises:
        OSError: it cannot be written.
        TypeError: the batch holds objects that cannot be stored as plain data.
    """
    content = dict(
        about,
        version=VERSION,
        state_dict=model.state_dict(),
        buffers=dict(buffers),
        turns=[dict(batch=to_plain(turn.batch), randomness=turn.randomness) for turn in turns],
        scale=scale,
    )
    with atomic_path(path) as part:
        torch.save(content, part)
    path.with_suffix('.txt').write_text(f'{about["told"]}\n', encoding='utf-8')


def read_dump(path: Path) -> dict:
    """The content of a dump; ``turns`` are Turns. Nothing in the file is executed.

    Raises:
        RecipeError: it is missing, damaged, or no dump.
    """
    if not path.is_file():
        raise RecipeError(f'there is no dump {path}; a run writes it to {FOLDER} in its work dir')
    try:
        content = torch_load(path, map_location='cpu')
    except Exception as error:  # torch raises many kinds for files that are none of its own
        text = ' '.join(str(error).split())[:300]
        raise RecipeError(f'{path} cannot be read as a dump: {text}') from error
    if not isinstance(content, dict) or not KEYS <= content.keys():
        raise RecipeError(
            f'{path} is no dump of a step; a run writes one to {FOLDER} in its work dir'
        )
    if content['version'] != VERSION:
        raise RecipeError(
            f'{path} is a dump of version {content["version"]}, and this release reads {VERSION}: '
            'use the release that wrote it'
        )
    turns = [Turn(from_plain(one['batch']), one['randomness']) for one in content['turns']]
    return {**content, 'turns': turns}
