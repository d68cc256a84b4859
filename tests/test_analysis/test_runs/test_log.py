# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""analysis/runs/log.py: a work dir is one curve, whatever happened to its starts."""

import math
from pathlib import Path

import pytest

from mmconvnext.analysis.runs.log import finite, read_run
from mmconvnext.recipe.errors import RecipeError

NEW, GOES_ON = dict(resume=False), dict(resume=True)


def by_iteration(*iterations, **values):
    return [dict(loss=float(i), lr=0.1, iter=i, step=i, **values) for i in iterations]


def test_a_run_by_iteration(write_log):
    rows = [*by_iteration(50, 100), dict(mIoU=12.5, time=0.2, data_time=0.1, step=100)]
    run = read_run(write_log(rows, 'my run'))
    assert run.name == 'my run' and run.keys() == ['loss', 'lr'] and run.metrics() == ['mIoU']
    assert run.series('loss') == [(50, 50), (100, 100)] and run.series('mIoU') == [(100, 12.5)]
    assert run.epoch is None and run.length() is None and not run.notes and not run.starts


def test_validations_of_a_run_by_epoch_lie_at_the_ends_of_its_epochs(write_log):
    """Also where the log's interval does not divide the epoch: 7 iterations, a row every 3."""
    rows = []
    for epoch in (1, 2, 3):
        first = 7 * (epoch - 1)
        rows += [dict(loss=1.0, epoch=epoch, iter=first + i, step=first + i) for i in (3, 6)]
        rows.append({'coco/bbox_mAP': epoch / 10, 'step': epoch})
    run = read_run(write_log(rows, config=dict(train_cfg=dict(max_epochs=12))))
    assert run.epoch == 7 and run.length() == 84
    assert run.series('coco/bbox_mAP') == [(7, 0.1), (14, 0.2), (21, 0.3)]


def test_the_first_epoch_ends_at_its_last_row_as_long_as_its_length_is_unknown(write_log):
    rows = [dict(loss=1.0, epoch=1, iter=20, step=20), dict(mAP=0.5, step=1)]
    run = read_run(write_log(rows, config=dict(train_cfg=dict(max_epochs=12))))
    assert run.series('mAP') == [(20, 0.5)] and run.epoch is None and run.length() is None


def test_step_0_of_configs_that_count_no_epochs(write_log):
    rows = [*by_iteration(50), dict(PQ=1.0, step=0), *by_iteration(100), dict(PQ=2.0, step=0)]
    assert read_run(write_log(rows)).series('PQ') == [(50, 1), (100, 2)]


def test_a_resumed_run_is_one_curve(write_log):
    """What the first start logged after the checkpoint is replaced."""
    first = [
        *by_iteration(10, 20),
        dict(mIoU=1.0, step=20),
        *by_iteration(30),
        dict(mIoU=9, step=30),
    ]
    second = [dict(loss=-1.0, iter=i, step=i) for i in (30, 40)] + [dict(mIoU=2.0, step=40)]
    write_log(second, start='20250103_000000', config=dict(GOES_ON, train_cfg=dict(max_iters=99)))
    run = read_run(write_log(first, start='20250102_000000', config=NEW))
    assert run.series('loss') == [(10, 10), (20, 20), (30, -1), (40, -1)]
    assert run.series('mIoU') == [(20, 1), (40, 2)]
    assert run.starts == [30] and run.length() == 99 and not run.notes


@pytest.mark.parametrize('config', [NEW, None], ids=['config', 'no config'])
def test_a_start_that_began_anew_replaces_the_one_before(write_log, config):
    write_log(by_iteration(10, 20, 30), start='20250102_000000', config=config)
    path = write_log(by_iteration(10, 20), start='20250103_000000', config=config)
    run = read_run(path)
    assert run.series('loss') == [(10, 10), (20, 20)] and run.starts == []
    (note,) = run.notes
    assert '20250103_000000 began anew' in note and f'{path}/20250102_000000' in note


def test_without_a_config_a_later_iteration_tells_that_it_resumed(write_log):
    write_log(by_iteration(10, 20), start='20250102_000000')
    run = read_run(write_log(by_iteration(30), start='20250103_000000'))
    assert [x for x, _ in run.series('loss')] == [10, 20, 30]


def test_a_start_that_logged_nothing_changes_nothing(write_log):
    write_log([], start='20250103_000000', config=NEW)
    run = read_run(write_log(by_iteration(10), start='20250102_000000', config=GOES_ON))
    assert run.series('loss') == [(10, 10)] and run.config.resume and not run.notes


def test_a_run_that_has_not_logged_yet(write_log):
    run = read_run(write_log([]))
    assert (run.train, run.val, run.keys(), run.metrics()) == ([], [], [], [])


def test_only_validation(write_log):
    assert read_run(write_log([dict(mIoU=2.5, step=0)])).series('mIoU') == [(0, 2.5)]


def test_a_line_that_is_being_written(write_log):
    path = write_log(by_iteration(10, 20), tail='{"loss": 1.0, "it')
    run = read_run(path)
    assert [x for x, _ in run.series('loss')] == [10, 20]
    (note,) = run.notes
    assert note.endswith(
        'left out line 3 of 3, which is no JSON object; the run may be writing it just now'
    )


def test_damaged_lines_in_the_middle(write_log):
    path = write_log([], tail='{"iter": 1, "loss": 2}\n\x00\x00\n[1]\n\n{"iter": "x", "a": 1}\n')
    run = read_run(path)
    assert run.series('loss') == [(1, 2)]
    (note,) = run.notes
    assert note.endswith('left out line 2, 3 of 5, which is no JSON object')


def test_a_file_of_another_kind(write_log, tmp_path):
    path = write_log([], tail='hello\nworld\n')
    with pytest.raises(RecipeError, match='is no log of mmengine: no line of it is a JSON object'):
        read_run(path)


def test_a_broken_config_beside_a_log_does_not_matter(write_log):
    path = write_log(by_iteration(10))
    next(Path(path).glob('*/vis_data')).joinpath('config.py').write_text('model = (')
    assert read_run(path).config is None


def test_values_that_are_no_numbers(write_log):
    rows = [
        dict(loss=math.nan, acc=None, flag=True, names=['a'], iter=1),
        dict(loss=math.inf, iter=2),
    ]
    run = read_run(write_log([*rows, {'coco/bbox_mAP_l': -1.0, 'coco/bbox_mAP': 0.0, 'step': 2}]))
    assert run.keys() == ['loss'] and [math.isnan(y) for _, y in run.series('loss')] == [
        True,
        False,
    ]
    assert finite(run.series('loss')) == []
    assert run.series('coco/bbox_mAP_l') == [] and run.series('coco/bbox_mAP') == [(2, 0)]


@pytest.mark.parametrize('below', ['', '20250101_000000', '20250101_000000/vis_data',
                                   '20250101_000000/vis_data/scalars.json'])  # fmt: skip
def test_what_names_a_run(write_log, below):
    path = write_log(by_iteration(10))
    assert read_run(str(Path(path, below))).series('loss') == [(10, 10)]


def test_folders_without_a_run(write_log, tmp_path):
    with pytest.raises(RecipeError, match="there is no '.*nowhere'; name a work dir"):
        read_run(str(tmp_path / 'nowhere'))
    (tmp_path / 'empty').mkdir()
    with pytest.raises(RecipeError, match=r'empty holds no run: no \*/vis_data/scalars.json'):
        read_run(str(tmp_path / 'empty'))
    first, second = write_log([], 'a'), write_log([], 'b')
    with pytest.raises(
        RecipeError, match=f'holds several runs; name one or more: {first} {second}'
    ):
        read_run(str(tmp_path))


@pytest.mark.parametrize(
    ('name', 'kind'),
    [
        ('epoch_8.pth', 'a checkpoint'),
        ('mine.py', 'a config'),
        ('20261127.log', 'a log for reading'),
    ],
)
def test_another_file_of_a_run_is_told_from_its_log(write_log, name, kind):
    work_dir = Path(write_log(by_iteration(1, 2)))
    (work_dir / name).touch()
    message = f'{name} is {kind}, where a run is expected; name its work dir, such as {work_dir}$'
    with pytest.raises(RecipeError, match=message):
        read_run(str(work_dir / name))
    (work_dir / 'apart').mkdir()
    (work_dir / 'apart' / name).touch()
    with pytest.raises(RecipeError, match=f'{kind}, .* such as work_dirs/CONFIG$'):
        read_run(str(work_dir / 'apart' / name))


@pytest.mark.parametrize('value', [1e308, -(10**400), 1.1e100])
def test_values_that_no_axis_can_show_are_infinite(write_log, value):
    rows = [dict(loss=value, iter=1, step=1), dict(loss=1e100, iter=2, step=2)]
    rows += [dict(mAP=0.5, step=value), dict(loss=1.0, iter=value, step=3)]
    run = read_run(write_log(rows))
    assert run.series('loss') == [(1, math.inf if value > 0 else -math.inf), (2, 1e100)]
    assert run.series('mAP') == [(2, 0.5)]
