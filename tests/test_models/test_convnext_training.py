# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: stochastic depth, checkpointing, freezing, initialization and copies of the backbone
do what they say in training, not just in evaluation.
"""

import copy
import logging
import pickle

import pytest
import torch
from mmengine.model import BaseModule, PretrainedInit, revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from torch import nn

from mmconvnext.checkpoint.errors import CheckpointMismatch
from mmconvnext.models import ConvNeXt
from mmconvnext.models.layers import DropPath, GlobalResponseNorm


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


# --- stochastic depth -----------------------------------------------------------------------------


def test_drop_path_rises_linearly_over_all_blocks():
    model = ConvNeXt(dict(depths=[2, 3, 1], channels=[8, 8, 8]), out_indices=-1, drop_path_rate=0.5)
    rates = [m.rate for m in model.modules() if isinstance(m, DropPath)]
    assert rates == pytest.approx(torch.linspace(0, 0.5, 6).tolist())


def test_drop_path_of_a_single_block_is_zero():
    model = ConvNeXt(dict(depths=[1], channels=[8]), out_indices=0, drop_path_rate=0.5)
    assert model.stages[0][0].drop_path.rate == 0


def test_drop_path_acts_in_training_only(tiny_arch):
    model = make(tiny_arch, drop_path_rate=0.9)
    x = torch.randn(8, 3, 32, 32)
    assert not torch.equal(model(x)[-1], model(x)[-1])
    model.eval()
    assert torch.equal(model(x)[-1], model(x)[-1])


@pytest.mark.parametrize('rate', [1, -0.1, 1.5, float('nan')])
def test_wrong_drop_path_rate_is_named(rate, tiny_arch):
    with pytest.raises(ValueError, match=rf'drop_path_rate must be in \[0, 1\), got {rate}'):
        ConvNeXt(tiny_arch, drop_path_rate=rate)


DESIGNS = [
    dict(design=dict(stem='overlap')),
    dict(design=dict(stem='overlap_tiered', kernel_size=[7, 5, 5, 3], act='SiLU')),
    dict(design=dict(stem='overlap_act', norm='SimpleNorm')),
    dict(version='v2', layer_scale_init_value=1.0),
    dict(gap_before_final_norm=True),
]


@pytest.mark.parametrize('options', DESIGNS, ids=str)
def test_every_parameter_has_a_gradient_as_ddp_needs_and_none_is_without_effect(options, tiny_arch):
    model = make(tiny_arch, **options)
    maps = model(torch.randn(2, 3, 64, 64))
    sum((m * torch.randn_like(m)).sum() for m in maps).backward()
    idle = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


# --- checkpointing --------------------------------------------------------------------------------


@pytest.mark.parametrize('version', ['v1', 'v2'])
@pytest.mark.parametrize(('rate', 'frozen'), [(0.0, -1), (0.6, -1), (0.6, 1), (0.0, 0)])
def test_with_cp_equals_plain_in_value_and_gradient(version, rate, frozen, tiny_arch):
    options = dict(drop_path_rate=rate, frozen_stages=frozen)
    plain = make(tiny_arch, version, **options)
    checkpointed = make(tiny_arch, version, with_cp=True, **options)
    checkpointed.load_state_dict(plain.state_dict())
    x, results = torch.randn(4, 3, 48, 40), []
    for model in (plain, checkpointed):
        torch.manual_seed(1)
        maps = model(x)
        sum(m.square().mean() for m in maps).backward()
        results.append((maps, {n: p.grad for n, p in model.named_parameters()}))
    for actual, expected in zip(results[1][0], results[0][0], strict=True):
        assert torch.equal(actual, expected)
    for name, grad in results[0][1].items():
        if grad is None:
            assert results[1][1][name] is None, name
        else:
            torch.testing.assert_close(results[1][1][name], grad, rtol=1e-5, atol=1e-7, msg=name)


@pytest.mark.parametrize('kernels', ['plain', 'auto'])
@pytest.mark.parametrize('version', ['v1', 'v2'])
def test_with_cp_keeps_fewer_activations_and_is_off_by_default(version, kernels, tiny_arch):
    def kept(**options) -> int:
        model, sizes = make(tiny_arch, version, kernels=kernels, **options), []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t: sizes.append(t.numel()) or t, lambda t: t
        ):
            model(torch.randn(2, 3, 64, 96))
        return sum(sizes)

    assert kept(with_cp=True) < 0.7 * kept() and kept(with_cp=False) == kept()


# --- freezing -------------------------------------------------------------------------------------

# mmdet's convention: what is frozen at -1, 0, 1, ... of four stages, by the start of the names.
FROZEN = {-1: ()}
for _k in range(5):
    FROZEN[_k] = (
        'downsample_layers.0.',
        *(f'{part}.{i}.' for i in range(_k) for part in ('downsample_layers', 'stages')),
        *(f'norm{i}.' for i in range(_k)),
    )


@pytest.mark.parametrize('frozen', sorted(FROZEN))
def test_frozen_stages_freeze_these_parameters_and_no_others(frozen, tiny_arch):
    model = ConvNeXt(tiny_arch, frozen_stages=frozen).train()
    for name, param in model.named_parameters():
        assert param.requires_grad != name.startswith(FROZEN[frozen] or '-'), name


@pytest.mark.parametrize('frozen', sorted(FROZEN))
def test_frozen_stages_survive_train_and_eval(frozen, tiny_arch):
    model = ConvNeXt(tiny_arch, frozen_stages=frozen, design=dict(norm='BN'))
    # As built, then after an evaluation.
    for switches in ((), (model.train, model.eval, model.train)):
        for switch in switches:
            assert switch() is model
        for name, module in model.named_modules():
            if '.' in name or name.startswith('norm'):  # else a container of frozen and others
                assert module.training != f'{name}.'.startswith(FROZEN[frozen] or '-'), name
    assert model.train(False) is model
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize('version', ['v1', 'v2'])
def test_frozen_stages_have_no_stochastic_depth(version, tiny_arch):
    model = make(tiny_arch, version, frozen_stages=2, drop_path_rate=0.9).train()
    x = torch.randn(8, 3, 32, 32)
    first, second = model(x), model(x)
    for i in (0, 1):
        assert torch.equal(first[i], second[i])
    assert not torch.equal(first[3], second[3])


def test_frozen_batch_norms_keep_their_statistics(tiny_arch):
    model = ConvNeXt(tiny_arch, frozen_stages=1, design=dict(norm='BN')).train()
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model(torch.randn(4, 3, 64, 64))
    changed = {
        name for name, value in model.named_buffers() if not torch.equal(value, before[name])
    }
    assert changed == {name for name in before if not name.startswith(FROZEN[1])}


@pytest.mark.parametrize('frozen', sorted(FROZEN))
def test_optimizer_gets_no_frozen_parameters(frozen, tiny_arch):
    backbone = ConvNeXt(tiny_arch, frozen_stages=frozen)
    model = nn.ModuleDict(dict(backbone=backbone, head=nn.Conv2d(8, 1, 1)))
    wrapper = build_optim_wrapper(
        model,
        dict(
            constructor='mmconvnext.LayerDecayOptimWrapperConstructor',
            optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
            paramwise_cfg=dict(decay_rate=0.7),
        ),
    )
    given = {id(p) for group in wrapper.optimizer.param_groups for p in group['params']}
    assert given == {id(p) for p in model.parameters() if p.requires_grad}
    before = copy.deepcopy(model.state_dict())
    maps = backbone(torch.randn(2, 3, 32, 32))
    loss = model['head'](maps[0]).mean() + sum(m.square().mean() for m in maps[1:])
    wrapper.update_params(loss)
    start = tuple(f'backbone.{name}' for name in FROZEN[frozen])
    for name, value in model.state_dict().items():
        if name.startswith(start or '-'):
            assert torch.equal(value, before[name]), name
    assert not torch.equal(model['head'].weight, before['head.weight'])


@pytest.mark.parametrize('value', [-2, 5, 1.0, True, None])
def test_wrong_frozen_stages_are_named(value, tiny_arch):
    match = f'frozen_stages={value} is out of range: -1 freezes nothing, 0 the stem, and 1 to 4'
    with pytest.raises(ValueError, match=match):
        ConvNeXt(tiny_arch, frozen_stages=value)


# --- initialization -------------------------------------------------------------------------------


@pytest.mark.parametrize('version', ['v1', 'v2'])
def test_initialization_is_the_papers(version):
    model = ConvNeXt('atto', version)
    for name, module in model.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            assert not module.bias.any(), name
            assert module.weight.abs().max() < 0.02 * 6, name  # truncated at +-2, not at +-2 std
            if module.weight.numel() > 5000:
                assert module.weight.std().item() == pytest.approx(0.02, rel=0.05), name
                assert abs(module.weight.mean().item()) < 0.001, name
        elif isinstance(module, nn.LayerNorm):
            assert (module.weight == 1).all() and not module.bias.any(), name
        elif isinstance(module, GlobalResponseNorm):
            assert not module.gamma.any() and not module.beta.any(), name


def test_init_weights_draws_nothing_new(tiny_arch):
    model = ConvNeXt(tiny_arch)
    before = copy.deepcopy(model.state_dict())
    for _ in range(2):
        model.init_weights()
        for name, value in model.state_dict().items():
            assert torch.equal(value, before[name]), name


def test_init_weights_says_one_line(tiny_arch, log_records):
    model = ConvNeXt(tiny_arch, 'v2')
    assert log_records == []
    model.init_weights()
    model.init_weights()
    (record,) = log_records
    assert record.levelno == logging.INFO
    assert record.getMessage() == (
        'ConvNeXt v2, depths [1, 1, 2, 1]: random weights (truncated normal, std 0.02), zero biases'
    )


def test_layer_scale_that_a_base_config_gives_to_v2_is_said(tiny_arch, log_records):
    ConvNeXt(tiny_arch, 'v2', layer_scale_init_value=1.0).init_weights()
    record = log_records[-1]
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(
        'layer_scale_init_value=1 together with GRN: published V2 models'
    )


@pytest.mark.parametrize('kind', ['mmengine.Pretrained', 'PretrainedInit', PretrainedInit])
def test_pretrained_by_its_other_names(tiny_arch, tmp_path, kind):
    weights = {'model': {k: v + 1 for k, v in ConvNeXt(tiny_arch).state_dict().items()}}
    torch.save(weights, tmp_path / 'weights.pth')
    model = ConvNeXt(tiny_arch, init_cfg=dict(type=kind, checkpoint=str(tmp_path / 'weights.pth')))
    model.init_weights()
    assert torch.equal(model.norm3.weight, weights['model']['norm3.weight'])
    wider = {**tiny_arch, 'channels': [8, 16, 32, 72]}
    model = ConvNeXt(wider, init_cfg=dict(type=kind, checkpoint=str(tmp_path / 'weights.pth')))
    with pytest.raises(CheckpointMismatch):
        model.init_weights()


def test_weights_that_were_loaded_are_not_loaded_again(tiny_arch, tmp_path, log_records):
    """Training in between would be lost without a word."""
    weights = {name: value + 1 for name, value in ConvNeXt(tiny_arch).state_dict().items()}
    torch.save(weights, tmp_path / 'weights.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'weights.pth'))
    for given in (init_cfg, [init_cfg]):
        model = ConvNeXt(tiny_arch, init_cfg=given)
        model.init_weights()
        nn.init.constant_(model.norm0.weight, 5)
        log_records.clear()
        model.init_weights()
        assert (model.norm0.weight == 5).all() and (model.norm1.weight == 2).all()
        (record,) = log_records
        assert record.levelno == logging.WARNING
        assert record.getMessage() == 'init_weights was called again; the weights are kept'


def test_weights_and_another_initializer_contradict_each_other(tiny_arch):
    both = [dict(type='Constant', layer='Linear', val=1), dict(type='Pretrained', checkpoint='x')]
    for init_cfg in (both, both[::-1]):
        with pytest.raises(ValueError, match='fills the whole backbone, so remove the other init'):
            ConvNeXt(tiny_arch, init_cfg=init_cfg).init_weights()


def test_weights_that_do_not_fit_are_an_error_or_a_warning(tiny_arch, log_records):
    wrong = {**ConvNeXt(tiny_arch).state_dict(), 'norm0.weight': torch.ones(9)}
    for options in ({}, dict(strict=True)):
        with pytest.raises(CheckpointMismatch, match=r'norm0\.weight'):
            ConvNeXt(tiny_arch).load_state_dict(wrong, **options)
    assert log_records == []
    model = ConvNeXt(tiny_arch)
    nn.init.constant_(model.norm1.weight, 7)
    del wrong['norm1.weight']
    model.load_state_dict({**wrong, 'stages.0.0.gamma': torch.full((8,), 3.0)}, False)
    assert (model.stages[0][0].gamma == 3).all() and (model.norm0.weight == 1).all()
    assert (model.norm1.weight == 7).all()  # nothing is drawn again
    assert [record.levelno for record in log_records] == [logging.WARNING]
    assert 'norm0.weight' in log_records[0].getMessage()


def test_init_weights_of_the_model_around_it_leaves_the_backbone(tiny_arch, log_records):
    class Detector(BaseModule):
        def __init__(self):
            super().__init__()
            self.backbone = ConvNeXt(tiny_arch)

    model = Detector()
    model.backbone.init_weights()  # as after loading weights by hand
    before = copy.deepcopy(model.backbone.state_dict())
    model.init_weights()
    changed = [k for k, v in model.backbone.state_dict().items() if not torch.equal(v, before[k])]
    assert changed == []
    assert sum('ConvNeXt v1, depths' in record.getMessage() for record in log_records) == 1


def test_other_initializers_of_mmengine_work(tiny_arch):
    init_cfg = dict(type='Constant', layer='Linear', val=0.5, bias=0.25)
    model = ConvNeXt(tiny_arch, init_cfg=init_cfg)
    model.init_weights()
    assert (model.stages[0][0].pwconv1.weight == 0.5).all()
    assert (model.stages[0][0].pwconv1.bias == 0.25).all()
    assert (model.stages[0][0].dwconv.weight != 0.5).all()


@pytest.mark.parametrize('frozen', [-1, 2])
def test_fuse_is_for_evaluation_and_train_undoes_it(frozen, tiny_arch):
    model = ConvNeXt(tiny_arch, frozen_stages=frozen)
    blocks = [block for stage in model.stages for block in stage]
    assert len(blocks) == 5 and {block._folded for block in blocks} == {None}
    assert model.fuse() is model and not any(module.training for module in model.modules())
    assert [block._folded for block in blocks] == [{}] * 5
    model.train()
    assert {block._folded for block in blocks} == {None}


# --- copies and conversions -----------------------------------------------------------------------


@pytest.mark.parametrize('version', ['v1', 'v2'])
@pytest.mark.parametrize(
    'clone', [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=['deepcopy', 'pickle']
)
def test_copies_are_equal_and_independent(clone, version, tiny_arch):
    model = make(tiny_arch, version, frozen_stages=1, drop_path_rate=0.5).train()
    twin = clone(model)
    x = torch.randn(2, 3, 32, 32)
    outputs = []
    for net in (model, twin):
        torch.manual_seed(1)
        outputs.append(net(x))
    for actual, expected in zip(*outputs, strict=True):
        assert torch.equal(actual, expected)
    with torch.no_grad():
        for param in twin.parameters():
            param.add_(1)
    assert not torch.equal(model(x)[0], twin(x)[0])
    assert [p.requires_grad for p in twin.parameters()] == [
        p.requires_grad for p in model.parameters()
    ]


@pytest.mark.parametrize('version', ['v1', 'v2'])
def test_state_dict_round_trip(version, tiny_arch):
    model, other = make(tiny_arch, version), make(tiny_arch, version)
    x = torch.randn(1, 3, 40, 40)
    assert not torch.equal(model(x)[3], other(x)[3])
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(x)[3], other(x)[3])


@pytest.mark.parametrize(
    ('norm', 'convert'),
    [
        # what mmengine's Runner does without distributed training
        ('SyncBN', revert_sync_batchnorm),
        # and with `sync_bn='torch'`
        ('BN', nn.SyncBatchNorm.convert_sync_batchnorm),
    ],
)
def test_batch_norms_survive_the_conversions_of_the_runner(norm, convert, tiny_arch):
    model = make(tiny_arch, design=dict(norm=norm)).eval()
    for name, buffer in model.named_buffers():
        if name.endswith('running_mean'):
            nn.init.normal_(buffer)
    x = torch.randn(1, 3, 64, 96)
    expected, names = model(x), list(model.state_dict())
    converted = convert(model).eval()
    assert list(converted.state_dict()) == names
    for actual, wanted in zip(converted(x), expected, strict=True):
        torch.testing.assert_close(actual, wanted)
