# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Curves of trainings: what ``tools/plot_run.py`` does."""

from __future__ import annotations

import sys
from pathlib import Path

from ..analysis.runs import (
    Panel,
    Run,
    choose_panels,
    describe,
    draw_runs,
    group_rates,
    read_run,
    refuse_foreign,
)
from ..recipe.errors import RecipeError
from .options import plot_parser
from .stack import require_stack


def main(argv: list[str] | None = None) -> Path:
    """Parse ``argv``, draw, print what the runs have reached; return the picture."""
    args = plot_parser().parse_args(argv)
    refuse_foreign(args.out)
    runs = _read(args.runs)
    panels = choose_panels(runs, args.keys)
    rates = _rates(runs, panels)
    file = draw_runs(runs, panels, args.out, rates, args.smooth)
    for run in runs:
        print('\n'.join(describe(run)))
    for note in dict.fromkeys(note for run in runs for note in run.notes):
        print(f'note: {note}', file=sys.stderr)
    print(f'picture: {file}')
    return file


def _read(paths: list[str]) -> list[Run]:
    """The runs, without those that have not logged yet; with names that differ."""
    runs = [(path, read_run(path)) for path in dict.fromkeys(paths)]
    names = [run.name for _, run in runs]
    for path, run in runs:
        if names.count(run.name) > 1:
            run.name = path
    empty = [path for path, run in runs if not run.train and not run.val]
    if len(empty) == len(runs):
        choose_panels([])  # raises
    for path in empty:
        print(f'note: {path} has logged nothing yet; it is not drawn', file=sys.stderr)
    return [run for path, run in runs if path not in empty]


def _rates(runs: list[Run], panels: list[Panel]) -> dict:
    """Imports mmdet and mmseg, which takes seconds, only if a run has depth groups to show."""
    wanted = any(panel.keys == ['lr'] for panel in panels)
    if not wanted or not any(run.config and run.config.get('optim_wrapper') for run in runs):
        return {}
    try:
        require_stack()
    except RecipeError:  # plots are wanted on machines without the packages too
        print('note: only the logged learning rate is drawn: mmdet and mmseg are not installed',
              file=sys.stderr)  # fmt: skip
        return {}
    return group_rates(runs)
