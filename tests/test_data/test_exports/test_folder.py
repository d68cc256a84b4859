# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/exports/folder.py: which file a name means, and what folders tell of a split."""

import os

import pytest
from export_files import labelme, objects, picture, ready, text

from mmconvnext.data.exports.folder import Folder, split_in, split_of_file

BOX = dict(label='cat', points=[[10, 5], [30, 25]], shape_type='rectangle')


@pytest.mark.parametrize(
    ('path', 'split'),
    [
        ('train/a.jpg', 'train'),
        ('Valid/images/a.jpg', 'val'),
        ('images/val2017/a.jpg', 'val'),
        ('obj_train_data/a.jpg', 'train'),
        ('x\\Test-Images\\a.jpg', 'test'),
        ('train/val/a.jpg', 'val'),  # the last
        ('train.jpg', ''),  # of a train
        ('trains/a.jpg', ''),
        ('', ''),
    ],
)
def test_split_in(path, split):
    assert split_in(path) == split


def test_the_name_of_an_annotation_file_tells_more_than_its_folders():
    assert split_of_file('test_data/instances_train.json') == 'train'
    assert split_of_file('valid/_annotations.coco.json') == 'val'
    assert split_of_file('annotations/instances_default.json') == ''


def test_names(tmp_path):
    for name in ('x/1.png', 'y/1.png', 'y/z/2.PNG', 'masks/3.png', 'images/3.png', 'y/only.jpg'):
        picture(tmp_path / name)
    text(tmp_path / '.hidden' / '4.txt', 'x')
    folder, near = Folder(tmp_path), tmp_path / 'labels'

    def find(name, near=near):
        found = folder.find(name, near)
        return found and folder.below(found)

    assert find('x/1.png') == 'x/1.png' and find('C:\\data\\y\\1.png') == 'y/1.png'
    assert find('1.png') is None  # either
    assert find('1.png', tmp_path / 'y') == 'y/1.png' and find('../x/1.png') == 'x/1.png'
    assert find('2.png') == 'y/z/2.PNG' and find('/gone/only.jpg') == 'y/only.jpg'
    assert find('only') == 'y/only.jpg'  # without a suffix, as of old CVAT
    assert find('3.png') == 'images/3.png'  # rather than its label map
    assert find('4.txt') is None and find('') is None and find('a' * 5000) is None
    assert not any('.hidden' in str(file) for file in folder.files)


def test_a_link_to_a_folder_above_ends(tmp_path):
    picture(tmp_path / 'a' / '1.png')
    os.symlink(tmp_path, tmp_path / 'a' / 'up')
    assert [file.name for file in Folder(tmp_path).files] == ['1.png']


def test_links(tmp_path):
    """To themselves, to nothing, out of the folder, and to what holds the folder."""
    picture(tmp_path / 'away' / '2.png')
    picture(tmp_path / 'root' / '1.png')
    for link, target in (('self', 'self'), ('out', '../away'), ('up', '..'), ('dead.png', 'gone')):
        os.symlink(target, tmp_path / 'root' / link)
    folder = Folder(tmp_path / 'root')
    assert [folder.below(f) for f in folder.images] == ['1.png', 'dead.png', 'out/2.png']
    assert folder.size(tmp_path / 'root/dead.png') == (0, 0)


def test_images_outside_of_the_source(tmp_path):
    """LabelMe's own names lead there; two folders have an image of the same name."""
    for i in '12':
        picture(tmp_path / 'pictures' / f'{i}.png')
        labelme(tmp_path / 'a' / f'{i}.json', [BOX], imagePath=f'../pictures/{i}.png')
    facts, out = ready(tmp_path / 'a')
    assert objects(out)['1.png'] == [('cat', (10, 5, 20, 20), None)] and not facts['left_out']
