# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What is drawn of runs, and what is said about them in a few lines."""

from __future__ import annotations

import math
from fnmatch import fnmatchcase

from ...recipe.errors import RecipeError
from .chart import Panel
from .log import Run, finite

# The metrics that a run is judged by, a panel each, by the ends of their names. If a run has none
# of these, all its metrics are drawn.
METRICS = ('mAP', 'mIoU', 'mDice', 'mFscore', 'PQ')


def choose_panels(runs: list[Run], patterns: list[str] | None = None) -> list[Panel]:
    """The panels of a picture.

    Args:
        patterns: a panel for each: a key of the log, the end of its name ('mAP'), or a pattern
            ('loss*'). None: the loss, its parts (of a single run), learning rate, metrics, time.

    Raises:
        RecipeError: nothing is logged yet, or no key matches.
    """
    trained = _all(run.keys() for run in runs)
    validated = _all(run.metrics() for run in runs)
    if patterns:
        return [Panel(pattern, _matches(pattern, trained + validated)) for pattern in patterns]
    panels = [Panel('loss', ['loss'])] if 'loss' in trained else []
    parts = [key for key in trained if 'loss' in key and key != 'loss']
    if parts and len(runs) == 1:
        panels.append(Panel('parts of the loss', parts))
    if 'lr' in trained:
        panels.append(Panel('learning rate', ['lr']))
    elif rates := [key for key in trained if key.endswith('.lr')]:  # of several optimizers
        panels.append(Panel('learning rates', rates))
    judged = {name: [key for key in validated if _ends(key, name)] for name in METRICS}
    judged = {name: keys for name, keys in judged.items() if keys}
    if not judged and validated:
        judged = {'metrics': validated}
    panels += [Panel(name, keys) for name, keys in judged.items()]
    times = ('time', 'data_time') if len(runs) == 1 else ('time',)
    times = [key for key in times if key in trained]
    if times:
        panels.append(Panel('seconds per iteration', times))
    if not panels:
        raise RecipeError(
            'nothing is logged yet: a training writes its first line after '
            'default_hooks.logger.interval iterations (50 unless the config says otherwise)'
        )
    return panels


def describe(run: Run) -> list[str]:
    """Lines about a run: how far it is, its last loss, its best metrics, time left, faults."""
    lines = []
    if run.train:
        row, length = run.train[-1], run.length()
        parts = [f'{row["iter"]} of {length} iterations' if length else f'{row["iter"]} iterations']
        parts += [f'loss {row["loss"]:.4g}'] if 'loss' in row else []
        if row.get('time') and math.isfinite(row['time']):
            parts.append(f'{row["time"]:.3g} s per iteration')
            left = max(0, (length or 0) - row['iter']) * row['time']
            # Validation and checkpoints are not in the logged time.
            parts += [f'at least {_duration(left)} left if it is running'] if left else []
        lines.append(f'{run.name}: {", ".join(parts)}')
    for key in filter(is_judged, run.metrics()):
        points = finite(run.series(key))
        if points:
            x, best = max(points, key=lambda point: point[1])
            last = points[-1][1]
            lines.append(f'  {key}: last {last:.4g}, best {best:.4g} at iteration {x:g}')
    for key in run.keys() + run.metrics():
        bad = [x for x, y in run.series(key) if not math.isfinite(y)]
        if bad:
            lines.append(
                f'  {key} is NaN or infinite from iteration {bad[0]:g} on, in {len(bad)} rows'
                if len(bad) > 1
                else f'  {key} is NaN or infinite at iteration {bad[0]:g}'
            )
    return lines


def is_judged(key: str) -> bool:
    """Whether a logged quantity is a metric that runs are judged by."""
    return any(_ends(key, name) for name in METRICS)


def _matches(pattern: str, keys: list[str]) -> list[str]:
    ways = (
        lambda key: key == pattern,
        lambda key: _ends(key, pattern),
        lambda key: fnmatchcase(key, pattern),
    )
    for way in ways:
        if found := [key for key in keys if way(key)]:
            return found
    raise RecipeError(
        f'--keys {pattern}: the logs hold no such quantity; they have {", ".join(keys) or "none"}'
    )


def _ends(key: str, name: str) -> bool:
    """Whether a key is the name, or ends with it after a separator: 'coco/bbox_mAP', 'mAP'."""
    return key == name or (key.endswith(name) and key[-len(name) - 1] in '/._')


def _all(lists) -> list[str]:
    return list(dict.fromkeys(key for keys in lists for key in keys))


def _duration(seconds: float) -> str:
    minutes = math.ceil(seconds / 60)
    return f'{minutes} min' if minutes < 120 else f'{minutes / 60:.1f} h'
