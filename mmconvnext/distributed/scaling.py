# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""How long a step takes on N GPUs, from a model of data-parallel training that can be read.

Not measured: it says whether the network or the batch limits a run, not to the percent. Put in your
own step time (tools/check_config.py measures it) and bandwidths.
"""

from __future__ import annotations

from dataclasses import dataclass

# A third of a step is the forward pass: a backward pass takes two products for each of the forward.
FORWARD, BACKWARD = 1 / 3, 2 / 3
GRADIENT = 4  # bytes of a gradient: DistributedDataParallel exchanges float32, under AMP too
BUCKET = 25 * 2**20  # bytes; DistributedDataParallel's default. The last one waits for the backward


@dataclass(frozen=True)
class Cluster:
    """Machines with GPUs, and bytes per second of the exchange within and between them.

    All values are our choice, for a machine of 8 A100 with a network card of 100 Gbit/s.
    """

    gpus_per_machine: int = 8
    inside: float = 230e9
    between: float = 12.5e9
    flops: float = 25e12  # of a GPU in training


@dataclass(frozen=True)
class Step:
    """Seconds of a step and of its parts; bytes that each GPU gives to the exchange."""

    compute: float
    exchange: float
    total: float
    gradients: float

    @property
    def efficiency(self) -> float:
        """The share of the step in which the GPU computes."""
        return self.compute / self.total


def compute_seconds(flops: float, images: int, cluster: Cluster) -> float:
    """Seconds of forward and backward of ``images`` with ``flops`` multiply-adds each."""
    return 2 * flops * images / FORWARD / cluster.flops


def step(compute: float, parameters: float, gpus: int, cluster: Cluster) -> Step:
    """The step of one of ``gpus`` GPUs that compute ``compute`` seconds.

    A ring all-reduce sends 2 (N - 1) / N of the gradients through the slowest link. It runs beside
    the backward pass, but for the last bucket; what does not fit is waited for.
    """
    gradients = GRADIENT * parameters
    bandwidth = cluster.inside if gpus <= cluster.gpus_per_machine else cluster.between
    exchange = 2 * (gpus - 1) / gpus * gradients / bandwidth
    last = exchange * min(1.0, BUCKET / gradients)
    waits = max(last, exchange - BACKWARD * compute)
    return Step(compute, exchange, compute + waits, gradients)
