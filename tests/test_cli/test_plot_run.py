# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/plot_run.py: curves of real runs, from their folders to a picture; what is printed."""

import pytest

from mmconvnext.analysis.runs import draw_curve, group_rates
from mmconvnext.analysis.runs.log import Run, read_run
from mmconvnext.cli import plot_run
from mmconvnext.recipe.errors import RecipeError


def test_the_curve_of_a_real_run(detector_run, tmp_path):
    file = draw_curve(detector_run.work_dir, tmp_path / 'curve.png')
    assert file == tmp_path / 'curve.png' and file.stat().st_size > 10000


def test_groups_of_a_real_run(detector_run):
    run = read_run(str(detector_run.work_dir))
    (found,) = group_rates([run]).values()
    trained = {group['lr'] for group in detector_run.runner.optim_wrapper.param_groups}
    assert len(found) == len(trained) > 3 and not run.notes
    highest = max(trained)
    assert [rate.factor for rate in found] == pytest.approx(sorted(lr / highest for lr in trained))


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(RecipeError, match='holds no run'):
        draw_curve(tmp_path, tmp_path / 'curve.png')
    assert not (tmp_path / 'curve.png').exists()


def test_a_model_that_cannot_be_built(detector_run):
    run = read_run(str(detector_run.work_dir))
    run.config.model.backbone.type = 'Nowhere'
    assert group_rates([run]) == {}
    assert 'only the logged learning rate is drawn' in run.notes[0] and 'Nowhere' in run.notes[0]


def test_no_groups_are_built_without_need(monkeypatch):
    monkeypatch.setattr('mmconvnext.analysis.runs.rates', lambda cfg: 1 / 0)
    run = Run('a', [dict(lr=0.1, iter=1)])
    assert group_rates([run]) == {} and not run.notes


def test_a_real_run_by_iteration(segmentor_run):
    run = read_run(str(segmentor_run.work_dir))
    assert [x for x, _ in run.series('loss')] == [1, 2] and run.length() == 2
    assert [x for x, _ in run.series('mIoU')] == [2]


def test_two_runs(detector_run, segmentor_run, tmp_path, capsys):
    runs = [str(detector_run.work_dir), str(segmentor_run.work_dir)]
    out = tmp_path / 'both.png'
    assert plot_run.main([*runs, '--out', str(out)]) == out and out.is_file()
    printed = capsys.readouterr()
    names = [line.partition(':')[0] for line in printed.out.splitlines() if line[0] != ' ']
    assert names == [detector_run.work_dir.name, segmentor_run.work_dir.name, 'picture']
    # A logger of an earlier test may complain that its output is closed.
    assert '2 of 2 iterations, loss ' in printed.out and 'note:' not in printed.err


@pytest.fixture
def three(tmp_path, monkeypatch):
    """Runs `a/run` and `b/run` of the same name, and `c`, which has not logged."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plot_run, 'require_stack', lambda: 1 / 0)
    logs = {'a/run': '{"loss": 1, "iter": 5}\n', 'b/run': '{"loss": 2, "iter": 9}\n{', 'c': ''}
    for folder, text in logs.items():
        log = tmp_path / folder / '1/vis_data/scalars.json'
        log.parent.mkdir(parents=True)
        log.write_text(text)
    return tmp_path


def test_what_is_printed(three, capsys):
    """The packages of the models are not imported, because there is no learning rate to show."""
    assert str(plot_run.main(['a/run', 'a/run', 'b/run', 'c'])) == 'run.png'
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        'a/run: 5 iterations, loss 1',
        'b/run: 9 iterations, loss 2',
        'picture: run.png',
    ]
    assert [line.split(',')[0] for line in printed.err.splitlines()] == [
        'note: c has logged nothing yet; it is not drawn',
        'note: b/run/1/vis_data/scalars.json: left out line 2 of 2',
    ]


def test_nothing_to_draw(three):
    with pytest.raises(RecipeError, match='nothing is logged yet'):
        plot_run.main(['c'])
    (three / 'run.png').write_text('mine')
    with pytest.raises(RecipeError, match='run.png exists and is no plot'):
        plot_run.main(['a/run'])


def test_without_the_packages_the_logged_rate_is_drawn(three, monkeypatch, capsys):
    def missing():
        raise RecipeError('cannot import mmdet')

    monkeypatch.setattr(plot_run, 'require_stack', missing)
    folder = three / 'a/run/1/vis_data'
    (folder / 'scalars.json').write_text('{"loss": 1, "lr": 0.5, "iter": 5}\n')
    (folder / 'config.py').write_text("optim_wrapper = dict(constructor='x')\n")
    plot_run.main(['a/run'])
    assert 'only the logged learning rate is drawn' in capsys.readouterr().err
