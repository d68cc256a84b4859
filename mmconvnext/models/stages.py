# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Builds the stages of the network and the downsampling layer before each of them."""

from __future__ import annotations

from torch import nn

from ..arch import Arch
from .block import ConvNeXtBlock
from .design import Design
from .layers import Downsample, build_stem


def build_downsampling(arch: Arch, design: Design, in_channels: int) -> nn.ModuleList:
    """The stem, then a downsampling layer before every other stage."""
    stem = build_stem(design, in_channels, arch.channels[0])
    steps = zip(arch.channels, arch.channels[1:])
    return nn.ModuleList([stem, *(Downsample(before, after, design) for before, after in steps)])


def build_stages(
    arch: Arch, design: Design, *, drop_path_rate: float, **block_options
) -> nn.ModuleList:
    """All blocks, an ``nn.Sequential`` per stage.

    Args:
        arch: depths and channels of the stages.
        design: switches for ablations; the kernel size may differ between stages.
        drop_path_rate: rate of the last block; it rises linearly from 0 at the first one.
        block_options: other arguments of :class:`.block.ConvNeXtBlock`, equal for all.
    """
    rates = drop_path_rates(drop_path_rate, sum(arch.depths))
    stages = nn.ModuleList()
    designs = design.of_stages(len(arch.depths))
    for stage, (depth, width, its_design) in enumerate(zip(arch.depths, arch.channels, designs)):
        blocks = [
            ConvNeXtBlock(
                width,
                its_design,
                drop_path_rate=rates.pop(0),
                name=f'stages.{stage}.{block}',
                **block_options,
            )
            for block in range(depth)
        ]
        stages.append(nn.Sequential(*blocks))
    return stages


def drop_path_rates(last: float, blocks: int) -> list[float]:
    """A rate per block, linear from 0 to ``last``; a single block gets 0."""
    return [last * i / max(blocks - 1, 1) for i in range(blocks)]
