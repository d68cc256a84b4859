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


@pytest.mark.parametrize(
    ('rule', 'channels', 'expected'),
    [
        ('repeat', 1, [1110]),
        ('repeat', 2, [15, 150]),
        ('repeat', 4, [7.5, 75, 750, 7.5]),
        ('repeat', 6, [5, 50, 500, 5, 50, 500]),
        ('mean', 1, [1110]),
        ('mean', 2, [555, 555]),
        ('mean', 4, [277.5] * 4),
        ('zero', 3, [10, 100, 1000]),
        ('zero', 4, [10, 100, 1000, 0]),
        ('zero', 6, [10, 100, 1000, 0, 0, 0]),
    ],
)
def test_values_for_filters_that_differ(rule, channels, expected):
    weight = torch.tensor([10.0, 100, 1000]).reshape(1, 3, 1, 1) * torch.ones(2, 1, 4, 3)
    weight[1] *= -1
    found = inflate(weight, channels, rule)
    assert found.shape == (2, channels, 4, 3)
    assert found[0, :, 0, 0].tolist() == found[0, :, 3, 2].tolist() == expected
    assert torch.equal(found[1], -found[0])
    assert rule != 'repeat' or torch.equal(found, inflate(weight, channels))  # the default
    assert weight[0, :, 0, 0].tolist() == [10, 100, 1000]  # unchanged


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
