# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/label_values.py: each value or colour has one label, and unknown ones are errors."""

import io

import numpy as np
import pytest
from PIL import Image

from mmconvnext.data.label_maps import LabelMap, packed
from mmconvnext.data.label_values import LabelValues, read_palette


def test_by_default_values_are_labels_as_in_mmseg():
    values = LabelValues()
    pixels = np.arange(256).reshape(4, 64)
    labels = values.labels(pixels)
    assert labels.dtype == np.uint8 and np.array_equal(labels, pixels)
    assert values.of(LabelMap((0, 254, 255, 256, -1))) == ({0, 254, 255}, {256, -1})
    assert (values.in_colour, values.table, values.ignored) == (False, '', [])


@pytest.mark.parametrize('value', [256, -1, 70000, 2**40])
def test_values_that_mmseg_would_wrap_are_errors(value):
    with pytest.raises(ValueError, match=f'it holds the value {value}, which is in no list'):
        LabelValues().labels(np.array([[0, value]]))


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.int32, np.int64])
def test_ids_in_the_order_of_the_labels(dtype):
    values = LabelValues(ids=[200, 0, 90], ignore_ids=[7])
    pixels = np.array([[0, 90, 200], [7, 255, 0]], dtype=dtype)
    assert values.labels(pixels).tolist() == [[1, 2, 0], [255, 255, 1]]
    with pytest.raises(ValueError, match='the value 91'):
        values.labels(np.array([[0, 91]], dtype=dtype))


def test_bits_are_ids():
    assert LabelValues(ids=[1, 0]).labels(np.array([[True, False]])).tolist() == [[0, 1]]


def test_255_may_be_a_class():
    assert LabelValues(ids=[0, 255]).labels(np.array([[0, 255]])).tolist() == [[0, 1]]
    assert LabelValues(ids=[0, 9]).labels(np.array([[0, 255]])).tolist() == [[0, 255]]


def test_large_ids():
    values = LabelValues(ids=[-5, 1000, 2**31 - 1], ignore_ids=[300])
    assert values.labels(np.array([[1000, 2**31 - 1, -5, 300]])).tolist() == [[1, 2, 0, 255]]


def test_ignored_values_beside_mmsegs_own():
    values = LabelValues(ignore_ids=[11, 300])
    assert values.labels(np.array([[0, 10, 11, 12, 300]])).tolist() == [[0, 10, 255, 12, 255]]
    assert values.of(LabelMap((0, 11))) == ({0, 255}, set())


def test_colours():
    red, blue, border = (200, 0, 0), (0, 0, 200), (224, 224, 192)
    values = LabelValues(colours=[red, blue], ignore_ids=[border])
    assert values.in_colour and values.table == 'colours'
    pixels = packed(np.array([[blue, red, border]]))
    assert values.labels(pixels).tolist() == [[1, 0, 255]]
    with pytest.raises(ValueError, match=r'it holds the colour \(255, 255, 255\), which is in no'):
        values.labels(packed(np.array([[red, (255, 255, 255)]])))  # white is not ignored by itself
    content = LabelMap(colours=(red, border, (0, 0, 1)))
    assert values.of(content) == ({0, 255}, {(0, 0, 1)})


def test_grey_maps_have_colours_too():
    values = LabelValues(colours=[(0, 0, 0), (255, 255, 255)])
    assert values.of(LabelMap((0, 255))) == ({0, 1}, set())
    assert values.of(LabelMap((0, 1), mode='1')) == ({0, 1}, set())
    assert values.of(LabelMap((0, 1))) == ({0}, {(1, 1, 1)})
    # and those of palettes are what the palette says, not the index
    assert values.of(LabelMap((3, 4), ((255, 255, 255), (9, 9, 9)))) == ({1}, {(9, 9, 9)})


CVAT = """# label:color_rgb:parts:actions
background:0,0,0::
traffic light:128,64,7:head,foot:turn
a:b:1,2,3::
"""
TABLE = 'name,r,g,b\nSky, 10, 20, 30\nRoad,40,50,60\n\n'


@pytest.mark.parametrize(
    ('text', 'colours'),
    [
        (CVAT, {'background': (0, 0, 0), 'traffic light': (128, 64, 7), 'a:b': (1, 2, 3)}),
        (TABLE, {'Sky': (10, 20, 30), 'Road': (40, 50, 60)}),
        ('\ufeffx:1,2,3\r\n', {'x': (1, 2, 3)}),
        ('x\t1\t2\t3\ny\t4 5 6\n', {'x': (1, 2, 3), 'y': (4, 5, 6)}),
        ('', {}),
    ],
)
def test_tables_of_colours(tmp_path, text, colours):
    (tmp_path / 'labelmap.txt').write_text(text, encoding='utf-8')
    assert read_palette(tmp_path / 'labelmap.txt') == colours


@pytest.mark.parametrize(
    ('text', 'error'),
    [
        ('a:1,2,3\nb:1,2\n', "line 2, 'b:1,2', is not name:red,green,blue"),
        ('a:1,2,300\n', "line 1, 'a:1,2,300': a colour has numbers from 0 to 255"),
        ('0 background\n', "line 1, '0 background', is not"),
    ],
)
def test_other_lines_are_errors(tmp_path, text, error):
    (tmp_path / 'labelmap.txt').write_text(text)
    with pytest.raises(ValueError, match=error):
        read_palette(tmp_path / 'labelmap.txt')


def png(array) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, 'PNG')
    return stream.getvalue()


def test_encoded_maps_are_read():
    ids = np.array([[0, 90, 200], [7, 255, 0]], np.uint8)
    labels = LabelValues(ids=[200, 0, 90], ignore_ids=[7]).read(png(ids))
    assert labels.dtype == np.uint8 and labels.tolist() == [[1, 2, 0], [255, 255, 1]]
    colours = np.array([[(1, 2, 3), (0, 0, 9)]], np.uint8)
    labels = LabelValues(colours=[(0, 0, 9), (1, 2, 3)]).read(png(colours))
    assert labels.dtype == np.uint8 and labels.tolist() == [[1, 0]]
    with pytest.raises(ValueError, match='it holds colours such as'):
        LabelValues().read(png(colours))


def test_what_is_ignored_is_no_class():
    values = LabelValues(ids=[0, 7], ignore_ids=[7])
    assert values.labels(np.array([[0, 7]])).tolist() == [[0, 255]]
    assert values.ignored == [7] and values.table == 'ids' and not values.in_colour
    values = LabelValues(colours=[(1, 2, 3)], ignore_ids=[[1, 2, 3], (4, 5, 6)])
    assert values.labels(packed([[(1, 2, 3), (4, 5, 6)]])).tolist() == [[255, 255]]
    assert values.ignored == [(1, 2, 3), (4, 5, 6)]


@pytest.mark.parametrize(
    ('options', 'default'),
    [
        ({}, True),
        (dict(ignore_ids=[]), True),
        (dict(ignore_ids=[3]), False),
        (dict(ids=[0, 1]), False),
        (dict(colours=[(0, 0, 0)]), False),
    ],
)
def test_what_mmseg_reads_too(options, default):
    assert LabelValues(**options).is_default is default


def test_labels_up_to_254_and_no_more():
    assert LabelValues(ids=range(1, 256)).labels(np.array([[1, 255]])).tolist() == [[0, 254]]
    assert LabelValues().of(LabelMap((253, 254, 255))) == ({253, 254, 255}, set())


def test_the_first_value_that_has_no_label_is_named():
    values = LabelValues(ids=[5])
    for pixels, value in (([[5, 4, 9]], 4), ([[6, 5]], 6), ([[5, 254]], 254), ([[5, 256]], 256)):
        with pytest.raises(ValueError, match=f'it holds the value {value}, which'):
            values.labels(np.array(pixels))


@pytest.mark.parametrize(
    ('text', 'colours'),
    [
        ('a:255,0,1\n', {'a': (255, 0, 1)}),
        ('a;1;2;3\n b , 4 , 5 , 6 \n', {'a': (1, 2, 3), 'b': (4, 5, 6)}),
        ('\n\na:1,2,3\n  \nb:4,5,6', {'a': (1, 2, 3), 'b': (4, 5, 6)}),
        ('a:1,2,3\n#b:4,5,6\n', {'a': (1, 2, 3)}),
        ('a:1,2,3\na:4,5,6\n', {'a': (4, 5, 6)}),
        ('name,r,g,b\n', {}),
        ('a,1,2,3,rest\n', {'a': (1, 2, 3)}),
    ],
)
def test_lines_of_a_table(tmp_path, text, colours):
    (tmp_path / 'a.txt').write_text(text)
    assert read_palette(tmp_path / 'a.txt') == colours


@pytest.mark.parametrize(
    ('text', 'error'),
    [
        ('a:256,0,0\n', "line 1, 'a:256,0,0': a colour"),
        ('a:0,256,0\n', 'a colour has numbers'),
        ('a:0,0,256\n', 'a colour has numbers'),
        ('\nheading\n', "line 2, 'heading', is not name:red"),
        ('a1,r,g,b\n', "line 1, 'a1,r,g,b', is not"),
        ('# x\n\na:1,2,3,\nb:1\n', "line 4, 'b:1', is not"),
    ],
)
def test_other_lines_are_named(tmp_path, text, error):
    (tmp_path / 'a.txt').write_text(text)
    with pytest.raises(ValueError, match=error):
        read_palette(tmp_path / 'a.txt')


def test_a_palette_of_windows(tmp_path):
    (tmp_path / 'labelmap.txt').write_bytes('sky:1,2,3\r\nK\u00e4fer:4,5,6\r\n'.encode('utf-16'))
    assert read_palette(tmp_path / 'labelmap.txt') == {'sky': (1, 2, 3), 'K\u00e4fer': (4, 5, 6)}
