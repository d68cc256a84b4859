# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/coco/images.py: ids, files and sizes of images."""

import re

import coco_files as files
import pytest
from coco_files import HEIGHT, OBJECTS, SIZE, WIDTH, told
from PIL import Image

from mmconvnext.data.coco import images as kinds
from mmconvnext.data.ledger import Ledger


def sized(width, height):
    def change(found):
        for entry in found['images']:
            entry.update(width=width, height=height)

    return change


def renamed(name):
    def change(found):
        for entry in found['images']:
            entry['file_name'] = name.format(entry['id'])

    return change


def ids(new):
    """Ids of images are changed, and those of the objects with them."""

    def change(found):
        for entry in found['images']:
            entry['id'] = new(entry['id'])
        for entry in found['annotations']:
            entry['image_id'] = new(entry['image_id'])

    return change


MENDED = [
    (
        'no sizes',
        lambda found: [e.pop('width') and e.pop('height') for e in found['images']],
        kinds.SIZES,
    ),
    ('sizes null', sized(None, None), kinds.SIZES),
    ('sizes 0', sized(0, 0), kinds.SIZES),
    ('one size 0', sized(WIDTH, 0), kinds.SIZES),
    ('sizes swapped', sized(HEIGHT, WIDTH), kinds.SIZES),
    ('sizes of strings', sized(str(WIDTH), str(HEIGHT)), kinds.SIZES),
    ('sizes of floats', sized(float(WIDTH), float(HEIGHT)), kinds.SIZES),
    ('sizes off by one', sized(WIDTH - 1, HEIGHT + 1), kinds.SIZES),
    ('other case', renamed('{}.PNG'), kinds.NAMES),
    (
        'listed twice',
        lambda found: found['images'].extend([dict(e, note='x') for e in found['images']]),
        kinds.TWICE,
    ),
]


@pytest.mark.parametrize(('change', 'kind'), [m[1:] for m in MENDED], ids=[m[0] for m in MENDED])
def test_mended_and_nothing_is_lost(tmp_path, change, kind):
    found = files.content()
    change(found)
    kept = files.keep(tmp_path, found)
    assert told(kept.ledger.mended) == {kind: 3} and not kept.ledger.refused
    assert kept.facts.images == 3 and kept.facts.classes == OBJECTS
    assert files.score(kept.file, files.content()) == {'cat': (1, 3), 'dog': (1, 4)}


@pytest.mark.parametrize(
    ('new', 'listed'),
    [(str, 0), (float, 3), (lambda i: f'x{i}', 3), (lambda i: 2**60 + i, 3), (lambda i: i - 1, 0)],
)
def test_ids(tmp_path, new, listed):
    found = files.content()
    ids(new)(found)
    kept = files.keep(tmp_path, found)
    count = 0 if type(new(1)) is int and new(1) < 2**53 else 3
    assert kept.ledger.mended.get(kinds.IDS, kinds.Tally()).count == count
    assert files.score(kept.file, files.content()) == {'cat': (1, 3), 'dog': (1, 4)}


def test_ids_that_differ_in_type_from_their_references(tmp_path):
    found = files.content()
    for entry in found['images']:
        entry['id'] = str(entry['id'])
    kept = files.keep(tmp_path, found)
    assert told(kept.ledger.mended) == {kinds.IDS: 3}
    assert files.score(kept.file, files.content()) == {'cat': (1, 3), 'dog': (1, 4)}


def test_folders_backslashes_and_absolute_names(tmp_path):
    files.pictures(tmp_path / 'sub')
    found = files.content()
    renamed('sub\\{}.png')(found)
    sound = files.read(tmp_path / 'x', found, folder=str(tmp_path))
    assert told(sound.ledger.mended) == {kinds.NAMES: 3}
    assert sound.content['images'][0]['file_name'] == 'sub/1.png'
    renamed(f'{tmp_path}/sub/{{}}.png')(found)
    sound = files.read(tmp_path / 'x', found, folder='/nowhere')
    assert sound.ledger == Ledger()


def test_two_files_of_one_name_in_other_folders(tmp_path):
    found = files.content(2)
    for entry, folder in zip(found['images'], 'ab'):
        entry['file_name'] = f'{folder}/x.png'
        (tmp_path / folder).mkdir()
        Image.new('RGB', SIZE).save(tmp_path / folder / 'x.png')
    assert files.read(tmp_path, found, folder=str(tmp_path)).ledger == Ledger()


REFUSED = [
    (lambda f: f['images'].clear(), 'images', '"images" is empty'),
    (
        lambda f: f['images'].append({}),
        'images',
        r'1 entries of "images" lack .* \(number 3 is \{\}\)',
    ),
    (lambda f: f['images'].append(7), 'images', r'number 3 is 7'),
    (lambda f: f['images'][1].update(file_name=' '), 'images', 'number 1 is'),
    (lambda f: f['images'][1].update(id=None), 'images', 'number 1 is'),
    (
        lambda f: f['images'][1].update(id='1'),
        'images',
        r'1 images share their id .*\(1: 1\.png and 2',
    ),
    (
        lambda f: f['images'][1].update(file_name='./1.png'),
        'images',
        r'1 files are listed under two ids \(\./1',
    ),
    (
        lambda f: f['images'][1].update(file_name='1.PNG'),
        'images',
        r'1 files are .* \(1\.PNG: 1 and 2\)',
    ),
    (
        lambda f: f['images'][1].update(file_name='9.png'),
        'image_files',
        r'^1 of 3 images do not exist \(9\.png\)',
    ),
    (
        renamed('train/{}.png'),
        'image_files',
        "3 of 3 .* 1.png exists, so file_name has 'train' too many",
    ),
    (renamed('http://x/{}.png'), 'image_files', "1.png exists, so file_name has 'http://x' too"),
    (renamed('{}.jpg'), 'image_files', r'1\.png is there: correct the suffix'),
    (
        sized(48, 32),
        'image_sizes',
        r'sizes of 3 images differ .*\(1\.png: 48 x 32 listed, 96 x 64 in',
    ),
    (sized(WIDTH - 2, HEIGHT), 'image_sizes', 'sizes of 3 images differ'),
]


@pytest.mark.parametrize(('change', 'check', 'message'), REFUSED)
def test_refused(tmp_path, change, check, message):
    found = files.content()
    change(found)
    kept = files.keep(tmp_path, found)
    assert [r.check for r in kept.ledger.refused] == [check]
    assert re.search(message, kept.ledger.refused[0].text)
    assert kept.file == tmp_path / 'a.json'


def test_swapped_sizes_that_the_objects_do_not_show(tmp_path):
    """The image could be stored turned, with its objects as they were drawn before."""
    found = files.content()
    sized(HEIGHT, WIDTH)(found)
    for entry in found['annotations']:
        entry.update(bbox=[3, 4, 20, 30], segmentation=[files.polygon(3, 4, 20, 30)])
    assert [r.check for r in files.read(tmp_path, found).ledger.refused] == ['image_sizes']
    found['annotations'][4].update(bbox=[3, 4, 80, 30], segmentation=[files.polygon(3, 4, 80, 30)])
    assert told(files.read(tmp_path, found).ledger.mended)[kinds.SIZES] == 3
    found['annotations'][4].update(bbox=[3, 4, 20, 80], segmentation=[files.polygon(3, 4, 20, 80)])
    assert files.read(tmp_path, found).ledger.refused


def test_swapped_sizes_without_objects(tmp_path):
    found = dict(files.content(), annotations=[])
    sized(HEIGHT, WIDTH)(found)
    sound = files.read(tmp_path, found, learnt=False, measured=False)
    assert told(sound.ledger.mended) == {kinds.SIZES: 3} and not sound.ledger.refused


def test_missing_and_broken_images_are_left_out_if_that_is_passed(tmp_path):
    files.pictures(tmp_path)
    (tmp_path / '2.png').unlink()
    (tmp_path / '3.png').write_bytes(b'no image')
    kept = files.keep(tmp_path, files.content())
    assert [r.check for r in kept.ledger.refused] == ['image_files', 'image_files']
    assert re.search(r'^1 of 3 images cannot be read \(\S*3\.png: ', kept.ledger.refused[1].text)
    kept = files.keep(tmp_path, files.content(), passed=('image_files',))
    assert kept.facts.images == 1 and kept.facts.classes == dict(cat=1, dog=2)
    assert told(kept.ledger.left_out)[kinds.MISSING] == told(kept.ledger.left_out)[kinds.BAD] == 1
    truth = files.content()
    truth['annotations'] = [a for a in truth['annotations'] if a['image_id'] == 1]
    assert files.score(kept.file, truth) == {'cat': (1, 1), 'dog': (1, 2)}


def test_of_many_missing_images_the_first_are_named(tmp_path):
    found = files.content()
    found['images'] += [
        dict(id=i, file_name=f'{i}.png', width=1, height=1) for i in range(4, 10_004)
    ]
    (refusal,) = files.read(tmp_path, found).ledger.refused
    assert refusal.text.startswith('10000 of 10003 images do not exist (4.png, 5.png, ')
    assert len(refusal.text) < 300


def exif(folder, orientation, size=SIZE):
    data = Image.Exif()
    data[0x0112] = orientation
    files.pictures(folder, size=size, exif=data)


@pytest.mark.parametrize('orientation', [5, 6, 7, 8])
def test_turned_images_with_sizes_of_the_stored_pixels(tmp_path, orientation):
    exif(tmp_path, orientation)
    (refusal,) = files.read(tmp_path, files.content()).ledger.refused
    assert refusal.check == 'image_sizes' and 'own_data.apply_exif=True' in refusal.text
    assert '3 images have an EXIF orientation' in refusal.text
    assert not files.read(tmp_path, files.content(), apply_exif=True).ledger.refused
    assert files.read(tmp_path, files.content(), turns=False).ledger == Ledger()


def test_turned_images_whose_objects_were_turned(tmp_path):
    """Their sizes are those of the turned image, so apply_exif has nothing to do."""
    exif(tmp_path, 6, SIZE[::-1])
    for apply in (False, True):
        assert files.read(tmp_path, files.content(), apply_exif=apply).ledger == Ledger()


@pytest.mark.parametrize(('orientation', 'size'), [(3, SIZE), (2, SIZE), (6, (96, 96))])
def test_orientations_that_leave_the_size_are_told(tmp_path, orientation, size):
    exif(tmp_path, orientation, size)
    found = files.content()
    sized(*size)(found)
    ledger = files.read(tmp_path, found).ledger
    assert told(ledger.noted) == {kinds.FLIPPED: 3} and not ledger.refused
    ledger = files.read(tmp_path, found, apply_exif=True).ledger
    assert ledger.noted == {} and 'objects turned by the EXIF orientation' in str(ledger.mended)


@pytest.mark.parametrize('missing', [None, 0])
def test_turned_images_without_sizes(tmp_path, missing):
    """The objects show which pixels were labelled, if they leave the image one way."""
    exif(tmp_path, 6)
    found = files.content()
    sized(missing, missing)(found)
    (refusal,) = files.read(tmp_path, found).ledger.refused
    assert refusal.check == 'image_sizes' and refusal.text.startswith('3 images have an EXIF')
    read = files.read(tmp_path, found, apply_exif=True)
    assert read.ledger.refused == [] and read.facts.objects_learnt == 7
    for entry in found['annotations']:
        entry.update(bbox=[9, 9, 20, 20], segmentation=[files.polygon(9, 9, 20, 20)])
    ledger = files.read(tmp_path, found).ledger
    assert told(ledger.noted)[kinds.FLIPPED] == 3 and not ledger.refused
    ledger = files.read(tmp_path, dict(found, annotations=[]), learnt=False, measured=False).ledger
    assert ledger.noted == {}


def test_wrong_sizes_are_refused_with_apply_exif_too(tmp_path):
    exif(tmp_path, 6)
    found = files.content()
    sized(70, 50)(found)
    (refusal,) = files.read(tmp_path, found, apply_exif=True).ledger.refused
    assert '1.png: 70 x 50 listed, 96 x 64 in the file' in refusal.text


# Both sides of each bound


@pytest.mark.parametrize('odd', [2**53 + 1, -(2**53) - 1])
def test_ids_up_to_those_that_floats_hold_stay(tmp_path, odd):
    near = odd - 1 if odd > 0 else odd + 1
    for value, expected in ((near, [near, 2, 3]), (odd, [1, 2, 3])):
        found = files.content()
        ids(lambda i: value if i == 1 else i)(found)  # noqa: B023
        read = files.read(tmp_path, found)
        assert [entry['id'] for entry in read.content['images']] == expected
        assert read.facts.classes == OBJECTS
        assert told(read.ledger.mended).get(kinds.IDS, 0) == (0 if value == near else 3)


def test_whole_ids_stay_beside_those_that_are_made_whole(tmp_path):
    found = files.content()
    ids(lambda i: '7' if i == 1 else i)(found)
    read = files.read(tmp_path, found)
    assert [entry['id'] for entry in read.content['images']] == [7, 2, 3]
    assert read.ledger.mended[kinds.IDS].first == ['7'] and read.facts.classes == OBJECTS


@pytest.mark.parametrize(
    ('width', 'height', 'mended'),
    [
        (WIDTH, HEIGHT, 0),
        (WIDTH + 1, HEIGHT, 3),
        (WIDTH, HEIGHT - 1, 3),
        (WIDTH - 1, HEIGHT, 3),
        (WIDTH, HEIGHT + 1, 3),
        (WIDTH + 2, HEIGHT, None),
        (WIDTH, HEIGHT - 2, None),
        (WIDTH, HEIGHT + 2, None),
        (0, HEIGHT, 3),
        (-1, HEIGHT, 3),
        (WIDTH, 'x', 3),
    ],
)
def test_a_pixel_is_rounding(tmp_path, width, height, mended):
    found = files.content()
    sized(width, height)(found)
    read = files.read(tmp_path, found)
    if mended is None:
        assert [r.check for r in read.ledger.refused] == ['image_sizes']
    else:
        assert told(read.ledger.mended) == ({kinds.SIZES: 3} if mended else {})
        sizes = {(entry['width'], entry['height']) for entry in read.content['images']}
        assert sizes == {SIZE} and read.needed == bool(mended)


@pytest.mark.parametrize('field', ['file_name', 'width', 'height'])
def test_an_image_that_is_listed_twice_differently_is_refused(tmp_path, field):
    found = files.content()
    other = dict(found['images'][0], **{field: '2.png' if field == 'file_name' else 50})
    found['images'] = [found['images'][0], other]
    (refusal,) = files.read(tmp_path, found).ledger.refused
    assert refusal.text.startswith('1 images share their id with another one (1: 1.png and ')


def test_each_refusal_of_the_list_has_its_count(tmp_path):
    found = files.content()
    found['images'] += [7, dict(id=9), dict(id='1', file_name='4.png')]
    found['images'] += [dict(id=8, file_name='a/../2.png'), dict(id=10, file_name='x/y')]
    texts = [r.text for r in files.read(tmp_path, found).ledger.refused]
    assert texts[0].startswith('2 entries of "images" lack an "id" or a "file_name" (number 3 is')
    assert texts[1].startswith('1 images share their id with another one (1: 1.png and 4.png)')
    assert texts[2].startswith('1 files are listed under two ids (a/../2.png: 2 and 8)')
    assert len(texts) == 3


def test_a_long_entry_is_named_by_its_beginning(tmp_path):
    found = files.content()
    found['images'].append(dict(id=None, note='x' * 500))
    (refusal,) = files.read(tmp_path, found).ledger.refused
    assert 'x' * 50 in refusal.text and len(refusal.text) < 250


def test_the_hint_is_that_of_the_first_missing_file(tmp_path):
    found = files.content()
    found['images'][0]['file_name'] = '1.jpg'
    found['images'][2]['file_name'] = 'http://x/7.png'
    (refusal,) = files.read(tmp_path, found).ledger.refused
    assert refusal.text.startswith('2 of 3 images do not exist (1.jpg, http://x/7.png) in ')
    assert refusal.text.endswith(f' in {tmp_path}; 1.png is there: correct the suffix')


def test_counts_of_lost_images_are_of_all_listed_ones(tmp_path):
    files.pictures(tmp_path)
    (tmp_path / '2.png').unlink()
    (tmp_path / '3.png').write_bytes(b'no image')
    for passed in ((), ('image_files',)):
        refused = files.read(tmp_path, files.content(), passed=passed).ledger.refused
        assert refused[0].text.startswith('1 of 3 images do not exist (2.png)')
        assert refused[1].text.startswith('1 of 3 images cannot be read')
        assert refused[1].text.endswith('; replace or remove them')


@pytest.mark.parametrize(('reach', 'proven'), [(HEIGHT + 1, False), (HEIGHT + 1.5, True)])
def test_objects_show_that_sizes_are_swapped(tmp_path, reach, proven):
    """If they leave the image one way, by more than rounding."""
    found = files.content(1)
    sized(HEIGHT, WIDTH)(found)
    box = [3, 4, reach - 3, 30]
    found['annotations'] = [
        dict(found['annotations'][i], bbox=box, segmentation=[files.polygon(*box)]) for i in (0, 1)
    ]
    read = files.read(tmp_path, found)
    assert bool(read.ledger.refused) != proven
    assert proven == (kinds.SIZES in read.ledger.mended)


def test_one_image_that_shows_it_is_enough_and_one_that_contradicts_too_much(tmp_path):
    found = files.content()
    sized(HEIGHT, WIDTH)(found)
    for entry in found['annotations']:
        box = [3, 4, 80, 30] if entry['image_id'] == 2 else [3, 4, 20, 30]
        entry.update(bbox=box, segmentation=[files.polygon(*box)])
    read = files.read(tmp_path, found)
    assert told(read.ledger.mended)[kinds.SIZES] == 3 and not read.ledger.refused
    found['annotations'][-1].update(bbox=[3, 4, 20, 80], segmentation=[files.polygon(3, 4, 20, 80)])
    (refusal,) = files.read(tmp_path, found).ledger.refused
    assert refusal.text.startswith('the sizes of 3 images differ from their files (1.png: 64 x 96 ')


@pytest.mark.parametrize('orientation', [1, 2, 3, 4, 5, 6, 7, 8])
def test_which_turns_are_told(tmp_path, orientation):
    """Only those that leave the size as it is; of the others the size tells."""
    exif(tmp_path, orientation)
    found = files.content()
    sized(*(SIZE[::-1] if orientation >= 5 else SIZE))(found)
    for entry in found['annotations']:
        entry.update(bbox=[3, 4, 20, 30], segmentation=[files.polygon(3, 4, 20, 30)])
    ledger = files.read(tmp_path, found).ledger
    assert told(ledger.noted).get(kinds.FLIPPED, 0) == 3 * (2 <= orientation <= 4)
    assert ledger.refused == []
    assert kinds.FLIPPED not in files.read(tmp_path, found, turns=False).ledger.noted


def test_several_images_in_a_file_are_told(tmp_path):
    files.pictures(tmp_path)
    frames = [Image.new('RGB', SIZE, (i, 0, 0)) for i in (9, 99)]
    frames[0].save(tmp_path / '2.png', save_all=True, append_images=frames[1:])
    ledger = files.read(tmp_path, files.content()).ledger
    assert ledger.noted[kinds.SEVERAL].first == ['2.png'] and told(ledger.noted)[kinds.SEVERAL] == 1


def test_kinds_are_those_of_the_files_on_disk(tmp_path):
    files.pictures(tmp_path)
    Image.new('L', SIZE).save(tmp_path / '3.png')
    found = files.content()
    found['images'][2]['file_name'] = '3.PNG'
    rgb, grey = files.read(tmp_path, found).facts.kinds
    assert (rgb.mode, rgb.count, rgb.first) == ('RGB', 2, str(tmp_path / '1.png'))
    assert (grey.mode, grey.count, grey.first) == ('L', 1, str(tmp_path / '3.png'))
