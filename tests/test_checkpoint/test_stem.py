# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: the stem's filters for other channel counts follow the documented rules exactly."""

import pytest
import torch
import torch.nn.functional as F

from mmconvnext.checkpoint.stem import inflate


@pytest.fixture
def filters():
    return torch.randn(5, 3, 4, 4)


def timm_rule(weight: torch.Tensor, channels: int) -> torch.Tensor:
    """timm/models/_manipulate.py, adapt_input_conv, restated channel by channel."""
    if channels == 1:
        return sum(weight[:, c : c + 1] for c in range(3))
    return torch.cat([weight[:, c % 3 : c % 3 + 1] for c in range(channels)], 1) * 3 / channels


@pytest.mark.parametrize('channels', [1, 2, 4, 6, 13])
def test_repeat_is_timms_rule(channels, filters):
    torch.testing.assert_close(inflate(filters, channels), timm_rule(filters, channels))


@pytest.mark.parametrize('channels', [1, 2, 3, 5, 8])
def test_mean_keeps_the_response_to_equal_channels(channels, filters):
    gray = torch.randn(2, 1, 8, 8)
    before = F.conv2d(gray.expand(-1, 3, -1, -1), filters, stride=4)
    inflated = inflate(filters, channels, 'mean')
    after = F.conv2d(gray.expand(-1, channels, -1, -1), inflated, stride=4)
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-5)


def test_zero_keeps_the_response_to_rgb_exactly(filters):
    image = torch.randn(2, 5, 8, 8)
    after = F.conv2d(image, inflate(filters, 5, 'zero'), stride=4)
    torch.testing.assert_close(after, F.conv2d(image[:, :3], filters, stride=4))


def test_a_multispectral_stem_is_reduced_by_the_same_rule():
    weight = torch.randn(5, 4, 2, 2)
    assert torch.equal(inflate(weight, 2), weight[:, :2] * 2)


def test_bad_rules_are_named(filters):
    with pytest.raises(ValueError, match=r"stem='copy' is unknown; choose one of \['repeat', "):
        inflate(filters, 4, 'copy')
    with pytest.raises(
        ValueError, match="'zero' keeps the file's 3 channels, but in_channels is 2"
    ):
        inflate(filters, 2, 'zero')
