# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/coco/run_lengths.py: what pycocotools can read is sound, all else has a named fault."""

import numpy as np
import pytest
from pycocotools import mask as rle_api

from mmconvnext.data.coco.run_lengths import (
    COUNTS,
    SIZES,
    SWAPPED,
    as_text,
    fault_of,
    packed,
    with_counts,
    with_size,
)

MASK = np.zeros((64, 96), np.uint8)
MASK[3:34, 8:28], MASK[40:, 90:] = 1, 1
RLE = rle_api.encode(np.asfortranarray(MASK))
TEXT = dict(size=[64, 96], counts=RLE['counts'].decode())


def runs(mask) -> list:
    flat = mask.T.ravel().astype(int)
    edges = np.flatnonzero(np.diff(flat, prepend=0)).tolist()
    return np.diff([0, *edges, flat.size]).tolist()


LIST = dict(size=[64, 96], counts=runs(MASK))


@pytest.mark.parametrize('value', [TEXT, LIST])
def test_both_forms_are_sound(value):
    assert fault_of(value, 96, 64) == fault_of(value, 0, 0) == ''
    assert (rle_api.decode(packed(value)) == MASK).all()


def test_the_text_is_that_of_json():
    assert as_text(RLE) == TEXT


@pytest.mark.parametrize('seed', range(5))
def test_any_mask(seed):
    rng = np.random.default_rng(seed)
    mask = (rng.random((64, 96)) < rng.random()).astype(np.uint8)
    text = as_text(rle_api.encode(np.asfortranarray(mask)))
    assert fault_of(text, 96, 64) == fault_of(dict(LIST, counts=runs(mask)), 96, 64) == ''


@pytest.mark.parametrize(
    ('change', 'fault'),
    [
        (dict(size=None), 'run lengths without "size" and "counts"'),
        (dict(size=[64]), 'run lengths without "size" and "counts"'),
        (dict(size=[64, 'x']), 'run lengths without "size" and "counts"'),
        (dict(size=[64, 0]), 'run lengths without "size" and "counts"'),
        (dict(counts=None), 'run lengths without "size" and "counts"'),
        (dict(counts=''), 'run lengths without "size" and "counts"'),
        (dict(size=[32, 48]), 'run lengths of another size than the image'),
        (dict(counts=7), 'run lengths that cannot be read'),
        (dict(counts=['a']), 'run lengths that cannot be read'),
        (dict(counts=[1.5, 3]), 'run lengths that cannot be read'),
        (dict(counts='\u00e4'), 'run lengths that cannot be read'),
        (dict(counts=' '), 'run lengths that cannot be read'),
        (dict(counts=TEXT['counts'] + 'p'), 'run lengths that cannot be read'),  # goes on
        (dict(counts=TEXT['counts'][:-1]), 'run lengths that (do not fill|cannot be read)'),
        (dict(counts=[64 * 96 + 1, -1]), 'run lengths that do not fill their size'),
        (dict(counts=[10, 20]), 'run lengths that do not fill their size'),
        (dict(counts=[64 * 96]), 'run lengths of an empty mask'),
        (dict(counts=[64 * 96, 0]), 'run lengths of an empty mask'),
    ],
)
def test_faults(change, fault):
    import re

    assert re.match(fault, fault_of({**TEXT, **change}, 96, 64))


@pytest.mark.parametrize(
    ('size', 'expected', 'mended'),
    [
        ([64, 96], [64, 96], ()),
        ([96, 64], [64, 96], (SWAPPED,)),
        (['64', 96.0], [64, 96], (SIZES,)),
        (['96', '64'], [64, 96], (SIZES, SWAPPED)),
        ([32, 48], [32, 48], ()),
        ([64.5, 96], [64.5, 96], ()),
        ('64', '64', ()),
        (None, [64, 96], (SIZES,)),
    ],
)
def test_sizes(size, expected, mended):
    value = dict(size=size, counts='x')
    found, kinds = with_size(value, 96, 64)
    assert found['size'] == expected and kinds == mended
    assert (found is value) == (not mended)


def test_a_square_or_unknown_size_is_not_swapped():
    assert (
        with_size(dict(size=[64, 64]), 64, 64)[1] == with_size(dict(size=[96, 64]), 0, 0)[1] == ()
    )
    assert with_size(dict(counts='x'), 0, 0) == (dict(counts='x'), ())


@pytest.mark.parametrize(
    ('counts', 'expected'),
    [
        (str(RLE['counts']), TEXT['counts']),  # str() of Python's bytes
        ('b"PQ"', 'PQ'),
        ([str(v) for v in LIST['counts']], LIST['counts']),
        ([float(v) for v in LIST['counts']], LIST['counts']),
    ],
)
def test_counts_in_another_form(counts, expected):
    value = dict(size=[64, 96], counts=counts)
    assert with_counts(value) == (dict(size=[64, 96], counts=expected), (COUNTS,))
    assert value['counts'] is counts


@pytest.mark.parametrize(
    'counts', [TEXT['counts'], LIST['counts'], "b'", "b'\\xff'", [1.5], ['x'], 7, None]
)
def test_counts_that_are_sound_or_cannot_be_read_stay(counts):
    value = dict(size=[64, 96], counts=counts)
    found, mended = with_counts(value)
    assert found is value and not mended


@pytest.mark.parametrize(
    ('counts', 'fault'),
    [
        ([0, 6], ''),
        ([6], 'run lengths of an empty mask'),
        ([5, 1], ''),
        ([5, 0, 1], 'run lengths of an empty mask'),
        ([5, 0, 0, 1], ''),
        ([5], 'run lengths that do not fill their size'),
        ([5, 2], 'run lengths that do not fill their size'),
        ([7, 0, -1], 'run lengths that do not fill their size'),
        ('o', 'run lengths that cannot be read'),  # it goes on
        ('p0', 'run lengths that cannot be read'),
        ('/0', 'run lengths that cannot be read'),
        ('00', 'run lengths that do not fill their size'),
        ('06', ''),
        ('51', ''),
        (b'06', 'run lengths that cannot be read'),
        ([True, 5], 'run lengths that cannot be read'),
    ],
)
def test_counts_of_six_pixels(counts, fault):
    assert fault_of(dict(size=[2, 3], counts=counts), 3, 2) == fault
    assert fault_of(dict(size=[2, 3], counts=counts), 0, 0) == fault


@pytest.mark.parametrize('size', [[1, 6], [6, 1]])
def test_masks_of_one_row_or_column(size):
    assert fault_of(dict(size=size, counts=[2, 4]), 0, 0) == ''
    assert fault_of(dict(size=size, counts=[2, 4]), size[1], size[0]) == ''
    assert 'another size' in fault_of(dict(size=size, counts=[2, 4]), *size)


@pytest.mark.parametrize(('width', 'height'), [(0, 64), (96, 0), (0, 0)])
def test_a_missing_size_is_set_only_if_it_is_known(width, height):
    value = dict(counts=[1])
    assert with_size(value, width, height) == (value, ())


def test_other_keys_and_the_given_dict_stay():
    value = dict(size=[96.0, 64], counts=['1', 2], note='x')
    sized, _ = with_size(value, 96, 64)
    assert sized == dict(size=[64, 96], counts=['1', 2], note='x')
    assert all(type(v) is int for v in sized['size'])
    counted, _ = with_counts(value)
    assert counted == dict(size=[96.0, 64], counts=[1, 2], note='x')
    assert value == dict(size=[96.0, 64], counts=['1', 2], note='x')


def test_long_runs_and_their_differences():
    """Lengths of several characters, that grow and shrink."""
    for counts in ([1, 2000, 3, 4000, 140], [3000, 1, 2000, 3, 1140], [0, 1, 1, 1, 6141]):
        rle = rle_api.frPyObjects(dict(size=[64, 96], counts=counts), 64, 96)
        assert fault_of(as_text(rle), 96, 64) == ''
        assert fault_of(dict(as_text(rle), size=[64, 97]), 97, 64).endswith('fill their size')
