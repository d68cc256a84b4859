# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/image_folder.py: a test set of images only, usable from every MM project."""

from pathlib import Path

import numpy as np
import pytest
from fixtures import write_image
from mmengine.registry import DATASETS


def test_the_images_below_a_folder_in_the_order_of_their_names(tmp_path):
    for name in ('b.png', 'a.JPEG', 'in/c.tif'):
        write_image(tmp_path / 'images' / name, np.zeros((4, 4, 3)))
    (tmp_path / 'images/a.txt').touch()
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
    assert paths == ['images/a.JPEG', 'images/b.png', 'images/in/c.tif']
    assert [info['img_id'] for info in infos] == [0, 1, 2]
    assert dataset.metainfo == dict(classes=('a',), palette=[(1, 2, 3)])


def test_an_empty_folder(tmp_path):
    config = dict(type='mmconvnext.ImageFolder', data_prefix=dict(img=str(tmp_path)))
    with pytest.raises(ValueError, match=r'has no images; their names end in \.jpg, \.jpeg, '):
        DATASETS.build(config)
