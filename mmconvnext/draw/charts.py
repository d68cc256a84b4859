# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Charts by matplotlib, without the state of pyplot: bars, curves, histograms, matrices.

Each function returns a matplotlib ``Figure``; :func:`chart_picture` turns it into a picture. Names
may hold any character: '$' starts no formula, and '_' in front hides nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

# Okabe and Ito's colours, which people with colour blindness can tell apart:
# https://jfly.uni-koeln.de/color/
COLOURS = ('#0072B2', '#E69F00', '#009E73', '#D55E00', '#CC79A7', '#56B4E9', '#000000')
DPI = 100
# Our choice: numbers are written into the cells of a matrix of so many rows.
MOST_NUMBERS = 16
LONGEST = 28  # characters of a name; our choice
PLATE = dict(facecolor='white', edgecolor='none', alpha=0.8, pad=1)  # below names of marks
RIGHT = 0.95  # part of the axis from which on names of marks are left of their line; our choice


def chart_picture(figure: Figure) -> np.ndarray:
    """The figure as an (H, W, 3) uint8 picture in RGB."""
    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings():  # a name in a script that the font lacks shows as boxes
        warnings.filterwarnings('ignore', message='Glyph')
        canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])


def bars(
    names: Sequence[str],
    series: Mapping[str, Sequence[float]],
    *,
    title: str = '',
    xlabel: str = '',
    texts: Sequence[str] | None = None,
    log: bool = False,
    limit: float | None = None,
) -> Figure:
    """Horizontal bars, the first name on top; for each name a bar of each series.

    Args:
        series: values by the name of the series, as many as there are names; nan is no bar.
        texts: what stands to the right of a name's first bar; by default its value.
        log: a logarithmic axis, for counts.
        limit: where the axis ends, such as 1 for fractions.
    """
    thick = 0.8 / max(1, len(series))
    height = 1.1 + max(1, len(names)) * (0.24 if len(series) == 1 else 0.14 * len(series) + 0.08)
    figure, axis = _figure(8, height, title)
    places = np.arange(len(names))
    for number, ((name, values), colour) in enumerate(zip(series.items(), cycle(COLOURS))):
        values = np.asarray(values, float)
        shift = places + (number + 0.5) * thick - 0.4
        axis.barh(shift, np.nan_to_num(values), thick, color=colour, label=plain(name))
        if number == 0:
            for place, value, text in zip(shift, values, texts or map(number_text, values)):
                start = np.nan_to_num(value)
                axis.annotate(
                    plain(text), (start, place), (3, 0), textcoords='offset points',
                    va='center', fontsize=7,
                )  # fmt: skip
    axis.set_yticks(places, [plain(short(name)) for name in names], fontsize=8)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.set_xlabel(xlabel)
    if log:
        axis.set_xscale('symlog', linthresh=1)
        axis.xaxis.set_major_formatter('{x:g}')
    axis.set_xlim(0, limit * 1.08 if limit else None)
    if not limit:
        axis.margins(x=0.12)
        axis.set_xlim(left=0)
    _finish(axis, legend=len(series) > 1, grid='x', beside=True)
    return figure


def curves(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    title: str = '',
    xlabel: str = '',
    ylabel: str = '',
    limits: tuple[float, float, float, float] | None = None,
    marks: Mapping[str, float] | None = None,
) -> Figure:
    """Lines through (x, y), the first one thicker; ``limits`` are x0, x1, y0, y1.

    ``marks`` are dashed vertical lines at x, with a name.
    """
    figure, axis = _figure(7, 4.5, title)
    styles = [(colour, line) for line in ('-', '--', ':') for colour in COLOURS]
    for number, ((name, (x, y)), (colour, line)) in enumerate(zip(series.items(), cycle(styles))):
        width = 2.4 if number == 0 else 1.2
        axis.plot(x, y, line, color=colour, label=plain(short(name)), linewidth=width)
    if limits:
        axis.set(xlim=limits[:2], ylim=limits[2:])
    axis.set(xlabel=xlabel, ylabel=ylabel)
    _mark(axis, marks)
    _finish(axis, legend=len(series) > 1, grid='both', beside=len(series) > 6)
    return figure


def histogram(
    series: Mapping[str, Sequence[float]],
    bins: Sequence[float] | int = 40,
    *,
    title: str = '',
    xlabel: str = '',
    ylabel: str = '',
    marks: Mapping[str, float] | None = None,
    log_x: bool = False,
    log_y: bool = False,
    stacked: bool = True,
) -> Figure:
    """Counts of values in bins.

    Args:
        bins: their borders, or their number over all values and marks; logarithmic with ``log_x``.
        stacked: the series stand on top of each other; otherwise they are see-through areas.
        marks: dashed vertical lines at x, with a name.
    """
    figure, axis = _figure(7, 4, title)
    values = [np.asarray(part, float) for part in series.values()]
    values = [part[np.isfinite(part)] for part in values]
    if isinstance(bins, int):
        every = [*values, np.array([*(marks or {}).values()], float)]  # so that no mark is cut
        bins = _borders(np.concatenate(every), bins, log_x)
    colours = [colour for colour, _ in zip(cycle(COLOURS), values)]
    names = [plain(short(name)) for name in series]
    if stacked:
        axis.hist(values, bins, stacked=True, color=colours, label=names, edgecolor='none')
    else:
        for part, colour, name in zip(values, colours, names):
            axis.hist(part, bins, color=colour, label=name, histtype='stepfilled', alpha=0.5)
    axis.set(xlabel=xlabel, ylabel=ylabel, xlim=(bins[0], bins[-1]))
    if log_x:
        axis.set_xscale('log')
        wide = bins[-1] > 30 * bins[0]  # more marks would not fit; our choice
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if wide else (1, 1.5, 2, 3, 5, 7)))
        axis.xaxis.set_major_formatter('{x:g}')
        axis.xaxis.set_minor_formatter(NullFormatter())
    if log_y:
        axis.set_yscale('symlog', linthresh=1)
        axis.yaxis.set_major_formatter('{x:g}')
    _mark(axis, marks)
    _finish(axis, legend=len(series) > 1, grid='y')
    return figure


def matrix(
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    title: str = '',
    ylabel: str = '',
    xlabel: str = '',
    numbers: np.ndarray | None = None,
) -> Figure:
    """Cells of values between 0 and 1, white to blue, with numbers in them if there are few.

    Args:
        values: (rows, columns); nan is left white.
        numbers: what is written into the cells, but for zeros; by default the values.
    """
    values = np.asarray(values, float)
    side = 2.2 + 0.3 * max(len(rows), 6)
    wide = 3 + 0.3 * max(len(columns), 6)
    if len(rows) <= MOST_NUMBERS:  # room for the numbers
        side, wide = 2 + 0.48 * max(len(rows), 3), 3 + 0.62 * max(len(columns), 5)
    figure, axis = _figure(wide, side, title)
    axis.imshow(np.nan_to_num(values), cmap='Blues', vmin=0, vmax=1, aspect='auto')
    axis.set_yticks(range(len(rows)), [plain(short(name)) for name in rows], fontsize=8)
    axis.set_xticks(
        range(len(columns)), [plain(short(name)) for name in columns], fontsize=8, rotation=90
    )
    axis.set(xlabel=xlabel, ylabel=ylabel)
    if max(len(rows), len(columns)) <= MOST_NUMBERS:
        numbers = values if numbers is None else numbers
        for (row, column), value in np.ndenumerate(values):
            number = numbers[row, column]
            text = '' if number < 0.005 else number_text(number)
            dark = 'white' if value > 0.6 else 'black'
            axis.text(column, row, text, ha='center', va='center', fontsize=7, color=dark)
    return figure


def number_text(value: float) -> str:
    """'0.12' for a fraction, '1234' for a count, '' for nan."""
    if np.isnan(value):
        return ''
    return f'{value:.2f}' if value % 1 else str(int(value))


def plain(text: str) -> str:
    """The text as matplotlib shows it without reading formulas or hiding it."""
    return (' ' if text.startswith('_') else '') + text.replace('$', r'\$')


def short(text: str) -> str:
    """The text, cut to the longest name that a chart has room for."""
    return text if len(text) <= LONGEST else f'{text[: LONGEST - 3]}...'


def _figure(width: float, height: float, title: str) -> tuple:
    figure = Figure(figsize=(width, height), dpi=DPI, layout='constrained', facecolor='white')
    axis = figure.add_subplot()
    axis.set_title(plain(title), fontsize=11)
    return figure, axis


def _mark(axis, marks: Mapping[str, float] | None) -> None:
    axis.get_xlim()  # settles the limits, on which the places of the names depend
    for name, x in (marks or {}).items():
        axis.axvline(x, color='#555555', linestyle='--', linewidth=1, clip_on=False)
        place = axis.transAxes.inverted().transform(axis.transData.transform((x, 0)))[0]
        left = place > RIGHT  # of the line, where the right border would cut the name
        axis.annotate(
            plain(name), (x, 0.98), (-3 if left else 3, 0), xycoords=('data', 'axes fraction'),
            textcoords='offset points', rotation=90, va='top', ha='right' if left else 'left',
            fontsize=8, bbox=PLATE,
        )  # fmt: skip


def _finish(axis, *, legend: bool, grid: str, beside: bool = False) -> None:
    axis.grid(axis=grid, alpha=0.3)
    axis.set_axisbelow(True)
    axis.spines[['top', 'right']].set_visible(False)
    if legend:
        place = dict(loc='upper left', bbox_to_anchor=(1, 1)) if beside else dict(loc='best')
        axis.legend(fontsize=8, frameon=False, **place)


def _borders(values: np.ndarray, count: int, log: bool) -> np.ndarray:
    values = values[values > 0] if log else values
    low, high = (values.min(), values.max()) if len(values) else (0.5, 1.5)
    if low == high:
        low, high = (low / 1.5, high * 1.5) if log else (low - 0.5, high + 0.5)
    return np.geomspace(low, high, count + 1) if log else np.linspace(low, high, count + 1)
