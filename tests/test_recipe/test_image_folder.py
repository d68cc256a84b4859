# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/image_folder.py: a test set of images only, usable from every MM project."""

from pathlib import Path

import pytest
from mmengine.registry import DATASETS


def test_the_images_below_a_folder_in_the_order_of_their_names(tmp_path):
    names = ['b.png', 'a.JPEG', 'in/c d.tif', 'd.jpg', '\xe9.bmp', 'f.tiff', 'g.webp', 'h.png.txt']
    for name in names:
        (tmp_path / 'images' / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'images' / name).touch()
    config = dict(
        type='mmconvnext.ImageFolder',
        data_root=str(tmp_path),
        data_prefix=dict(img='images'),
        metainfo=dict(classes=('a',), palette=[(1, 2, 3)]),
        test_mode=True,
        backend_args=None,
    )
    dataset = DATASETS.build(config)
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    paths = [str(Path(info['img_path']).relative_to(tmp_path)) for info in infos]
    kept = ['a.JPEG', 'b.png', 'd.jpg', 'f.tiff', 'g.webp', 'in/c d.tif', '\xe9.bmp']
    assert paths == [f'images/{name}' for name in kept]
    assert [info['img_id'] for info in infos] == list(range(7))
    assert dataset.metainfo == dict(classes=('a',), palette=[(1, 2, 3)])


def test_a_file_backend_reads_the_folder(tmp_path, monkeypatch):
    def listed(folder, *, list_dir, recursive, backend_args):
        asked.append((folder, list_dir, recursive, backend_args))
        return ['b.jpg', 'a.jpg']

    asked = []
    monkeypatch.setattr('mmconvnext.recipe.image_folder.list_dir_or_file', listed)
    given = dict(data_prefix=dict(img='s3://bucket/x'), backend_args=dict(backend='petrel'))
    dataset = DATASETS.build(dict(type='mmconvnext.ImageFolder', **given))
    assert asked == [('s3://bucket/x', False, True, dict(backend='petrel'))]
    assert dataset.get_data_info(0)['img_path'] == 's3://bucket/x/a.jpg'


def test_an_empty_folder(tmp_path):
    config = dict(type='mmconvnext.ImageFolder', data_prefix=dict(img=str(tmp_path)))
    with pytest.raises(ValueError, match=r'has no images; their names end in \.jpg, \.jpeg, '):
        DATASETS.build(config)


def test_a_link_to_a_folder_above_ends(tmp_path):
    (tmp_path / 'a.jpg').touch()
    (tmp_path / 'up').symlink_to('.')
    (tmp_path / 'self').symlink_to('self')
    config = dict(type='mmconvnext.ImageFolder', data_prefix=dict(img=str(tmp_path)))
    assert len(DATASETS.build(config)) == 1
