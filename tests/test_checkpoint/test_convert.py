# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: a converted file loads again as the same weights; nothing is overwritten or lost."""

import hashlib
import os
import re

import pytest
import torch
from safetensors.torch import load_file

from mmconvnext import ConvNeXt
from mmconvnext.checkpoint.convert import convert
from mmconvnext.checkpoint.errors import CheckpointMismatch
from mmconvnext.checkpoint.formats import from_native
from mmconvnext.checkpoint.load import load_pretrained
from mmconvnext.checkpoint.tables import FORMATS

SUFFIXES = ('.pth', '.pt', '.bin', '.safetensors')
TARGETS = ('native', 'meta', 'mmpretrain', 'timm', 'hf')
# What surrounds the names in each format's own files.
KEYS = {'native': 'state_dict', 'meta': 'model', 'mmpretrain': 'state_dict'}
HEADS = {'neck.weight': torch.arange(3.0), 'roi_head.bias': torch.arange(4.0)}


def random_weights(arch, version='v1', norms=True) -> dict:
    weights = ConvNeXt(arch, version).state_dict()
    return {k: torch.randn_like(v) for k, v in weights.items() if norms or k[:4] != 'norm'}


@pytest.fixture(params=['v1', 'v2'])
def detector(request, tiny_arch, tmp_path):
    """Weights, and a training checkpoint that has them under `backbone.`."""
    weights = random_weights(tiny_arch, request.param)
    content = {
        'meta': {'epoch': 3, 'dataset_meta': {'classes': ('a', 'b')}},
        'state_dict': {**{f'backbone.{k}': v for k, v in weights.items()}, **HEADS},
        'optimizer': {'state': {0: {'step': torch.tensor(7.0)}}},
        'message_hub': {},
    }
    torch.save(content, tmp_path / 'epoch_3.pth')
    return weights, tmp_path / 'epoch_3.pth', ConvNeXt(tiny_arch, request.param)


def assert_loads(backbone, path, weights, norms=True):
    load_pretrained(backbone, path)
    for name, value in backbone.state_dict().items():
        if norms or not name.startswith('norm'):
            assert torch.equal(value, weights[name]), name


@pytest.mark.parametrize('suffix', SUFFIXES)
@pytest.mark.parametrize('to', TARGETS)
def test_backbone_alone(to, suffix, detector, tmp_path):
    weights, source, backbone = detector
    drop = to in ('timm',)
    path, lines = convert(
        source, tmp_path / f'new/folder/out{suffix}', to, backbone_only=True, drop_norms=drop
    )
    assert path == tmp_path / f'new/folder/out{suffix}'
    assert_loads(backbone, path, weights, norms=not drop)
    content = load_file(path) if suffix == '.safetensors' else torch.load(path, weights_only=True)
    if to in KEYS and suffix != '.safetensors':
        assert list(content) == [KEYS[to]]
        content = content[KEYS[to]]
    prefix = 'backbone.' if to == 'mmpretrain' else ''
    kept = {k: v for k, v in weights.items() if not drop or k[:4] != 'norm'}
    assert set(content) == {f'{prefix}{k}' for k in from_native(kept, FORMATS[to])}
    given = 'meta' if backbone.version == 'v1' else 'native'  # which have the same names
    named = 'timm' if to == 'timm' else to
    assert lines[0] == f'{len(kept)} tensors, {given} -> {named} names'
    assert lines[-1] == 'left out: neck.weight, roi_head.bias, meta, optimizer, message_hub'


@pytest.mark.parametrize('to', [to for to in TARGETS if to != 'timm'])
def test_inside_a_detector_the_rest_stays(to, detector, tmp_path):
    weights, source, backbone = detector
    path, _ = convert(source, tmp_path / 'out.pth', to)
    before, after = (torch.load(p, weights_only=True) for p in (source, path))
    assert after['meta'] == before['meta'] and after['optimizer'] == before['optimizer']
    for name, value in HEADS.items():
        assert torch.equal(after['state_dict'][name], value)
    theirs = from_native(weights, FORMATS[to])
    assert set(after['state_dict']) == {*HEADS, *(f'backbone.{k}' for k in theirs)}
    assert_loads(backbone, path, weights)


def test_a_safetensors_file_has_the_users_rights_and_no_shared_memory(detector, tmp_path):
    weights, source, backbone = detector
    content = torch.load(source, weights_only=True)
    names = [f'backbone.stages.2.{i}.pwconv1.bias' for i in range(2)]
    content['state_dict'][names[1]] = content['state_dict'][names[0]]
    name = 'backbone.stages.0.0.pwconv1.weight'
    content['state_dict'][name] = content['state_dict'][name].T.contiguous().T
    torch.save(content, source)
    before = os.umask(0o027)
    try:
        path, lines = convert(source, tmp_path / 'a.safetensors', 'native', publish=True)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640
    assert re.fullmatch(r'a-[0-9a-f]{8}\.safetensors', path.name) and len(lines) == 2
    assert lines[1] == 'left out: meta, optimizer, message_hub'
    # What is left out need not be readable.
    content['ema_state_dict'] = {**content['state_dict'], 'backbone.surplus': torch.ones(1)}
    torch.save(content, source)
    with pytest.raises(CheckpointMismatch, match='surplus: not names of the format'):
        convert(source, tmp_path / 'b.pth', 'hf')
    _, lines = convert(source, tmp_path / 'b.safetensors', 'hf')
    assert lines[1] == 'left out: meta, optimizer, message_hub, ema_state_dict'
    found = load_file(path)
    assert found.keys() == content['state_dict'].keys()
    assert all(torch.equal(found[k], v) for k, v in content['state_dict'].items())


def test_home_and_unusual_names(detector, tmp_path, monkeypatch):
    weights, source, backbone = detector
    monkeypatch.setenv('HOME', str(tmp_path))
    path, _ = convert('~/epoch_3.pth', '~/new folder/w \u00fc.v2.pth', 'meta', backbone_only=True)
    assert path == tmp_path / 'new folder/w \u00fc.v2.pth'
    assert_loads(backbone, path, weights)
    with pytest.raises(FileExistsError, match='w \u00fc.v2.pth exists'):
        convert(source, '~/new folder/w \u00fc.v2.pth', 'meta')
    path, _ = convert(source, path.with_name('x.y.pth'), 'native', publish=True)
    assert re.fullmatch(r'x\.y-[0-9a-f]{8}\.pth', path.name)


def test_one_of_two_networks_is_converted_by_its_prefix(detector, tmp_path):
    weights, source, backbone = detector
    both = {f'{who}.backbone.{k}': v + i for k, v in weights.items() for i, who in enumerate('ts')}
    torch.save({'state_dict': {**both, **HEADS}}, source)
    with pytest.raises(CheckpointMismatch, match='found 2 ConvNeXts'):
        convert(source, tmp_path / 'a.pth', 'hf')
    path, lines = convert(source, tmp_path / 'a.pth', 'hf', prefix='s', backbone_only=True)
    assert_loads(backbone, path, {k: v + 1 for k, v in weights.items()})
    assert re.match(r'left out: t\.backbone\..* and \d+ more$', lines[-1])


def test_norms_are_not_taken_from_under_the_heads(detector, tmp_path):
    with pytest.raises(CheckpointMismatch, match='leave the heads without the norms they were tra'):
        convert(detector[1], tmp_path / 'out.pth', 'timm', drop_norms=True)


@pytest.mark.parametrize('part', ['decoder.layers.0.weight', 'head.fc2.weight', 'proj.weight'])
def test_parts_of_a_model_that_formats_call_their_own_stay(part, detector, tmp_path):
    _, source, _ = detector
    content = torch.load(source, weights_only=True)
    content['state_dict'] = {
        **{k: v for k, v in content['state_dict'].items() if k.startswith('backbone.')},
        part: torch.ones(2),
    }
    torch.save(content, source)
    path, lines = convert(source, tmp_path / 'out.pth', 'mmpretrain')
    after = torch.load(path, weights_only=True)
    assert torch.equal(after['state_dict'][part], torch.ones(2))
    assert after['meta'] == content['meta'] and len(lines) == 1


def test_weights_of_an_ema_beside_are_renamed_too(detector, tmp_path):
    weights, source, _ = detector
    content = torch.load(source, weights_only=True)
    ema = {f'module.{k}': v + 1 for k, v in content['state_dict'].items()}
    content['ema_state_dict'] = {'steps': torch.tensor(3), **ema}
    torch.save(content, source)
    path, _ = convert(source, tmp_path / 'out.pth', 'mmpretrain')
    after = torch.load(path, weights_only=True)
    names = {f'module.{name}' for name in after['state_dict']}
    assert set(after['ema_state_dict']) == {'steps', *names}
    path, _ = convert(path, tmp_path / 'ema.pth', 'native', envelope='ema_state_dict')
    content = torch.load(path, weights_only=True)
    assert set(content) == {'meta', 'state_dict'}
    assert set(content['state_dict']) == {*HEADS, *(f'backbone.{name}' for name in weights)}
    assert torch.equal(content['state_dict']['backbone.norm0.bias'], weights['norm0.bias'] + 1)


@pytest.mark.parametrize('design', [dict(norm='BN'), dict(norm_after='every_conv')])
def test_ablations_are_published_under_their_own_names(design, tiny_arch, tmp_path):
    weights = ConvNeXt(tiny_arch, design=design).state_dict()
    torch.save({f'backbone.{k}': v for k, v in weights.items()} | HEADS, tmp_path / 'a.pth')
    path, _ = convert(tmp_path / 'a.pth', tmp_path / 'b.pth', 'native', publish=True)
    assert set(torch.load(path, weights_only=True)) == {*HEADS, *(f'backbone.{k}' for k in weights)}
    path, lines = convert(
        *(tmp_path / 'a.pth', tmp_path / 'd.pth', 'native'), backbone_only=True, drop_norms=True
    )
    norms = [name for name in weights if name.startswith('norm')]
    found = torch.load(path, weights_only=True)['state_dict']
    assert set(found) == set(weights) - set(norms)
    (dropped,) = (line for line in lines if line.startswith('dropped: '))
    assert f'{len(norms) - 10} more' in dropped if len(norms) > 10 else norms[-1] in dropped
    with pytest.raises(CheckpointMismatch, match='not names of the format'):
        convert(tmp_path / 'a.pth', tmp_path / 'c.pth', 'meta')


def test_there_and_back_is_bitwise(detector, tmp_path):
    weights, source, _ = detector
    convert(source, tmp_path / 'a.pth', 'mmpretrain')
    convert(tmp_path / 'a.pth', tmp_path / 'b.safetensors', 'hf')
    convert(tmp_path / 'b.safetensors', tmp_path / 'c.pth', 'meta')
    path, _ = convert(tmp_path / 'c.pth', tmp_path / 'd.pth', 'native', prefix='backbone')
    content = torch.load(path, weights_only=True)
    for name, value in weights.items():
        assert torch.equal(content[f'backbone.{name}'], value), name


@pytest.mark.parametrize('option', ['drop_optimizer', 'publish'])
def test_what_a_training_needs_is_dropped_on_request(option, detector, tmp_path):
    weights, source, backbone = detector
    path, lines = convert(source, tmp_path / 'out.pth', 'native', **{option: True})
    assert set(torch.load(path, weights_only=True)) == {'meta', 'state_dict'}
    assert lines[1] == 'left out: optimizer, message_hub'
    assert_loads(backbone, path, weights)


def test_published_name_has_the_hash_of_the_file(detector, tmp_path):
    path, _ = convert(detector[1], tmp_path / 'net.pth', 'native', publish=True)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.name == f'net-{digest[:8]}.pth'
    assert not (tmp_path / 'net.pth').exists()


def test_a_classifiers_head_and_norm_are_left_out(tiny_arch, tmp_path):
    weights = random_weights(tiny_arch, norms=False)
    head = {'head.weight': torch.ones(5, 64), 'norm.weight': torch.ones(64)}
    torch.save({'model': {**weights, **head}}, tmp_path / 'meta.pth')
    path, lines = convert(tmp_path / 'meta.pth', tmp_path / 'mm.pth', 'mmpretrain')
    assert lines == [f'{len(weights)} tensors, meta -> mmpretrain names', lines[1]]
    assert lines[1] == 'dropped: head.weight, norm.weight'
    content = torch.load(path, weights_only=True)['state_dict']
    assert not [name for name in content if 'norm3' in name or 'head' in name]
    content.update({'head.fc.weight': torch.ones(5, 64), 'backbone.norm3.weight': torch.ones(64)})
    torch.save({'state_dict': content}, tmp_path / 'classifier.pth')
    path, lines = convert(tmp_path / 'classifier.pth', tmp_path / 'back.pth', 'meta')
    assert set(torch.load(path, weights_only=True)['model']) == set(weights)
    assert lines[1] == 'dropped: norm3.weight, head.fc.weight'


def test_ema_weights_can_be_chosen(detector, tmp_path):
    weights, source, backbone = detector
    content = torch.load(source, weights_only=True)
    ema = {f'module.backbone.{k}': v + 1 for k, v in weights.items()}
    content['ema_state_dict'] = {'steps': torch.tensor(3), **ema}
    torch.save(content, source)
    path, _ = convert(
        source, tmp_path / 'ema.pth', 'native', backbone_only=True, envelope='ema_state_dict'
    )
    assert_loads(backbone, path, {k: v + 1 for k, v in weights.items()})


@pytest.mark.parametrize(
    ('channels', 'design', 'axes'),
    [
        ([40, 80, 160, 320], {}, 4),
        ([80, 160, 320, 640], {}, 4),
        ([40, 80, 160, 320], dict(stem='overlap_tiered'), 4),
        ([32, 64, 128, 256], dict(norm='SimpleNorm'), 4),
        ([32, 64, 96, 128], {}, 2),
        ([96, 192, 384, 768], {}, 2),
    ],
    ids=['atto', 'nano', 'atto_ols', 'zepto', 'test2', 'tiny'],
)
def test_timm_gets_the_layout_of_its_variants(channels, design, axes, tmp_path):
    arch = dict(depths=[1, 1, 1, 1], channels=channels)
    weights = ConvNeXt(arch, design=design).state_dict()
    torch.save({k: v for k, v in weights.items() if k[:4] != 'norm'}, tmp_path / 'own.pth')
    path, _ = convert(tmp_path / 'own.pth', tmp_path / 'timm.safetensors', 'timm')
    for i, layer in ((0, 'fc1'), (3, 'fc2')):
        assert load_file(path)[f'stages.{i}.blocks.0.mlp.{layer}.weight'].ndim == axes


def test_what_a_format_cannot_say_is_not_written(tiny_arch, tmp_path):
    torch.save(ConvNeXt(tiny_arch, design=dict(stem='overlap')).state_dict(), tmp_path / 'a.pth')
    with pytest.raises(
        CheckpointMismatch, match="format hf cannot build a ConvNeXt with stem='overlap'"
    ):
        convert(tmp_path / 'a.pth', tmp_path / 'b.pth', 'hf')
    assert not (tmp_path / 'b.pth').exists()
    path, _ = convert(tmp_path / 'a.pth', tmp_path / 'c.pth', 'native')
    load_pretrained(ConvNeXt(tiny_arch, design=dict(stem='overlap')), path)


# Refused


def test_an_existing_file_is_never_overwritten(detector, tmp_path):
    (tmp_path / 'mine.pth').write_bytes(b'precious')
    with pytest.raises(FileExistsError, match=r'mine\.pth exists and would be overwritten'):
        convert(detector[1], tmp_path / 'mine.pth', 'meta')
    assert (tmp_path / 'mine.pth').read_bytes() == b'precious'


def test_output_norms_have_no_name_in_timm(detector, tmp_path):
    with pytest.raises(
        CheckpointMismatch, match=r'timm(-conv)? has no name for norm0\.weight, .*--drop-norms'
    ):
        convert(detector[1], tmp_path / 'out.pth', 'timm')
    assert not (tmp_path / 'out.pth').exists()


def test_unknown_target_and_suffix_are_named(detector, tmp_path):
    with pytest.raises(ValueError, match=r"to='keras' is not a target format; choose one of"):
        convert(detector[1], tmp_path / 'out.pth', 'keras')
    with pytest.raises(
        ValueError, match=r'out\.onnx must end in one of \.pth, \.pt, \.bin, \.safet'
    ):
        convert(detector[1], tmp_path / 'out.onnx', 'meta')


def test_unknown_names_are_refused(tiny_arch, tmp_path):
    torch.save({**random_weights(tiny_arch), 'surplus.weight': torch.ones(1)}, tmp_path / 'a.pth')
    with pytest.raises(CheckpointMismatch, match=r'surplus\.weight'):
        convert(tmp_path / 'a.pth', tmp_path / 'b.pth', 'hf')
    assert not (tmp_path / 'b.pth').exists()
