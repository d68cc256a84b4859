# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""distributed/memory.py: against bytes that autograd really keeps, and by hand."""

import re

import pytest
import torch
from fixtures import ROOT

from mmconvnext.arch import Arch, get_arch
from mmconvnext.distributed.memory import (
    BLOCK,
    KINDS,
    Network,
    backbone_activations,
    largest_block,
    memory,
)
from mmconvnext.models import ConvNeXt

# Cascade Mask R-CNN: backbones of configs/cascade_mask_rcnn/README.md and arXiv 2301.00808 (huge);
# outside of them 58M parameters. What the heads keep was measured once: autograd's tensors of
# Cascade Mask R-CNN in float32 on an image of 800 x 1344 with 100 objects, 1.66e9 bytes.
SIZES = dict(
    T=('tiny', 28e6),
    S=('small', 50e6),
    B=('base', 88e6),
    L=('large', 197e6),
    XL=('xlarge', 349e6),
    huge=('huge', 658e6),
)
COLUMNS = (('ddp', 1), ('ddp', 8), ('zero', 8), ('zero', 64), ('fsdp', 8), ('fsdp', 64))


def kept(model, images) -> int:
    """Bytes of all tensors that autograd keeps, but for parameters; each storage once."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    seen = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(images)
    return sum(storage.nbytes() for storage in seen.values())


@pytest.mark.parametrize('checkpointing', [False, True])
@pytest.mark.parametrize(('arch', 'version'), [('tiny', 'v1'), ('tiny', 'v2'), ('base', 'v1')])
def test_activations(arch, version, checkpointing):
    model = ConvNeXt(arch=arch, version=version, kernels='plain', with_cp=checkpointing)
    real = kept(model.train(), torch.randn(1, 3, 64, 96))
    arch, grn = get_arch(arch, version), version == 'v2'
    counted = backbone_activations(arch, grn, 64, 96, False, checkpointing)
    if checkpointing:  # what one block keeps is recomputed in the backward pass
        counted -= 16 * 24 * arch.channels[0] * BLOCK[grn, False]
    assert counted == pytest.approx(real, rel=0.03)


def test_largest_block():
    model = ConvNeXt(arch='nano', version='v2')
    sizes = [sum(p.numel() for p in block.parameters()) for s in model.stages for block in s]
    assert largest_block(get_arch('nano', 'v2')) == pytest.approx(max(sizes), rel=0.01)


def test_by_hand():
    """100 parameters in the backbone, 20 outside; blocks of 8 * 2 * 2 + 49 * 2 = 130."""
    network = Network(Arch((1,), (2,)), False, 100, 20, 1000)

    def of(kind, processes, **options):
        found = memory(network, kind, processes, 3, 8, 4, amp=False, **options)
        return found.weights, found.gradients, found.optimizer, found.average

    for kind in KINDS:
        assert of(kind, 1) == (480, 480, 960, 0)
    assert of('ddp', 4, ema=True) == (480, 960, 960, 480)
    assert of('zero', 4) == (480, 960, 240, 0)
    assert of('fsdp', 4) == (120 + 4 * 280, 120 + 4 * 280, 240, 0)
    # A map of 2 x 1 with 2 channels: the image, the stem's output, the block and its output.
    activations = memory(network, 'ddp', 1, 3, 8, 4, amp=False).activations
    assert activations == 3 * (384 + 16 + 192 + 16 + 1000)
    half = memory(network, 'ddp', 1, 3, 8, 4)
    assert half.weights == 480 + 240 and half.activations == 3 * (384 + 16 + 104 + 16 + 1000)
    assert half.total == half.weights + 480 + 960 + half.activations
    with pytest.raises(AssertionError):
        of('fsdp', 4, ema=True)


def rows() -> list[str]:
    found = []
    for size, (name, parameters) in SIZES.items():
        version = 'v2' if size == 'huge' else 'v1'
        network = Network(get_arch(name, version), version == 'v2', parameters, 58e6, 1.7e9)
        cells = []
        for kind, processes in COLUMNS:
            both = [
                memory(network, kind, processes, 2, 800, 1333, checkpointing=cp).total / 1e9
                for cp in (False, True)
            ]
            cells.append('{:.1f} / {:.1f}'.format(*both))
        found.append(f'| {size} | {" | ".join(cells)} |')
    return found


def test_the_table_of_the_documentation():
    text = (ROOT / 'docs/long_runs.md').read_text()
    shown = re.findall(r'^\| (?:T|S|B|L|XL|huge) \| [\d.]+ / .*$', text, re.MULTILINE)
    assert shown == rows(), '\n'.join(rows())
