# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""distributed/scaling.py: the stated model, and its table in docs/long_runs.md."""

import re

import pytest
from fixtures import ROOT

from mmconvnext.distributed.scaling import Cluster, compute_seconds, step

GPUS = (1, 8, 64, 512)
# Cascade Mask R-CNN: parameters and multiply-adds of configs/cascade_mask_rcnn/README.md. Huge:
# V2's backbone (657.5M; 115G at 224 pixels, arXiv 2301.00808) with XL's heads (58M; 1898G less
# 60.9G at 224 pixels); 1280 x 800 pixels are 20.4 times 224 x 224.
MODELS = dict(
    T=(86e6, 741e9),
    S=(108e6, 827e9),
    B=(146e6, 964e9),
    L=(255e6, 1354e9),
    XL=(407e6, 1898e9),
    huge=(716e6, 115e9 * 20.4 + 1898e9 - 60.9e9 * 20.4),
)


def test_by_hand():
    cluster = Cluster(gpus_per_machine=2, inside=8e9, between=1e9, flops=6e12)
    # 1e12 multiply-adds are 2e12 operations; three times that for forward and backward.
    assert compute_seconds(1e12, 2, cluster) == pytest.approx(2)
    assert step(2, 1e9, 1, cluster).total == 2
    two = step(2, 1e9, 2, cluster)  # 2 * 1/2 * 4 GB at 8 GB/s, hidden but for 25 MiB
    assert (two.gradients, two.exchange) == (4e9, 0.5)
    assert two.total == pytest.approx(2 + 25 * 2**20 / 8e9)
    four = step(2, 1e9, 4, cluster)  # 2 * 3/4 * 4 GB at 1 GB/s, of which 4/3 s are hidden
    assert four.exchange == 6 and four.total == pytest.approx(2 + 6 - 4 / 3)
    assert four.efficiency == pytest.approx(2 / (8 - 4 / 3))


def test_a_model_smaller_than_a_bucket_hides_nothing():
    assert step(1, 1e6, 2, Cluster()).total == 1 + 4e6 / 230e9


def rows() -> list[str]:
    cluster, found = Cluster(), []
    for name, (parameters, flops) in MODELS.items():
        steps = [step(compute_seconds(flops, 2, cluster), parameters, n, cluster) for n in GPUS]
        cells = [f'{s.total:.2f} ({s.efficiency:.0%})' for s in steps]
        exchange = steps[-1].exchange
        found.append(
            f'| {name} | {steps[0].gradients / 1e9:.2f} GB | {exchange:.2f} s | '
            f'{" | ".join(cells)} |'
        )
    return found


def test_the_table_of_the_documentation():
    text = (ROOT / 'docs/long_runs.md').read_text()
    shown = re.findall(r'^\| (?:T|S|B|L|XL|huge) \|.*GB.*$', text, re.MULTILINE)
    assert shown == rows(), '\n'.join(rows())
