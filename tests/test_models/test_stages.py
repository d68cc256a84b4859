# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: stochastic depth rises linearly over all blocks; each stage has its own kernel size."""

import pytest

from mmconvnext.arch import get_arch
from mmconvnext.models.design import Design
from mmconvnext.models.stages import build_downsampling, build_stages, drop_path_rates

ARCH = get_arch(dict(depths=[1, 2], channels=[8, 16]), 'v1')


@pytest.mark.parametrize(
    ('last', 'blocks', 'rates'),
    [(0.4, 5, [0, 0.1, 0.2, 0.3, 0.4]), (0.4, 2, [0, 0.4]), (0.4, 1, [0]), (0, 2, [0, 0])],
)
def test_rates_rise_linearly_from_zero(last, blocks, rates):
    assert drop_path_rates(last, blocks) == pytest.approx(rates)


def test_blocks_are_numbered_and_get_their_stages_design():
    stages = build_stages(ARCH, Design(kernel_size=(3, 5)), drop_path_rate=0.2, with_cp=True)
    blocks = [block for stage in stages for block in stage]
    assert [b.name for b in blocks] == ['stages.0.0', 'stages.1.0', 'stages.1.1']
    assert [b.dwconv.kernel_size for b in blocks] == [(3, 3), (5, 5), (5, 5)]
    assert [b.drop_path.rate for b in blocks] == pytest.approx([0, 0.1, 0.2])
    assert [b.pwconv1.in_features for b in blocks] == [8, 16, 16]
    assert all(b.with_cp for b in blocks)


def test_a_downsampling_layer_stands_before_every_stage():
    stem, between = build_downsampling(ARCH, Design(), in_channels=5)
    assert (stem[0].in_channels, stem[0].out_channels) == (5, 8)
    assert (between[1].in_channels, between[1].out_channels) == (8, 16)
