# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Samples of datasets, wrapped in all ways, some of whose files are bad."""

import errno
import random
import re

import numpy as np
import pytest
import torch
from bad_data_runs import HEIGHT, SIZE, WIDTH, PictureDataset, pictures
from mmcv.transforms import LoadImageFromFile
from mmdet.datasets import MultiImageMixDataset
from mmengine.dataset import ClassBalancedDataset, Compose, ConcatDataset, RepeatDataset
from mmengine.registry import TRANSFORMS
from PIL import Image

from mmconvnext.faults import samples
from mmconvnext.faults.bad_data import BadDataError
from mmconvnext.faults.board import Board
from mmconvnext.faults.looks import Expected
from mmconvnext.faults.samples import MOST, Rules, guard
from mmconvnext.recipe.known_bad import entries
from mmconvnext.resume.batches import PlacedBatch


def name(results):
    return int(results['img_path'].rpartition('/')[2][:-4])


NAMES = [LoadImageFromFile(), name]


@pytest.fixture
def folder(tmp_path):
    return pictures(tmp_path / 'images')


@pytest.fixture
def rules(tmp_path):
    return Rules(True, False, (), str(tmp_path), Board(0), Expected())


def read(dataset, indices, epoch=0):
    """As a loader reads a batch."""
    places = [(3, epoch, number) for number in range(len(indices))]
    return [dataset[index] for index in PlacedBatch(indices, places)]


def test_a_sound_dataset_reads_the_same(folder, rules):
    dataset, plain = (PictureDataset(folder) for _ in range(2))
    assert guard(dataset, rules) == 1
    for ours, theirs in zip(read(dataset, [3, 0, 9]), read(plain, [3, 0, 9]), strict=True):
        assert torch.equal(ours['inputs'], theirs['inputs'])
    assert entries(rules.folder) == [] and rules.board.total == 0


def test_stop_names_the_file(folder, rules):
    dataset = PictureDataset(folder)
    rules.skip = False
    guard(dataset, rules)
    (folder / '4.png').write_bytes(b'')
    with pytest.raises(BadDataError, match=r'images/4.png: it is empty. Repair .*on-bad-data skip'):
        read(dataset, [3, 4])
    assert read(PictureDataset(folder, pipeline=NAMES), [3]) == [3]
    assert [row.file for row in entries(rules.folder)] == [f'{folder}/4.png']
    assert rules.board.total == 0


def test_skip_reads_another_one_that_the_place_determines(folder, rules):
    dataset = PictureDataset(folder, pipeline=NAMES)
    guard(dataset, rules)
    (folder / '4.png').write_bytes(b'')
    found = [read(dataset, [3, 4, 5, 4], epoch) for epoch in range(20)]
    assert [row[::2] for row in found] == [[3, 5]] * 20
    others = {row[i] for row in found for i in (1, 3)}
    assert 4 not in others and len(others) > 5
    assert any(row[1] != row[3] for row in found)
    random.seed(99)
    np.random.seed(99)
    assert [read(dataset, [3, 4, 5, 4], epoch) for epoch in range(20)] == found
    assert entries(rules.folder) == [(*[str(folder / '4.png')] * 2, 'it is empty', '0')]
    assert rules.board.total >= 2 * 40  # the other one may be the same


def test_a_failure_after_draws_leads_to_the_same_sample(folder, rules):
    """Where in the pipeline it fails, and what was drawn before, makes no difference."""

    def fails_late(results):
        np.random.rand(random.randint(0, 5))
        if name(results) == 4:
            raise IndexError('of a transform')
        return results

    late = PictureDataset(folder, pipeline=[LoadImageFromFile(), fails_late, name])
    early = PictureDataset(folder, pipeline=NAMES)
    guard(late, rules)
    guard(early, rules)
    found = [read(late, [4], epoch) for epoch in range(10)]
    (folder / '4.png').unlink()
    assert [read(early, [4], epoch) for epoch in range(10)] == found
    ((_, _, reason, _),) = entries(rules.folder)
    assert re.fullmatch(
        r'IndexError in function \(test_samples.py, line \d+\): of a transform', reason
    )


def test_an_unlucky_sample_ends(folder, rules):
    dataset = PictureDataset(folder)
    guard(dataset, rules)
    for path in folder.iterdir():
        path.write_bytes(b'')
    with pytest.raises(BadDataError, match=f'the {MOST - 1} samples .* single files'):
        read(dataset, [0])
    assert rules.board.total == MOST and len(entries(rules.folder)) > 5


def test_bad_ones_in_a_row_are_counted_for_each_sample(folder, rules):
    dataset = PictureDataset(folder)
    guard(dataset, rules)
    (folder / '4.png').unlink()
    read(dataset, [4] * (3 * MOST))
    assert rules.board.total >= 3 * MOST


def test_a_validation_never_skips(folder, rules):
    dataset, rules.measures = PictureDataset(folder, test_mode=True), True
    guard(dataset, rules)
    (folder / '4.png').unlink()
    with pytest.raises(BadDataError, match='4.png: no such file.*validation set.* the metric'):
        dataset[4]


@pytest.mark.parametrize(
    'error',
    [MemoryError('x'), OSError(errno.EMFILE, 'Too many open files')],
    ids=['memory', 'files'],
)
def test_faults_of_the_machine_stop(error, folder, rules):
    def fail(results):
        raise error

    dataset = PictureDataset(folder, pipeline=[LoadImageFromFile(), fail])
    guard(dataset, rules)
    with pytest.raises(BadDataError, match='0.png: .*a fault of the machine'):
        dataset[0]
    assert entries(rules.folder) == []


@pytest.mark.parametrize('more', [dict(gt_bboxes=np.zeros((1, 4))), dict(gt_bboxes_labels=[2])])
def test_boxes(more, folder, rules):
    def load(results):
        return dict(results, **more) if name(results) == 4 else results

    dataset = PictureDataset(folder, pipeline=[LoadImageFromFile(), load, name])
    guard(dataset, rules)
    assert read(dataset, [4]) != [4] and len(entries(rules.folder)) == 1


def test_mmengines_own_repeats_stay(folder, rules):
    """A pipeline that returns None, such as a crop without objects, is no bad data."""
    dataset = PictureDataset(folder, pipeline=[*NAMES, lambda i: None if i < 8 else i])
    guard(dataset, rules)
    assert min(read(dataset, [0, 1, 2])) >= 8
    assert rules.board.total == 0


def test_a_hook_may_switch_the_pipeline(folder, rules):
    """As mmdet's PipelineSwitchHook does; the new one is guarded too."""
    dataset = PictureDataset(folder)
    guard(dataset, rules)
    (folder / '4.png').unlink()
    read(dataset, [4])
    dataset.pipeline = switched = Compose(NAMES)
    assert read(dataset, [3]) == [3] and read(dataset, [4]) != [4]
    assert dataset.pipeline is switched


@pytest.mark.parametrize(
    'wrap',
    [
        lambda one: one,
        lambda one: ConcatDataset([PictureDataset(one.folder, 3, NAMES), one]),
        lambda one: RepeatDataset(one, 2),
        lambda one: ClassBalancedDataset(one, 0.6),
    ],
    ids=['none', 'concat', 'repeat', 'balanced'],
)
@pytest.mark.parametrize('skip', [True, False])
def test_wrappers(wrap, skip, folder, rules):
    rules.skip = skip
    dataset = wrap(PictureDataset(folder, pipeline=NAMES))
    assert guard(dataset, rules) >= 1
    (folder / '7.png').unlink()
    if not skip:
        with pytest.raises(BadDataError, match=r'7.png: no such file'):
            read(dataset, range(len(dataset)))
        return
    assert 7 not in read(dataset, range(len(dataset)))
    assert [row[0] for row in entries(rules.folder)] == [str(folder / '7.png')]


@TRANSFORMS.register_module(force=True)
class Pick:
    """As mosaic: adds other samples."""

    def get_indexes(self, dataset):
        return [random.randint(0, len(dataset) - 1) for _ in range(3)]

    def __call__(self, results):
        return dict(names=[name(one) for one in (results, *results['mix_results'])])


@pytest.mark.parametrize('skip', [True, False])
def test_mixed_images(skip, folder, rules):
    rules.skip = skip
    inner = PictureDataset(folder, pipeline=[LoadImageFromFile()])
    dataset = MultiImageMixDataset(inner, [dict(type='mmengine.Pick')])
    assert guard(dataset, rules) == 1
    (folder / '4.png').write_bytes(b'x')
    if not skip:
        with pytest.raises(BadDataError, match='4.png: it is no image'):  # one of those mixed in
            read(dataset, [0] * 20)
        return
    names = {one for row in read(dataset, [0] * 20) for one in row['names']}
    assert 4 not in names and len(names) > 5
    assert read(dataset, [0] * 20) == read(dataset, [0] * 20)
    assert [row[0] for row in entries(rules.folder)] == [str(folder / '4.png')]


def test_what_is_no_dataset_of_mmengine(rules):
    assert guard([1, 2], rules) == 0


class Maps:
    """As mmseg's LoadAnnotations."""

    with_seg = True

    def __call__(self, results):
        results['gt_seg_map'] = np.array(Image.open(results['seg_map_path']))
        return results


class LoadOther(Maps):
    with_seg = False


def with_maps(folder, transform=None):
    maps = folder.parent / 'maps'
    maps.mkdir()
    for i in range(10):
        Image.fromarray(np.full((HEIGHT, WIDTH), i % 2, np.uint8)).save(maps / f'{i}.png')
    pipeline = [LoadImageFromFile(), transform or Maps(), name]
    dataset = PictureDataset(folder, pipeline=pipeline, maps=str(maps))
    dataset.reduce_zero_label, dataset.label_map = False, None
    return dataset, maps


@pytest.mark.parametrize(
    ('labels', 'reason'),
    [
        (np.full((HEIGHT, WIDTH), 2, np.uint8), 'ids of no class: 2; there are 2 classes'),
        (np.zeros((HEIGHT, WIDTH - 1), np.uint8), 'label map has 8 x 6 pixels, its image 9 x 6'),
        (None, 'it is cut off'),
    ],
    ids=['ids', 'size', 'cut'],
)
def test_label_maps(labels, reason, folder, rules):
    dataset, maps = with_maps(folder)
    guard(dataset, rules)
    file = maps / '4.png'
    if labels is None:
        file.write_bytes(file.read_bytes()[:50])
    else:
        Image.fromarray(labels).save(file)
    assert read(dataset, [4]) != [4]
    ((bad, image, why, _),) = entries(rules.folder)
    assert bad == str(file) and reason in why
    assert image == str(folder / '4.png') and why.endswith(f'(label map of {image})')


def test_sizes_are_compared_before_an_image_fills_the_memory(folder, rules):
    dataset, maps = with_maps(folder)
    dataset.pipeline.transforms.insert(0, lambda results: loaded.append(name(results)) or results)
    guard(dataset, rules)
    Image.new('L', (WIDTH, HEIGHT + 1)).save(maps / '4.png')
    loaded = []
    assert read(dataset, [4]) == loaded != [4]


def test_a_loader_that_is_not_known_names_the_label_map(folder, rules):
    dataset, maps = with_maps(folder, LoadOther())
    guard(dataset, rules)
    (maps / '4.png').write_bytes(b'')
    assert read(dataset, [4]) != [4]
    ((bad, image, why, _),) = entries(rules.folder)
    assert bad == str(maps / '4.png') and 'UnidentifiedImageError in LoadOther' in why


def test_label_maps_that_nobody_loads(folder, rules):
    dataset, maps = with_maps(folder, dict)
    guard(dataset, rules)
    (maps / '4.png').unlink()
    assert read(dataset, [4]) == [4]


def test_ids_that_mmseg_maps_are_left_to_it(folder, rules):
    dataset, maps = with_maps(folder)
    dataset.label_map = {7: 0}
    guard(dataset, rules)
    Image.fromarray(np.full((HEIGHT, WIDTH), 7, np.uint8)).save(maps / '4.png')
    assert read(dataset, [4]) == [4]


class Away:
    """A file system that fails some times."""

    def __init__(self, times, error=None):
        self.left, self.naps, self.said = times, [], []
        self.error = error or OSError(errno.ESTALE, 'Stale file handle')

    def __call__(self, results):
        np.random.rand(3)  # what a failed attempt drew does not count
        if self.left:
            self.left -= 1
            raise self.error
        return results

    def patch(self, monkeypatch):
        monkeypatch.setattr(samples, 'wait', lambda s, hurried: not self.naps.append(s))
        monkeypatch.setattr(samples, 'say', self.said.append)
        return self


@pytest.mark.parametrize('times', [1, 3])
def test_a_file_system_that_comes_back(times, folder, rules, monkeypatch):
    away, rules.waits = Away(times).patch(monkeypatch), (1, 4, 10)
    loader, (_, pack) = LoadImageFromFile(), PictureDataset(folder).pipeline.transforms
    dataset = PictureDataset(folder, pipeline=[away, loader, pack])
    sound = PictureDataset(folder, pipeline=[Away(0), loader, pack])
    guard(dataset, rules)
    ours, theirs = read(dataset, [4, 5]), read(sound, [4, 5])
    assert [torch.equal(a['inputs'], b['inputs']) for a, b in zip(ours, theirs)] == [True] * 2
    assert away.naps == [1, 4, 10][:times] and rules.board.total == 0
    first, last = away.said
    assert '4.png: stale file handle; waiting for the file system, up to 15 s' in first
    assert '4.png: can be read again, after' in last


@pytest.mark.parametrize('skip', [True, False])
def test_a_file_system_that_stays_away(skip, folder, rules, monkeypatch):
    away, rules.waits, rules.skip = Away(999).patch(monkeypatch), (1, 4), skip
    dataset = PictureDataset(folder, pipeline=[away, LoadImageFromFile(), name])
    guard(dataset, rules)
    with pytest.raises(BadDataError, match='stale file handle.*single files' if skip else 'stale'):
        read(dataset, [4])
    assert away.naps == [1, 4] and len(away.said) == 1  # those in its place are not waited for


def test_a_file_that_was_waited_for_in_vain_is_not_waited_for_again(folder, rules, monkeypatch):
    class OnlyOne(Away):
        def __call__(self, results):
            return super().__call__(results) if name(results) in (4, 6) else results

    away, rules.waits = OnlyOne(999, OSError(errno.EIO, 'x')).patch(monkeypatch), (1, 4)
    dataset = PictureDataset(folder, pipeline=[away, LoadImageFromFile(), name])
    guard(dataset, rules)
    assert 4 not in read(dataset, [4, 4, 3]) and away.naps == [1, 4] and len(away.said) == 1
    rules.waits = (2,)
    assert 6 not in read(dataset, [6]) and away.naps == [1, 4, 2] and len(away.said) == 2


def test_a_process_that_is_to_end_does_not_wait(folder, rules, monkeypatch):
    away, rules.waits = Away(999).patch(monkeypatch), (1, 4)
    monkeypatch.setattr(samples, 'wait', lambda seconds, hurried: False)
    rules.skip = False
    dataset = PictureDataset(folder, pipeline=[away, LoadImageFromFile()])
    guard(dataset, rules)
    with pytest.raises(BadDataError, match='stale'):
        dataset[0]
    assert away.left == 998


def test_a_folder_that_is_gone_is_waited_for(folder, rules, monkeypatch):
    rules.waits = (1, 4)
    dataset = PictureDataset(folder, pipeline=NAMES)
    guard(dataset, rules)
    gone = folder.with_name('gone')
    folder.rename(gone)
    monkeypatch.setattr(samples, 'say', lambda line: None)
    monkeypatch.setattr(samples, 'wait', lambda seconds, hurried: gone.rename(folder))
    assert read(dataset, [4]) == [4] and rules.board.total == 0


def test_a_folder_that_stays_away_stops(folder, rules, monkeypatch):
    """No file of it is bad, so none is listed; even if the sample before was bad."""
    naps, rules.waits = [], (1, 4)
    monkeypatch.setattr(samples, 'say', lambda line: None)
    monkeypatch.setattr(samples, 'wait', lambda seconds, hurried: not naps.append(seconds))
    dataset = PictureDataset(folder, pipeline=NAMES)
    guard(dataset, rules)
    dataset.prepare_data.in_a_row = 1
    folder.rename(folder.with_name('gone'))
    with pytest.raises(BadDataError, match='4.png: no such .* its folder is missing or empty'):
        read(dataset, [4])
    assert naps == [1, 4] and entries(rules.folder) == []


def test_sizes_come_from_the_annotations(folder, rules):
    Image.new('RGB', SIZE[::-1]).save(folder / '4.png')
    for sized in (True, False):
        dataset = PictureDataset(folder, pipeline=NAMES, sized=sized)
        guard(dataset, rules)
        assert (read(dataset, [4]) == [4]) is not sized
