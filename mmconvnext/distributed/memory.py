# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Bytes that each of N processes needs in training, by counting.

Not measured on a GPU: it says what divides and what does not, not to the percent. Allocators and
libraries (cuDNN's workspaces, NCCL) take one to three GB more.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..arch import Arch

FULL = 4  # bytes of a float32 value: weights, gradients, AdamW's two averages, EMA
HALF = 2
STEM = 4  # the stem's patches; each later stage halves height and width
# What a block keeps for its backward pass on the plain path, in bytes for each channel of each
# pixel: the inputs of dwconv, norm, pwconv1, GELU and pwconv2, the last two with four times the
# channels. Layer scale (V1) keeps its input, GRN (V2) its own. In float32 4 + 4 + 4 + 16 + 16, and
# 4 or 16. Under AMP half of it, but the norm's input, which autocast turns to float32.
BLOCK = {(False, False): 48, (True, False): 60, (False, True): 26, (True, True): 32}  # GRN, AMP
KINDS = ('ddp', 'zero', 'fsdp')


@dataclass(frozen=True)
class Network:
    """A backbone with its heads.

    Args:
        heads: parameters outside the backbone.
        head_activations: bytes that the heads keep for each image.
    """

    arch: Arch
    grn: bool
    backbone: float
    heads: float
    head_activations: float


@dataclass(frozen=True)
class Memory:
    """Bytes of one process; ``optimizer`` are AdamW's two averages."""

    weights: float
    gradients: float
    optimizer: float
    average: float
    activations: float

    @property
    def total(self) -> float:
        return sum(vars(self).values())


def memory(
    network: Network,
    kind: str,
    processes: int,
    images: int,
    height: int,
    width: int,
    *,
    amp: bool = True,
    checkpointing: bool = False,
    ema: bool = False,
) -> Memory:
    """What a process needs, as if all activations and all gradients were there at a time.

    They are when a step accumulates; otherwise this is an upper bound. DistributedDataParallel
    keeps the gradients a second time, in the buckets that it exchanges, unless the config has
    ``gradient_as_bucket_view=True``. FSDP keeps shards, and whole at the same time two blocks (one
    computes, the next is gathered) and all that is outside of the blocks.

    Args:
        kind: 'ddp', 'zero' (ZeroRedundancyOptimizer) or 'fsdp' (FullyShardedModel).
        processes: among how many it is divided; one process exchanges nothing.
        images: of each process, of ``height`` x ``width`` pixels.
        checkpointing: ``with_cp=True`` of the backbone.
    """
    assert kind in KINDS and not (ema and kind == 'fsdp'), (kind, ema)
    parameters, shares = network.backbone + network.heads, processes
    whole = 0.0  # parameters that are whole at a time, in FSDP
    if kind == 'ddp' or processes == 1:
        shares = 1
    elif kind == 'fsdp':
        whole = network.heads + 2 * largest_block(network.arch)
    divided = shares if kind == 'fsdp' else 1
    buckets = processes > 1 and kind != 'fsdp'
    # Autocast keeps the weights in half precision too.
    casts = HALF * (whole if divided > 1 else parameters) * amp
    kept = network.head_activations + backbone_activations(
        network.arch, network.grn, height, width, amp, checkpointing
    )
    return Memory(
        weights=FULL * (parameters / divided + whole) + casts,
        gradients=FULL * (parameters * (1 + buckets) / divided + whole),
        optimizer=2 * FULL * parameters / shares,
        average=FULL * parameters * ema,
        activations=images * kept,
    )


def backbone_activations(
    arch: Arch, grn: bool, height: int, width: int, amp: bool, checkpointing: bool
) -> float:
    """Bytes that a backbone keeps for one image.

    With checkpointing each block keeps its float32 input, and one block at a time the rest.
    """
    each = BLOCK[grn, amp]
    values = height * width / STEM**2 * arch.channels[0]
    # The image, the stem's output before its norm.
    kept, recomputed = FULL * (3 * height * width + values), 0.0
    for stage, (depth, channels) in enumerate(zip(arch.depths, arch.channels)):
        values = height * width / (STEM * 2**stage) ** 2 * channels
        kept += values * depth * (FULL if checkpointing else each)
        # The stage's output, and what the next downsampling's norm returns.
        kept += FULL * values * (1 if stage == len(arch.depths) - 1 else 2)
        recomputed = max(recomputed, values * each)
    return kept + recomputed * checkpointing


def largest_block(arch: Arch) -> float:
    """Parameters of the last stage's blocks, but for vectors: two products and 7 x 7 weights."""
    channels = arch.channels[-1]
    return 8 * channels**2 + 49 * channels
