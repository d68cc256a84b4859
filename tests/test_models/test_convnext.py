# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: every size builds, every input of at least one patch works, the maps match the
attributes, and no argument of the caller is changed.
"""

import copy

import numpy as np
import pytest
import torch
from mmengine import ConfigDict
from torch import nn

from mmconvnext.models import ARCHS, ConvNeXt, Design
from mmconvnext.models.layers import GlobalResponseNorm

# Parameters of the classifiers in millions, head of 1000 classes included. Published to fewer
# digits in the READMEs of Meta's ConvNeXt (28M, 50M, 89M, 198M, 350M) and ConvNeXt-V2 (3.7M, 5.2M,
# 9.1M, 15.6M, 28.6M, 89M, 198M, 660M); two decimals, and V1 atto to nano, from timm's tables.
PARAMETERS = {
    ('v1', 'atto'): 3.70,
    ('v1', 'femto'): 5.22,
    ('v1', 'pico'): 9.05,
    ('v1', 'nano'): 15.59,
    ('v1', 'tiny'): 28.59,
    ('v1', 'small'): 50.22,
    ('v1', 'base'): 88.59,
    ('v1', 'large'): 197.77,
    ('v1', 'xlarge'): 350.20,
    ('v2', 'atto'): 3.71,
    ('v2', 'femto'): 5.23,
    ('v2', 'pico'): 9.07,
    ('v2', 'nano'): 15.62,
    ('v2', 'tiny'): 28.64,
    ('v2', 'base'): 88.72,
    ('v2', 'large'): 197.96,
    ('v2', 'huge'): 660.29,
}


def make(arch, version: str = 'v1', **options) -> ConvNeXt:
    """A backbone whose blocks have an effect from the start (layer scale 1, GRN not zero)."""
    if version == 'v1':
        options.setdefault('layer_scale_init_value', 1.0)
    model = ConvNeXt(arch, version, **options)
    for module in model.modules():
        if isinstance(module, GlobalResponseNorm):
            nn.init.normal_(module.gamma)
            nn.init.normal_(module.beta)
    return model


# --- sizes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(('version', 'name'), sorted(PARAMETERS))
def test_every_size_builds_with_the_published_parameters(version, name):
    with torch.device('meta'):
        model = ConvNeXt(name, version)
        maps = model(torch.empty(1, 3, 64, 96))
    channels = ARCHS[name].channels
    expected = [(1, c, 16 // 2**i, 24 // 2**i) for i, c in enumerate(channels)]
    assert [tuple(m.shape) for m in maps] == expected
    backbone = sum(
        param.numel()
        for key, param in model.named_parameters()
        if not key.startswith(('norm0', 'norm1', 'norm2'))  # norm3 stands for the classifier's norm
    )
    head = 1000 * channels[-1] + 1000
    assert round((backbone + head) / 1e6, 2) == PARAMETERS[version, name]


def test_without_arguments_it_is_the_papers_tiny_v1(monkeypatch):
    monkeypatch.delenv('MMCONVNEXT_KERNELS', raising=False)
    with torch.device('meta'):
        model = ConvNeXt()
    assert model.arch == ARCHS['tiny'] and model.version == 'v1'
    assert model.out_indices == (0, 1, 2, 3) and model.out_channels == (96, 192, 384, 768)
    assert model.in_channels == model.downsample_layers[0][0].in_channels == 3
    assert model.layer_scale_init_value == 1e-6 and not model.gap_before_final_norm
    assert model.design == Design() and model.init_cfg is None
    assert model.frozen_stages == -1 and all(p.requires_grad for p in model.parameters())
    blocks = [block for stage in model.stages for block in stage]
    assert {b.drop_path.rate for b in blocks} == {0} and not any(b.with_cp for b in blocks)
    assert {b.kernels for b in blocks} == {'auto'}


@pytest.mark.parametrize('version', ['v1', 'v2'])
@pytest.mark.parametrize('num_stages', [1, 2, 3, 5])
def test_any_number_of_stages(num_stages, version):
    arch = dict(depths=[1] * num_stages, channels=[8 + 4 * i for i in range(num_stages)])
    model = make(arch, version, out_indices=range(num_stages))
    maps = model(torch.randn(1, 3, 64, 64))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (8 + 4 * i, 16 // 2**i, 16 // 2**i) for i in range(num_stages)
    ]
    assert model.out_channels == tuple(arch['channels'])
    assert model.out_strides == tuple(4 * 2**i for i in range(num_stages))


def test_version_is_one_switch(tiny_arch):
    v1, v2 = ConvNeXt(tiny_arch, 'v1'), ConvNeXt(tiny_arch, 'v2')
    ends1 = {name.split('.', 3)[-1] for name in v1.state_dict() if name.startswith('stages')}
    ends2 = {name.split('.', 3)[-1] for name in v2.state_dict() if name.startswith('stages')}
    assert ends1 - ends2 == {'gamma'}
    assert ends2 - ends1 == {'grn.gamma', 'grn.beta'}
    assert v1.stages[0][0].gamma.unique().tolist() == [pytest.approx(1e-6)]


@pytest.mark.parametrize('version', ['v1', 'v2'])
def test_layer_scale_zero_builds_none(version, tiny_arch):
    model = ConvNeXt(tiny_arch, version, layer_scale_init_value=0)
    assert model.stages[0][0].gamma is None


def test_layer_scale_beside_grn_is_built_where_asked_for(tiny_arch):
    block = ConvNeXt(tiny_arch, 'v2', layer_scale_init_value=0.5).stages[0][0]
    assert block.gamma.unique().tolist() == [0.5] and block.grn is not None
    assert ConvNeXt(tiny_arch, 'v2').stages[0][0].gamma is None


@pytest.mark.parametrize('value', [-1, float('nan')])
def test_negative_layer_scale_is_named(value, tiny_arch):
    with pytest.raises(ValueError, match=f'must be 0 .none. or positive, got {value}'):
        ConvNeXt(tiny_arch, layer_scale_init_value=value)


# --- inputs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize('version', ['v1', 'v2'])
@pytest.mark.parametrize('size', [(4, 4), (4, 61), (33, 5), (37, 50), (64, 64), (7, 7)])
def test_any_size_of_at_least_one_patch(size, version, tiny_arch):
    model = make(tiny_arch, version)
    maps = model(torch.randn(2, 3, *size))
    for m, channels, stride in zip(maps, model.out_channels, model.out_strides, strict=True):
        assert m.shape == (2, channels, *(max(1, side // stride) for side in size))
        assert torch.isfinite(m).all()


@pytest.mark.parametrize('version', ['v1', 'v2'])
def test_pixels_beyond_a_multiple_of_the_patch_are_not_seen(version, tiny_arch):
    model = make(tiny_arch, version)
    x = torch.randn(1, 3, 71, 102)  # 17 and 25 patches
    changed = x.clone()
    changed[:, :, 68:] += 10
    changed[:, :, :, 100:] += 10
    for before, after in zip(model(x), model(changed), strict=True):
        assert torch.equal(before, after)


def test_pixels_beyond_a_multiple_of_the_last_stride_have_no_cell_but_are_seen(tiny_arch):
    """The 7x7 convolutions of earlier stages carry them into neighbouring cells."""
    model = make(tiny_arch)
    x = torch.randn(1, 3, 68, 64)
    changed = x.clone()
    changed[:, :, 64:] += 10
    last, last_changed = model(x)[-1], model(changed)[-1]
    assert last.shape[2:] == (2, 2)
    assert (last - last_changed).abs().max() > 1e-4


@pytest.mark.parametrize(
    ('shape', 'match'),
    [
        ((1, 4, 32, 32), r'takes \(N, 3, H, W\), got \(1, 4, 32, 32\); set in_channels, and'),
        ((3, 32, 32), r'takes \(N, 3, H, W\), got \(3, 32, 32\)'),
        ((3, 3, 32), r'takes \(N, 3, H, W\), got \(3, 3, 32\)'),
        ((1, 3, 2, 32, 32), r'takes \(N, 3, H, W\), got \(1, 3, 2, 32, 32\)'),
        ((1, 3, 32, 3), 'an image of 32x3 pixels is smaller than one 4x4 patch'),
        ((1, 3, 3, 32), 'an image of 3x32 pixels is smaller than one 4x4 patch'),
    ],
)
def test_wrong_input_is_named(shape, match, tiny_arch):
    with pytest.raises(ValueError, match=match):
        ConvNeXt(tiny_arch)(torch.randn(shape))


@pytest.mark.parametrize(
    ('design', 'smallest'),
    [
        (dict(stem='resnet'), 1),
        (dict(stem='overlap'), 1),
        (dict(stem_patch_size=1), 1),
        (dict(stem_patch_size=2), 2),
        (dict(), 4),
    ],
    ids=str,
)
def test_the_smallest_image_is_a_patch_or_a_pixel(design, smallest, tiny_arch):
    model = ConvNeXt(tiny_arch, design=design)
    maps = model(torch.randn(1, 3, smallest, smallest + 1))
    assert {m.shape[2] for m in maps} == {1}
    if smallest > 1:
        patch = f'{smallest}x{smallest} patch'
        with pytest.raises(ValueError, match=f'of 9x{smallest - 1} pixels is .* than one {patch}'):
            model(torch.randn(1, 3, 9, smallest - 1))


@pytest.mark.parametrize('channels', [1, 4, 13])
def test_in_channels(channels, tiny_arch):
    model = ConvNeXt(tiny_arch, in_channels=channels)
    assert model.downsample_layers[0][0].weight.shape == (8, channels, 4, 4)
    assert model(torch.randn(1, channels, 32, 32))[0].shape == (1, 8, 8, 8)


@pytest.mark.parametrize('value', [0, 3.0, True, None])
def test_wrong_in_channels_is_named(value, tiny_arch):
    with pytest.raises(ValueError, match=f'in_channels must be a positive integer, got {value}'):
        ConvNeXt(tiny_arch, in_channels=value)


@pytest.mark.parametrize(
    ('design', 'strides'),
    [
        (dict(stem_patch_size=2), (2, 4, 8, 16)),
        (dict(stem_patch_size=1), (1, 2, 4, 8)),
        (dict(stem='resnet'), (4, 8, 16, 32)),
        (dict(stem='overlap_act', norm='SimpleNorm'), (4, 8, 16, 32)),
        (dict(stem='overlap_tiered', kernel_size=[7, 5, 5, 3]), (4, 8, 16, 32)),
        (dict(kernel_size=3, act='ReLU', norm='BN'), (4, 8, 16, 32)),
    ],
    ids=str,
)
def test_strides_follow_the_stem(design, strides, tiny_arch):
    model = ConvNeXt(tiny_arch, design=design)
    assert model.out_strides == strides
    maps = model(torch.randn(2, 3, 64, 96))
    assert [m.shape[2:] for m in maps] == [(64 // s, 96 // s) for s in strides]


def test_design_is_not_changed_and_wrong_keys_are_named(tiny_arch):
    design = dict(kernel_size=3)
    ConvNeXt(tiny_arch, design=design)
    assert design == dict(kernel_size=3)
    with pytest.raises(ValueError, match=r"design has unknown keys \['kernel'\]"):
        ConvNeXt(tiny_arch, design=dict(kernel=3))
    with pytest.raises(ValueError, match='one for each of the 4 stages'):
        ConvNeXt(tiny_arch, design=dict(kernel_size=[7, 5, 3]))


# --- outputs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('given', 'resolved'),
    [
        ((0, 1, 2, 3), (0, 1, 2, 3)),
        ([1, 3], (1, 3)),
        (2, (2,)),
        (-1, (3,)),
        (-4, (0,)),
        ([-1], (3,)),
        ((0, -2), (0, 2)),
        ((3, 0), (3, 0)),
        (range(1, 4), (1, 2, 3)),
        (np.array([0, 2]), (0, 2)),
        (np.int64(1), (1,)),
        (ConfigDict(x=[0, -1]).x, (0, 3)),
    ],
    ids=str,
)
def test_out_indices(given, resolved, tiny_arch):
    before = copy.deepcopy(given)
    model = make(tiny_arch, out_indices=given)
    assert np.array_equal(given, before) and type(given) is type(before)
    assert model.out_indices == resolved
    maps = model(torch.randn(1, 3, 64, 32))
    assert isinstance(maps, tuple)
    for m, i, channels, stride in zip(
        maps, resolved, model.out_channels, model.out_strides, strict=True
    ):
        assert (channels, stride) == (tiny_arch['channels'][i], 4 * 2**i)
        assert m.shape == (1, channels, 64 // stride, 32 // stride)
    norms = {name for name, _ in model.named_children() if name.startswith('norm')}
    assert norms == {f'norm{i}' for i in resolved}


def test_out_indices_choose_among_the_same_maps(tiny_arch):
    full, some = make(tiny_arch), make(tiny_arch, out_indices=(2, 0))
    some.load_state_dict(
        {k: v for k, v in full.state_dict().items() if not k.startswith(('norm1', 'norm3'))}
    )
    x = torch.randn(1, 3, 64, 64)
    maps = full(x)
    for actual, expected in zip(some(x), (maps[2], maps[0]), strict=True):
        assert torch.equal(actual, expected)


@pytest.mark.parametrize(
    ('given', 'match'),
    [
        (4, r'out_indices=4: 4 is not a stage; this arch has 4, 0 to 3, or -4 to -1'),
        ((0, -5), r'out_indices=\(0, -5\): -5 is not a stage'),
        ((0, 1.0), r'1\.0 is not a stage'),
        ((True,), 'True is not a stage'),
        ((), r'out_indices=\(\) must name at least one stage'),
        ((3, -1), r'out_indices=\(3, -1\) must name .*, each once'),
    ],
)
def test_wrong_out_indices_are_named(given, match, tiny_arch):
    with pytest.raises(ValueError, match=match):
        ConvNeXt(tiny_arch, out_indices=given)


def test_stages_behind_the_last_map_keep_their_weights_but_wait_for_no_gradient(tiny_arch):
    model = make(tiny_arch, out_indices=(0, 1))
    sum(m.sum() for m in model(torch.randn(1, 3, 32, 32))).backward()
    waiting = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert waiting == []
    assert 'stages.3.0.dwconv.weight' in model.state_dict()
    computed = [name for name, p in model.named_parameters() if p.grad is not None]
    assert all(n.split('.')[1] in '01' for n in computed if n[:4] != 'norm')
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert trained == computed and 'stages.1.0.gamma' in trained
    model.stages[2].register_forward_hook(lambda *_: pytest.fail('a stage in vain'))
    model(torch.randn(1, 3, 32, 32))


def test_arguments_of_the_arch_are_not_changed(tiny_arch):
    before = copy.deepcopy(tiny_arch)
    make(tiny_arch, frozen_stages=1, drop_path_rate=0.1)
    assert tiny_arch == before
    assert make(ConfigDict(tiny_arch)).out_channels == (8, 16, 32, 64)


def test_roi_features_of_the_maps_are_those_of_a_plain_copy(tiny_arch):
    """mmcv's RoIAlign misreads maps that are not contiguous, without an error."""
    ops = pytest.importorskip('mmcv.ops')
    align = ops.RoIAlign(output_size=3, spatial_scale=0.25, sampling_ratio=2)
    rois = torch.tensor([[0, 2.0, 3.0, 40.0, 50.0], [1, 8.0, 0.0, 60.0, 30.0]])
    for image in (torch.randn(2, 3, 64, 64), torch.randn(2, 64, 64, 3).permute(0, 3, 1, 2)):
        maps = ConvNeXt(tiny_arch)(image)
        assert all(map.is_contiguous() for map in maps)
        copy = torch.tensor(maps[0].tolist())
        assert torch.allclose(align(maps[0].detach(), rois), align(copy, rois), atol=1e-6)


@pytest.mark.parametrize('version', ['v1', 'v2'])
def test_the_network_works_on_channels_last_memory(version, tiny_arch):
    """The norms read rows of channels; a map in the other order would be copied at each layer."""
    seen, model = [], make(tiny_arch, version, kernels='plain')
    for module in (*model.downsample_layers, *model.stages, *model.stages[2]):
        module.register_forward_hook(lambda _, args, out: seen.extend([args[0], out]))
    model(torch.randn(2, 3, 64, 96))
    assert len(seen) == 20
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in seen)


def test_the_path_of_the_blocks_is_logged_once(tiny_arch, log_records, monkeypatch):
    model, x = make(tiny_arch, kernels='plain'), torch.randn(1, 3, 32, 32)
    with monkeypatch.context() as patch:
        patch.setattr('mmconvnext.models.convnext.is_compiling', lambda: True)
        model(x)
    assert log_records == []  # a compiler cannot trace the log
    model(x), model(x)
    (record,) = log_records
    assert record.getMessage() == ("ConvNeXt on cpu: plain PyTorch (kernels='plain') in all blocks")
    assert list(model._report.why) == [
        f'stages.{stage}.{block}'
        for stage, depth in enumerate([1, 1, 2, 1])
        for block in range(depth)
    ]
