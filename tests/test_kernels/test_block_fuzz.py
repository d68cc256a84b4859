# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: whatever the input, kernels='auto' agrees with the plain path in float64.

Shapes, strides, types, autocast, ablations, hooks, frozen parts, stochastic depth, recomputation
and threads are drawn at random together. If the fast path is not taken, the result equals the
plain one, bit for bit.
A longer search: ``MMCONVNEXT_FUZZ=5000 python -m pytest tests/test_kernels/test_block_fuzz.py``.
"""

import os
import re

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from mmconvnext.kernels.ops import capability
from mmconvnext.kernels.report import PathReport
from mmconvnext.models import fusion
from mmconvnext.models.block import ConvNeXtBlock
from mmconvnext.models.design import CHOICES, Design
from mmconvnext.models.fusion import KINDS

pytestmark = pytest.mark.skipif(capability()[0] is None, reason=f'no kernels: {capability()[1]}')
EXAMPLES = int(os.environ.get('MMCONVNEXT_FUZZ', '0'))
# Relative to the largest value. float32: sums of some hundred products, and a second path through
# GRN or a norm of nearly equal channels; bfloat16: 8 bits, rounded at each of ten steps.
BOUNDS = {torch.float32: 1e-4, torch.bfloat16: 8e-2}

LAYOUTS = {
    'contiguous': lambda x: x,
    'channels last': lambda x: x.contiguous(memory_format=torch.channels_last),
    'turned': lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    'cut out': lambda x: nn.functional.pad(x, (1, 2, 2, 1))[:, :, 2:-1, 1:-2],
    'every second': lambda x: x.repeat_interleave(2, 3)[..., ::2],
    'channels first of all': lambda x: x.permute(1, 0, 2, 3).contiguous().permute(1, 0, 2, 3),
}
HOOKS = {
    'forward': lambda module: module.register_forward_hook(lambda _, args, out: out * 1.5),
    'pre': lambda module: module.register_forward_pre_hook(lambda _, args: (args[0] * 1.5,)),
    'backward': lambda module: module.register_full_backward_hook(
        lambda _, grads, __: tuple(None if g is None else g * 1.5 for g in grads)
    ),
}


@st.composite
def designs(draw) -> Design:
    """Mostly the paper's; sometimes one ablation."""
    values = {
        'expansion_ratio': draw(st.sampled_from([4, 4, 4, 1, 2.5, 0.5])),
        'norm_eps': draw(st.sampled_from([None, None, 1e-5, 1e-2])),
    }
    other = draw(
        st.sampled_from([None] * 8 + ['kernel_size', 'group_width', 'spatial_first', *CHOICES])
    )
    if other in CHOICES:
        values[other] = draw(st.sampled_from(CHOICES[other]))
    elif other:
        values[other] = {'kernel_size': 3, 'group_width': None, 'spatial_first': False}[other]
    return Design(**values)


CASES = st.fixed_dictionaries(
    dict(
        # Not 1 or 2: the norm of so few channels is just a sign, and depends on rounding.
        channels=st.sampled_from([4, 7, 8, 16, 17, 24, 40, 48, 50, 96]),
        batch=st.integers(0, 4),
        height=st.integers(1, 14),
        width=st.integers(1, 19),
        design=designs(),
        grn=st.booleans(),
        layer_scale=st.sampled_from([0.0, 1e-6, 1e-2, 1.0]),
        rate=st.sampled_from([0.0, 0.0, 0.3, 0.9]),
        layout=st.sampled_from(sorted(LAYOUTS)),
        dtype=st.sampled_from([torch.float32, torch.float32, torch.bfloat16]),
        autocast=st.booleans(),
        mode=st.sampled_from(['train', 'train', 'eval with gradients', 'eval', 'fuse']),
        with_cp=st.booleans(),
        hook=st.one_of(
            st.none(),
            st.none(),
            st.tuples(st.sampled_from(sorted(HOOKS)), st.sampled_from(sorted(KINDS))),
        ),
        frozen=st.sets(st.sampled_from(['dwconv', 'norm', 'pwconv1', 'pwconv2']), max_size=3),
        in_place=st.booleans(),
        threads=st.integers(1, 3),
        seed=st.integers(0, 2**16),
    )
)


def build(case: dict, kernels: str) -> ConvNeXtBlock:
    torch.manual_seed(case['seed'])
    block = ConvNeXtBlock(
        case['channels'],
        case['design'],
        grn=case['grn'],
        layer_scale_init_value=case['layer_scale'],
        drop_path_rate=case['rate'],
        with_cp=case['with_cp'],
        kernels=kernels,
        report=PathReport(),
    )
    with torch.no_grad():
        for name, parameter in block.named_parameters():
            noise = torch.randn_like(parameter)
            if parameter.ndim > 1:
                parameter.copy_(noise / parameter[0].numel() ** 0.5)
            elif name != 'gamma':
                parameter.add_(noise * 0.2)
    for name in case['frozen']:
        getattr(block, name).requires_grad_(False)
    if case['hook'] and getattr(block, case['hook'][1]) is not None:
        HOOKS[case['hook'][0]](getattr(block, case['hook'][1]))
    return block


def run(block: ConvNeXtBlock, x: torch.Tensor, case: dict, autocast: bool) -> list[torch.Tensor]:
    """Output and gradients, or output alone."""
    gradients = case['mode'] in ('train', 'eval with gradients')
    block.train(case['mode'] == 'train')
    if case['mode'] == 'fuse':
        block.fuse()
    leaf = x.detach().requires_grad_(gradients)
    torch.manual_seed(case['seed'] + 1)
    with torch.set_grad_enabled(gradients), torch.autocast('cpu', torch.bfloat16, enabled=autocast):
        out = block(leaf)
    if not gradients:
        return [out]
    grad = torch.randn(out.shape, dtype=torch.float64).to(out.dtype)
    result = out.detach().clone()
    (out.mul_(2) if case['in_place'] else out * 2).backward(grad)
    return [result, leaf.grad, *(p.grad for p in block.parameters() if p.requires_grad)]


def check(case: dict) -> None:
    torch.set_num_threads(case['threads'])
    torch.manual_seed(case['seed'] + 2)
    x = torch.randn(case['batch'], case['channels'], case['height'], case['width'])
    x = LAYOUTS[case['layout']](x.to(case['dtype']))
    blocks = [build(case, kernels) for kernels in ('plain', 'auto', 'plain')]
    exact = blocks.pop().double()
    autocast = case['autocast']
    if case['dtype'] == torch.bfloat16 and not autocast:
        for block in blocks:
            block.bfloat16()
        exact.load_state_dict(blocks[0].state_dict())  # the same rounded weights
    before = x.clone()
    try:
        plain = run(blocks[0], x, case, autocast)
    except (RuntimeError, ValueError) as error:  # a batch norm of one value, say
        with pytest.raises(type(error), match=re.escape(str(error)[:40])):
            run(blocks[1], x, case, autocast)
        return
    auto = run(blocks[1], x, case, autocast)
    assert torch.equal(x, before), 'the input was written to'
    fast = not blocks[1].report.why['the block']
    hooked = case['hook'] and getattr(blocks[1], case['hook'][1]) is not None
    assert not (fast and (hooked or case['design'].unfusible))
    expected = run(exact, x.double(), case, False)
    half = autocast or case['dtype'] == torch.bfloat16
    bound = BOUNDS[torch.bfloat16 if half else torch.float32]
    assert len(plain) == len(auto) == len(expected)
    for i, (ours, theirs, wanted) in enumerate(zip(auto, plain, expected)):
        assert (ours is None) == (theirs is None), i
        if ours is None:
            continue
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype, i
        if not fast:
            assert torch.equal(ours.nan_to_num(), theirs.nan_to_num()), i
            continue
        if not ours.numel():
            continue
        largest = wanted.abs().max().clamp(min=1e-12)
        error = (ours.double() - wanted).abs().max() / largest
        other = (theirs.double() - wanted).abs().max() / largest
        assert error <= max(bound, 2 * other), (i, error.item(), other.item())


@pytest.fixture(autouse=True)
def _threads(monkeypatch):
    monkeypatch.setattr(fusion, 'slower', lambda *_: '')  # fast wherever possible
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@settings(
    max_examples=EXAMPLES or 80,
    derandomize=not EXAMPLES,  # the few cases in the suite are the same each time
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(CASES)
def test_auto_agrees_with_plain_in_float64(case):
    check(case)
