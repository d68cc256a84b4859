# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Curves of trainings: reads mmengine's logs, finds the depth groups' learning rates, draws."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .chart import Panel, draw_runs, refuse_foreign
from .log import Run, find_logs, read_run
from .panels import choose_panels, describe
from .rates import Rate, is_flat, rates

__all__ = [
    'Panel',
    'Rate',
    'Run',
    'choose_panels',
    'describe',
    'draw_curve',
    'draw_runs',
    'find_logs',
    'group_rates',
    'read_run',
    'refuse_foreign',
]


def draw_curve(work_dir: str | Path, file: str | Path) -> Path:
    """Draw the curves of the run in ``work_dir``; needs the packages of its model.

    Raises:
        RecipeError: no run has logged there.
    """
    run = read_run(str(work_dir))
    return draw_runs([run], choose_panels([run]), file, group_rates([run]))


def group_rates(runs: Sequence[Run]) -> dict[str, list[Rate]]:
    """The learning rates of each run's groups, by its name.

    A run whose model cannot be built here gets none, and a note; its logged rate is drawn alone.
    """
    found = {}
    for run in runs:
        if run.config is None or is_flat(run.config) or 'lr' not in run.keys():
            continue
        try:
            found[run.name] = rates(run.config)
        except Exception as error:  # from any code that the config names
            run.notes.append(
                f'{run.name}: only the logged learning rate is drawn, because the groups cannot '
                f'be built from its config: {type(error).__name__}: {error}'
            )
    return found
