# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: one bad value, dtype or lost layer is enough to refuse weights, and is named."""

import re

import pytest
import torch
from torch import Tensor

from mmconvnext import ConvNeXt
from mmconvnext.checkpoint.errors import CheckpointMismatch
from mmconvnext.checkpoint.formats import from_native
from mmconvnext.checkpoint.load import load_pretrained
from mmconvnext.checkpoint.tables import FORMATS

ARCH = dict(depths=[1, 2, 1, 1], channels=[8, 12, 16, 24])
OWN = ConvNeXt(ARCH).state_dict()
NAME = 'stages.1.1.pwconv2.weight'
NAN, INF = float('nan'), float('inf')
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def weights(options: dict | None = None) -> dict[str, Tensor]:
    """Those of a classifier, without norm0 to norm3, so that they are never taken unseen."""
    own = ConvNeXt(ARCH, **options).state_dict() if options else OWN
    return {k: torch.randn(v.shape).to(v) for k, v in own.items() if not re.match('norm[0-3]', k)}


def with_value(tensor: Tensor, value: float, place: int, dtype: torch.dtype) -> Tensor:
    tensor = tensor.to(dtype).clone()
    tensor.view(-1)[place] = value
    return tensor


@pytest.mark.parametrize('dtype', FLOATS, ids=str)
@pytest.mark.parametrize(('value', 'place'), [(NAN, 0), (NAN, -1), (INF, -1), (-INF, 5)])
def test_one_value_that_is_no_number_is_enough(value, place, dtype):
    given = weights()
    given[NAME] = with_value(given[NAME], value, place, dtype)
    backbone = ConvNeXt(ARCH)
    fault = f'weights for the backbone: {re.escape(NAME)}: NaN or infinite values\n'
    with pytest.raises(CheckpointMismatch, match=fault):
        backbone.load_state_dict(given)
    given[NAME] = given[NAME].nan_to_num(1, 2, 3)
    backbone.load_state_dict(given)
    assert torch.equal(backbone.state_dict()[NAME], given[NAME].float())


@pytest.mark.parametrize('value', [NAN, -INF])
def test_buffers_are_looked_at_too(value):
    options = dict(design=dict(norm='BN'))
    given, name = weights(options), 'stages.1.0.norm.running_var'
    given[name] = with_value(given[name], value, -1, torch.float32)
    with pytest.raises(CheckpointMismatch, match=f'{name}: NaN or infinite'):
        ConvNeXt(ARCH, **options).load_state_dict(given)
    given[name] = torch.ones(12, dtype=torch.float64)
    given['stages.1.0.norm.num_batches_tracked'] = torch.tensor(7, dtype=torch.int32)
    backbone = ConvNeXt(ARCH, **options)
    backbone.load_state_dict(given)
    assert backbone.stages[1][0].norm.num_batches_tracked == 7


@pytest.mark.parametrize(
    ('kind', 'given', 'value', 'fits'),
    [
        (torch.float16, torch.float32, 65504, True),
        (torch.float16, torch.float32, 65520, False),  # rounds to infinity
        (torch.float16, torch.bfloat16, -70000, False),
        (torch.bfloat16, torch.float32, 70000, True),
        (torch.float32, torch.float64, 3e38, True),
        (torch.float32, torch.float64, -1e300, False),
        (torch.float64, torch.float64, 1e300, True),
    ],
)
def test_range_is_that_of_the_backbone(kind, given, value, fits):
    content, backbone = weights(), ConvNeXt(ARCH).to(kind)
    content[NAME] = with_value(content[NAME], value, -1, given)
    if fits:
        backbone.load_state_dict(content)
        assert backbone.state_dict()[NAME].flatten()[-1] == content[NAME].flatten()[-1].to(kind)
    else:
        with pytest.raises(
            CheckpointMismatch, match=f'{re.escape(NAME)}: values out of range for {kind}'
        ):
            backbone.load_state_dict(content)


@pytest.mark.parametrize('dtype', [torch.int8, torch.int64, torch.bool, torch.complex64], ids=str)
def test_other_dtypes_are_refused_and_never_loaded(dtype, tmp_path):
    given = weights()
    given[NAME] = torch.ones(12, 48).to(dtype)
    fault = f'{NAME}: {dtype}; weights must be one of float16, bfloat16, float32, float64\n'
    backbone = ConvNeXt(ARCH)
    with pytest.raises(CheckpointMismatch, match=re.escape(fault)):
        backbone.load_state_dict(given)
    torch.save(given, tmp_path / 'w.pth')
    before = backbone.state_dict()[NAME].clone()
    line = load_pretrained(backbone, tmp_path / 'w.pth', strict=False)
    assert f'; dropped: {NAME.removesuffix(".weight")}; NOT STRICT: ' in line
    assert torch.equal(backbone.state_dict()[NAME], before)


def test_faults_of_a_kind_are_listed_together():
    given = weights()
    for name in ('stages.0.0.gamma', 'stages.3.0.gamma'):
        given[name] = given[name] * NAN
    given['stages.2.0.gamma'] = torch.ones(16, dtype=torch.uint8)
    with pytest.raises(
        CheckpointMismatch,
        match=r': stages\.2\.0\.gamma: torch\.uint8; weights .*; '
        r'stages\.0\.0\.gamma, stages\.3\.0\.gamma: NaN or infinite values\n',
    ):
        ConvNeXt(ARCH).load_state_dict(given)


def test_what_is_loaded_leniently_and_what_not_is_said(tmp_path):
    """Unknown names, other shapes and names of other networks; the rest is loaded."""
    given = weights()
    given['surplus.weight'] = torch.ones(3)
    given['stages.2.0.norm.extra'] = torch.ones(3)
    given['stages.3.0.dwconv.weight'] = torch.ones(20, 1, 7, 7)
    given['stages.3.4.norm.bias'] = torch.ones(24)
    given['head.weight'] = torch.ones(5, 24)
    del given['stages.0.0.dwconv.bias']
    torch.save(given, tmp_path / 'w.pth')
    backbone = ConvNeXt(ARCH)
    line = load_pretrained(backbone, tmp_path / 'w.pth', strict=False)
    count = len(OWN)
    assert line.startswith(
        f'Loaded {count - 10} of {count} tensors from {tmp_path / "w.pth"} (meta names); '
        'missing (left at initialization): norm0, norm1, norm2, norm3, stages.0.0.dwconv, '
        'stages.3.0.dwconv; dropped: head, stages.2.0.norm.extra, stages.3.0.dwconv, '
        'stages.3.4.norm, surplus; NOT STRICT: '
    )
    for name, value in backbone.state_dict().items():
        if 'norm' != name[:4] and name not in (
            'stages.0.0.dwconv.bias',
            'stages.3.0.dwconv.weight',
        ):
            assert torch.equal(value, given[name]), name


@pytest.mark.parametrize('strict', [True, False])
def test_norm3_of_a_dense_model_stays_when_another_tensor_is_lacking(strict, tmp_path):
    """mmpretrain's names: its owner is decided by the norms alone."""
    backbone = ConvNeXt(ARCH, out_indices=[3])
    given = {k: torch.randn(v.shape) for k, v in backbone.state_dict().items()}
    if not strict:
        del given['stages.0.0.gamma']
    content = {f'backbone.{k}': v for k, v in from_native(given, FORMATS['mmpretrain']).items()}
    torch.save({'state_dict': content}, tmp_path / 'w.pth')
    load_pretrained(backbone, tmp_path / 'w.pth', strict=strict)
    assert torch.equal(backbone.norm3.weight, given['norm3.weight'])


@pytest.mark.parametrize('name', ['stages.0.0.grn.gamma', 'stages.3.0.grn.beta'])
@pytest.mark.parametrize('row', ['native', 'meta'])
def test_one_value_of_the_grn_shows_that_it_was_trained(row, name, tmp_path):
    """Only a whole GRN of zeros is refused: in files, and in state dicts of other packages."""
    given = {k: v * 0 if '.grn.' in k else v for k, v in weights(dict(version='v2')).items()}
    for trained in (False, True):
        if trained:
            given[name][-1] = 1e-8
        content = from_native(given, FORMATS[row])
        torch.save(content, tmp_path / 'w.pth')
        ways = {
            'file': lambda: load_pretrained(ConvNeXt(ARCH, 'v2'), tmp_path / 'w.pth'),
            'dict': lambda c=content: ConvNeXt(ARCH, 'v2').load_state_dict(c),
        }
        for way, load in ways.items():
            # An own state dict may come from a backbone before its training.
            if trained or (row, way) == ('native', 'dict'):
                load()
                continue
            with pytest.raises(CheckpointMismatch, match='every gamma and beta of the global resp'):
                load()
        assert 'Loaded' in load_pretrained(ConvNeXt(ARCH, 'v2'), tmp_path / 'w.pth', strict=False)


def test_norm_of_a_classifier_is_reused_by_a_classifier_only_where_it_fits(tmp_path):
    """``gap_before_final_norm`` is the form of a classifier; the option decides otherwise."""
    norm = {'norm.weight': torch.randn(24), 'norm.bias': torch.randn(24)}
    torch.save({**weights(), **norm, 'head.weight': torch.ones(5, 24)}, tmp_path / 'w.pth')
    torch.save({**weights(), 'norm.weight': torch.ones(24)}, tmp_path / 'half.pth')
    for pooled, choice, file, taken in (
        *((True, None, 'w', True), (True, 'drop', 'w', False), (True, 'reuse', 'w', True)),
        *((False, None, 'w', False), (False, 'reuse', 'w', True), (True, None, 'half', False)),
    ):
        backbone = ConvNeXt(ARCH, gap_before_final_norm=pooled)
        line = load_pretrained(backbone, tmp_path / f'{file}.pth', classifier_norm=choice)
        assert torch.equal(backbone.norm3.bias, norm['norm.bias']) is taken
        assert torch.equal(backbone.norm3.weight, norm['norm.weight']) is taken
        assert ("; norm3 is the classifier's norm" in line) is taken
        assert ('norm1, norm2, norm3;' in line) is not taken
    with pytest.raises(CheckpointMismatch, match='no classifier norm that fits the last feature'):
        load_pretrained(
            ConvNeXt(ARCH, out_indices=[2]), tmp_path / 'w.pth', classifier_norm='reuse'
        )
