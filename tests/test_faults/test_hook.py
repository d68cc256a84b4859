# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Runs whose files turn bad: what they say, what they save, and that they stay repeatable."""

import os
import re
import signal
from pathlib import Path

import processes
import pytest
from bad_data_runs import Damage, picture_config, pictures, run, run_rank
from fixtures import MASK_RCNN, UPERNET
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from resume_runs import LENGTH, SignalHook, assert_equal

from mmconvnext.faults.bad_data import BadDataError
from mmconvnext.faults.hook import MANY, expected
from mmconvnext.recipe.known_bad import FILE, entries

BOTH = pytest.mark.parametrize('by_epoch', [True, False], ids=['epochs', 'iterations'])


@pytest.fixture
def folder(tmp_path):
    return pictures(tmp_path / 'images')


@BOTH
@pytest.mark.parametrize('workers', [0, pytest.param(2, marks=pytest.mark.slow)])
def test_stop_loses_nothing(by_epoch, workers, folder, tmp_path):
    """The checkpoint is that of the iteration before; with the file whole again, as undisturbed."""
    whole = run(picture_config(tmp_path / 'whole', folder, by_epoch))
    content = (folder / '4.png').read_bytes()
    cfg = picture_config(tmp_path / 'x', folder, by_epoch, workers)
    damage = Damage(2, lambda: (folder / '4.png').write_bytes(content[:60]))
    with pytest.raises(BadDataError) as error:
        run(cfg, damage)
    text = str(error.value)
    found = re.match(r'iteration (\d+): .*/4.png: it is cut off', text)
    at = int(found[1]) - 1
    assert 2 <= at < LENGTH[by_epoch] and 'Traceback' not in text
    path = tmp_path / f'x/resume_iter_{at}.pth'
    if not path.is_file():  # that of the config is as new
        path = Path((tmp_path / 'x/last_checkpoint').read_text())
    assert f'Last checkpoint: {path}; continue with --resume' in text
    assert [row.file for row in entries(tmp_path / 'x')] == [str(folder / '4.png')]
    (folder / '4.png').write_bytes(content)
    assert_equal(run(cfg, resume=path), whole)


@BOTH
def test_skip_is_the_same_after_a_resume_and_with_workers(by_epoch, folder, tmp_path, log_records):
    (folder / '4.png').write_bytes(b'')
    whole = run(picture_config(tmp_path / 'whole', folder, by_epoch), policy='skip')
    assert entries(tmp_path / 'whole') == [(*[str(folder / '4.png')] * 2, 'it is empty', '0')]
    for at in (1, 6):
        cfg = picture_config(tmp_path / f'at{at}', folder, by_epoch)
        with pytest.raises(SystemExit):
            run(cfg, SignalHook(at), policy='skip')
        path = (tmp_path / f'at{at}/last_checkpoint').read_text()
        assert_equal(run(cfg, policy='skip', resume=path), whole)
        assert len(entries(tmp_path / f'at{at}')) == 1


@pytest.mark.slow
def test_workers_make_no_difference(folder, tmp_path):
    (folder / '4.png').write_bytes(b'')
    runs = [
        run(picture_config(tmp_path / f'{n}', folder, workers=n), policy='skip') for n in (0, 2)
    ]
    assert_equal(*runs)
    assert entries(tmp_path / '0') == entries(tmp_path / '2')


def test_what_skip_says(folder, tmp_path, capsys):
    damage = Damage(1, lambda: [(folder / f'{i}.png').unlink() for i in (4, 7)])
    run(picture_config(tmp_path / 'x', folder), damage, policy='skip')
    out = capsys.readouterr().out
    for number in (1, 2):
        line = rf'bad data {number}: \S+images/[47].png: no such file or directory; another sample'
        assert len(re.findall(line, out)) == 1
    assert re.search(
        r'bad data: samples that were replaced by others: \d+; files that bad_data.txt names: 2',
        out,
    )
    run(picture_config(tmp_path / 'x', folder), policy='skip')
    out = capsys.readouterr().out
    assert f'bad files that {FILE} names already: 2' in out and 'bad data 1' not in out


def test_many_are_not_all_shown(folder, tmp_path, capsys):
    pictures(folder, 60)
    for i in range(0, 60, 2):
        (folder / f'{i}.png').unlink()
    (folder / 'other.png').touch()
    run(picture_config(tmp_path / 'x', folder, length=60), policy='skip')
    count = len(entries(tmp_path / 'x'))
    shown = re.findall(r'bad data (\d+):', capsys.readouterr().out)
    assert count > 16 and shown == [*map(str, range(1, MANY + 1)), '16']


@pytest.mark.parametrize('policy', ['stop', 'skip'])
def test_a_validation_always_stops(policy, folder, tmp_path):
    cfg = picture_config(tmp_path / 'x', folder)
    others = pictures(tmp_path / 'val', 3)
    cfg.val_dataloader.dataset = dict(
        type='PictureDataset', folder=str(others), length=3, test_mode=True
    )
    with pytest.raises(BadDataError) as error:
        run(cfg, Damage(6, lambda: (others / '1.png').write_bytes(b'')), policy=policy)
    text = str(error.value)
    assert re.match('validation after iteration 10: .*val/1.png: it is empty. .*metric', text)
    assert f'Last checkpoint: {tmp_path}/x/epoch_2.pth' in text
    assert not (tmp_path / f'x/{FILE}').exists()


@pytest.mark.slow
def test_a_dead_worker_has_a_name(folder, tmp_path, monkeypatch):
    """As if the system had killed it, for its memory."""
    prepare = BaseDataset.prepare_data

    def die(self, index):
        if index == 7:
            self.prepare_data.rules.board.reading(f'{folder}/7.png')
            os.kill(os.getpid(), signal.SIGKILL)
        return prepare(self, index)

    monkeypatch.setattr(BaseDataset, 'prepare_data', die)
    cfg = picture_config(tmp_path / 'x', folder, workers=2)
    with pytest.raises(BadDataError, match=r'^iteration \d: \S+/7.png: the worker .*memory'):
        run(cfg, policy='skip')
    assert not list((tmp_path / 'x').glob('resume_*'))  # it may have stopped within an iteration


def test_a_worker_that_dies_while_it_waits(folder, tmp_path):
    """torch says so wherever the training is, and nobody knows of which file it died."""

    def tell():
        raise RuntimeError('DataLoader worker (pid 7) is killed by signal: Killed. ')

    match = r'a worker, between two files, ended \(is killed by signal: Killed\)\. It .*workers\n'
    with pytest.raises(BadDataError, match=match) as error:
        run(picture_config(tmp_path / 'x', folder), Damage(6, tell))
    assert str(error.value).startswith('iteration 7: ')
    assert f'\nLast checkpoint: {tmp_path}/x/epoch_1.pth; continue' in str(error.value)
    with pytest.raises(BadDataError, match='There is no checkpoint yet, so nothing to --resume'):
        run(picture_config(tmp_path / 'y', folder), Damage(1, tell))


def test_other_errors_stay_as_they_are(folder, tmp_path):
    def fail():
        raise RuntimeError('of the model')

    with pytest.raises(RuntimeError, match='^of the model$'):
        run(picture_config(tmp_path / 'x', folder), Damage(1, fail))


def test_a_foreign_dataset_is_told(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr('mmconvnext.faults.hook.guard', lambda dataset, rules: rules.measures)
    run(picture_config(tmp_path / 'x', folder))
    out = capsys.readouterr().out
    assert out.count('is no dataset of mmengine') == 1
    assert 'train_dataloader: PictureDataset is no dataset of mmengine' in out


@pytest.mark.slow
@pytest.mark.parametrize('policy', ['stop', 'skip'])
def test_two_processes(policy, tmp_path):
    for rank in (0, 1):
        pictures(tmp_path / f'of{rank}', 12)
    done = processes.call(run_rank, str(tmp_path), policy, count=2, folder=tmp_path)
    if policy == 'skip':
        assert [one.returncode for one in done] == [0, 0], done[0].stderr + done[1].stderr
        rows = entries(tmp_path / 'run')
        assert rows and {row.rank for row in rows} == {'1'}
        assert 'it is empty, rank 1; another sample' in done[0].stdout
    else:
        assert done[1].returncode and re.search(
            r'iteration \d: \S+/of1/.*png: it is empty', done[1].stderr
        )


def test_what_is_expected_of_configs():
    seg, det = (expected(Config.fromfile(path)) for path in (UPERNET, MASK_RCNN))
    assert (seg.channels, seg.spread, seg.sized, seg.passed) == (3, True, True, ())
    assert det == ((), 3, False, True)
    cfg = Config.fromfile(MASK_RCNN)
    cfg.checks = dict(image_sizes=False)
    cfg.model.backbone.in_channels = 5
    cfg.train_dataloader.dataset.pipeline.insert(2, dict(type='FilterAnnotations'))
    assert expected(cfg) == (('image_sizes',), 5, False, False)
