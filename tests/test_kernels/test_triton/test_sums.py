# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: parts are summed over the middle dimension, in one order; no parts give zeros."""

import sys

import pytest
import torch

from ..conftest import DEVICE


@pytest.fixture
def sum_parts(kernels):
    return sys.modules[f'{kernels.__name__}.sums'].sum_parts


@pytest.mark.parametrize('shape', [(1, 1, 1), (3, 70, 33), (2, 32, 64), (2, 0, 5)], ids=str)
def test_sums(sum_parts, shape):
    parts = torch.randn(shape, device=DEVICE)
    found, wanted = sum_parts(parts), parts.double().sum(1)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-5)


def test_sums_are_float32_whatever_torchs_default_is(sum_parts):
    parts = torch.randn(2, 5, 7, device=DEVICE)
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        assert sum_parts(parts).dtype == torch.float32
    finally:
        torch.set_default_dtype(before)


def test_taps_are_turned_to_channels(sum_parts):
    parts = torch.randn(1, 40, 50, 7, device=DEVICE)
    found, wanted = sum_parts(parts.view(1, 40, 350), taps=49)[0].double(), parts.double().sum(1)[0]
    torch.testing.assert_close(found[:343].view(7, 49), wanted[:49].t(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found[343:], wanted[49], rtol=1e-5, atol=1e-5)
