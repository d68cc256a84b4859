# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""analysis/runs/chart.py: each value is where it belongs, and no other file is overwritten."""

import math

import numpy as np
import pytest
from PIL import Image

from mmconvnext.analysis.runs.chart import (
    Panel,
    draw_runs,
    plain,
    rate_name,
    short_number,
    smoothed,
)
from mmconvnext.analysis.runs.log import Run, read_run
from mmconvnext.analysis.runs.panels import choose_panels
from mmconvnext.analysis.runs.rates import Rate
from mmconvnext.recipe.errors import RecipeError


def run(name='a', losses=(3.0, 2.0), **more):
    train = [dict(loss=y, lr=0.5, iter=10 * i, step=10 * i) for i, y in enumerate(losses, 1)]
    return Run(name, train, **more)


def test_lines_of_one_run_are_named_after_their_keys(tmp_path, drawn):
    one = run(val=[(20, {'coco/bbox_mAP': 0.25}), (40, {'coco/bbox_mAP': 0.125})])
    panels = [Panel('loss', ['loss']), Panel('mAP', ['coco/bbox_mAP'])]
    file = draw_runs([one], panels, tmp_path / 'new' / 'a.png')
    assert drawn == [
        ('loss', {'loss': [[10, 3], [20, 2]]}),
        ('mAP', {'coco/bbox_mAP, best 0.25': [[20, 0.25], [40, 0.125]]}),
    ]
    with Image.open(file) as image:
        assert image.size == (1100, 374)


def test_lines_of_several_runs_are_named_after_the_runs(tmp_path, drawn):
    runs = [run('a'), run('b', (5.0,)), Run('without', [dict(other=1.0, iter=1)])]
    draw_runs(runs, [Panel('loss', ['loss'])], tmp_path / 'a.png')
    assert drawn == [('loss', {'a': [[10, 3], [20, 2]], 'b': [[10, 5]]})]


def test_nan_is_a_cross(tmp_path, drawn):
    draw_runs(
        [run(losses=(3.0, math.nan, math.inf, 1.0))], [Panel('loss', ['loss'])], tmp_path / 'a.png'
    )
    ((_, lines),) = drawn
    assert [x for x, y in lines['loss'] if math.isfinite(y)] == [10, 40]
    assert [x for x, _ in lines['loss: 2 x NaN or inf']] == [20, 30]


def test_a_curve_without_any_number(tmp_path, drawn):
    bad = run(losses=(math.nan,), val=[(10, dict(mIoU=math.nan))])
    draw_runs([bad], [Panel('loss', ['loss']), Panel('mIoU', ['mIoU'])], tmp_path / 'a.png')
    assert 'mIoU: 1 x NaN or inf' in drawn[1][1]


def test_rates_of_one_run_are_lines_and_named_by_depth(tmp_path, drawn):
    rates = {'a': [Rate(0.25, (0, 0), 9), Rate(0.5, (1, 2), 9), Rate(1, (3, 3), 9)]}
    draw_runs([run()], [Panel('learning rate', ['lr'])], tmp_path / 'a.png', rates)
    assert drawn[0][1] == {
        'depth 0: x 0.25': [[10, 0.125], [20, 0.125]],
        'depth 1 to 2: x 0.5': [[10, 0.25], [20, 0.25]],
        'depth 3: x 1': [[10, 0.5], [20, 0.5]],
    }


def test_one_rate_for_all_parameters_is_a_plain_curve(tmp_path, drawn):
    rates = {'a': [Rate(1, (0, 3), 9)]}
    draw_runs([run()], [Panel('learning rate', ['lr'])], tmp_path / 'a.png', rates)
    assert drawn[0][1] == {'lr': [[10, 0.5], [20, 0.5]]}


def test_rates_of_several_runs_are_ranges(tmp_path, drawn, monkeypatch):
    from matplotlib.axes import Axes

    filled = []
    monkeypatch.setattr(Axes, 'fill_between', lambda self, x, *sides, **_: filled.append(sides))
    rates = {'a': [Rate(0.25, None, 9), Rate(2, None, 9)]}
    draw_runs([run('a'), run('b')], [Panel('lr', ['lr'])], tmp_path / 'a.png', rates)
    assert drawn[0][1] == {'a': [[10, 1], [20, 1]], 'b': [[10, 0.5], [20, 0.5]]}
    assert [[side.tolist() for side in sides] for sides in filled] == [
        [[0.125, 0.125], [1, 1]],
        [[0.5, 0.5], [0.5, 0.5]],
    ]


@pytest.mark.parametrize(
    ('rate', 'name'),
    [((1, (3, 3), 5), 'depth 3: x 1'), ((0.02794, None, 5), 'group 2 of 9: x 0.0279')],
)
def test_names_of_rates(rate, name):
    assert rate_name(Rate(*rate), 1, 9) == name
    assert rate_name(Rate(*rate), 0, 1) == 'all parameters'


@pytest.mark.parametrize(('count', 'lines'), [(200, 1), (201, 2)])
def test_long_curves_are_smoothed_in_front_of_their_values(tmp_path, drawn, count, lines):
    values = [float(i % 2) for i in range(count)]
    draw_runs(
        [run(losses=values)], [Panel('loss', ['loss']), Panel('lr', ['lr'])], tmp_path / 'a.png'
    )
    assert len(drawn[0][1]) == lines and len(drawn[1][1]) == 1
    shown = [y for _, y in drawn[0][1]['loss']]
    assert (shown == values) == (lines == 1)


def test_smoothing_on_request_and_never_of_rates_or_metrics(tmp_path, drawn):
    one = run(val=[(10, dict(mIoU=1.0)), (20, dict(mIoU=3.0))])
    panels = [Panel(key, [key]) for key in ('loss', 'lr', 'mIoU')]
    draw_runs([one], panels, tmp_path / 'a.png', smooth=0.5)
    assert [len(lines) for _, lines in drawn] == [2, 1, 1]
    assert drawn[0][1]['loss'] == [[10, 3], [20, pytest.approx((0.25 * 3 + 0.5 * 2) / 0.75)]]


def test_smoothed():
    values = np.array([4.0, np.nan, 1.0])
    found = smoothed(values, 0.5)
    assert found[0] == 4 and np.isnan(found[1]) and found[2] == pytest.approx(2)
    assert np.array_equal(smoothed(values, 0), values, equal_nan=True)


def test_an_earlier_plot_is_replaced_and_nothing_else(tmp_path):
    file, panels = tmp_path / 'a.png', [Panel('loss', ['loss'])]
    draw_runs([run()], panels, file)
    size = file.stat().st_size
    draw_runs([run(losses=range(1, 50))], panels, file)
    assert file.stat().st_size != size
    Image.new('RGB', (3, 2)).save(tmp_path / 'mine.png')
    (tmp_path / 'text.png').write_text('hello')
    (tmp_path / 'folder.png').mkdir()
    for name in ('mine.png', 'text.png', 'folder.png'):
        with pytest.raises(RecipeError, match=f'{name} exists and is no plot of this tool'):
            draw_runs([run()], panels, tmp_path / name)
    assert (tmp_path / 'text.png').read_text() == 'hello'
    with pytest.raises(RecipeError, match='a.jpg: the picture is a PNG'):
        draw_runs([run()], panels, tmp_path / 'a.jpg')


def test_odd_names(tmp_path, drawn):
    draw_runs([run('_a $x$ 100% #1')], [Panel('loss', ['loss'])], tmp_path / 'a.png')
    assert plain('_a') == ' _a' and plain('$x') == '\\$x'


@pytest.mark.parametrize(
    ('value', 'text'), [(0, '0'), (9999, '9999'), (10000, '10k'), (1.5e6, '1.5M')]
)
def test_short_numbers(value, text):
    assert short_number(value) == text


def test_values_that_no_axis_can_show(write_log, tmp_path):
    rows = [dict(loss=v, lr=v, time=v, iter=i, step=i) for i, v in enumerate((1.0, 1e308, 1e99), 1)]
    run = read_run(write_log([*rows, dict(mAP=1e308, step=3)]))
    assert draw_runs([run], choose_panels([run]), tmp_path / 'a.png').is_file()
