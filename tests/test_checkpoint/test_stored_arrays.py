# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: numpy builds nothing from a file that was not checked; each check stands alone.

`test_plain_types.py` has whole files, which numpy would often refuse by itself.
"""

import pickle

import numpy as np
import pytest

from mmconvnext.checkpoint.stored_arrays import (
    StoredArray,
    StoredDtype,
    stored_reconstruct,
    stored_scalar,
)

REFUSED = 'in a checkpoint is not safe: refused$'


def dtype(kind: str, order: str = '=', parts: tuple = (None,) * 3, size: int = -1, *more: object):
    made = StoredDtype(kind, False, True)
    made.__setstate__((3, order, *parts, size, -1, 0, *more))
    return made


def array(shape: object, kind: object, content: object, by_columns: object = False) -> np.ndarray:
    made = stored_reconstruct(StoredArray, (0,), b'b')
    made.__setstate__((1, shape, kind, by_columns, content))
    return made


BYTES = np.arange(6, dtype='i2').tobytes()


def test_arrays_in_both_orders_of_their_bytes_and_axes():
    kind = dtype('i2', '<')
    assert array((2, 3), kind, BYTES).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert array((2, 3), kind, BYTES, 1).tolist() == [[0, 2, 4], [1, 3, 5]]
    assert array((6,), dtype('i2', '>'), BYTES).tolist() == [0, 256, 512, 768, 1024, 1280]
    assert array((0, 5), kind, b'').shape == (0, 5)
    assert array((), dtype('S12', '|', size=12), BYTES).shape == ()
    assert stored_scalar(dtype('i2', '>'), b'\1\0') == 256


@pytest.mark.parametrize(
    ('shape', 'content'),
    [
        *(((2, 2), BYTES), ((2, 4), BYTES), ((3, 2), BYTES[:-1]), ((2, 3), BYTES + b'x')),
        *(((-2, -3), BYTES), ((True, 6), BYTES), ((6.0,), BYTES), ((np.int64(6),), BYTES)),
        *(([2, 3], BYTES), ((6,), bytearray(BYTES)), ((6,), [*BYTES]), ((6,), None)),
    ],
)
def test_array_whose_shape_and_content_do_not_agree(shape, content):
    with pytest.raises(pickle.UnpicklingError, match=REFUSED):
        array(shape, dtype('i2'), content)


@pytest.mark.parametrize('kind', ['O', 'V8', 'f4,i4', '(2,)f4', ['f4'], np.dtype('f4'), None, 3])
def test_dtype_that_may_hold_pointers(kind):
    with pytest.raises(pickle.UnpicklingError, match=r'numpy\.dtype\(.*' + REFUSED):
        StoredDtype(kind)


@pytest.mark.parametrize(
    'state',
    [
        *(dict(order='x'), dict(order=''), dict(order=None), dict(size=3), dict(size=8)),
        *(dict(parts=(1, None, None)), dict(parts=(None, ('a',), None))),
        dict(parts=(None, None, {'a': 1})),
    ],
)
def test_state_of_a_dtype_that_says_more_than_its_name(state):
    with pytest.raises(pickle.UnpicklingError, match='the state .*' + REFUSED):
        dtype('f4', **state)


@pytest.mark.parametrize('order', '<>=|')
@pytest.mark.parametrize('size', [-1, 4])
def test_state_of_a_plain_dtype(order, size):
    assert dtype('f4', order, size=size).dtype == np.dtype('f4').newbyteorder(order)


@pytest.mark.parametrize('kind', ['M8', 'm8'])
def test_unit_and_count_of_a_time(kind):
    made = dtype(kind, '<', (None,) * 3, -1, ({}, (b's', 25, 1, 1)))
    assert made.dtype == np.dtype(f'{kind}[25s]')


@pytest.mark.parametrize('content', [b'', b'123', b'12345', bytearray(b'1234'), '1234'])
def test_scalar_of_another_size(content):
    with pytest.raises(pickle.UnpicklingError, match='a scalar of float32 ' + REFUSED):
        stored_scalar(dtype('f4'), content)


@pytest.mark.parametrize(
    'kind', [np.dtype('O'), np.dtype('V4'), np.dtype('f4,i4'), np.dtype(('f4', 2)), 'f4', None]
)
def test_dtype_of_numpys_own_is_looked_at_too(kind):
    """The user may have allowed numpy.dtype."""
    with pytest.raises(pickle.UnpicklingError, match='as a dtype ' + REFUSED):
        array((1,), kind, b'1234')
    with pytest.raises(pickle.UnpicklingError, match='as a dtype ' + REFUSED):
        stored_scalar(kind, b'1234')
    assert array((1,), np.dtype('u1'), b'\7').tolist() == [7]


@pytest.mark.parametrize(
    ('kind', 'shape'),
    [(StoredArray, (1,)), (StoredArray, ()), (np.ndarray, [0]), (np.matrix, (0,)), (dict, (0,))],
)
def test_only_an_empty_array_is_made(kind, shape):
    with pytest.raises(pickle.UnpicklingError, match='_reconstruct.*' + REFUSED):
        stored_reconstruct(kind, shape, b'b')
    assert type(stored_reconstruct(np.ndarray, (0,), b'b')) is StoredArray


def test_an_array_is_written_as_numpys_by_every_protocol():
    made = array((2, 3), dtype('i2'), BYTES)
    assert made.__reduce__()[1][0] is np.ndarray
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        text = pickle.dumps(made, protocol)
        assert b'Stored' not in text and type(pickle.loads(text)) is np.ndarray
        assert pickle.loads(text).tolist() == made.tolist()
