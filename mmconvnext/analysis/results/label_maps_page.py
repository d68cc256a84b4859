# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The page of a segmentor: charts, tables, and the worst images with a map of errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ...draw import as_picture, beside, draw_label_map, sheet, with_legend, with_titles
from ...draw.charts import bars, chart_picture, matrix
from ...draw.layout import fit
from ...draw.page import Page
from .label_maps import ImageMaps, LabelMapAnalysis, percent
from .shown import SHOWN, grouped, shown_classes

LEAST, MOST = 360, 640  # sides of a picture in pixels; our choice
OPACITY = 0.75  # of label maps; our choice
RED, GREY = (220, 20, 40), (128, 128, 128)  # of errors, and of what is ignored: our choice


def fill_page(
    page: Page,
    analysis: LabelMapAnalysis,
    read: Callable[[str], np.ndarray],
    colours: Sequence[Sequence[int]],
) -> None:
    """Write all sections.

    Args:
        read: gives the picture of an image file, of the size of its label map.
        colours: an RGB colour for each class.
    """
    page.section('Overview')
    page.items(analysis.summary())
    page.text(
        f'Pixels with the value {analysis.ignored} in the truth are ignored. IoU and accuracy are '
        "those of mmseg's IoUMetric, in percent as in its table; analysis.json has fractions."
    )
    _classes(page, analysis)
    _confusion(page, analysis)
    _images(page, analysis, read, colours)


def _classes(page: Page, analysis: LabelMapAnalysis) -> None:
    page.section('Classes')
    iou, accuracy, shares = analysis.iou(), analysis.accuracy(), analysis.shares()
    ranked, classes = analysis.by_iou(), analysis.classes
    if ranked:
        shown = ranked[:SHOWN]
        of = f', the worst {SHOWN} of {len(ranked)}' if len(ranked) > SHOWN else ''
        names = [classes[label] for label in shown]
        series = {'IoU': 100 * iou[shown], 'accuracy': 100 * accuracy[shown]}
        title = f'IoU and accuracy by class{of}'
        chart = bars(names, series, title=title, xlabel='percent', limit=100)
        page.picture('classes', chart_picture(chart), 'Worst class on top.')
        texts = [f'{shares[label]:.2%}' for label in shown]
        chart = bars(
            names, {'share': shares[shown]}, texts=texts,
            title=f'Share of the labelled pixels{of}', xlabel='share of pixels',
        )  # fmt: skip
        page.picture('shares', chart_picture(chart), 'In the same order: are the rare ones worst?')
    absent = [name for label, name in enumerate(classes) if label not in ranked]
    if absent:
        page.text(f'Neither in these data nor predicted: {", ".join(absent)}.')
    rows = [
        [classes[label], *map(percent, (iou[label], accuracy[label], shares[label]))]
        for label in ranked
    ]
    page.table(['class', 'IoU', 'accuracy', 'share of pixels'], rows)


def _confusion(page: Page, analysis: LabelMapAnalysis) -> None:
    page.section('Confusion')
    counts, size = analysis.matrix, len(analysis.classes)
    wrong = counts.sum(axis=0) + counts.sum(axis=1) - 2 * counts.diagonal()
    kept = shown_classes(wrong, counts.sum(axis=0) + counts.sum(axis=1))
    counts, names = grouped(counts, analysis.classes, kept, size)
    with np.errstate(invalid='ignore'):
        shares = counts / counts.sum(axis=1, keepdims=True)
    chart = matrix(
        shares, names, names, title='Where the pixels of a class go',
        ylabel='truth', xlabel='prediction',
    )  # fmt: skip
    page.picture('confusion', chart_picture(chart), 'Share of the pixels of the row.')
    rows = [
        (analysis.classes[row], analysis.classes[at], f'{share:.1%}')
        for row, at, share in analysis.confusions()[:SHOWN]
    ]
    if rows:
        page.text('Most wrong pixels:')
        page.table(['truth', 'taken for', "share of the truth's pixels"], rows)


def _images(page: Page, analysis: LabelMapAnalysis, read: Callable, colours: Sequence) -> None:
    page.section('Worst images')
    page.text(
        'Those with the largest share of wrong pixels. Red: wrong, grey: ignored.'
        if analysis.worst
        else 'None: no pixel is wrong, or none is drawn.'
    )
    for rank, (share, maps) in enumerate(analysis.worst, 1):
        picture = draw_maps(read(maps.path), maps, analysis, colours)
        name = f'image_{rank:02}_{Path(maps.path).stem}'
        page.picture(name, picture, f'{maps.path}: {share:.1%} of the pixels are wrong')


def draw_maps(
    image: np.ndarray, maps: ImageMaps, analysis: LabelMapAnalysis, colours: Sequence[Sequence[int]]
) -> np.ndarray:
    """Image and truth above prediction and errors, with a legend of the classes in them."""
    truth = np.where(maps.truth == analysis.ignored, -1, maps.truth.astype(int))
    wrong = (truth >= 0) & (truth != maps.predicted)
    errors = np.full(truth.shape, -1)
    errors[wrong], errors[truth < 0] = 0, 1
    look = dict(opacity=OPACITY, classes=analysis.classes)
    panels = {
        'image': as_picture(image),
        'truth': draw_label_map(image, truth, colours, **look),
        'predicted': draw_label_map(image, maps.predicted, colours, **look),
        'errors': draw_label_map(_grey(image), errors, [RED, GREY], opacity=OPACITY),
    }
    side = min(MOST, max(LEAST, *image.shape[:2]))
    titled = with_titles([fit(panel, side) for panel in panels.values()], [*panels])
    wide = image.shape[1] > image.shape[0]
    picture = sheet(titled, 2) if wide else beside(*titled)
    counts = np.bincount(np.append(truth[truth >= 0], maps.predicted), minlength=len(colours))
    present = [int(i) for i in np.argsort(-counts, kind='stable')[: len(colours)] if counts[i]]
    return with_legend(
        picture, [analysis.classes[i] for i in present], [colours[i] for i in present]
    )


def _grey(image: np.ndarray) -> np.ndarray:
    return np.repeat(as_picture(image).mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
