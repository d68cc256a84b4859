# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Reads what a training logged: mmengine's scalars.json, one file for each start of the run."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from mmengine.config import Config

from ...recipe.errors import RecipeError

LOG = 'vis_data/scalars.json'
# Files of a run that are not its log, by their suffix.
OTHERS = {'.py': 'a config', '.log': 'a log for reading', '.png': 'a picture'} | dict.fromkeys(
    ('.pth', '.pt', '.bin', '.safetensors'), 'a checkpoint'
)
LARGEST = 1e100  # axes of matplotlib overflow beyond 1e300; drawn as infinite; our choice
NOT_METRICS = ('step', 'time', 'data_time')  # of a row of validation


@dataclass
class Run:
    """What a training has logged so far, over all its starts."""

    name: str
    train: list[dict] = field(default_factory=list)  # rows with 'iter', which begins at 1
    val: list[tuple[float, dict]] = field(default_factory=list)  # iteration, metrics
    starts: list[int] = field(default_factory=list)  # the first iterations of resumed parts
    epoch: int | None = None  # its length in iterations; None: by iteration, or not known yet
    config: Config | None = None  # of the last start
    notes: list[str] = field(default_factory=list)  # what the user must know

    def series(self, key: str) -> list[tuple[float, float]]:
        """Points (iteration, value) of a logged quantity; values may be nan or infinite."""
        if key in self.keys():
            return [(row['iter'], float(row[key])) for row in self.train if _has(row, key)]
        # -1 is COCO's mark for 'no object of this kind'.
        return [(x, float(row[key])) for x, row in self.val if _has(row, key) and row[key] != -1]

    def keys(self) -> list[str]:
        """Quantities of the training."""
        return _keys(self.train, ('epoch', 'iter', 'step'))

    def metrics(self) -> list[str]:
        """Quantities of the validation."""
        return _keys([row for _, row in self.val], NOT_METRICS)

    def length(self) -> int | None:
        """The planned number of iterations; None if that is not known."""
        plan = (self.config or {}).get('train_cfg') or {}
        if plan.get('max_iters'):
            return plan['max_iters']
        return plan['max_epochs'] * self.epoch if plan.get('max_epochs') and self.epoch else None


def read_run(path: str) -> Run:
    """Read a work dir, the folder of one start in it, or a scalars.json.

    A start that resumes continues the curve, from its first iteration on; one that begins anew
    replaces what was logged before.

    Raises:
        RecipeError: there is no log, or it is damaged throughout.
    """
    run = Run(Path(path).resolve().name if Path(path).is_dir() else path)
    before = None
    for log in find_logs(path):
        rows = list(_rows(log, run.notes))
        first = next((row['iter'] for row in rows if 'iter' in row), None)
        if first is None and not run.train:
            run.val = _validations(rows, None)
        if first is None:
            continue
        config = _config(log)
        if before and _begins_anew(config, first, run.train[0]['iter']):
            run.notes.append(
                f'{path}: {log.parents[1].name} began anew; what was logged before is not drawn. '
                f'To see it, name its folder: {before.parents[1]}'
            )
            run.train, run.val, run.starts = [], [], []
        if run.train:
            run.starts.append(first)
        run.train = [row for row in run.train if row['iter'] < first]
        run.val = [(x, row) for x, row in run.val if x < first]
        train = [row for row in rows if 'iter' in row]
        run.epoch = _epoch_length(train) or run.epoch
        run.train += train
        run.val += _validations(rows, run.epoch)
        run.config, before = config, log
    return run


def find_logs(path: str) -> list[Path]:
    """The logs of a run in the order of its starts.

    Raises:
        RecipeError: there is none.
    """
    place = Path(path)
    if place.is_file() and place.suffix in OTHERS:
        parents = (place.parent, Path('work_dirs', place.stem))
        runs = [str(folder) for folder in parents if any(folder.glob(f'*/{LOG}'))]
        raise RecipeError(
            f'{path} is {OTHERS[place.suffix]}, where a run is expected; name its work dir, such '
            f'as {(runs or ["work_dirs/CONFIG"])[0]}'
        )
    if place.is_file():
        return [place]
    own = [file for file in (place / LOG, place / 'scalars.json') if file.is_file()]
    found = own or sorted(place.glob(f'*/{LOG}'), key=lambda file: file.parents[1].name)
    if found:
        return found
    if not place.exists():
        raise RecipeError(f'there is no {path!r}; name a work dir, such as work_dirs/CONFIG')
    below = sorted({str(file.parents[2]) for file in place.glob(f'*/*/{LOG}')})
    if below:
        raise RecipeError(f'{path} holds several runs; name one or more: {" ".join(below[:8])}')
    raise RecipeError(
        f'{path} holds no run: no */{LOG}. Name a work dir, such as work_dirs/CONFIG, the folder '
        'of one start in it, or a scalars.json'
    )


def _rows(log: Path, notes: list[str]) -> Iterator[dict]:
    damaged = []
    lines = log.read_bytes().decode('utf-8', 'replace').splitlines()
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if isinstance(row, dict):
            row = {key: _drawable(value) for key, value in row.items()}
            if not _is_finite(row.get('iter', 0)):
                row.pop('iter')
            yield row
        elif line.strip():
            damaged.append(number)
    if damaged and len(damaged) == len(lines):
        raise RecipeError(f'{log} is no log of mmengine: no line of it is a JSON object')
    if damaged:
        some = ', '.join(map(str, damaged[:5])) + (', ...' if damaged[5:] else '')
        why = '; the run may be writing it just now' if damaged == [len(lines)] else ''
        notes.append(f'{log}: left out line {some} of {len(lines)}, which is no JSON object{why}')


def _config(log: Path) -> Config | None:
    """The config that mmengine wrote beside the log; None if there is none to read."""
    file = log.with_name('config.py')
    try:
        return Config.fromfile(file, import_custom_modules=False)
    except Exception:  # whatever Python a config may hold, the curves do not depend on it
        return None


def _begins_anew(config: Config | None, first: int, earlier: int) -> bool:
    """Whether a start whose log begins at iteration ``first`` did not resume."""
    if config is not None:
        return not config.get('resume')
    return first <= earlier


def _epoch_length(train: list[dict]) -> int | None:
    """Iterations of an epoch: from the first row of an epoch to that of the next.

    None: the log is by iteration, or has a single epoch.
    """
    firsts: dict[int, int] = {}
    for row in train:
        if 'epoch' in row:
            firsts.setdefault(row['epoch'], row['iter'])
    steps = [firsts[e + 1] - firsts[e] for e in firsts if e + 1 in firsts]
    # Of a run that has not finished its first epoch, or that logged once in each.
    return round(median(steps)) if steps else None


def _validations(rows: list[dict], epoch: int | None) -> list[tuple[float, dict]]:
    """The rows of validation with their iterations; mmdet's rows count epochs."""
    found, last, by_epoch = [], 0, False
    for row in rows:
        if 'iter' in row:
            last, by_epoch = row['iter'], 'epoch' in row
        elif any(_is_number(value) for key, value in row.items() if key not in NOT_METRICS):
            step = row['step'] if _is_finite(row.get('step')) else 0
            # Mask2Former's configs count no epochs, and write step 0.
            found.append((max(last, step * (epoch or 0) if by_epoch else step), row))
    return found


def _keys(rows: list[dict], without: tuple[str, ...]) -> list[str]:
    found = {key: None for row in rows for key, value in row.items() if _is_number(value)}
    return [key for key in found if key not in without]


def _has(row: dict, key: str) -> bool:
    return _is_number(row.get(key))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_finite(value: object) -> bool:
    return _is_number(value) and math.isfinite(value)


def _drawable(value: object) -> object:
    if not _is_number(value) or not abs(value) > LARGEST:
        return value
    return math.inf if value > 0 else -math.inf


def finite(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points whose values are neither nan nor infinite."""
    return [(x, y) for x, y in points if math.isfinite(y)]
