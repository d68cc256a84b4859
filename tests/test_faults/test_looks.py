# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What is wrong with files and with what was loaded."""

import struct
import zlib

import cv2
import numpy as np
import pytest
import torch
from bad_data_runs import HEIGHT, SIZE, WIDTH, pictures
from PIL import Image

from mmconvnext.data.header import Header
from mmconvnext.faults import looks
from mmconvnext.faults.looks import (
    BadSample,
    Expected,
    files_of,
    listed_size,
    look_at_boxes,
    look_at_classes,
    look_at_file,
    look_at_image,
    look_at_label_map,
    look_at_sizes,
)

NONE = Expected()


def bomb(width, height) -> bytes:
    """A PNG that says to be large, and is not."""

    def chunk(kind, data):
        return (
            struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
        )

    head = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    chunks = chunk(b'IHDR', head) + chunk(b'IDAT', zlib.compress(bytes(999))) + chunk(b'IEND', b'')
    return b'\x89PNG\r\n\x1a\n' + chunks


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        (lambda data: data[: len(data) // 2], 'it is cut off'),
        (lambda data: b'', 'it is empty'),
        (lambda data: b'text', 'it is no image that Pillow or cv2 can read'),
        (lambda data: b'<html>', 'it is a web page'),
        (lambda data: b'version https://git-lfs', 'it is a pointer of Git LFS'),
        (lambda data: data.replace(b'IDAT', b'IDAT\xff', 1)[: len(data)], 'checksum|cut off'),
        (lambda data: bomb(40000, 40000), 'it has 40000 x 40000 pixels; cv2 loads'),
        (lambda data: bomb(20000, 10000), r'it has 20000 x 10000 pixels, but .* give 9 x 6'),
        (lambda data: cv2.imencode('.png', np.zeros((6, 8, 3)))[1].tobytes(), 'has 8 x 6 pixels'),
    ],
)
def test_bad_files(change, reason, tmp_path):
    file = pictures(tmp_path, 1) / '0.png'
    assert look_at_file(str(file), SIZE, NONE).mode == 'RGB'
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(BadSample, match=reason):
        look_at_file(str(file), SIZE, NONE)


def test_a_file_that_vanishes_meanwhile(tmp_path, monkeypatch):
    """Its folder may be away, which is waited for; a file that is no image is not."""

    def read_header(file):
        file.unlink()
        return Header(0, 0, error='no such file or directory')

    monkeypatch.setattr(looks, 'read_header', read_header)
    with pytest.raises(FileNotFoundError):
        look_at_file(str(pictures(tmp_path, 1) / '0.png'), SIZE, NONE)


def test_files_that_cannot_be_opened(tmp_path):
    for file, kind in ((tmp_path / 'a.png', FileNotFoundError), (tmp_path, IsADirectoryError)):
        with pytest.raises(kind):
            look_at_file(str(file), None, NONE)
    assert look_at_file('s3://bucket/a.png', SIZE, NONE) is None


def test_a_turned_image_is_compared_when_it_is_loaded(tmp_path):
    Image.new('RGB', SIZE[::-1]).save(tmp_path / 'a.png')
    header = look_at_file(str(tmp_path / 'a.png'), SIZE, NONE)
    turned, stored = np.zeros((HEIGHT, WIDTH, 3)), np.zeros((WIDTH, HEIGHT, 3))
    look_at_image(turned, header, SIZE, NONE)
    with pytest.raises(BadSample, match=r'has 6 x 9 pixels when it is loaded, .* give 9 x 6'):
        look_at_image(stored, header, SIZE, NONE)
    look_at_image(stored, header, None, NONE)
    look_at_image(stored, header, SIZE, Expected(passed=['image_sizes']))


def test_channels():
    gray, four = np.zeros((HEIGHT, WIDTH)), np.zeros((HEIGHT, WIDTH, 4))
    for image, count in ((gray, 1), (four, 4)):
        look_at_image(image, None, None, NONE)
        look_at_image(image, None, None, Expected(channels=count))
        look_at_image(image, None, None, Expected(['image_channels'], channels=3))
        with pytest.raises(BadSample, match=f'with {count} channels, the backbone takes 3'):
            look_at_image(image, None, None, Expected(channels=3))
    look_at_image(gray, None, None, Expected(channels=3, spread=True))
    with pytest.raises(BadSample):
        look_at_image(four, None, None, Expected(channels=3, spread=True))


def test_bits():
    deep, image = Header(WIDTH, HEIGHT, bits=16), np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    with pytest.raises(BadSample, match='it has 16 bits, and its values are divided by 256'):
        look_at_image(image, deep, SIZE, NONE)
    look_at_image(image, deep, SIZE, Expected(['image_bits']))
    look_at_image(image.astype(np.float32), deep, SIZE, NONE)  # LoadImage has scaled them
    look_at_image(image, Header(WIDTH, HEIGHT), SIZE, NONE)


def test_sizes_of_image_and_label_map():
    image = Header(WIDTH, HEIGHT)
    for other in (Header(WIDTH, HEIGHT), Header(HEIGHT, WIDTH), None):
        look_at_sizes(image, other, NONE)
    with pytest.raises(BadSample, match='map has 9 x 7 pixels, its image 9 x 6; .*label_sizes'):
        look_at_sizes(image, Header(WIDTH, 7), NONE)
    look_at_sizes(image, Header(WIDTH, 7), Expected(['label_sizes']))


def test_label_maps():
    labels = np.array([[0, 1, 255], [1, 2, 0]], np.uint8)
    look_at_label_map(labels, (2, 3), 3, NONE)
    look_at_label_map(labels, None, 0, NONE)
    with pytest.raises(BadSample, match='ids of no class: 2; there are 2 classes'):
        look_at_label_map(labels, (2, 3), 2, NONE)
    with pytest.raises(BadSample, match='label map has 3 x 2 pixels, its image 2 x 3'):
        look_at_label_map(labels, (3, 2), 3, NONE)
    look_at_label_map(labels, (3, 2), 2, Expected(['label_sizes', 'label_ids']))
    look_at_label_map(labels[..., None], (3, 2), 2, NONE)  # of other tasks


@pytest.mark.parametrize('kind', [np.array, torch.tensor])
def test_boxes(kind):
    def look(*boxes, expected=NONE, **more):
        look_at_boxes(dict(gt_bboxes=kind(boxes), **more), expected)

    sound, flat = [1.0, 2, 3, 4], [1.0, 2, 1, 4]
    look(sound)
    look_at_boxes(dict(gt_bboxes=np.zeros((0, 4))), NONE)
    with pytest.raises(BadSample, match=r'1 of its 2 boxes have no area.*\(1, 2, 1, 4\)'):
        look(sound, flat)
    with pytest.raises(BadSample, match=r'\(1, 4, 3, 2\)'):
        look([1.0, 4, 3, 2])
    with pytest.raises(BadSample, match='nan'):
        look([1.0, 2, float('nan'), 4], expected=Expected(sized=False))
    look(flat, expected=Expected(sized=False))
    look(flat, expected=Expected(['boxes']))
    look(flat, gt_ignore_flags=np.array([True]))


def test_classes_of_boxes():
    look_at_classes(np.array([0, 3]), 4)
    look_at_classes([], 4)
    look_at_classes(np.array([99]), 0)
    for label in (4, -1):
        with pytest.raises(BadSample, match=f'has the label {label}; there are 4 classes'):
            look_at_classes(np.array([0, label]), 4)


def test_boxes_of_mmdet():
    from mmdet.structures.bbox import HorizontalBoxes

    with pytest.raises(BadSample, match='1 of its 1 boxes'):
        look_at_boxes(dict(gt_bboxes=HorizontalBoxes(torch.tensor([[1.0, 2, 3, 2]]))), NONE)


def test_files_and_sizes_of_samples():
    info = dict(img_path='a.png', seg_map_path='a_map.png', width=3, height=np.int64(2))
    assert list(files_of(info)) == [('a.png', True), ('a_map.png', False)]
    assert listed_size(info) == (3, 2)
    assert listed_size(dict(info, height=0)) is None
    assert listed_size(dict(info, width=3.5)) is None
    several = dict(img_path=['a', 'b'], seg_map_path=None, width=3, height=2)
    assert list(files_of(several)) == [('a', True), ('b', True)] and listed_size(several) is None
    assert list(files_of([info])) == [] and list(files_of(dict(img_path=None))) == []
