# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""inference/outputs.py: pictures, label maps and crops are whole and where one expects them."""

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from mmconvnext.inference import outputs as module
from mmconvnext.inference.outputs import Outputs, label_values, safe, write_values
from mmconvnext.inference.result import Result

from .conftest import CLASSES, found

COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]


def of(detections, path='', size=(30, 40)) -> Result:
    image = np.zeros((*size, 3), np.uint8)
    image[5:9, 10:20] = 250
    return Result(detections, image, size, CLASSES, COLOURS, path)


@pytest.mark.parametrize(
    ('path', 'name'), [('x.JPEG', 'a/b.jpg'), ('x.tif', 'a/b.png'), ('', 'a/b.png')]
)
def test_a_picture_is_jpeg_only_if_the_image_is(tmp_path, path, name):
    Outputs(tmp_path).write(of(found([[10, 5, 20, 9]]), path), 'a/b')
    assert [str(f.relative_to(tmp_path)) for f in tmp_path.rglob('*.*')] == [f'pictures/{name}']
    assert Image.open(tmp_path / 'pictures' / name).width == 640


def test_pictures_of_outlines(tmp_path):
    mask = np.zeros((1, 30, 40), bool)
    mask[0, 5:9, 10:20] = True
    result = of(found([[10, 5, 20, 9]], masks=mask))
    for outline in (False, True):
        Outputs(tmp_path, outline=outline).write(result, str(outline))
    red = [
        np.asarray(Image.open(tmp_path / f'pictures/{name}.png'))[112, 240].tolist()
        for name in (False, True)
    ]
    assert red[0] != [250] * 3 == red[1]


def test_a_picture_that_is_too_long_for_jpeg(tmp_path):
    image = Image.new('RGB', (module.JPEG_SIDE + 1, 1))
    module.save(image, tmp_path / 'a.jpg')
    assert Image.open(tmp_path / 'a.png').size == image.size and len([*tmp_path.iterdir()]) == 1


def test_crops_are_sorted_by_class(tmp_path):
    boxes = [[10.4, 5.2, 19.6, 9], [-3, -2, 4, 3], [38, 28, 50, 60], [5, 5, 5, 9], [50, 50, 60, 60]]
    writer = Outputs(tmp_path, pictures=False, crops=True)
    writer.write(of(found(boxes, [0, 1, 1, 2, 2])), 's/a')
    sizes = {str(f.relative_to(tmp_path)): Image.open(f).size for f in tmp_path.rglob('*.png')}
    assert sizes == {
        'crops/cat/s/a_1.png': (10, 4),
        'crops/dog/s/a_2.png': (4, 3),
        'crops/dog/s/a_3.png': (2, 2),
    }
    assert np.asarray(Image.open(tmp_path / 'crops/cat/s/a_1.png')).min() == 250


def test_class_names_become_names_of_folders():
    assert (
        safe('a/b: c?') == 'a_b_ c_' and safe('..') == '_' and safe('gr' + chr(252) + 'n')[2] > 'z'
    )
    assert len(safe('x' * 300)) == 60


@pytest.mark.parametrize(
    ('values', 'mode', 'expected'),
    [
        ([0, 1, 2], np.uint8, [0, 1, 2, 255]),
        ([1, 2, 3], np.uint8, [1, 2, 3, 255]),
        ([0, 128, 255], np.uint8, [0, 128, 255, 255]),
        ([7, 300, 5], np.uint16, [7, 300, 5, 255]),
    ],
)
def test_label_maps_hold_the_values_of_the_classes(tmp_path, values, mode, expected):
    labels = np.uint8([[0, 1, 2, 255]])
    writer = Outputs(tmp_path, pictures=False, labels=True, values=values)
    writer.write(of(found([], label_map=labels), size=(1, 4)), 'a')
    written = np.asarray(Image.open(tmp_path / 'labels/a.png'))
    assert written.tolist() == [expected] and written.dtype == mode


def test_where_the_values_come_from():
    def of_config(**parts):
        dataset = {'type': 'BaseSegDataset', 'data_root': 'x', **parts.pop('dataset', {})}
        cfg = dict(default_scope='mmseg', model={}, test_dataloader=dict(dataset=dataset), **parts)
        return label_values(Config(cfg), CLASSES)

    assert of_config() == [0, 1, 2]
    assert of_config(dataset=dict(reduce_zero_label=True)) == [1, 2, 3]
    assert of_config(own_data=dict(ids=[0, 9, 255])) == [0, 9, 255]
    # Its own default is True.
    assert of_config(dataset=dict(type='ADE20KDataset')) == [1, 2, 3]


def test_a_table_of_the_values(tmp_path):
    file = write_values(tmp_path, [0, 5, 9], CLASSES, COLOURS)
    head, first, second, _ = file.read_text().splitlines()
    assert (head, first) == ('value,class,red,green,blue', '0,cat,255,0,0')
    assert second == '5,dog,0,255,0'


def test_frames_have_no_pictures(tmp_path):
    writer = Outputs(tmp_path, crops=True)
    writer.without_pictures().write(of(found([[1, 1, 9, 9]])), 'v/000001')
    assert [f.name for f in tmp_path.rglob('*.*')] == ['000001_1.png'] and writer.pictures
