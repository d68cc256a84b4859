# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The page of a detector: charts, tables, and images with their mistakes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ...draw.charts import bars, chart_picture, curves, histogram, matrix
from ...draw.page import Page
from .coco import SIZES, f1_curve
from .mistakes import MISSED, Mistake, false_predictions, missed_objects, taken_for, worst
from .objects import BACKGROUND, WORDS, ObjectAnalysis, mean
from .objects_pictures import draw_crop, draw_mistakes
from .shown import SHOWN, grouped, shown_classes

LINES = 8  # classes in a chart of curves, the worst ones; our choice
CROPS = 24  # crops of each kind; our choice
LEAST = 0.05  # lower scores are not shown: detectors give thousands of them; mmdet's score_thr

Reader = Callable[[str], np.ndarray]


def fill_page(page: Page, analysis: ObjectAnalysis, read: Reader, images: int) -> None:
    """Write all sections.

    Args:
        read: gives the picture of an image file, of the size that the annotations refer to.
        images: how many of the worst images are drawn.
    """
    _overview(page, analysis)
    _classes(page, analysis)
    _confusion(page, analysis)
    _scores(page, analysis)
    _curves(page, analysis)
    _sizes(page, analysis)
    _images(page, analysis, read, images)
    _crops(page, analysis, read)


def _overview(page: Page, analysis: ObjectAnalysis) -> None:
    page.section('Overview')
    page.items(analysis.summary())
    page.text(
        f'A prediction stands for an object if {WORDS[analysis.kind]} overlap with an IoU of at '
        f'least {analysis.iou:g}: same class first, then the highest IoU. Predictions with a score '
        f'below {analysis.score:g} are left out, except from AP and from the curves. '
        'The others are false: of the wrong class; a duplicate of an object that is found already; '
        'misplaced (IoU of at least 0.1 with an object of the class, but too little); or '
        'background. Regions with iscrowd=1 count neither as missed nor as false.'
    )


def _classes(page: Page, analysis: ObjectAnalysis) -> None:
    page.section('Classes')
    classes, evaluation, ranked = analysis.classes, analysis.evaluation, analysis.by_ap()
    shown = ranked[:SHOWN]
    if shown:
        names = [f'{classes[i]} ({sum(analysis.objects[i].values())})' for i in shown]
        series = {name: [evaluation.classes[i][name] for i in shown] for name in ('AP', 'AP50')}
        of = f', the worst {SHOWN} of {len(ranked)}' if len(ranked) > SHOWN else ''
        title = f'AP of {WORDS[analysis.kind]} by class (objects){of}'
        chart = bars(names, series, title=title, xlabel='average precision', limit=1)
        page.picture('classes', chart_picture(chart), 'Worst class on top.')
    page.text(
        'AP of a class counts up to 1000 predictions of an image, as the table of CocoMetric does; '
        'the overall AP above counts 100, so it can be a little lower.'
    )
    absent = [name for i, name in enumerate(classes) if i not in ranked]
    if absent:
        page.text(f'Without objects in these data: {", ".join(absent)}.')
    kinds = list(analysis.evaluations)
    head = ['class', 'objects', *(f'{n} of {WORDS[k]}' for k in kinds for n in ('AP', 'AP50'))]
    rows = []
    for label in ranked:
        row = analysis.class_row(label)
        best = row['best_threshold'] or {}
        figures = [_number(row[kind][name]) for kind in kinds for name in ('AP', 'AP50')]
        tail = [row['precision'], row['recall'], best.get('score'), best.get('f1')]
        rows.append([row['name'], row['objects'], *figures, *tail])
    page.table([*head, 'precision', 'recall', 'best threshold', 'its F1'], rows)


def _confusion(page: Page, analysis: ObjectAnalysis) -> None:
    page.section('Confusion')
    names = [*analysis.classes, BACKGROUND]
    # Those with most mistakes: what a row or a column has outside of the diagonal.
    outside = analysis.matrix.sum(axis=0) + analysis.matrix.sum(axis=1)
    outside = (outside - 2 * analysis.matrix.diagonal())[:-1]
    kept = shown_classes(outside, analysis.matrix[:-1].sum(axis=1) + analysis.matrix.sum(0)[:-1])
    counts, names = grouped(analysis.matrix, names, kept, len(analysis.classes))
    with np.errstate(invalid='ignore'):
        shares = counts / counts.sum(axis=1, keepdims=True)
    shares[-1] = np.nan  # of what is false no share is known
    chart = matrix(
        shares, names, names, numbers=counts,
        title=f'{WORDS[analysis.kind]}, score >= {analysis.score:g}, IoU >= {analysis.iou:g}',
        ylabel='truth', xlabel='prediction',
    )  # fmt: skip
    page.picture(
        'confusion',
        chart_picture(chart),
        'Colour: share of the objects of a row. The last column has what was missed, the last row '
        'what was found where nothing is (duplicates and misplaced ones too).',
    )
    pairs = analysis.confusions()[:SHOWN]
    if pairs:
        rows = [(analysis.classes[row], analysis.classes[at], n) for row, at, n in pairs]
        page.table(['truth', 'taken for', 'objects'], rows)


def _scores(page: Page, analysis: ObjectAnalysis) -> None:
    page.section('Scores')
    ranked, best = analysis.evaluation.ranked, analysis.best()
    scores = np.concatenate([one.scores for one in ranked])
    right = np.concatenate([one.right for one in ranked])
    marks = {'chosen': analysis.score} | ({'best F1': best['score']} if best else {})
    series = {'right': scores[right], 'false': scores[~right]}
    chart = histogram(
        series, np.linspace(LEAST, 1, 39), stacked=False, marks=marks, log_y=True,
        title=f'Scores of right and false predictions, IoU >= {analysis.iou:g}',
        xlabel='score', ylabel='predictions',
    )  # fmt: skip
    page.picture('scores', chart_picture(chart), 'The further apart, the better a score tells.')
    curve = f1_curve(ranked)
    if best:
        order = slice(None, None, -1)  # by rising score
        names = dict(f1='F1', precision='precision', recall='recall')
        lines = {text: (curve['score'][order], curve[n][order]) for n, text in names.items()}
        chart = curves(
            lines, limits=(0, 1, 0, 1.02), marks=marks, xlabel='score threshold',
            title=f'All classes together, IoU >= {analysis.iou:g}',
        )  # fmt: skip
        page.picture(
            'thresholds',
            chart_picture(chart),
            f'F1 is highest, {best["f1"]:.3f}, if predictions below {best["score"]:.2f} are left '
            'out. Raise the threshold for fewer false predictions, lower it to miss less.',
        )


def _curves(page: Page, analysis: ObjectAnalysis) -> None:
    page.section('Precision and recall')
    recall = np.linspace(0, 1, 101)  # COCO's
    for iou, curve in analysis.evaluation.curves.items():
        worst_first = sorted(
            (label for label in analysis.by_ap() if not np.isnan(curve[label]).all()),
            key=lambda label: curve[label].mean(),
        )
        lines = {'mean of classes': (recall, mean(curve))}
        if len(worst_first) > 1:
            lines |= {analysis.classes[i]: (recall, curve[i]) for i in worst_first[:LINES]}
        of = f', and the worst {LINES} classes' if len(worst_first) > LINES else ''
        chart = curves(
            lines, limits=(0, 1, 0, 1.02), xlabel='recall', ylabel='precision',
            title=f'{WORDS[analysis.kind]}, IoU >= {iou:.2f}{of}',
        )  # fmt: skip
        page.picture(f'precision_recall_{iou:.2f}', chart_picture(chart))


def _sizes(page: Page, analysis: ObjectAnalysis) -> None:
    page.section('Sizes')
    sizes = analysis.sizes()
    limits = dict(zip(SIZES, ('below 32 x 32', 'below 96 x 96', 'from 96 x 96')))
    names = [f'{size}, {limits[size]} ({row["objects"]})' for size, row in sizes.items()]
    values = [row['AP'] for row in sizes.values()]
    title = f'AP of {WORDS[analysis.kind]} by area in pixels (objects)'
    page.picture('sizes', chart_picture(bars(names, {'AP': values}, title=title, limit=1)))


def _images(page: Page, analysis: ObjectAnalysis, read: Reader, number: int) -> None:
    page.section('Worst images')
    results = worst(analysis.results, number)
    page.text(
        'Those with most mistakes: missed objects and false predictions.'
        if results
        else 'None: there is no mistake.'
    )
    for rank, result in enumerate(results, 1):
        path = result.prediction.path
        picture = draw_mistakes(read(path), result, analysis.kind, analysis.classes)
        counts = ', '.join(f'{count} {kind}' for kind, count in result.counts().items())
        page.picture(f'image_{rank:02}_{Path(path).stem}', picture, f'{path}: {counts}')


def _crops(page: Page, analysis: ObjectAnalysis, read: Reader) -> None:
    page.section('Surest false predictions')
    page.text(
        'The highest scores. Often the label is wrong, not the model: an object that nobody '
        'labelled, or one with another class. Red: the prediction, blue: the objects of the truth.'
    )
    page.gallery(
        _gallery(analysis, false_predictions(analysis.results, analysis.kind, CROPS), read)
    )
    page.section('Largest missed objects')
    page.text(
        'Red: the missed object, blue: the other objects, orange: predictions with a sufficient '
        'score. A label that should not be there, or has the wrong box, shows here.'
    )
    page.gallery(_gallery(analysis, missed_objects(analysis.results, CROPS), read))


def _gallery(analysis: ObjectAnalysis, mistakes: list[Mistake], read: Reader) -> Iterator[tuple]:
    for rank, mistake in enumerate(mistakes, 1):
        name, path = analysis.classes[mistake.label], mistake.result.prediction.path
        if mistake.kind == MISSED:
            size = ' x '.join(f'{side:.0f}' for side in mistake.box[2:] - mistake.box[:2])
            caption = f'{name}, {size} pixels'
        else:
            caption = f'{name} {mistake.size:.2f}: {mistake.kind}'
            other = taken_for(mistake.result, mistake.index)
            caption += '' if other is None else f', is {analysis.classes[other]}'
        lot = 'missed' if mistake.kind == MISSED else 'false'
        picture = draw_crop(read(path), mistake, analysis.kind)
        yield f'{lot}_{rank:02}_{name}', picture, f'{caption}. {path}'


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value
