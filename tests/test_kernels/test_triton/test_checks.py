# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: sizes and strides that would cause reads out of bounds are refused."""

import pytest
import torch

X, WEIGHT, BIAS, RSTD = (
    torch.randn(size) for size in ((1, 3, 4, 8), (8, 1, 7, 7), (8,), (1, 3, 4))
)
TURNED = X.transpose(1, 2).contiguous().transpose(1, 2)  # the shape of x in other strides
H = torch.randn(6, 8)
CALLS = [
    (r'x must have the shape \(any, any, any, any\)', 'dwconv_norm', (X[0], WEIGHT, BIAS)),
    ('x must be contiguous, got the strides', 'dwconv_norm', (X.transpose(1, 2), WEIGHT, BIAS)),
    (r'weight must have the shape \(8, 1, 7, 7\), got', 'dwconv_norm', (X, WEIGHT[:1], BIAS)),
    (r'bias must have the shape \(8\), got \(1,\)', 'dwconv_norm', (X, WEIGHT, BIAS[:1])),
    ('grad must have', 'dwconv_norm_backward', (X[:, :2], X, RSTD, X, WEIGHT, X)),
    ('normalized must have', 'dwconv_norm_backward', (X, X[:, :2], RSTD, X, WEIGHT, X)),
    ('grad must be contiguous', 'dwconv_norm_backward', (TURNED, X, RSTD, X, WEIGHT, X)),
    ('normalized must be contiguous', 'dwconv_norm_backward', (X, TURNED, RSTD, X, WEIGHT, X)),
    ('residual must be contiguous', 'dwconv_norm_backward', (X, X, RSTD, X, WEIGHT, TURNED)),
    (
        'rstd must be contiguous',
        'dwconv_norm_backward',
        (X, X, RSTD.mT.contiguous().mT, X, WEIGHT, X),
    ),
    ('weight must have', 'dwconv_norm_backward', (X, X, RSTD, X, WEIGHT[:1], X)),
    ('x must have', 'dwconv_norm_backward', (X, X, RSTD, X[0], WEIGHT, X)),
    ('rstd must have', 'dwconv_norm_backward', (X, X, RSTD[:, :2], X, WEIGHT, X)),
    ('residual must have', 'dwconv_norm_backward', (X, X, RSTD, X, WEIGHT, X[:, :2])),
    ('h must be contiguous', 'gelu_squares', (H.t(), 1)),
    ('grad must have', 'gelu_backward', (H[:3], H, None)),
    ('grad must be contiguous', 'gelu_backward', (H.t().contiguous().t(), H, None)),
    ('slope must be contiguous', 'gelu_backward', (H.clone(), H, H[:3].t().contiguous().t())),
    ('h must have', 'gelu_squares', (X, 1)),
    ('slope must have', 'gelu_backward', (H.clone(), H, H[:1, :3])),
    ('6 rows cannot be divided equally among 4 samples', 'gelu_squares', (H, 4)),
]


@pytest.mark.parametrize(('match', 'name', 'arguments'), CALLS)
def test_what_does_not_fit_is_refused(kernels, match, name, arguments):
    if name == 'dwconv_norm':
        arguments = (*arguments, 1e-6, torch.float32)
    with pytest.raises(ValueError, match=match):
        getattr(kernels, name)(*arguments)
