# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/exports/yolo.py: labels of Ultralytics, Roboflow, Label Studio and darknet."""

import pytest
from export_files import objects, picture, ready, splits, text, yolo
from PIL import Image

from mmconvnext.data.exports.folder import SourceError

BOX = '1 0.5 0.5 0.25 0.5\n'  # 16 x 24 pixels in the middle of 64 x 48
CAT = '0 0.25 0.25 0.125 0.25\n'


def test_boxes_and_polygons_in_one_file(tmp_path):
    lines = BOX + '0 0.1 0.1 0.6 0.2 0.3 0.7\n' + '\n'
    facts, out = ready(yolo(tmp_path / 'a', {'1.png': lines, '2.png': CAT}))
    first = objects(out)['1.png']
    assert first[0] == ('dog', (24, 12, 16, 24), None)
    assert first[1][:2] == ('cat', (6.4, 4.8, 32, 28.8)) and 420 < first[1][2] < 440
    assert (facts['objects'], facts['masks'], facts['boxes_without_mask']) == (3, 1, 2)
    assert facts['classes'] == dict(cat=2, dog=1) and facts['format'] == 'yolo'


def test_roboflow(tmp_path):
    """Its data.yaml names ../train/images, which is train/images, and adds two READMEs."""
    root = tmp_path / 'robo'
    for split, count in (('train', 3), ('valid', 2), ('test', 1)):
        for i in range(count):
            name = f'{split}{i}_jpg.rf.0a1b2c'
            picture(root / split / 'images' / f'{name}.jpg')
            text(root / split / 'labels' / f'{name}.txt', BOX if i else CAT)
    data = 'train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\nnc: 2\n'
    text(root / 'data.yaml', data + "names: ['cat', 'dog']\n\nroboflow:\n  version: 3\n")
    text(root / 'README.roboflow.txt', '1 2 3 4 5\nexported\n')
    text(root / 'README.dataset.txt', '# fruit\n')
    facts, out = ready(root)
    assert {k: len(v) for k, v in splits(out).items()} == dict(train=3, val=2, test=1)
    assert splits(out)['val'][0] == 'valid/valid0_jpg.rf.0a1b2c.jpg'
    assert facts['splits']['train']['classes'] == dict(cat=1, dog=2)
    assert not facts['left_out'] and 'the split of the export is kept' in facts['notes']


def test_label_studio(tmp_path):
    """classes.txt and notes.json; no split; an empty text is an image without objects."""
    root = tmp_path / 'studio'
    for i in range(4):
        picture(root / 'images' / f'abcd-{i}.png')
        text(root / 'labels' / f'abcd-{i}.txt', BOX if i else '')
    text(root / 'classes.txt', 'cat\ndog\n')
    text(root / 'notes.json', dict(categories=[dict(id=0, name='cat')], info=dict(year=2026)))
    facts, out = ready(root, format='yolo')
    assert facts['classes'] == dict(cat=0, dog=3) and facts['empty_images'] == ['abcd-0.png']
    assert len(splits(out)['val']) == 1


def test_darknet(tmp_path):
    """As CVAT's "YOLO 1.1": texts beside the images, names in obj.names."""
    root = tmp_path / 'dark'
    for part in ('train', 'valid'):
        for i in range(2):
            picture(root / f'obj_{part}_data' / f'{part}{i}.png')
            text(root / f'obj_{part}_data' / f'{part}{i}.txt', BOX)
    text(root / 'obj.names', 'cat\ndog\n')
    text(root / 'train.txt', 'data/obj_train_data/train0.png\n')
    _, out = ready(root)
    assert [len(names) for names in splits(out).values()] == [2, 2]


def test_a_list_of_images_divides(tmp_path):
    root = yolo(tmp_path / 'a', {f'{i}.png': BOX for i in range(4)})
    text(root / 'data.yaml', 'path: .\ntrain: t.txt\nval: v.txt\nnames: {0: cat, 1: dog}\n')
    text(root / 't.txt', './images/0.png\n./images/1.png\n./images/2.png\n')
    text(root / 'v.txt', './images/3.png\n')
    assert splits(ready(root)[1]) == dict(train=['0.png', '1.png', '2.png'], val=['3.png'])


def test_train_and_val_of_the_same_folder_are_divided(tmp_path):
    """As in Ultralytics' coco8, where people forget to change it."""
    root = yolo(tmp_path / 'a', {f'{i}.png': BOX for i in range(5)})
    text(root / 'data.yaml', 'train: images\nval: images\nnames: [cat, dog]\n')
    facts, out = ready(root)
    assert [len(names) for names in splits(out).values()] == [4, 1]
    assert facts['noted']['images of val that are in train too']['count'] == 5


def test_what_is_no_label_is_left_out(tmp_path):
    lines = BOX + '1 .5 x .2 .2\n1 nan .5 .2 .2\n0 .1 .1 .2 .2 .9\n0 .1 .1 .2 .2 .3 .3\n1 .5 .5\n'
    root = yolo(tmp_path / 'a', {'1.png': lines, '2.png': CAT})
    text(root / 'labels' / 'other.txt', BOX)
    facts, out = ready(root)
    lost = {kind: tally['count'] for kind, tally in facts['left_out'].items()}
    assert list(lost.values()) == [3, 1]
    assert facts['left_out']['label files without an image of their name']['first'] == [
        'labels/other.txt'
    ]
    assert [kind[:25] for kind in facts['noted']] == ['lines with a number more,']
    assert [row[0] for row in objects(out)['1.png']] == ['dog', 'cat', 'cat']


def test_keypoints_are_left_out(tmp_path):
    data = 'names: [cat, dog]\nkpt_shape: [2, 3]\n'
    lines = BOX.strip() + ' .1 .2 2 .3 .4 1\n'
    facts, out = ready(yolo(tmp_path / 'a', {'1.png': lines, '2.png': lines}, data))
    assert objects(out)['1.png'] == [('dog', (24, 12, 16, 24), None)]
    assert facts['noted']['lines with keypoints, which are left out']['count'] == 2


def test_fractions_are_of_the_turned_image(tmp_path):
    """Ultralytics and mmcv turn images by EXIF: a phone's photo of 64 x 48 is 48 x 64."""
    root = yolo(tmp_path / 'a', {'1.png': BOX, '2.png': BOX})
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(root / 'images' / '3.jpg', exif=exif)
    text(root / 'labels' / '3.txt', BOX)
    assert objects(ready(root)[1])['3.jpg'] == [('dog', (18, 16, 12, 32), None)]


@pytest.mark.parametrize(
    ('data', 'lines', 'match'),
    [
        ('names: [cat, dog]\n', '2 .5 .5 .2 .2\n', r'2 of 2 lines .* 0 to 1 \(labels/1.txt:1: 2'),
        ('names: [cat, dog]\n', '0 30 20 9 9\n', '2 of 2 lines hold values above 1'),
        ('names: [cat, dog]\n', '', 'no object is left on 2 images: the labels list none'),
        ('names: [cat, {\n', BOX, 'data.yaml is no YAML'),
        ('names: {1: cat, 2: dog}\n', BOX, 'have the numbers .1, 2., not 0 to 1'),
        ('names: [cat, " "]\n', BOX, r'gives no name to the classes \[1\]; name every class'),
        ('names: {0: a, b: c}\n', BOX, "have the numbers .0, 'b'., not 0 to 1"),
        ('names: []\n', BOX, 'no names of the classes: .* with --classes cat dog'),
    ],
)
def test_what_would_be_learnt_wrongly(tmp_path, data, lines, match):
    root = yolo(tmp_path / 'a', {'1.png': lines, '2.png': lines}, data)
    with pytest.raises(SourceError, match=match):
        ready(root)
    assert sorted(p.name for p in tmp_path.iterdir()) == ['a']


NAMES = {
    'names: [yes, no]\n': ['yes', 'no'],
    'names: [1.10, 0x10]\n': ['1.10', '0x10'],
    'names: [2026-01-02, ~]\n': ['2026-01-02', '~'],
    'names:\n  - null\n  - 1_000\n': ['null', '1_000'],
    'names: {0: on, 1: "off"}\n': ['on', 'off'],
    'names:\n  1: 12:30\n  "0": .5\nval: ~\n': ['.5', '12:30'],
    'names: [" cat", "dog "]\n': ['cat', 'dog'],
}


@pytest.mark.parametrize(('data', 'names'), NAMES.items())
def test_names_are_what_is_written(tmp_path, data, names):
    facts, _ = ready(yolo(tmp_path / 'a', {'1.png': BOX, '2.png': CAT}, data))
    assert facts['own_data']['classes'] == names and facts['classes'] == dict.fromkeys(names, 1)


@pytest.mark.parametrize('data', ['names: [cat, " cat "]\n', 'names: [cat, cat]\n'])
def test_names_that_are_the_same_are_one_class(tmp_path, data):
    facts, _ = ready(yolo(tmp_path / 'a', {'1.png': BOX, '2.png': CAT}, data))
    assert facts['classes'] == dict(cat=2)
    assert any(note.startswith('classes that are named twice are one') for note in facts['notes'])
    mended = {kind[:33]: tally['first'] for kind, tally in facts['mended'].items()}
    assert mended == {'names of classes with blanks arou': ["' cat '"]} or '" ' not in data


def test_texts_that_are_no_labels_are_not_read(tmp_path):
    """Such as lists of images."""
    root = yolo(tmp_path / 'a', {'1.png': BOX, '2.png': CAT})
    text(root / 'train.txt', './images/1.png\n./images/2.png\n')
    assert not ready(root)[0]['left_out']


def test_names_by_option(tmp_path):
    root = yolo(tmp_path / 'a', {'1.png': BOX, '2.png': CAT})
    (root / 'data.yaml').unlink()
    assert ready(root, classes=['Katze', 'Hund'])[0]['classes'] == dict(Katze=1, Hund=1)


def test_classes_choose_if_there_are_names(tmp_path):
    """They do not rename: dog is not number 0."""
    root = yolo(tmp_path / 'a', {'1.png': BOX + CAT, '2.png': BOX})
    facts, out = ready(root, classes=['dog'])
    assert facts['classes'] == dict(dog=2)
    assert facts['left_out']['objects of classes that --classes does not name']['count'] == 1
    assert {row[0] for rows in objects(out).values() for row in rows} == {'dog'}


def test_odd_names_and_two_images_of_one_stem(tmp_path):
    names = ['a b.png', '\u00e4 #1.png', '50%.png', 'br[1].png', 'x' * 200 + '.png', 'a b.jpg']
    root = yolo(tmp_path / 'a', dict.fromkeys(names, BOX))
    assert sorted(objects(ready(root)[1])) == sorted(names)


def test_images_beside_their_labels_below_a_folder_called_runs(tmp_path):
    """What folders above are called does not matter."""
    root = tmp_path / 'runs' / 'labels'
    for i in '123':
        picture(root / f'{i}.png')
    text(root / '1.txt', BOX)
    text(root / '2.txt', BOX)
    text(root / 'classes.txt', 'cat\ndog\n')
    picture(root / 'masks' / '1.png')
    facts, out = ready(root)
    assert sorted(objects(out)) == ['1.png', '2.png', '3.png']
    assert facts['empty_images'] == ['3.png']


def test_names_that_are_no_utf8_are_not_guessed(tmp_path):
    yolo(tmp_path / 'in', {'a.png': '0 .5 .5 .2 .2', 'b.png': '0 .5 .5 .2 .2'}, data='')
    (tmp_path / 'in/classes.txt').write_text('K\u00e4fer\n', encoding='latin-1')
    with pytest.raises(SourceError, match='classes.txt cannot be read: .* save it as UTF-8'):
        ready(tmp_path / 'in')


@pytest.mark.parametrize('encoding', ['utf-16', 'utf-16-le', 'utf-32', 'utf-8-sig'])
def test_texts_of_windows(tmp_path, encoding):
    root = yolo(tmp_path / 'a', {'1.png': BOX, '2.png': CAT})
    for file in [*root.rglob('*.txt'), root / 'data.yaml']:
        file.write_bytes(file.read_text().replace('dog', 'gr\u00f6\u00dfe').encode(encoding))
    facts, out = ready(root)
    assert facts['classes'] == {'cat': 1, 'gr\u00f6\u00dfe': 1} and not facts['left_out']


def test_another_encoding_is_named(tmp_path):
    root = yolo(tmp_path / 'a', {'1.png': BOX})
    (root / 'data.yaml').write_bytes('names: [cat, gr\u00f6\u00dfe]\n'.encode('latin-1'))
    with pytest.raises(SourceError, match=r'data\.yaml is no YAML: .utf-8. codec'):
        ready(root)


@pytest.mark.parametrize('place', ['x' * 5000, 'a\0b'])
def test_places_that_cannot_be_are_none(tmp_path, place):
    data = f'names: [cat, dog]\ntrain: "{place}"\n'.replace('\0', '\\0')
    facts, _ = ready(yolo(tmp_path / 'a', {'1.png': BOX, '2.png': CAT}, data))
    assert facts['objects'] == 2


@pytest.mark.parametrize(
    ('data', 'fault'),
    [
        ('names:\n  0: cat\n  1: dog\n  0: emu\n', 'data.yaml, line 4: 0 is there twice; keep one'),
        ('names: [cat, dog]\nnames: [a, b]\n', 'data.yaml, line 2: names is there twice'),
    ],
)
def test_names_that_do_not_tell_the_class(tmp_path, data, fault):
    with pytest.raises(SourceError, match=fault):
        ready(yolo(tmp_path / 'a', {'1.png': BOX, '2.png': CAT}, data))


@pytest.mark.parametrize('names', ['[cat, [a, b]]', '[cat, {a: b}]', '{0: cat, 1: [dog]}'])
def test_names_that_are_no_texts(tmp_path, names):
    root = yolo(tmp_path / 'a', {'1.png': BOX, '2.png': CAT}, f'names: {names}\n')
    with pytest.raises(SourceError, match=r'the classes \[1\] of the data\.yaml have names that'):
        ready(root)


def test_a_list_of_lists_of_lists_is_not_written_out(tmp_path):
    """A billion names in a few lines."""
    lists = ['a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n']
    lists += [f'a{i}: &a{i} [{", ".join(10 * [f"*a{i - 1}"])}]\n' for i in range(1, 10)]
    ends = 'names: [*a9]\ntrain: [*a9]\npath: *a9\n'
    root = yolo(tmp_path / 'a', {'1.png': BOX, '2.png': CAT}, ''.join(lists) + ends)
    with pytest.raises(SourceError, match='names that are no texts'):
        ready(root)
