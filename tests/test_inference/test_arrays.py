# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""inference/arrays.py: what can be an array becomes one; the others are named."""

import io

import image_files
import numpy as np
import pytest
import torch
from PIL import Image

from mmconvnext.inference.arrays import as_array, wrong_type

RGB = image_files.colours()
TENSOR = torch.from_numpy(RGB).permute(2, 0, 1)


@pytest.mark.parametrize(
    'tensor',
    [
        TENSOR,
        TENSOR.to_sparse(),
        TENSOR.to(torch.bfloat16),
        TENSOR.half(),
        TENSOR.double().requires_grad_(),
    ],
    ids=['uint8', 'sparse', 'bfloat16', 'half', 'gradients'],
)
def test_tensors(tensor):
    array = as_array(tensor)
    assert (array == RGB).all() and array.dtype in (np.uint8, np.float32)
    assert as_array(TENSOR[0]).shape == RGB.shape[:2]


@pytest.mark.parametrize(
    'tensor',
    [
        torch.zeros(3, 4, 5, device='meta'),
        torch.quantize_per_tensor(torch.rand(3, 4, 5), 0.1, 0, torch.quint8),
    ],
    ids=['meta', 'quantized'],
)
def test_tensors_without_numbers(tensor):
    with pytest.raises(ValueError, match='a torch tensor of .* on .* cannot become an array: .*'):
        as_array(tensor)


def test_pictures_that_cannot_be_read():
    stream = io.BytesIO(image_files.encoded(image_files.noise(), 'JPEG')[:-200])
    closed = Image.open(io.BytesIO(image_files.encoded(RGB, 'PNG')))
    closed.close()
    for picture in (Image.open(stream), closed):
        with pytest.raises(ValueError, match='a PIL image that cannot be read: '):
            as_array(picture)


@pytest.mark.parametrize(
    'image',
    [
        *(np.zeros(shape, np.uint8) for shape in [(), (0,), (5,), (0, 4, 3), (4, 0), (1, 2, 3, 4)]),
        *(Image.new('RGB', size) for size in [(0, 4), (4, 0)]),
        *(torch.zeros(shape) for shape in [(), (3, 0, 4), (1, 3, 4, 5)]),
    ],
)
def test_other_shapes(image):
    with pytest.raises(ValueError, match='is no image; an image is .* For several give a list'):
        as_array(image)


@pytest.mark.parametrize('image', [None, 42, {}, b'a.jpg', [RGB], np.uint8(3)])
def test_what_is_no_image(image):
    with pytest.raises(ValueError, match=f'an image is a path, .*; got {type(image).__name__}'):
        as_array(image)


UNIT = np.array([[0, 0.25, 1]])


@pytest.mark.parametrize(
    ('image', 'way'),
    [
        (UNIT, r'its values are 0 to 1: give \(image \* 255\)\.round\(\)\.astype'),
        (UNIT.astype(np.float16) * 255, r"0 to 255: give image\.round\(\)\.astype\('uint8'\)$"),
        (np.array([[0, 7]]), r"0 to 7: give image\.astype\('uint8'\)$"),
        (np.array([[0, 1]]), r"0 to 1: give image\.astype\('uint8'\)$"),
        (UNIT * 256, '0 to 256: bring them to 0 to 255'),
        (UNIT - 1, '-1 to 0: bring them'),
        (UNIT * np.nan, 'nan to nan: bring them'),
        (UNIT > 0.5, r"array of bool, .*; give image\.astype\('uint8'\) \* 255$"),
        (UNIT.astype(object), r'array of object, .* \(own_data.bits is for more\)$'),
        (UNIT.astype(complex), 'array of complex128, but'),
    ],
)
def test_other_types_have_a_way_out(image, way):
    assert 'but this recipe takes 8 bits' in wrong_type(image, image, bits=False)
    with pytest.raises(ValueError, match=way):
        raise ValueError(wrong_type(image, image, bits=False))


def test_other_types_of_a_recipe_of_more_bits():
    text = 'an array of bool, but this recipe takes whole numbers and floats'
    assert wrong_type(UNIT > 0.5, None, bits=True) == text


@pytest.mark.parametrize(
    ('given', 'name'),
    [
        (RGB / 255, 'an array of float64'),
        (RGB.astype(np.float32), 'an array of float32'),
        (RGB.astype(int), 'an array of int64'),
        (TENSOR.bfloat16(), 'a tensor of torch.bfloat16'),
        (TENSOR / 255, 'a tensor of torch.float32'),
        (Image.fromarray(RGB[..., 0]).convert('F'), 'a PIL image of mode F'),
        (Image.fromarray(RGB[..., 0]).convert('I'), 'a PIL image of mode I'),
    ],
)
def test_the_way_out_leads_to_the_image(given, name):
    text = wrong_type(as_array(given), given, bits=False)
    assert text.startswith(f'{name}, but this recipe')
    mended = as_array(eval(text.rpartition('give ')[2], dict(image=given, np=np, torch=torch)))
    assert mended.dtype == np.uint8 and (mended == (RGB if mended.ndim == 3 else RGB[..., 0])).all()
