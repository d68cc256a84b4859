# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The curves of one or several runs in one picture."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from PIL import Image

from ...checkpoint.atomic import atomic_path
from ...draw.charts import COLOURS, plain
from ...recipe.errors import RecipeError
from .log import Run, finite
from .rates import Rate

STYLES = ('-', '--', ':', '-.')
COLUMNS, WIDTH, HEIGHT, DPI = 3, 5.0, 3.4, 110  # of panels, inches; our choice
MARKED = 10  # curves of at most so many points show them; our choice
MARKERS = 'os^D'
MANY = 200  # curves of more points are smoothed; our choice
DEPTH = 1e4  # of a logarithmic axis of learning rates, so that a warm-up from 0 fits; our choice
WIDE = 30  # a logarithmic axis if the greatest value is so many times the least; our choice
SOFTWARE = 'mmconvnext tools/plot_run.py'  # in the picture's metadata


class Panel(NamedTuple):
    """A diagram: what it shows of every run."""

    title: str
    keys: list[str]


def draw_runs(
    runs: list[Run],
    panels: list[Panel],
    file: str | Path,
    rates: dict[str, list[Rate]] | None = None,
    smooth: float | None = None,
) -> Path:
    """Draw the panels into a PNG, which replaces an earlier one of this function.

    Args:
        rates: by name of the run, the learning rates of its groups; a panel ``['lr']`` shows them.
        smooth: see :func:`smoothed`; None: 0.9 for curves of more than 200 points (our choice).

    Raises:
        RecipeError: the file is not a PNG, or exists and is no picture of this function.
    """
    refuse_foreign(file)
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure((WIDTH * columns, HEIGHT * rows), DPI, layout='constrained', facecolor='white')
    FigureCanvasAgg(figure)
    if len(runs) == 1:
        figure.suptitle(plain(runs[0].name), fontsize=12, fontweight='bold')
    for number, panel in enumerate(panels, 1):
        axis = figure.add_subplot(rows, columns, number)
        if panel.keys == ['lr'] and any(len(groups) > 1 for groups in (rates or {}).values()):
            _draw_rates(axis, runs, rates)
        else:
            _draw_series(axis, runs, panel.keys, smooth)
        _finish(axis, runs, panel)
    with atomic_path(file) as path:
        figure.savefig(path, format='png', metadata={'Software': SOFTWARE})
    return Path(file)


def refuse_foreign(file: str | Path) -> None:
    """Raise if the file is not a PNG that may be written.

    Raises:
        RecipeError: see :func:`draw_runs`.
    """
    if Path(file).suffix.lower() != '.png':
        raise RecipeError(f'--out {file}: the picture is a PNG; write a name that ends in .png')
    if not Path(file).exists():
        return
    try:
        with Image.open(file) as image:
            own = image.info.get('Software') == SOFTWARE
    except OSError:
        own = False
    if not own:
        raise RecipeError(
            f'--out: {file} exists and is no plot of this tool, so it is left unchanged; choose '
            'another name'
        )


def smoothed(values: np.ndarray, weight: float) -> np.ndarray:
    """Exponential moving average with start correction, as TensorBoard's.

    Values that are not finite are left out of the average and stay as they are.
    """
    mean, seen, result = 0.0, 0.0, values.astype(float).copy()
    for index, value in enumerate(values):
        if math.isfinite(value):
            mean = weight * mean + (1 - weight) * value
            seen = weight * seen + (1 - weight)
            result[index] = mean / seen
    return result


def _draw_series(axis: Axes, runs: list[Run], keys: list[str], smooth: float | None) -> None:
    """A line for each run and key: the colour tells runs apart, or the keys of a single run."""
    several = len(runs) > 1
    styles = [(colour, style) for style in STYLES for colour in COLOURS]
    for i, run in enumerate(runs):
        for j, key in enumerate(keys):
            points = run.series(key)
            if not points:
                continue
            colour, style = styles[j % len(styles)]
            if several:
                colour, style = COLOURS[i % len(COLOURS)], STYLES[j % len(STYLES)]
            name = ', '.join([run.name] * several + [key] * (not several or len(keys) > 1))
            look = dict(color=colour, linestyle=style, linewidth=1.8)
            if key in run.metrics() or len(points) <= MARKED:
                look.update(marker=MARKERS[j % len(MARKERS)], markersize=4)
            averaged = key in run.keys() and not key.endswith('lr')
            best = key in run.metrics()
            _draw_line(axis, points, name, look, smooth if averaged else 0, best)


def _draw_line(
    axis: Axes, points: list, name: str, look: dict, smooth: float | None, best: bool
) -> None:
    x, y = np.array(points, float).T
    weight = (0.9 if len(y) > MANY else 0) if smooth is None else smooth
    bad = ~np.isfinite(y)
    shown = np.where(bad, np.nan, y)
    label = name
    if best and not bad.all():
        label += f', best {np.nanmax(shown):.3g}'
    if weight:
        axis.plot(x, shown, color=look['color'], linewidth=0.7, alpha=0.3)
        shown = np.where(bad, np.nan, smoothed(y, weight))
    axis.plot(x, shown, label=plain(label), **look)
    if bad.any():
        _mark_bad(axis, x[bad], f'{name}: {bad.sum()} x NaN or inf')


def _mark_bad(axis: Axes, x: np.ndarray, name: str) -> None:
    """Red crosses on the lower border."""
    axis.plot(
        x, np.full(len(x), 0.03), 'x', color='red', transform=axis.get_xaxis_transform(),
        label=plain(name), markersize=6, markeredgewidth=1.6, clip_on=False,
    )  # fmt: skip


def _draw_rates(axis: Axes, runs: list[Run], rates: dict[str, list[Rate]]) -> None:
    """A line for each depth group of a run; of several runs, the range of their groups."""
    axis.set_yscale('log')
    highest = 0.0
    for i, run in enumerate(runs):
        points = [(x, y) for x, y in finite(run.series('lr')) if y > 0]
        if not points:
            continue
        x, y = np.array(points).T
        groups = rates.get(run.name) or [Rate(1, None, 0)]
        highest = max(highest, groups[-1].factor * y.max())
        colour = COLOURS[i % len(COLOURS)]
        if len(runs) > 1:
            low, high = groups[0].factor * y, groups[-1].factor * y
            axis.plot(x, high, color=colour, linewidth=1.8, label=plain(run.name))
            axis.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
            continue
        shades = colormaps['viridis'](np.linspace(0.05, 0.85, len(groups)))
        for j, (group, shade) in enumerate(zip(groups, shades)):
            named = j in (0, len(groups) // 2, len(groups) - 1)
            label = plain(rate_name(group, j, len(groups))) if named else None
            axis.plot(x, group.factor * y, color=shade, linewidth=1.5, label=label)
    if highest and axis.get_ylim()[0] < highest / DEPTH:
        axis.set_ylim(bottom=highest / DEPTH)


def rate_name(group: Rate, number: int, count: int) -> str:
    """What the legend says of a group, such as 'depth 0: x 0.0279'."""
    if count == 1:
        return 'all parameters'
    if group.depths is None:
        return f'group {number + 1} of {count}: x {group.factor:.3g}'
    low, high = group.depths
    return f'depth {low if low == high else f"{low} to {high}"}: x {group.factor:.3g}'


def _finish(axis: Axes, runs: list[Run], panel: Panel) -> None:
    axis.set_title(plain(panel.title), fontsize=11)
    axis.grid(alpha=0.3)
    axis.spines[['top', 'right']].set_visible(False)
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: short_number(x)))
    epochs = {run.epoch for run in runs}
    (epoch,) = epochs if len(epochs) == 1 else (None,)
    axis.set_xlabel(f'iteration ({epoch} are an epoch)' if epoch else 'iteration', fontsize=9)
    last = axis.dataLim.x1
    axis.set_xlim(0, 1.02 * max(1, last) if np.isfinite(last) else 1)
    values = [y for run in runs for key in panel.keys for _, y in finite(run.series(key))]
    is_loss = any('loss' in key for key in panel.keys)
    if is_loss and values and min(values) > 0 and max(values) > WIDE * min(values):
        axis.set_yscale('log')
    axis.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f'{y:g}'))
    if axis.get_yscale() == 'linear' and values and min(values) >= 0:
        axis.set_ylim(0, 1.06 * max(values) or 1)
    if len(runs) == 1:
        for start in runs[0].starts:
            axis.axvline(start, color='#888888', linestyle=':', linewidth=1)
    handles, labels = axis.get_legend_handles_labels()
    if handles:
        axis.legend(handles, labels, fontsize=7.5, frameon=True, framealpha=0.8, loc='best')


def short_number(value: float) -> str:
    """'950', '12k', '1.5M'."""
    for size, letter in ((1e6, 'M'), (1e4, 'k')):
        if abs(value) >= size:
            return f'{value / (1e3 if letter == "k" else size):g}{letter}'
    return f'{value:g}'
