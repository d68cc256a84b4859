# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""From a folder to its survey: what kind of data it holds, or how to convert them."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from ..recipe.errors import RecipeError
from .coco import survey_coco
from .look import Seen, look, prepare_command
from .maps import survey_maps
from .survey import Survey

REPORT = 'report.json'  # of tools/prepare_data.py; its key own_data is the dict for a config


def survey_of(
    root: Path,
    task: str | None = None,
    annotations: list[str] | None = None,
    images: list[str] | None = None,
    classes: list[str] | None = None,
) -> tuple[Survey, str]:
    """Look at a folder; return the facts and the task, 'det', 'instance' or 'semantic'.

    Args:
        task: None for what the data have.
        annotations, images, classes: instead of what would be found; see the tool's options.

    Raises:
        RecipeError: the data do not fit the task, or have to be converted or mended first.
    """
    seen = look(root)
    is_coco = _is_coco(seen, annotations)
    if task == 'semantic' and is_coco and not annotations and _has_maps(seen):
        is_coco = False
    if classes and is_coco:
        raise RecipeError('--classes is for label maps; COCO files name their categories')
    if task == 'semantic' and is_coco:
        raise RecipeError(
            f'{root} has COCO files, and semantic segmentation needs label maps:\n{seen.told()}\n'
            f'make them:\n  {prepare_command(root, "--task semantic")}'
        )
    if is_coco:
        survey = survey_coco(seen, task or '', annotations, images)
        return survey, 'instance' if survey.masks else 'det'
    if seen.others and not annotations and not (task == 'semantic' and _has_maps(seen)):
        kinds = ' and '.join(seen.others)
        raise RecipeError(
            f'{root} holds {kinds}, which training does not read:\n{seen.told()}\nconvert them, '
            f'then go on with the new folder:\n  {prepare_command(root)}\n'
            f'  python tools/new_project.py {shlex.quote(str(root) + "_prepared")}'
        )
    if task in ('det', 'instance'):
        raise RecipeError(
            f'{root} has no COCO file, which --task {task} needs:\n{seen.told()}\nif it has label '
            'maps, this makes each connected part an object:\n'
            f'  {prepare_command(root, "--task instance")}'
        )
    return survey_maps(seen, annotations, images, classes or _reported(root)), 'semantic'


def _is_coco(seen: Seen, annotations: list[str] | None) -> bool:
    if annotations:
        return annotations[0].lower().endswith('.json')
    return bool(seen.coco)


def _has_maps(seen: Seen) -> bool:
    try:
        return bool(survey_maps(seen, None, None, None))
    except RecipeError:
        return False


def _reported(root: Path) -> list[str] | None:
    """Names of the classes as tools/prepare_data.py wrote them."""
    try:
        own_data = json.loads((root / REPORT).read_text(encoding='utf-8'))['own_data']
        return list(map(str, own_data['classes']))
    except (OSError, ValueError, KeyError, TypeError):
        return None
