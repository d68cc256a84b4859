# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: no weight is ever uninitialized memory, however the backbone left the meta device; and
existing weights are never drawn again.
"""

import copy

import pytest
import torch
from mmengine.model import BaseModule
from torch import nn
from torch.nn.utils import parametrizations

from mmconvnext.models import ConvNeXt
from mmconvnext.models.initialize import initialize_layer, start_before_loading
from mmconvnext.models.layers import GlobalResponseNorm

ARCH = dict(depths=[1, 2], channels=[8, 16])
DESIGNS = [
    {},
    dict(stem='resnet', kernel_size=3),
    dict(norm='BN', norm_after='every_conv', act_after='every_conv', spatial_first=False),
    dict(norm='SyncBN', group_width=None, expansion_ratio=1),
]
RAW = 7.0


def on_meta(version: str = 'v1', **options) -> ConvNeXt:
    if version == 'v1':
        options.setdefault('layer_scale_init_value', 0.25)
    with torch.device('meta'):
        return ConvNeXt(ARCH, version, **options)


def filled(model: nn.Module) -> nn.Module:
    """``to_empty``, with memory that no weight should have."""
    model = model.to_empty(device='cpu')
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data.fill_(RAW)
    return model


def assert_fresh(model: ConvNeXt, version: str = 'v1', **options) -> None:
    """All but the random weights equal those of a backbone that was built as usual."""
    if version == 'v1':
        options.setdefault('layer_scale_init_value', 0.25)
    other = ConvNeXt(ARCH, version, **options)
    drawn = {
        f'{name}.weight'
        for name, module in other.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Linear))
    }
    expected = other.state_dict()
    assert model.state_dict().keys() == expected.keys()
    for name, value in model.state_dict().items():
        if name in drawn:
            assert 0.015 < value.std() < 0.025 and value.abs().max() < 0.12, name
        else:
            assert torch.equal(value, expected[name]), name
    trained = {name: p.requires_grad for name, p in model.named_parameters()}
    assert trained == {name: p.requires_grad for name, p in other.named_parameters()}


@pytest.mark.parametrize('design', DESIGNS, ids=str)
@pytest.mark.parametrize('version', ['v1', 'v2'])
def test_meta_then_to_empty_then_init_weights(version, design):
    options = dict(design=design, frozen_stages=1)
    model = filled(on_meta(version, **options)).float()  # another move changes nothing
    model.init_weights()
    assert_fresh(model, version, **options)
    before = copy.deepcopy(model.state_dict())
    model.init_weights()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_what_moves_to_the_meta_device_later_is_initialized_again():
    model = ConvNeXt(ARCH, layer_scale_init_value=0.25)
    model.init_weights()
    filled(model.to('meta')).init_weights()
    assert_fresh(model)


def test_inside_a_model_of_mmengine():
    class Detector(BaseModule):
        def __init__(self):
            super().__init__()
            self.backbone = ConvNeXt(ARCH, layer_scale_init_value=0.25)

    with torch.device('meta'):
        model = Detector()
    filled(model).init_weights()
    assert_fresh(model.backbone)


@pytest.mark.parametrize('init_cfg', [None, dict(type='Pretrained', checkpoint='x.pth')], ids=str)
def test_init_weights_on_the_meta_device_is_an_error(init_cfg):
    model = on_meta(init_cfg=init_cfg)
    match = r'on the meta device \(downsample_layers\.0\.0\.weight and \d+ more .*to_empty\(device='
    with pytest.raises(ValueError, match=match):
        model.init_weights()


def test_other_initializers_begin_with_the_papers():
    init_cfg = dict(type='Constant', layer='Linear', val=0.02, bias=0.0)
    model = filled(on_meta(init_cfg=init_cfg))
    model.init_weights()
    assert (model.stages[0][0].pwconv1.weight == 0.02).all()
    assert (model.stages[0][0].gamma == 0.25).all() and (model.norm1.weight == 1).all()
    assert model.stages[0][0].dwconv.weight.std() < 0.025


def trained() -> dict:
    """Weights without output norms, as a classifier's."""
    state = ConvNeXt(ARCH, layer_scale_init_value=0.5).state_dict()
    return {name: value for name, value in state.items() if not name.startswith('norm')}


def assert_loaded(model: ConvNeXt, weights: dict) -> None:
    for name, value in model.state_dict().items():
        expected = weights.get(name, torch.full_like(value, float(name.endswith('weight'))))
        assert torch.equal(value, expected), name


def test_pretrained_weights_fill_what_was_built_on_meta(tmp_path):
    weights = trained()
    torch.save(weights, tmp_path / 'weights.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'weights.pth'))
    model = filled(on_meta(init_cfg=init_cfg))
    model.init_weights()
    assert_loaded(model, weights)


@pytest.mark.parametrize('way', ['to_empty', 'assign', 'to_empty and assign'])
def test_weights_loaded_by_hand_stay_and_the_output_norms_start(way):
    weights = trained()
    model = nn.ModuleDict(dict(backbone=on_meta()))
    if 'to_empty' in way:
        filled(model)
    state = {f'backbone.{name}': value for name, value in weights.items()}
    model.load_state_dict(copy.deepcopy(state), assign='assign' in way)
    for _ in range(2):
        assert_loaded(model['backbone'], weights)
        model['backbone'].init_weights()
    assert model['backbone'](torch.randn(1, 3, 32, 32))[1].isfinite().all()


def test_output_norms_that_have_values_keep_them():
    model = on_meta()
    model.norm1.to_empty(device='cpu')
    nn.init.constant_(model.norm1.weight, 5), nn.init.constant_(model.norm1.bias, 6)
    state = {'epoch': 3, **trained()}  # as some files have it beside the weights
    model.load_state_dict(state, strict=False, assign=True)
    assert (model.norm1.weight == 5).all() and (model.norm1.bias == 6).all()
    assert (model.norm0.weight == 1).all() and not model.norm0.bias.any()


def test_copying_into_no_memory_is_no_loading():
    model = on_meta()
    with pytest.warns(UserWarning, match='copying from a non-meta parameter'):
        model.load_state_dict(trained())
    assert start_before_loading(model, trained(), {}) is False
    assert all(p.is_meta for p in model.parameters())
    filled(model).init_weights()
    assert_fresh(model)


@pytest.mark.parametrize('version', ['v1', 'v2'])
def test_a_seed_gives_the_weights_that_it_always_gave(version, monkeypatch):
    """The layers' own draws, then a truncated normal for each in the order of the modules."""

    def draw(module):
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.trunc_normal_(module.weight, std=0.02)

    torch.manual_seed(1)
    expected = ConvNeXt(ARCH, version)
    torch.manual_seed(1)
    with monkeypatch.context() as patch:
        patch.setattr('mmconvnext.models.convnext.initialize', lambda model: None)
        model = ConvNeXt(ARCH, version)
    model.apply(draw)
    for name, module in model.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            assert torch.equal(module.weight, expected.get_submodule(name).weight), name


@pytest.mark.parametrize('version', ['v1', 'v2'])
@pytest.mark.parametrize('own', [False, True], ids=['torch', 'ours'])
def test_materialized_module_by_module_as_by_fsdp(own, version):
    """Each module's own tensors, parents first, by ``reset_parameters`` or a ``param_init_fn``."""
    model = on_meta(version)
    for module in model.modules():
        if [*module.parameters(recurse=False), *module.buffers(recurse=False)]:
            module.to_empty(device='cpu', recurse=False)
            for tensor in module.parameters(recurse=False):
                tensor.data.fill_(RAW)
            initialize_layer(module) if own else module.reset_parameters()
    assert not any((p == RAW).any() for p in model.parameters())
    if not own:  # convolutions are as torch starts them until
        model.init_weights()
    assert_fresh(model, version)


class Scale(nn.Module):
    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner, self.scale = inner, nn.Parameter(torch.empty(16, device='meta'))


REFUSED = {
    'a layer of others': (
        lambda block: setattr(block, 'pwconv2', Scale(block.pwconv2)),
        r"stages\.1\.0\.pwconv2 \(a Scale\) has \['scale'\] but no reset_parameters\(\)",
    ),
    'a parametrization': (
        lambda block: parametrizations.weight_norm(block.pwconv2),
        r'stages\.1\.0\.pwconv2 \(a ParametrizedLinear\) has a weight that is sharded or computed',
    ),
    'a shard': (
        lambda block: setattr(block.pwconv2, 'weight', nn.Parameter(torch.zeros(5))),
        r'stages\.1\.0\.pwconv2 \(a Linear\) has a weight that is sharded or computed',
    ),
}


@pytest.mark.parametrize('case', REFUSED)
def test_what_nobody_can_initialize_is_an_error(case):
    change, match = REFUSED[case]
    model = on_meta()
    change(model.stages[1][0])
    with pytest.raises(ValueError, match=match):
        filled(model).init_weights()


def test_a_layer_without_bias_and_one_without_parameters():
    conv = nn.Conv2d(3, 4, 1, bias=False)
    nn.init.constant_(conv.weight, RAW)
    initialize_layer(conv)
    initialize_layer(nn.GELU())
    assert conv.weight.abs().max() < 0.12


def test_grn_starts_again():
    grn = GlobalResponseNorm(4)
    nn.init.ones_(grn.gamma)
    nn.init.ones_(grn.beta)
    grn.reset_parameters()
    assert not grn.gamma.any() and not grn.beta.any()
