# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/exports/masks.py: label maps beside images, and what their values mean."""

import numpy as np
import pytest
from export_files import label_map, labels_beside, objects, picture, ready, text
from PIL import Image

from mmconvnext.data.exports.folder import SourceError

A, B = (5, 4, 25, 20), (40, 30, 61, 41)  # rectangles of 20 x 16 and 21 x 11


def pairs(root, values, count=4, kind='L', images='images', maps='masks', ending=''):
    for i in range(count):
        picture(root / images / f'{i}.jpg')
        label_map(root / maps / f'{i}{ending}.png', values, kind)
    return root


def test_binary_masks(tmp_path):
    facts, out = ready(pairs(tmp_path / 'a', {A: 255}))
    assert facts['own_data']['classes'] == ['background', 'foreground']
    note = "binary masks: 0 is 'background', 255 is 'foreground'"
    assert f'{note}; --classes background nucleus, for example, names them' in facts['notes']
    assert facts['own_data']['train'] == dict(images='train/images', annotations='train/labels')
    assert facts['splits']['val']['images'] == 1 and facts['pixels']['foreground'] == 0.104167
    found = labels_beside(out, '0.jpg')
    assert np.unique(found).tolist() == [0, 1] and found[4:20, 5:25].all() and found.sum() == 320
    facts = ready(tmp_path / 'a', classes=['soil', 'nucleus'], out='b')[0]
    assert facts['notes'][0] == "binary masks: 0 is 'soil', 255 is 'nucleus'"
    facts = ready(pairs(tmp_path / 'c', {A: 1}), out='d')[0]
    assert facts['notes'][0].startswith("0 is 'background', 1 is 'foreground'; --classes back")


def test_binary_masks_as_objects(tmp_path):
    """Each connected part is one, specks are none, and what 0 stands for is no class."""
    root = pairs(tmp_path / 'a', {A: 255, B: 255, (0, 0, 1, 3): 255})
    facts, out = ready(root, task='instance', classes=['ground', 'nucleus'])
    assert facts['own_data']['classes'] == ['nucleus'] and facts['objects'] == 8
    facts, out = ready(root, task='instance', out='b')
    assert facts['own_data']['classes'] == ['foreground'] and facts['objects'] == 8
    assert objects(out)['0.jpg'] == [
        ('foreground', (5, 4, 20, 16), 320),
        ('foreground', (40, 30, 21, 11), 231),
    ]
    assert [tally['count'] for tally in facts['left_out'].values()] == [4]


def test_ids_with_names(tmp_path):
    root = pairs(tmp_path / 'a', {A: 1, B: 7, (0, 0, 2, 2): 255})
    with pytest.raises(SourceError, match='values 0, 1, 7, .* --classes class_0 class_1 class_7'):
        ready(root)
    with pytest.raises(SourceError, match='3 values .0, 1, 7., but there are 2 names'):
        ready(root, classes=['soil', 'crop'])
    facts, out = ready(root, classes=['soil', 'crop', 'weed'])
    assert facts['classes'] == dict(soil=4, crop=4, weed=4)
    found = labels_beside(out, '0.jpg')
    assert found[5, 6] == 1 and found[31, 41] == 2 and found[0, 0] == 255
    assert 'the value 255 is taken as "to be ignored"' in facts['notes']


def test_roboflow(tmp_path):
    """Images and masks in one folder, and a table of the values; a class that no map shows."""
    root = tmp_path / 'a'
    for split in ('train', 'valid'):
        pairs(root, {A: 1}, 2, images=split, maps=split, ending='_mask')
        table = 'Pixel Value, Class\n0, background\n1, cat\n2, dog\n'
        text(root / split / '_classes.csv', table)
    facts, out = ready(root)
    assert facts['classes'] == dict(background=4, cat=4, dog=0)
    assert sorted(p.name for p in (out / 'val/images').rglob('*.jpg')) == ['0.jpg', '1.jpg']
    assert len(list((out / 'val/labels').rglob('*.png'))) == 2


def test_cvat(tmp_path):
    """Colours with their table; objects by SegmentationObject, also where they touch."""
    root = tmp_path / 'a'
    text(
        root / 'labelmap.txt',
        '# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:128,0,0::\ndog:0,128,0::\n',
    )
    touching = (25, 4, 40, 20)
    for i in range(3):
        picture(root / 'JPEGImages' / f'{i}.png')
        label_map(
            root / 'SegmentationClass' / f'{i}.png', {A: (128, 0, 0), touching: (128, 0, 0)}, 'RGB'
        )
        label_map(
            root / 'SegmentationObject' / f'{i}.png', {A: (1, 0, 0), touching: (0, 2, 0)}, 'RGB'
        )
    text(root / 'ImageSets/Segmentation/default.txt', '0\n1\n2\n')
    facts, out = ready(root)
    assert facts['classes'] == dict(background=3, cat=3, dog=0)
    assert labels_beside(out, '0.png')[5, 6] == 1
    facts, out = ready(root, task='instance', out='b')
    assert sorted(objects(out)['0.png']) == [
        ('cat', (5, 4, 20, 16), 320),
        ('cat', (25, 4, 15, 16), 240),
    ]
    text(root / 'labelmap.txt', 'background:0,0,0::\ndog:0,128,0::\n')
    with pytest.raises(
        SourceError, match=r'colour that labelmap.txt does not name \(\(128, 0, 0\)'
    ):
        ready(root, out='c')


def test_names_without_colours_have_those_of_voc(tmp_path):
    """As Datumaro writes them."""
    root = pairs(tmp_path / 'a', {A: (128, 0, 0), B: (0, 128, 0)}, kind='RGB')
    text(root / 'labelmap.txt', '# label:color_rgb\nbackground:::\ncat:::\ndog:::\n')
    facts, out = ready(root)
    assert facts['classes'] == dict(background=4, cat=4, dog=4)
    assert labels_beside(out, '0.jpg')[31, 41] == 2


def test_colours_without_a_table(tmp_path):
    root = pairs(tmp_path / 'a', {A: (128, 0, 0)}, kind='RGB')
    with pytest.raises(SourceError, match='class_0:0,0,0\nclass_1:128,0,0'):
        ready(root)


def test_jpeg_changes_values(tmp_path):
    root = tmp_path / 'a'
    for i in range(3):
        picture(root / 'images' / f'{i}.png')
        file = label_map(root / 'masks' / f'{i}.png', {A: 255, B: 100})
        Image.open(file).save(file.with_suffix('.jpg'), quality=40)
        file.unlink()
    with pytest.raises(SourceError, match='3 label maps are JPEG files .* export them as PNG'):
        ready(root)


def test_what_does_not_fit_is_left_out_before_the_division(tmp_path):
    root = pairs(tmp_path / 'a', {A: 255}, 6)
    label_map(root / 'masks/0.png', {}, size=(48, 64))
    (root / 'masks/1.png').write_bytes(b'no image')
    (root / 'masks/2.png').unlink()
    label_map(root / 'masks/other.png', {})
    facts, out = ready(root)
    assert {kind: tally['first'] for kind, tally in facts['left_out'].items()} == {
        'images without a label map': ['images/2.jpg'],
        'label maps without an image': ['masks/other.png'],
        'label maps that cannot be read, with their images': [
            'masks/1.png: it is no image that Pillow or cv2 can read'
        ],
        'label maps of another size than their image': ['0.jpg: 48 x 64, not 64 x 48'],
    }
    assert [entry['images'] for entry in facts['splits'].values()] == [2, 1]


def test_a_label_map_is_turned_like_its_image(tmp_path):
    root = pairs(tmp_path / 'a', {A: 255}, 2)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(root / 'images/0.jpg', exif=exif)  # a viewer shows 48 x 64
    facts, out = ready(root)
    assert [tally['count'] for tally in facts['mended'].values()] == [1]
    found = labels_beside(out, '0.jpg')
    assert found.shape == (64, 48)
    assert found[5:25, 28:44].all() and found.sum() == 320  # 4 to 20 from above is from the right


def test_images_of_several_suffixes_get_one(tmp_path):
    """mmseg knows one suffix; cv2 reads the content."""
    root = pairs(tmp_path / 'a', {A: 255}, 3)
    picture(root / 'images/x.png')
    label_map(root / 'masks/x.png', {A: 255})
    facts, out = ready(root)
    assert facts['own_data']['image_suffix'] == '.jpg'
    images = sorted(p.name for p in out.glob('*/images/*'))
    assert images == ['0.jpg', '1.jpg', '2.jpg', 'x.png.jpg']
    assert sorted(p.name for p in out.glob('*/labels/*'))[-1] == 'x.png.png'


def test_a_label_map_that_fits_two_images(tmp_path):
    root = pairs(tmp_path / 'a', {A: 255})
    picture(root / 'images/0.png')
    with pytest.raises(SourceError, match='masks/0.png: images/0.jpg, images/0.png'):
        ready(root)


def test_two_values_of_one_name(tmp_path):
    root = pairs(tmp_path / 'a', {A: 1, B: 2})
    with pytest.raises(SourceError, match=r"\['cat'\] name several classes of .*--classes"):
        ready(root, classes=['ground', 'cat', 'cat'])


@pytest.mark.parametrize('name', ['classes.txt', 'labelmap.txt', '_classes.csv'])
def test_a_table_that_is_no_utf8_is_named(tmp_path, name):
    pairs(tmp_path / 'in', {A: 1})
    (tmp_path / 'in' / name).write_text('0, B\u00f6den\n', encoding='latin-1')
    with pytest.raises(SourceError, match=f'{name} cannot be read: .* save it as UTF-8'):
        ready(tmp_path / 'in')
