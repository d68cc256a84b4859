# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: arguments that mean the same are accepted, others are errors with the line to write."""

import inspect
import re

import pytest
import torch
from mmengine import Config
from mmengine.registry import MODELS
from torch import nn

from mmconvnext.models import ConvNeXt, Design
from mmconvnext.models.spellings import TABLE, translate

SMALL = dict(depths=[1, 1, 2, 1], channels=[8, 16, 32, 64])
META = dict(depths=[1, 1, 2, 1], dims=[8, 16, 32, 64])
PRETRAINED = dict(type='Pretrained', checkpoint='a.pth')


def refusal(foreign: dict, given: dict | None = None) -> str:
    with pytest.raises(ValueError) as error:
        translate(foreign, given or {})
    return str(error.value)


def line_of(message: str) -> dict:
    """The backbone in the line to write."""
    return eval(re.search(r'^Write backbone=(.*)$', message, re.MULTILINE)[1], {'dict': dict})


# Taken

TAKEN = [
    # mmpretrain
    (dict(use_grn=True), dict(layer_scale_init_value=0.0), dict(version='v2')),
    (dict(use_grn=True), {}, dict(version='v2', layer_scale_init_value=1e-6)),
    (dict(use_grn=False), {}, dict(version='v1')),
    (dict(norm_cfg=dict(type='LN2d', eps=1e-6)), {}, {}),
    (dict(norm_cfg=dict(type='LN2d')), {}, dict(design=dict(norm_eps=1e-5))),
    (dict(norm_cfg=dict(type='LN', eps=1e-3)), {}, dict(design=dict(norm_eps=1e-3))),
    (dict(norm_cfg=dict(type='BN', requires_grad=True)), {}, dict(design=dict(norm='BN'))),
    (dict(norm_cfg=dict(type='mmpretrain.SyncBN')), {}, dict(design=dict(norm='SyncBN'))),
    (dict(norm_cfg=dict(type=nn.BatchNorm2d)), {}, dict(design=dict(norm='BN'))),
    (dict(act_cfg=dict(type='GELU')), {}, {}),
    (dict(act_cfg=dict(type='ReLU', inplace=True)), {}, dict(design=dict(act='ReLU'))),
    (dict(act_cfg=dict(type='Swish')), {}, dict(design=dict(act='SiLU'))),
    (dict(act_cfg=dict(type=nn.SiLU)), {}, dict(design=dict(act='SiLU'))),
    (
        dict(act_cfg=dict(type='GELU', approximate='tanh')),
        {},
        dict(design=dict(act='GELU_tanh')),
    ),
    (dict(stem_patch_size=4), {}, {}),
    (dict(stem_patch_size=2), {}, dict(design=dict(stem_patch_size=2))),
    (dict(linear_pw_conv=True), {}, {}),
    (dict(linear_pw_conv=False), {}, {}),
    (dict(use_grn=True, linear_pw_conv=True), dict(frozen_stages=2), None),
    # Meta
    (dict(in_chans=4), {}, dict(in_channels=4)),
    (META, {}, dict(arch=SMALL)),
    (dict(depths=[3, 3, 27, 3], dims=[96, 192, 384, 768]), {}, dict(arch='small')),
    (
        dict(depths=(3, 3, 27, 3), dims=(96, 192, 384, 768)),
        dict(version='v2'),
        dict(arch=dict(depths=[3, 3, 27, 3], channels=[96, 192, 384, 768])),
    ),
    (
        dict(depths=[3, 3, 27, 3], dims=[96, 192, 384, 768], use_grn=True),
        {},
        dict(
            arch=dict(depths=[3, 3, 27, 3], channels=[96, 192, 384, 768]),
            version='v2',
            layer_scale_init_value=1e-6,
        ),
    ),
    (
        dict(depths=[3, 3, 27, 3], hidden_sizes=[352, 704, 1408, 2816]),
        dict(version='v2'),
        dict(arch='huge'),
    ),
    (dict(in_chans=4), dict(frozen_stages=0), dict(in_channels=4)),
    # timm
    (dict(ls_init_value=None), {}, dict(layer_scale_init_value=0.0)),
    (dict(ls_init_value=1.0), {}, dict(layer_scale_init_value=1.0)),
    (
        dict(use_grn=True, ls_init_value=None),
        {},
        dict(version='v2', layer_scale_init_value=0.0),
    ),
    (dict(kernel_sizes=7), {}, {}),
    (dict(kernel_sizes=(3, 3, 3, 3)), {}, dict(design=dict(kernel_size=3))),
    (dict(patch_size=4), {}, {}),
    (dict(norm_layer=None), {}, {}),
    (dict(norm_layer='layernorm2d'), {}, {}),
    (dict(norm_layer='layernorm', norm_eps=1e-5), {}, dict(design=dict(norm_eps=1e-5))),
    (dict(norm_layer='BN2d'), {}, dict(design=dict(norm='BN'))),
    (dict(act_layer='gelu_tanh'), {}, dict(design=dict(act='GELU_tanh'))),
    (dict(conv_mlp=True, conv_bias=True, features_only=True, stem_type='patch'), {}, {}),
    (dict(output_stride=32, pretrained=False, checkpoint_path=''), {}, {}),
    # transformers
    (
        dict(num_channels=1, depths=[1, 2], hidden_sizes=[8, 16], num_stages=2),
        {},
        dict(in_channels=1, arch=dict(depths=[1, 2], channels=[8, 16])),
    ),
    (
        dict(patch_size=(8, 8), num_channels=3),
        {},
        dict(in_channels=3, design=dict(stem_patch_size=8)),
    ),
    (dict(hidden_act='gelu_pytorch_tanh'), {}, dict(design=dict(act='GELU_tanh'))),
    (dict(num_stages=4), dict(arch='base'), {}),
    (dict(num_stages=4), {}, {}),
    (dict(num_stages=2), dict(arch=dict(depths=[1, 2], channels=[8, 16])), {}),
    (dict(out_features=['stage2', 'stage4']), {}, dict(out_indices=(1, 3))),
    # mmseg, mmdet, torchvision, forks
    (dict(pretrained=None), dict(init_cfg=PRETRAINED), {}),
    (dict(pretrained='a.pth'), {}, dict(init_cfg=PRETRAINED)),
    (dict(pretrained='a.pth'), dict(init_cfg=None), dict(init_cfg=PRETRAINED)),
    (
        dict(pretrained='open-mmlab://convnext-tiny'),
        {},
        dict(init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://convnext-tiny')),
    ),
    (dict(norm_eval=False), {}, {}),
    (dict(use_checkpoint=True), {}, dict(with_cp=True)),
    (dict(use_checkpoint=False), {}, dict(with_cp=False)),
    (dict(checkpoint_path=None), {}, {}),
    (dict(kernel_sizes=[7, 5, 5, 3]), {}, dict(design=dict(kernel_size=(7, 5, 5, 3)))),
    (dict(stem_type='overlap_act'), {}, dict(design=dict(stem='overlap_act'))),
    (dict(stem_type='overlap'), {}, dict(design=dict(stem='overlap'))),
    (dict(stochastic_depth_prob=0.4), {}, dict(drop_path_rate=0.4)),
    (dict(layer_scale=1e-6), {}, dict(layer_scale_init_value=1e-6)),
    # together with a design
    (
        dict(norm_cfg=dict(type='BN'), stem_patch_size=2),
        dict(design=dict(kernel_size=3)),
        dict(design=dict(kernel_size=3, norm='BN', stem_patch_size=2)),
    ),
    (
        dict(norm_cfg=dict(type='BN')),
        dict(design=Design(act='ReLU')),
        dict(design=dict(act='ReLU', norm='BN')),
    ),
    (dict(norm_eps=1e-5), dict(design=dict(norm='BN')), {}),
    (
        dict(norm_eps=1e-6),
        dict(design=dict(norm='BN')),
        dict(design=dict(norm='BN', norm_eps=1e-6)),
    ),
    (dict(in_chans=4), dict(in_channels=4), dict(in_channels=4)),
]


@pytest.mark.parametrize(('foreign', 'given', 'ours'), TAKEN)
def test_what_means_the_same_is_taken(foreign, given, ours):
    before = str((foreign, given))
    if ours is None:
        ours = dict(version='v2', layer_scale_init_value=1e-6)
    assert translate(foreign, given) == ours
    assert str((foreign, given)) == before


PORTED = [
    # backbones of public configs, with a smaller arch: mmpretrain's V1 and V2, then Meta's
    (
        dict(
            arch=SMALL,
            in_channels=3,
            use_grn=True,
            drop_path_rate=0.0,
            layer_scale_init_value=0.0,
            stem_patch_size=4,
            norm_cfg=dict(type='LN2d', eps=1e-6),
            act_cfg=dict(type='GELU'),
            linear_pw_conv=True,
            with_cp=False,
            out_indices=[0, 1, 2, 3],
        ),
        dict(arch=SMALL, version='v2'),
    ),
    (
        dict(
            in_chans=3,
            **META,
            drop_path_rate=0.4,
            layer_scale_init_value=1.0,
            out_indices=[0, 1, 2, 3],
        ),
        dict(arch=SMALL, drop_path_rate=0.4, layer_scale_init_value=1.0),
    ),
    (
        dict(arch=SMALL, out_indices=(2, 3), norm_cfg=dict(type='BN'), act_cfg=dict(type='ReLU')),
        dict(arch=SMALL, out_indices=(2, 3), design=dict(norm='BN', act='ReLU')),
    ),
]


@pytest.mark.parametrize(('theirs', 'ours'), PORTED)
def test_a_ported_backbone_is_the_same_network(theirs, ours):
    torch.manual_seed(1)
    ported = MODELS.build(dict(type='mmconvnext.ConvNeXt', **theirs)).eval()
    torch.manual_seed(1)
    written = MODELS.build(dict(type='mmconvnext.ConvNeXt', **ours)).eval()
    image = torch.randn(1, 3, 64, 64)
    assert list(ported.state_dict()) == list(written.state_dict())
    assert ported.design == written.design
    for a, b in zip(ported(image), written(image)):
        assert torch.equal(a, b)


def test_arguments_of_ours_are_untouched(tiny_arch):
    """Neither the signature nor positions change, and no other argument is inspected."""
    names = list(inspect.signature(ConvNeXt).parameters)
    assert names[:3] == ['arch', 'version', 'in_channels'] and 'kwargs' not in names

    class Mine(ConvNeXt):
        def __init__(self, extra, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.extra = extra

    mine = Mine(1, tiny_arch, 'v2', in_chans=2, design=Design(act='ReLU'))
    assert (mine.extra, mine.version, mine.in_channels) == (1, 'v2', 2)
    assert mine.design == Design(act='ReLU')
    assert 'grn.gamma' in ''.join(mine.state_dict())
    with pytest.raises(TypeError, match='too many positional arguments'):
        ConvNeXt(tiny_arch, 'v1', 3)


# Refused

REFUSED = [
    (dict(ls_init_value=0.0), {}, 'starts at 0; write None for no layer scale, or a pos'),
    # values that contradict each other
    (
        dict(use_grn=False),
        dict(version='v2'),
        "use_grn, here version='v1', contradicts version='v2'",
    ),
    (dict(use_grn=True), dict(version='v1'), "here version='v2', contradicts version='v1'"),
    (dict(in_chans=3), dict(in_channels=4), 'in_channels=3, contradicts in_channels=4'),
    (
        dict(norm_cfg=dict(type='LN2d')),
        dict(design=dict(norm='BN')),
        "norm_cfg, here design.norm='LN', contradicts design.norm='BN'",
    ),
    (
        dict(norm_cfg=dict(type='LN2d', eps=1e-6)),
        dict(design=dict(norm_eps=1e-5)),
        'design.norm_eps=1e-06, contradicts design.norm_eps=1e-05',
    ),
    (
        dict(stem_patch_size=2, patch_size=4),
        {},
        'patch_size, here design.stem_patch_size=4, contradicts design.stem_patch_size=2',
    ),
    # what we do not have, with what there is
    (dict(norm_cfg=dict(type='GN', num_groups=2)), {}, r"norm 'GN' is not supported; .*\['LN'"),
    (dict(act_cfg=dict(type='HSwish')), {}, r"activation 'HSwish' is not supported; .*\['GELU'"),
    (dict(act_cfg=dict(type='ReLU', negative_slope=1)), {}, "'ReLU', negative_slope=1 is not"),
    (dict(use_grn='yes'), {}, 'it must be True or False'),
    (dict(use_checkpoint=1), {}, 'it must be True or False'),
    (dict(stem_type='conv'), {}, r"choose one of \['patch'"),
    (dict(model_name='resnet50'), {}, 'no ConvNeXt of this name can be built here'),
    (dict(model_name='convnext_atto_rms'), {}, 'no ConvNeXt of this name'),
    (dict(out_features=['stem', 'stage4']), {}, 'not the stem'),
    # what would still be wrong in the line
    (dict(depths=[1, 1]), {}, 'arch has 2 depths .* but 4 channels'),
    (dict(model_name='convnext_small', pretrained=False), dict(version='v2'), 'never published'),
    (dict(kernel_sizes=[3, 7], num_classes=9), {}, 'one for each of the 4 stages, got .3, 7.'),
    (dict(patch_size=(2, 4)), {}, r'must be a positive integer, got \(2, 4\)'),
    (dict(num_stages=4, image_size=9), dict(arch=['tiny']), r"arch=\['tiny'\] is unknown"),
    (dict(num_stages=4, depths=5), {}, "'depths'. must be a list .* got 5"),
    # a design that is wrong by itself
    (dict(in_chans=3), dict(design=dict(norm='GN')), "design.norm='GN' is unknown"),
]


@pytest.mark.parametrize(('foreign', 'given', 'match'), REFUSED)
def test_what_the_user_has_to_choose(foreign, given, match):
    message = refusal(foreign, given)
    assert re.search(match, message), message
    assert 'Write' not in message


def test_a_patch_size_of_timm_says_what_differs_here():
    message = refusal(dict(model_name='convnext_tiny', patch_size=2, in_chans=3))
    assert 'so that the last map has stride 32; here, as in transformers, every' in message


def test_stages_of_an_unknown_arch_are_not_counted():
    message = refusal(dict(num_stages=4, image_size=9), dict(arch='resnet50'))
    assert "arch='resnet50' is unknown" in message and 'stages' not in message


PLAIN = dict(type='mmconvnext.ConvNeXt')
LINES = [
    # mmpretrain
    (
        dict(norm_cfg=dict(type='BN', requires_grad=False)),
        {},
        'norms alone cannot be frozen',
        dict(design=dict(norm='BN')),
    ),
    (
        dict(norm_cfg=dict(type='BN', momentum=0.01)),
        {},
        r"\['momentum'\] cannot be set",
        dict(design=dict(norm='BN')),
    ),
    (
        dict(use_grn=True, norm_cfg=dict(type='LN2d', eps=1e-6)),
        dict(arch='base', layer_scale_init_value=0.0, frozen_stages=0),
        'frozen_stages=0: the config seems to be for mmpretrain, where 0 freezes nothing; here, as '
        'in mmdet, 0 freezes the stem and -1 nothing',
        dict(arch='base', layer_scale_init_value=0.0, frozen_stages=-1, version='v2'),
    ),
    (
        {},
        dict(gap_before_final_norm=False, frozen_stages=0),
        'frozen_stages=0: the config seems to be for mmpretrain',
        dict(gap_before_final_norm=False, frozen_stages=-1),
    ),
    (
        dict(use_grn=False),
        dict(frozen_stages=0),
        'frozen_stages=0: the config seems to be for mmpretrain',
        dict(frozen_stages=-1, version='v1'),
    ),
    (
        dict(linear_pw_conv=True),
        dict(frozen_stages=0),
        'frozen_stages=0: the config seems to be for mmpretrain',
        dict(frozen_stages=-1),
    ),
    # Meta
    (dict(depths=[3, 3, 27, 3]), {}, 'the widths default to those of tiny', dict(arch='small')),
    (dict(dims=[96, 192, 384, 768]), {}, 'depths default to those of tiny', dict(arch='tiny')),
    (META, dict(arch='tiny'), 'arch sets the size as well', dict(arch=SMALL)),
    (
        dict(num_classes=1000, head_init_scale=1.0),
        dict(arch='tiny'),
        r'num_classes=1000 \(Meta, timm\): a backbone has no classifier',
        dict(arch='tiny'),
    ),
    # timm
    (
        dict(model_name='convnext_tiny.fb_in1k', features_only=True, pretrained=True),
        dict(out_indices=(0, 1, 2, 3)),
        'Here each map has an output norm, unlike in timm',
        dict(
            out_indices=(0, 1, 2, 3),
            arch='tiny',
            init_cfg=dict(type='Pretrained', checkpoint='timm/convnext_tiny.fb_in1k'),
        ),
    ),
    (
        dict(model_name='convnextv2_base', features_only=True, pretrained=True),
        {},
        "the closest names of weights are .'timm/convnextv2_base.fcmae'",
        dict(arch='base', version='v2', init_cfg=dict(type='Pretrained', checkpoint='...')),
    ),
    (
        dict(model_name='convnext_atto.d2_in1k'),  # mmseg's wrapper loads weights by default
        {},
        'it names both the size and the weights',
        dict(
            arch='atto',
            init_cfg=dict(type='Pretrained', checkpoint='timm/convnext_atto.d2_in1k'),
        ),
    ),
    (
        dict(pretrained=True, checkpoint_path='a.pth'),
        {},
        r"^ConvNeXt does not accept\n- checkpoint_path='a.pth' \(timm\): .*\nWrite",
        dict(init_cfg=PRETRAINED),
    ),
    (
        dict(model_name='convnext_tiny', pretrained=False),
        dict(in_channels=4),
        'it names both the size and the weights',
        dict(in_channels=4, arch='tiny'),
    ),
    (
        dict(model_name='convnext_tiny', checkpoint_path='a.pth'),
        {},
        'init_cfg names the weights',
        dict(arch='tiny', init_cfg=PRETRAINED),
    ),
    (
        dict(model_name='convnext_tiny'),
        dict(init_cfg=PRETRAINED),
        'it names both the size and the weights',
        dict(init_cfg=PRETRAINED, arch='tiny'),
    ),
    (
        dict(patch_size=2),
        {},
        'patch_size=2: in timm later strides change with it',
        dict(design=dict(stem_patch_size=2)),
    ),
    (dict(features_only=False), {}, 'no classifier', {}),
    (dict(conv_bias=False), {}, 'all convolutions have a bias', {}),
    (dict(output_stride=16), {}, 'cannot be dilated', {}),
    # transformers
    (
        dict(num_channels=3, hidden_sizes=[96, 192, 384, 768], depths=[3, 3, 9, 3]),
        dict(out_indices=[1, 2, 3, 4]),
        'where 0 is the stem',
        dict(out_indices=[0, 1, 2, 3], in_channels=3, arch='tiny'),
    ),
    (dict(num_stages=3), dict(arch='tiny'), 'the arch has 4 stages', dict(arch='tiny')),
    (dict(layer_norm_eps=1e-12), {}, 'classifier only; the maps use design.norm_eps', {}),
    (dict(image_size=224), {}, 'the backbone accepts any size', {}),
    # mmseg and others
    (
        dict(pretrained='open-mmlab://resnet50_v1c'),
        {},
        r'weights of another network.* model = dict\(pretrained=None, ...\), or '
        'model.pretrained = None',
        {},
    ),
    (
        dict(pretrained='b.pth'),
        dict(init_cfg=PRETRAINED),
        'init_cfg names weights too.* model.pretrained = None',
        dict(init_cfg=PRETRAINED),
    ),
    (
        dict(pretrained=True),
        dict(arch='base', version='v2'),
        "weights need a name here, such as .'convnext-v2-base_fcmae",
        dict(
            arch='base',
            version='v2',
            init_cfg=dict(type='Pretrained', checkpoint='...'),
        ),
    ),
    (dict(pretrained=dict(a=1)), {}, 'a path, a URL or a short name', {}),
    (dict(norm_eval=True), {}, 'LayerNorm has no running statistics', {}),
    # names of sizes
    ({}, dict(arch='convnext_tiny'), "arch='convnext_tiny': .* only the size", dict(arch='tiny')),
    ({}, dict(arch='T'), "arch='T'", dict(arch='tiny')),
    (
        {},
        dict(arch='convnextv2_tiny', drop_path_rate=0.1),
        "arch='convnextv2_tiny'",
        dict(arch='tiny', drop_path_rate=0.1, version='v2'),
    ),
    (
        {},
        dict(arch='facebook/convnext-tiny-224'),
        'only the size',
        dict(
            arch='tiny',
            init_cfg=dict(type='Pretrained', checkpoint='hf/facebook/convnext-tiny-224'),
        ),
    ),
    (
        {},
        dict(arch='facebook/convnext-tiny-224', init_cfg=PRETRAINED),
        'only the size',
        dict(arch='tiny', init_cfg=PRETRAINED),
    ),
    (
        dict(num_classes=9),
        dict(init_cfg={'type': 'Pretrained', 'map-to': 'cpu'}),  # which dict() cannot name
        'no classifier',
        dict(init_cfg={'type': 'Pretrained', 'map-to': 'cpu'}),
    ),
    (
        dict(num_classes=9),
        dict(design=Design(act='ReLU', kernel_size=5)),
        'no classifier',
        dict(design=dict(act='ReLU', kernel_size=5)),
    ),
]


@pytest.mark.parametrize(('foreign', 'given', 'match', 'line'), LINES)
def test_an_error_has_the_line_to_write(foreign, given, match, line):
    message = refusal(foreign, given)
    assert re.search(match, message), message
    assert line_of(message) == {**PLAIN, **line}


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('linear_pw_conv', 1),
        ('conv_mlp', 0),
        ('conv_bias', 1),
        ('features_only', 1),
        ('norm_eval', 0),
        ('output_stride', 32.0),
        ('output_stride', 8),
    ],
)
def test_a_value_that_only_equals_the_accepted_one_is_no_such_value(name, value):
    assert line_of(refusal({name: value})) == PLAIN


@pytest.mark.parametrize(
    ('given', 'nearest'),
    [
        ({}, 'convnext-tiny_'),
        (dict(version='v2'), 'convnext-v2-tiny_'),
        (dict(arch='base'), 'convnext-base_'),
    ],
    ids=str,
)
def test_weights_that_were_asked_for_without_a_name(given, nearest):
    message = refusal(dict(pretrained=True), given)
    assert re.search(rf"need a name here, such as \['{nearest}", message), message
    assert line_of(message)['init_cfg'] == dict(type='Pretrained', checkpoint='...')
    message = refusal(dict(pretrained=True), {**given, 'init_cfg': PRETRAINED})
    assert line_of(message) == {**PLAIN, **given, 'init_cfg': PRETRAINED}


CLASSIFIER = ('num_classes', 'head_init_scale', 'drop_rate', 'global_pool', 'head_norm_first')


@pytest.mark.parametrize('name', [*CLASSIFIER, 'head_hidden_size'])
def test_a_backbone_has_no_classifier(name):
    message = refusal({name: 0})
    assert f'{name}=0' in message and 'a backbone has no classifier' in message
    assert line_of(message) == PLAIN


def test_every_row_is_tried():
    tried = {name for case in (*TAKEN, *REFUSED, *LINES) for name in case[0]}
    assert tried | {*CLASSIFIER, 'head_hidden_size'} == set(TABLE)


def test_all_faults_are_told_at_once():
    message = refusal(dict(num_classes=10, conv_bias=False), dict(arch='T', in_channels=1))
    for part in ('num_classes=10', 'conv_bias=False', "arch='T'"):
        assert f'\n- {part}' in message
    assert line_of(message) == {**PLAIN, 'arch': 'tiny', 'in_channels': 1}


def test_false_is_no_number_of_stages(tiny_arch):
    with pytest.raises(ValueError, match='frozen_stages=False is out of range'):
        ConvNeXt(tiny_arch, gap_before_final_norm=False, frozen_stages=False)


def test_the_line_can_be_built(tiny_arch):
    message = refusal(dict(num_classes=10, in_chans=2), dict(arch=tiny_arch, drop_path_rate=0.1))
    assert MODELS.build(line_of(message)).in_channels == 2


def test_an_argument_that_nobody_has(tiny_arch):
    with pytest.raises(TypeError) as error:
        ConvNeXt(tiny_arch, drop_path=0.1, depth=50, style='pytorch', in_chans=3)
    message = str(error.value)
    assert "unexpected keyword arguments ['drop_path', 'depth', 'style']" in message
    assert 'did you mean drop_path_rate for drop_path?' in message
    assert "Its arguments are ['arch', 'version', 'in_channels'" in message
    assert "backbone=dict(_delete_=True, type='mmconvnext.ConvNeXt', ...)" in message


def test_delete_that_update_left(tiny_arch):
    model = Config(dict(backbone=dict(type='ResNet', depth=50)))
    own = dict(_delete_=True, type='mmconvnext.ConvNeXt', arch=tiny_arch)
    updated = model.copy().backbone
    updated.update(own)
    with pytest.raises(TypeError, match=r'write model\.merge\(dict\(backbone=dict'):
        MODELS.build(updated)
    model._cfg_dict.merge(dict(backbone=own))
    assert MODELS.build(model.backbone).in_channels == 3


def test_configs_of_the_field(tiny_arch):
    """Nested dicts of a config are read as dicts, and the config stays unchanged."""
    backbone = Config(
        dict(
            type='mmconvnext.ConvNeXt',
            arch=tiny_arch,
            norm_cfg=dict(type='BN'),
            design=dict(act='ReLU'),
        )
    )
    before = backbone.pretty_text
    assert MODELS.build(backbone).design == Design(norm='BN', act='ReLU')
    assert backbone.pretty_text == before
