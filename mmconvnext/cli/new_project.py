# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Writing a config for one's own data: what ``tools/new_project.py`` does."""

from __future__ import annotations

import argparse
import re
import threading
import urllib.request
from contextlib import suppress
from pathlib import Path

import torch

from ..checkpoint import zoo
from ..checkpoint.download import cached
from ..project.choices import (
    DEFAULT_SIZE,
    WEIGHTS,
    Choice,
    Plan,
    plan,
    pretrained,
    random,
)
from ..project.find import survey_of
from ..project.survey import Survey
from ..project.write import base_expression, config_text
from ..recipe.errors import RecipeError
from .commands import command, data_folder
from .options import project_parser
from .system_errors import reason, short

PATIENCE = 3  # seconds for a server to answer; our choice
SHOWN = 10  # classes that are listed; our choice


def main(argv: list[str] | None = None) -> Path:
    """Parse ``argv``, write the config, print what was found and chosen; return its path."""
    args = project_parser().parse_args(argv)
    root = Path(args.data)
    survey, task = survey_of(root, args.task, args.annotations, args.images, args.classes)
    out = _place(args.out or f'{_plain(root)}_{task}.py')
    device = args.device or ('gpu' if torch.cuda.is_available() else 'cpu')
    size = args.size or DEFAULT_SIZE[device]
    chosen = plan(survey, task, device, size, _weights(args, size))
    text = config_text(survey, chosen, base_expression(task, device, out))
    _write(out, text)
    print('\n'.join(report(survey, chosen, out, text)))
    return out


def report(survey: Survey, chosen: Plan, out: Path, text: str) -> list[str]:
    """What was found and chosen, how long a run may take, and the commands that come next."""
    own, lines = survey.own_data, []
    for split, count in (('train', survey.images), ('val', survey.val_images)):
        part = own[split]
        if isinstance(part, dict):
            maps = 'label maps in ' * survey.is_maps
            where = f'images in {part["images"]}, {maps}{part["annotations"]}'
        else:
            where = f'a part of them (val={part})'
        lines.append(f'{split:8} {count} image{"s" * (count != 1)}: {where}')
    (w, h), (low, high) = survey.sizes.min(0), survey.sizes.max(0)
    size = f'{w} x {h}' if (w, h) == (low, high) else f'{w} x {h} to {low} x {high}'
    lines.append(f'{"sizes":8} {size} pixels')
    unit = 'label maps' if survey.is_maps else 'objects'
    counts = [f'{name} {n}' for name, n in survey.counts.items()]
    more = f', and {len(counts) - SHOWN} more' * (len(counts) > SHOWN)
    lines.append(f'{"classes":8} {len(counts)}, with {unit}: {", ".join(counts[:SHOWN])}{more}')
    lines += [f'{"note":8} {note}' for note in survey.notes]
    lines.append(f'{"weights":8} {chosen.weights.why}')
    lines.append(f'{"wrote":8} {out}, {len(text.splitlines())} lines: each choice with its reason')
    took = f'{chosen.iterations} iterations of {chosen.batch.value} images'
    if chosen.minutes is not None:
        took += f', about {_duration(chosen.minutes)} on 2 idle cores'
    lines.append(f'{"run":8} {took}')
    lines += [
        'next:',
        f'  {command("browse_dataset", out, "--out", data_folder(out))}',
        f'  {command("check_config", out)}',
        f'  {command("train", out)}',
    ]
    return lines


def _duration(minutes: float) -> str:
    if minutes < 90:
        return f'{max(1, round(minutes))} minutes'
    return f'{minutes / 60:.0f} hours' if minutes < 48 * 60 else f'{minutes / 1440:.0f} days'


def _plain(root: Path) -> str:
    """A name for a file that every shell and importer takes."""
    name = re.sub(r'[^a-z0-9]+', '_', root.resolve().name.lower()).strip('_')
    return name or 'project'


def _place(out: str) -> Path:
    """The path to write to.

    Raises:
        RecipeError: it exists, or is not a .py file.
    """
    path = Path(out)
    if path.suffix != '.py':
        raise RecipeError(f'--out {out}: a config is a .py file')
    if path.exists() or path.is_symlink():
        raise RecipeError(f'{out} exists and would be overwritten; choose another name with --out')
    return path


def _write(out: Path, text: str) -> None:
    """Write the config whole, or nothing, as on a full disk."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        file = out.open('x', encoding='utf-8')
    except OSError as error:
        raise RecipeError(f'{short(out)} cannot be written: {reason(error)}') from error
    try:
        with file:
            file.write(text)
    except OSError as error:
        out.unlink()
        raise RecipeError(f'{short(out)} cannot be written: {reason(error)}') from error


def _weights(args: argparse.Namespace, size: str) -> Choice:
    """Random or pretrained weights; unless it was said which, those that can be had."""
    if args.random:
        return random()
    if args.pretrained or reachable(zoo.find(WEIGHTS[size]).url):
        return pretrained(size)
    host = zoo.find(WEIGHTS[size]).url.split('/')[2]
    return random(host)


def reachable(url: str) -> bool:
    """Whether a file is in the cache, or its server answers soon."""
    if cached(url).is_file():
        return True
    answered = []

    def ask() -> None:
        request = urllib.request.Request(url, method='HEAD')
        with suppress(OSError, ValueError), urllib.request.urlopen(request, timeout=PATIENCE):
            answered.append(True)

    # The timeout does not cover the look-up of the name, which may take half a minute.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(PATIENCE)
    return bool(answered)
