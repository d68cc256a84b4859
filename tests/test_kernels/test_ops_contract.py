# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: the operators pass torch's ``opcheck``, and refuse calls that would need a derivative,
which they do not have.
"""

import pytest
import torch
from torch.autograd import forward_ad

from mmconvnext.kernels.ops import OF_MAPS, capability
from mmconvnext.kernels.ops.fold import fold_composite

OPS = torch.ops.mmconvnext
pytestmark = pytest.mark.skipif(capability()[0] is None, reason=f'no kernels: {capability()[1]}')
C, K = 8, 12


def calls(images: int, dtype: torch.dtype, grn: bool, requires_grad: bool = False) -> dict:
    """Arguments for each operator: maps of 5 x 6 pixels, for several images or none."""
    x, grad = torch.randn(images, 5, 6, C).to(dtype), torch.randn(images, 5, 6, C).to(dtype)
    dw_weight, dw_bias = torch.randn(C, 1, 7, 7), torch.randn(C)
    norm, layer1 = (torch.randn(C), torch.randn(C)), (torch.randn(K, C), torch.randn(K))
    layer2, gamma = (torch.randn(C, K), torch.randn(C)), None if grn else torch.randn(C)
    grn_gamma, grn_beta = (torch.randn(K), torch.randn(K)) if grn else (None, None)
    h, slope = torch.randn(images * 30, K).to(dtype), torch.randn(images, K) if grn else None
    vector, square = torch.randn(K), torch.randn(K, K)

    normalized, rstd = OPS.dwconv_norm(x, dw_weight, dw_bias, 1e-6, dtype)
    folding = (*norm, *layer1, *layer2, gamma, grn_beta, dtype)
    forward = (normalized.view(-1, C), x.view(-1, C), *OPS.fold(*folding), grn_gamma, 1e-6, images)
    _, hidden, squares = OPS.mlp(*forward, True)
    layers = (*norm, *layer1, *layer2, gamma, grn_gamma, grn_beta)
    found = {
        'dwconv_norm': (x, dw_weight, dw_bias, 1e-6, dtype),
        'dwconv_norm_backward': (grad, normalized, rstd, x, dw_weight, x),
        'gelu_backward': (torch.randn_like(h), h, slope if images else None),
        'gelu_squares': (h, images),
        'scale_linear': (square, vector, vector, None, vector, dtype),
        'scale_linear_backward': (square, vector, square, vector, None, vector, None),
        'fold': folding,
        'mlp': (*forward, True),
        'mlp_backward': (
            *(grad.view(-1, C), normalized.view(-1, C), hidden, squares, *layers),
            *(1.0, 1e-6, images, True, grn),
        ),
    }
    assert set(found) == set(OF_MAPS)

    def own(value):
        if not isinstance(value, torch.Tensor):
            return value
        return value.detach().clone().requires_grad_(requires_grad)

    return {name: [own(value) for value in arguments] for name, arguments in found.items()}


@pytest.mark.parametrize(
    ('images', 'dtype', 'grn', 'requires_grad'),
    [
        *((2, torch.float32, True, False), (2, torch.bfloat16, False, True)),
        (0, torch.float32, True, False),
    ],
    ids=['float32', 'bfloat16', 'no images'],
)
@pytest.mark.parametrize('name', OF_MAPS)
def test_opcheck(name, requires_grad, images, dtype, grn):
    """Parameters that require grad arrive in no-grad mode: the block is an autograd.Function."""
    arguments = calls(images, dtype, grn, requires_grad)[name]
    with torch.set_grad_enabled(not requires_grad):
        torch.library.opcheck(getattr(OPS, name).default, arguments)


@pytest.mark.parametrize('name', OF_MAPS)
def test_no_gradient_is_wrong_in_silence(name):
    refused = pytest.raises(RuntimeError, match=f'mmconvnext::{name} has no derivative of its own')
    arguments = calls(2, torch.float32, True, requires_grad=True)[name]
    with refused:
        getattr(OPS, name)(*arguments)
    arguments = calls(2, torch.float32, True)[name]
    with refused, forward_ad.dual_level():
        arguments[0] = forward_ad.make_dual(arguments[0], torch.ones_like(arguments[0]))
        getattr(OPS, name)(*arguments)


@pytest.mark.parametrize('fold', [OPS.fold, fold_composite], ids=['operator', 'composed'])
def test_fold_of_nothing_shares_no_memory_with_its_inputs(fold):
    arguments = calls(1, torch.float32, False)['fold']
    arguments[6] = arguments[7] = None  # neither scale nor shift: the second layer as it is
    given = {value.data_ptr() for value in arguments if isinstance(value, torch.Tensor)}
    assert not given & {value.data_ptr() for value in fold(*arguments)}


def test_a_fingerprint_is_of_values_and_cannot_be_traced():
    with pytest.raises(RuntimeError, match='fingerprint'), torch.device('meta'):
        OPS.fingerprint([torch.randn(3)])
