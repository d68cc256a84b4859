# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: one line says which blocks run plain and why; it is logged again if that changes."""

import copy

import pytest
import torch
from torch import nn

from mmconvnext import ConvNeXt
from mmconvnext.kernels import report as module
from mmconvnext.kernels.ops import capability
from mmconvnext.kernels.report import PathReport
from mmconvnext.models import fusion

compiled = pytest.mark.skipif(capability()[0] is None, reason=f'no kernels: {capability()[1]}')
IMAGE = torch.zeros(1, 3, 32, 32)


@pytest.fixture(autouse=True)
def _fast_wherever_possible(monkeypatch):
    """Ignore what was measured on a processor like this one."""
    monkeypatch.setattr(fusion, 'slower', lambda *_: '')


def lines(records) -> list[str]:
    return [r.getMessage() for r in records if r.getMessage().startswith('ConvNeXt on')]


@compiled
def test_each_state_is_told_once(tiny_arch, log_records):
    model = ConvNeXt(tiny_arch)
    fast = f'fast kernels ({capability()[0]})'
    for _ in range(2):
        model(IMAGE)
    handle = model.stages[2][1].pwconv1.register_forward_hook(lambda *_: None)
    model.stages[0][0].act = nn.ReLU()
    for _ in range(2):
        model(IMAGE)
    handle.remove()
    model.stages[0][0].act = nn.GELU()
    model(IMAGE)
    relu = 'act is a torch.nn.modules.activation.ReLU, not a torch.nn.modules.activation.GELU'
    assert lines(log_records) == [
        f'ConvNeXt on cpu: {fast} in all blocks',
        f'ConvNeXt on cpu: {fast} in 3 blocks; plain PyTorch ({relu}) in stages.0.0; '
        'plain PyTorch (pwconv1 has hooks) in stages.2.1',
    ]


# What each block runs on, in order; the line.
TABLE = [
    ({'a': '', 'b': ''}, 'cpu', 'on cpu: fast kernels (AVX2) in all blocks'),
    ({'a': ''}, 'cuda', 'on cuda: fast kernels (Triton) in all blocks'),
    ({'a': 'x', 'b': 'x'}, 'cuda', 'on cuda: plain PyTorch (x) in all blocks'),
    (
        {'c': 'y', 'a': '', 'd': 'x', 'b': 'y', 'e': ''},
        'cpu',
        'on cpu: fast kernels (AVX2) in 2 blocks; plain PyTorch (x) in d; '
        'plain PyTorch (y) in c, b',
    ),
    ({'c': 'y', 'a': 'x'}, 'cpu', 'on cpu: plain PyTorch (x) in a; plain PyTorch (y) in c'),
]


@pytest.mark.parametrize(('why', 'device', 'told'), TABLE)
def test_lines(why, device, told, monkeypatch, log_records):
    monkeypatch.setattr(module, 'capability', lambda: ('AVX2', ''))
    report = PathReport()
    for block in why:
        report.note(block, 'not yet known')
    for block, reason in why.items():
        report.note(block, reason)
    assert report.line(device) == f'ConvNeXt {told}'
    for _ in range(2):
        report.tell(device)
    assert lines(log_records) == [f'ConvNeXt {told}']
    assert [record.levelname for record in log_records] == ['INFO']
    report.note('b', 'z')
    report.tell(device)
    report.note('b', why.get('b', 'z'))
    report.tell(device)  # a line that was told before, if b was there
    assert len(set(lines(log_records))) == len(lines(log_records)) == 2


def test_what_was_asked_for_is_told(tiny_arch, log_records):
    ConvNeXt(tiny_arch, kernels='plain')(IMAGE)
    assert lines(log_records) == ["ConvNeXt on cpu: plain PyTorch (kernels='plain') in all blocks"]


def test_a_copy_tells_for_itself(tiny_arch, log_records):
    model = ConvNeXt(tiny_arch, kernels='plain')
    other = copy.deepcopy(model)
    model(IMAGE)
    other(IMAGE)
    assert len(lines(log_records)) == 2


def test_the_meta_device_is_silent(log_records):
    report = PathReport()
    report.note('stages.0.0', 'there are no kernels for meta')
    report.tell('meta')
    assert not lines(log_records)
