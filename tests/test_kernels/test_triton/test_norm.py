# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: LayerNorm over few and many channels, also where the mean dwarfs the deviation."""

import sys

import pytest
import torch
import torch.nn.functional as F

from ..conftest import DEVICE


@pytest.fixture
def norm(kernels):
    return sys.modules[f'{kernels.__name__}.norm']


@pytest.mark.parametrize('channels', [1, 40, 96, 384, 2816])
def test_as_in_float64(norm, channels):
    y = torch.randn(1, 2, 3, channels, device=DEVICE)
    x, grad = y.double().requires_grad_(), torch.randn_like(y)
    wanted = F.layer_norm(x, (channels,), eps=1e-6)
    wanted.backward(grad.double())
    rstd = norm.normalize_(y, 1e-6)
    torch.testing.assert_close(y.double(), wanted, rtol=1e-5, atol=1e-5)
    exact = (x.var(-1, correction=0) + 1e-6).rsqrt()
    torch.testing.assert_close(rstd.double(), exact, rtol=1e-5, atol=0)
    if channels > 1:  # of one channel the gradient is 0 times 1 / sqrt(eps)
        found = norm.normalize_backward(grad, y, rstd).double()
        torch.testing.assert_close(found, x.grad, rtol=1e-5, atol=1e-5)


def test_a_large_mean(norm):
    y = torch.randn(1, 1, 4, 96, device=DEVICE) + 1000
    wanted = F.layer_norm(y.double(), (96,), eps=1e-6)
    norm.normalize_(y, 1e-6)
    torch.testing.assert_close(y.double(), wanted, rtol=1e-4, atol=1e-4)
