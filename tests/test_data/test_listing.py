# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/listing.py: files as mmengine lists them, and links on which it fails."""

import os

import pytest
from mmengine.fileio import list_dir_or_file
from mmseg.datasets import BaseSegDataset

from mmconvnext.data.listing import SYSTEMS, above, endless, folders_of, listed


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_files_are_listed_as_mmseg_does(tmp_path):
    touch(tmp_path, 'b.jpg', 'a/c.jpg', 'a.JPG', '.hidden.jpg', 'x.png', 'a/d.jpg.txt')
    dataset = BaseSegDataset(
        data_root=str(tmp_path),
        data_prefix=dict(img_path='', seg_map_path=''),
        metainfo=dict(classes=['a']),
    )
    theirs = [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]
    assert sorted(theirs) == [str(tmp_path / name) for name in listed(tmp_path, '.jpg')]
    assert listed(tmp_path) == ['a.JPG', 'a/c.jpg', 'a/d.jpg.txt', 'b.jpg', 'x.png']
    assert listed(tmp_path / 'nowhere') == []


def test_hidden_files_and_other_suffixes_are_not_listed(tmp_path):
    touch(tmp_path, 'b/.x.png', 'a.png', 'a.png.bak', 'c/d/e.png')
    assert listed(str(tmp_path), '.png') == ['a.png', 'c/d/e.png']
    assert listed(tmp_path, '') == listed(tmp_path) == ['a.png', 'a.png.bak', 'c/d/e.png']
    assert listed(tmp_path / 'a.png') == []


def theirs(root):
    return sorted(list_dir_or_file(str(root), list_dir=False, recursive=True))


def test_links_out_of_the_folder_are_followed(tmp_path):
    touch(tmp_path, 'photos/a.jpg', 'photos/in/b.jpg', 'root/x/c.jpg', 'root/.h/d.jpg')
    root = tmp_path / 'root'
    (root / 'one.jpg').symlink_to('../photos/a.jpg')
    (root / 'all').symlink_to('../photos')
    (root / 'y').symlink_to('x')  # a folder beside it is listed twice, as by mmseg
    names = ['.h/d.jpg', 'all/a.jpg', 'all/in/b.jpg', 'one.jpg', 'x/c.jpg', 'y/c.jpg']
    assert listed(root) == theirs(root) == names
    assert endless(root) == []


@pytest.mark.parametrize(
    ('link', 'target'),
    [
        ('up', '.'),
        ('a/up', '..'),
        ('a/b/up', '..'),
        ('a/higher', '../..'),  # above the folder that is listed
        ('a/other', '../away'),  # which leads back
        ('self', 'self'),
        ('a/self.jpg', 'self.jpg'),
    ],
)
def test_links_without_end(tmp_path, link, target):
    root = tmp_path / 'root'
    touch(root, 'a/b/1.jpg', 'a/2.jpg', 'away/3.jpg')
    if target == '../away':
        (root / 'away/back').symlink_to('../a')
    (root / link).symlink_to(target)
    with pytest.raises(OSError, match='Too many levels of symbolic links'):
        theirs(root)
    assert link in endless(root) or endless(root) == ['a/other/back', 'away/back/other']
    assert {'a/b/1.jpg', 'a/2.jpg', 'away/3.jpg'} <= {*listed(root, '.jpg')}


def test_links_to_files_that_are_gone_have_names(tmp_path):
    touch(tmp_path, 'a.jpg')
    (tmp_path / 'b.jpg').symlink_to('gone.jpg')
    (tmp_path / '.c.jpg').symlink_to('gone.jpg')
    assert listed(tmp_path) == ['a.jpg', 'b.jpg'] and theirs(tmp_path) == ['a.jpg']
    assert endless(tmp_path) == []


def test_what_is_above(tmp_path, monkeypatch):
    (tmp_path / 'a/b').mkdir(parents=True)
    (tmp_path / 'link').symlink_to('a/b')
    real = os.path.realpath(tmp_path)
    assert {f'{real}/a', real, '/'} <= above(tmp_path / 'link')
    assert f'{real}/a/b' not in above(tmp_path / 'link')
    monkeypatch.chdir(tmp_path / 'a')
    assert above('b') == above(tmp_path / 'a/b')


def test_each_folder_once(tmp_path):
    touch(tmp_path, 'root/b.jpg', 'root/a.jpg', 'root/.h.jpg', 'root/.h/1.jpg', 'root/x/2.jpg')
    touch(tmp_path, 'away/3.jpg', *(f'root/{name}/4.jpg' for name in SYSTEMS))
    root = tmp_path / 'root'
    for link, target in (('y', '../away'), ('z', 'x'), ('up', '..'), ('x/up', '..'), ('s', 's')):
        (root / link).symlink_to(target)
    found = [(os.path.relpath(place, root), names) for place, names in folders_of(root)]
    assert found == [('.', ['a.jpg', 'b.jpg', 's']), ('x', ['2.jpg']), ('y', ['3.jpg'])]


def test_a_folder_that_cannot_be_read(tmp_path, monkeypatch):
    """As of another user; its labels would be missed."""
    touch(tmp_path, 'a/1.jpg', 'b/1.txt')
    own = os.scandir

    def refuse(path):
        if str(path).endswith('b'):
            raise PermissionError(13, 'Permission denied', str(path))
        return own(path)

    monkeypatch.setattr(os, 'scandir', refuse)
    for function in (folders_of, listed):
        with pytest.raises(PermissionError, match='Permission denied: .*b'):
            list(function(tmp_path))
