# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: GRN as a factor of each channel, and its gradient through the norms, for the operators
that are composed; in float32 whatever the type of the weights.
"""

import pytest
import torch

from mmconvnext.kernels.ops.grn import respond, slope, weights_of_samples

N, R, K = 2, 5, 6


def rows() -> torch.Tensor:
    """act of (N, R, K): a channel of zeros, a sample of zeros beside others, a large one."""
    act = torch.randn(N + 1, R, K, dtype=torch.float64) * torch.tensor([1, 1e-3, 1, 40, 1, 1.0])
    act[:, :, 2] = 0
    act[1] = 0
    return act


def grn(act: torch.Tensor, gamma: torch.Tensor, eps: float) -> tuple:
    """ConvNeXt V2, section 3.2, without beta; and each channel's relative norm."""
    norm = torch.linalg.vector_norm(act, dim=1, keepdim=True)
    relative = norm / (norm.mean(-1, keepdim=True) + eps)
    return act + act * gamma * relative, relative[:, 0]


@pytest.mark.parametrize('eps', [1e-6, 0.5])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16], ids=str)
def test_factors_and_slope_are_those_of_grn(dtype, eps):
    act, gamma = rows().requires_grad_(), torch.randn(K).to(dtype)
    expected, relative = grn(act, gamma.double(), eps)
    found = respond(act.detach().float().square().sum(1), gamma, eps)
    assert found.factor.dtype == found.relative.dtype == torch.float32
    torch.testing.assert_close(found.relative.double(), relative.detach(), rtol=1e-5, atol=1e-6)
    scaled = act.detach() * found.factor[:, None]
    torch.testing.assert_close(scaled, expected.detach(), rtol=1e-5, atol=1e-6)

    grad = torch.randn_like(expected)
    (wanted,) = torch.autograd.grad(expected, act, grad)
    d_relative = (grad * act.detach()).sum(1) * gamma.double()
    tilt = slope(d_relative.float(), found, eps)
    assert tilt.isfinite().all() and not tilt[1].any() and not tilt[:, 2].any()
    through_norms = wanted - grad * (1 + gamma.double() * relative[:, None].detach())
    torch.testing.assert_close(tilt[:, None] * act.detach(), through_norms, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16], ids=str)
def test_weights_of_samples_are_rounded_once(dtype):
    weight = torch.randn(4, K).to(dtype)
    response = respond(rows().float().square().sum(1), torch.randn(K), 1e-6)
    found = weights_of_samples(weight, response)
    assert found.shape == (N + 1, 4, K)
    for sample, factor in zip(found, response.factor):
        assert torch.equal(sample, (weight.float() * factor).to(dtype))
