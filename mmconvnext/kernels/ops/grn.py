# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""GRN as one factor per sample and hidden channel, for the composite ``mlp``.

ConvNeXt V2, section 3.2: ``y = act * (1 + gamma * relative) + beta``, where relative is a channel's
norm over the pixels divided by the mean norm of all channels. The factor of act is folded into each
sample's own copy of pwconv2, so the hidden map is not read again.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Response(NamedTuple):
    """GRN's factors of one batch, float32."""

    factor: Tensor  # (N, K), multiplies act
    relative: Tensor  # (N, K), norm / (mean + eps)
    norm: Tensor  # (N, K), over a sample's pixels
    mean: Tensor  # (N, 1), of the norms


def respond(squares_NK: Tensor, gamma: Tensor, eps: float) -> Response:
    """The factors, from each sample's sums of act squared."""
    norm = squares_NK.sqrt()
    mean = norm.mean(dim=1, keepdim=True)
    relative = norm / (mean + eps)
    return Response(1 + gamma.float() * relative, relative, norm, mean)


def slope(d_relative_NK: Tensor, response: Response, eps: float) -> Tensor:
    """Return s (N, K) such that ``s * act`` is the gradient of act through the norms."""
    norm, total = response.norm, response.mean + eps
    share = (d_relative_NK * norm).sum(1, keepdim=True) / (total * total * norm.shape[1])
    d_norm = d_relative_NK / total - share
    return torch.where(norm > 0, d_norm / norm, 0)  # if the norm is 0, act is 0 everywhere


def weights_of_samples(weight2_CK: Tensor, response: Response) -> Tensor:
    """Each sample's copy of the second layer's weight, (N, C, K)."""
    return (weight2_CK.float() * response.factor[:, None]).to(weight2_CK.dtype)
