# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/exports/divide.py: splits of the export are kept, else images are divided."""

import pytest
from export_files import picture, ready, splits, text, voc, voc_object, yolo

from mmconvnext.data.exports.folder import SourceError

CAT, DOG = '0 .5 .5 .2 .2\n', '1 .5 .5 .2 .2\n'


def frames(root, series=4, count=5):
    """Frames of several films, in one folder."""
    names = [f'film{s}_{i:03}.png' for s in range(series) for i in range(count)]
    return yolo(root, {name: CAT if i % 2 else DOG for i, name in enumerate(names)})


def test_groups_stay_together(tmp_path):
    facts, out = ready(frames(tmp_path / 'a'), group=r'(film\d)_', val=0.25)
    found = splits(out)
    films = {split: {name[:5] for name in names} for split, names in found.items()}
    assert len(found['val']) == 5 and not films['train'] & films['val']
    assert any('20 images in 4 groups were divided' in note for note in facts['notes'])
    assert not any('look like frames' in note for note in facts['notes'])


def test_folders_stay_together(tmp_path):
    root = tmp_path / 'a'
    for slide in 'xyz':
        for i in '123':
            picture(root / slide / f'{i}.png')
            voc(root / slide / f'{i}.xml', f'{i}.png', voc_object('cat', (1, 2, 9, 12)))
    found = splits(ready(root, group='folder')[1])
    assert len(found['val']) == 3 and len({name[0] for name in found['val']}) == 1


def test_frames_are_noticed(tmp_path):
    notes = ready(frames(tmp_path / 'a'))[0]['notes']
    assert any('frames of 4 series (film0_, film1_, film2_, ...)' in note for note in notes)
    notes = ready(frames(tmp_path / 'b', 20, 1), out='c')[0]['notes']
    assert not any('frames' in note for note in notes)


def test_the_fraction_is_of_each_class(tmp_path):
    images = {f'{i}.png': (DOG if i < 4 else CAT) for i in range(20)}
    facts, _ = ready(yolo(tmp_path / 'a', images), val=0.25)
    assert facts['splits']['val']['classes'] == dict(cat=4, dog=1)


@pytest.mark.parametrize('seed', range(4))
def test_val_shows_an_object(tmp_path, seed):
    images = {'1.png': CAT, '2.png': CAT, '3.png': '', '4.png': ''}
    facts, _ = ready(yolo(tmp_path / 'a', images), seed=seed)
    assert [entry['objects'] for entry in facts['splits'].values()] == [1, 1]


def test_a_seed_gives_the_same_images(tmp_path):
    root = frames(tmp_path / 'a')
    first, again, other = (splits(ready(root, out=o, seed=s)[1]) for o, s in ('b0', 'c0', 'd1'))
    assert first == again != other


def divided(root, *folders):
    for folder in folders:
        for i in range(3):
            picture(root / folder / 'images' / f'{folder}{i}.png')
            text(root / folder / 'labels' / f'{folder}{i}.txt', CAT)
    text(root / 'data.yaml', 'names: [cat]\n')
    return root


def test_val_is_taken_from_train_if_there_is_only_a_test(tmp_path):
    found = splits(ready(divided(tmp_path / 'a', 'train', 'test'), val=0.4)[1])
    assert {k: len(v) for k, v in found.items()} == dict(train=2, val=1, test=3)
    assert all(name.startswith('test/') for name in found['test'])


def test_resplit_divides_again_but_for_the_test(tmp_path):
    root = divided(tmp_path / 'a', 'train', 'valid', 'test')
    found = splits(ready(root, again=True, val=0.34)[1])
    assert {k: len(v) for k, v in found.items()} == dict(train=4, val=2, test=3)
    assert all(name.startswith('test/') for name in found['test'])


def test_images_that_no_split_names_are_learnt(tmp_path):
    root = divided(tmp_path / 'a', 'train', 'valid', 'more')
    facts, out = ready(root)
    assert len(splits(out)['train']) == 6
    (noted,) = facts['noted'].values()
    assert noted['count'] == 3 and noted['first'][0] == 'more/more0.png'


def test_val_alone_leaves_the_others_for_train(tmp_path):
    found = splits(ready(divided(tmp_path / 'a', 'valid', 'more'))[1])
    assert found['val'] == ['valid/valid0.png', 'valid/valid1.png', 'valid/valid2.png']
    assert len(found['train']) == 3
    assert len(splits(ready(divided(tmp_path / 'b', 'valid'), out='c')[1])['train']) == 2


@pytest.mark.parametrize(
    ('group', 'match'),
    [
        ('movie(.)', r"'movie\(.\)' does not match 'film0_000.png'"),
        ('(film)', r'with --group \(film\): two groups are needed'),
    ],
)
def test_groups_that_cannot_be(tmp_path, group, match):
    with pytest.raises(SourceError, match=match):
        ready(frames(tmp_path / 'a'), group=group)


def test_one_image(tmp_path):
    root = yolo(tmp_path / 'a', {'1.png': CAT})
    with pytest.raises(SourceError, match='into train and val: two images are needed at least$'):
        ready(root)
    (root / 'images' / '2.png').write_bytes(b'no image')
    with pytest.raises(SourceError, match='at least; left out were 1 images cannot be read'):
        ready(root)
