# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: every published format becomes the same network, and can be written back bit by bit.

`tests/data/sources` holds weights and feature maps produced by the sources' own code;
`tests/data/keys` holds the names and shapes of their tiny models. Both say how they were made.
"""

import re
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from mmconvnext import ConvNeXt
from mmconvnext.checkpoint import zoo
from mmconvnext.checkpoint.errors import CheckpointMismatch
from mmconvnext.checkpoint.formats import detect, find_network, from_native, to_native
from mmconvnext.checkpoint.tables import FORMATS

DATA = Path(__file__).resolve().parents[1] / 'data'
ARCH = dict(depths=[1, 1, 2, 1], channels=[4, 8, 12, 16])  # of tests/data/sources

# family: (format, prefix, version); the keys are of tiny, where not said otherwise.
FAMILIES = {
    'meta_v1': ('meta', '', 'v1'),
    'meta_v2': ('meta', '', 'v2'),
    'meta_fcmae': ('meta', '', 'v2'),
    'meta_fcmae_sparse': ('meta-sparse', 'encoder.', 'v2'),
    'dinov3': ('meta', '', 'v1'),
    'mmpretrain_v1': ('mmpretrain', 'backbone.', 'v1'),
    'mmpretrain_v2': ('mmpretrain', 'backbone.', 'v2'),
    'mmpretrain_v2_scale': ('mmpretrain', 'backbone.', 'v2'),
    'timm_v1': ('timm', '', 'v1'),
    'timm_v1_conv_mlp': ('timm-conv', '', 'v1'),
    'timm_hnf': ('timm-conv', '', 'v1'),
    'timm_v2': ('timm', '', 'v2'),
    'timm_features': ('timm-features', '', 'v1'),
    'timm_ols': ('timm-conv', '', 'v1'),
    'timm_ols_tiered': ('timm-conv', '', 'v1'),
    'timm_rms': ('timm-conv', '', 'v1'),
    'timm_rms_ols': ('timm-conv', '', 'v1'),
    'timm_test': ('timm', '', 'v1'),
    'timm_test3': ('timm', '', 'v1'),
    'openclip': ('timm', 'visual.trunk.', 'v1'),
    'torchvision': ('torchvision', '', 'v1'),
    'hf_v1': ('hf', 'convnext.', 'v1'),
    'hf_v2': ('hf', 'convnextv2.', 'v2'),
    'hf_backbone': ('hf', '', 'v1'),
    'hf_dinov3': ('hf-dinov3', '', 'v1'),
}
ZEPTO = dict(depths=[2, 2, 4, 2], channels=[32, 64, 128, 256])
KEYS_ARCH = {
    'timm_v1_conv_mlp': 'nano',
    'timm_ols': 'nano',
    'timm_ols_tiered': 'atto',
    'timm_rms': ZEPTO,
    'timm_rms_ols': ZEPTO,
    'timm_test': dict(depths=[1, 2, 4, 2], channels=[24, 32, 48, 64]),
    'timm_test3': dict(depths=[1, 1, 1, 1], channels=[32, 64, 96, 128]),
}
# The settings that build these networks, where they differ from the paper's defaults.
BUILT = {
    'mmpretrain_v2_scale': dict(layer_scale_init_value=1e-6),
    'timm_ols': dict(design=dict(stem='overlap')),
    'timm_ols_tiered': dict(design=dict(stem='overlap_tiered')),
    'timm_rms': dict(design=dict(norm='SimpleNorm')),
    'timm_rms_ols': dict(design=dict(stem='overlap_act', norm='SimpleNorm')),
    'timm_test': dict(design=dict(norm_eps=1e-5, act='GELU_tanh')),
    'timm_test3': dict(design=dict(kernel_size=[7, 5, 5, 3], norm_eps=1e-5, act='SiLU')),
}
# Told from other networks of these names by channels that the small ones do not have.
BY_CHANNELS = ('timm_rms', 'timm_rms_ols', 'timm_test')


def source(family: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The weights under the source's names, and 'image', 'map0' to 'map3'."""
    with safe_open(DATA / 'sources' / f'{family}.safetensors', 'pt') as file:
        content = {name: file.get_tensor(name) for name in file.keys()}
    weights = {k.removeprefix('weights/'): v for k, v in content.items() if k[:8] == 'weights/'}
    return weights, {k: v for k, v in content.items() if k[:8] != 'weights/'}


def keys(family: str) -> dict[str, Tensor]:
    """The published names, each with an empty tensor of its shape."""
    lines = (DATA / 'keys' / f'{family}.txt').read_text().splitlines()
    rows = (line.split() for line in lines if line and not line.startswith('#'))
    return {
        name: torch.empty([int(n) for n in shape.split('x') if n != 'scalar'], device='meta')
        for name, shape in rows
    }


def build(family: str, arch: object = ARCH) -> ConvNeXt:
    return ConvNeXt(arch, FAMILIES[family][2], **BUILT.get(family, {})).eval()


def raw_maps(backbone: ConvNeXt, image: Tensor) -> list[Tensor]:
    """The output of each stage before its norm, which all sources have."""
    maps = []
    for downsample, stage in zip(backbone.downsample_layers, backbone.stages):
        image = stage(downsample(image))
        maps.append(image)
    return maps


def inside(weights: dict, prefix: str) -> dict:
    return {k[len(prefix) :]: v for k, v in weights.items() if k.startswith(prefix)}


def test_every_source_has_its_row():
    assert {p.stem for p in (DATA / 'sources').glob('*.safetensors')} == set(FAMILIES)
    assert {p.stem for p in (DATA / 'keys').glob('*.txt')} == set(FAMILIES)
    assert {name for name, _, _ in FAMILIES.values()} == set(FORMATS) - {'native'}


# Families whose names the published files of a source have.
PUBLISHERS = {
    ('Meta', 'v1'): ['meta_v1'],
    ('Meta', 'v2'): ['meta_v2', 'meta_fcmae'],
    ('OpenMMLab', 'v1'): ['mmpretrain_v1'],
    ('OpenMMLab', 'v2'): ['mmpretrain_v2'],
    ('timm', 'v1'): [name for name in FAMILIES if re.match('timm_(v1|hnf|ols|rms|test)', name)],
    ('timm', 'v2'): ['timm_v2'],
    ('Hugging Face', 'v1'): ['hf_v1'],
    ('Hugging Face', 'v2'): ['hf_v2'],
    ('torchvision', 'v1'): ['torchvision'],
    ('Meta DINOv3', 'v1'): ['dinov3', 'hf_dinov3'],
    ('OpenCLIP', 'v1'): ['openclip'],
}


def test_the_names_of_every_publisher_are_tried():
    """test_zoo checks that the sizes of all their files are those of networks that can be built."""
    assert {(row.source, row.version) for row in zoo.published().values()} == set(PUBLISHERS)
    assert {name for names in PUBLISHERS.values() for name in names} <= set(FAMILIES)


@pytest.mark.parametrize('family', FAMILIES)
def test_same_maps_as_the_source(family):
    weights, expected = source(family)
    if family in BY_CHANNELS:
        weights = to_native(weights, FORMATS[FAMILIES[family][0]]).tensors
    backbone = build(family)
    backbone.load_state_dict(weights)
    with torch.no_grad():
        maps = raw_maps(backbone, expected['image'])
    for i, value in enumerate(maps):
        torch.testing.assert_close(value, expected[f'map{i}'], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('family', BUILT)
def test_the_error_of_a_plain_backbone_has_the_line_that_loads(family):
    weights = {name: torch.randn(value.shape) for name, value in keys(family).items()}
    with pytest.raises(CheckpointMismatch, match=r'; set .*') as error:
        ConvNeXt('femto').load_state_dict(weights)
    line = str(error.value).partition('; set ')[2].partition(', or use')[0]
    told = eval(f'dict({line})')
    arch = told.pop('arch')
    assert arch == KEYS_ARCH.get(family, 'tiny')
    assert told == {'version': FAMILIES[family][2], **BUILT[family]}
    backbone = ConvNeXt(arch, **told)
    backbone.load_state_dict(weights)
    native = to_native(inside(weights, FAMILIES[family][1]), FORMATS[FAMILIES[family][0]])
    for name, value in backbone.state_dict().items():
        assert name.startswith('norm') or torch.equal(value, native.tensors[name]), name


def test_a_prefix_is_made_of_whole_names():
    name = 'stages.0.0.dwconv.weight'
    weights = {f'{at}{name}': torch.ones(1) for at in ('a.', 'ab.', 'ab.c.', 'x.y.')}
    for prefix in ('a', 'a.'):
        network = find_network(weights, prefix)
        assert (network.prefix, list(network.inside)) == ('a.', [name])
        assert list(network.outside) == [f'ab.{name}', f'ab.c.{name}', f'x.y.{name}']
    assert find_network(weights, 'x').prefix == find_network(weights, 'x.y').prefix == 'x.y.'
    for prefix, places in (
        ('ab', r"\['ab.', 'ab.c.'\]; choose one with prefix='ab.'"),
        ('', "'a.', "),
    ):
        with pytest.raises(CheckpointMismatch, match=f'prefixes .?{places}'):
            find_network(weights, prefix)
    with pytest.raises(CheckpointMismatch, match=r"no ConvNeXt with the prefix 'b\.' in any known"):
        find_network(weights, 'b')
    for prefix, at in (('b', 'b.'), ('b.', 'b.'), (None, ''), ('', '')):
        other = {'b.c.weight': torch.ones(1)}
        assert find_network(other, prefix, strict=False).prefix == at


def test_isotropic_networks_are_refused_by_name():
    # facebookresearch/ConvNeXt, models/convnext_isotropic.py
    names = ['stem.weight', 'blocks.0.dwconv.weight', 'blocks.0.pwconv1.weight', 'norm.weight']
    for prefix in ('', 'backbone.'):
        weights = {prefix + name: torch.ones(3) for name in names}
        with pytest.raises(CheckpointMismatch, match=r'isotropic ConvNeXt .* no pyramid; this pac'):
            ConvNeXt(ARCH).load_state_dict(weights)
    other = {'stages.0.blocks.0.dwconv.weight': torch.ones(3)}  # of some other network
    with pytest.raises(CheckpointMismatch, match='no ConvNeXt in any known format'):
        ConvNeXt(ARCH).load_state_dict(other)


def test_output_norms_of_a_foreign_backbone_are_kept():
    weights, expected = source('hf_backbone')
    backbone = ConvNeXt(ARCH).eval()
    backbone.load_state_dict(weights)
    with torch.no_grad():
        maps = backbone(expected['image'])
    for i, value in enumerate(maps):
        torch.testing.assert_close(value, expected[f'norm_map{i}'], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('family', FAMILIES)
def test_format_and_prefix_are_recognised_by_the_names(family):
    name, prefix, _ = FAMILIES[family]
    for weights in (source(family)[0], keys(family)):
        ((row, at),) = detect(weights)
        assert (row.name, at) == (name, prefix)
        deeper = {f'module.detector.{k}': v for k, v in weights.items()}
        assert detect(deeper) == [(row, f'module.detector.{prefix}')]


@pytest.mark.parametrize('family', FAMILIES)
def test_published_names_fill_the_published_size(family):
    name, prefix, _ = FAMILIES[family]
    with torch.device('meta'):
        own = build(family, KEYS_ARCH.get(family, 'tiny')).state_dict()
    native = to_native(inside(keys(family), prefix), FORMATS[name])
    assert native.unknown == []
    needed = {k: v.shape for k, v in own.items() if not k.startswith('norm')}
    assert {k: v.shape for k, v in native.tensors.items() if not k.startswith('norm')} == needed


@pytest.mark.parametrize('family', FAMILIES)
def test_round_trip_is_bitwise(family):
    name, prefix, _ = FAMILIES[family]
    weights = inside(source(family)[0], prefix)
    native = to_native(weights, FORMATS[name])
    back = from_native(native.tensors, FORMATS[name])
    assert set(back) == set(weights) - set(native.dropped)
    for key, value in back.items():
        if family != 'meta_fcmae':  # whose GRN has another layout than Meta's classifiers
            assert value.shape == weights[key].shape, key
        assert torch.equal(value.flatten(), weights[key].flatten()), key
    again = to_native(back, FORMATS[name])
    for key, value in native.tensors.items():
        assert torch.equal(again.tensors[key], value), key


BOTH = ('weight', 'bias')
# family: (the classifier's norm, what is dropped with it, what lies beside the network), all typed
# from the lists in tests/data/keys.
AROUND = {
    'meta_v1': ('norm', 'norm head', ''),
    'meta_v2': ('norm', 'norm head', ''),
    'meta_fcmae': ('', '', ''),
    'meta_fcmae_sparse': ('', '', 'mask_token proj decoder pred'),
    'dinov3': ('norm', 'norm norms.3', ''),
    'mmpretrain_v1': ('norm3', '', 'head.fc'),
    'mmpretrain_v2': ('norm3', '', 'head.fc'),
    'timm_v1': ('head.norm', 'head.norm head.fc', ''),
    'timm_v1_conv_mlp': ('head.norm', 'head.norm head.fc', ''),
    'timm_v2': ('head.norm', 'head.norm head.fc', ''),
    'timm_hnf': ('', 'norm_pre head.fc', ''),
    'timm_features': ('', '', ''),
    'openclip': ('head.norm', 'head.norm', ''),
    'torchvision': ('classifier.0', 'classifier.0 classifier.2', ''),
    'hf_v1': ('layernorm', 'layernorm', 'classifier'),
    'hf_v2': ('layernorm', 'layernorm', 'classifier'),
    'hf_backbone': ('', '', ''),
    'hf_dinov3': ('layer_norm', 'layer_norm', ''),
}
WITHOUT_HEAD = ('meta_fcmae', 'dinov3', 'timm_features', 'hf_backbone', 'hf_dinov3')


@pytest.mark.parametrize('family', AROUND)
def test_norm_head_and_decoder_of_each_source_are_known(family):
    norm, dropped, beside = AROUND[family]
    weights = source(family)[0]
    network = find_network({f'model.{k}': v for k, v in weights.items()})
    native = to_native(network.inside, network.row)
    assert network.prefix == f'model.{FAMILIES[family][1]}'
    parts = {part: f'{FAMILIES[family][1]}{norm}.{part}' for part in BOTH if norm}
    assert {k: v.data_ptr() for k, v in native.final_norm.items()} == {
        part: weights[name].data_ptr() for part, name in parts.items()
    }
    owned = {name: re.sub(r'\.(weight|bias)$', '', name) for name in native.dropped}
    assert set(owned.values()) == set(dropped.split())
    names = {name.removeprefix('model.') for name in network.beside}
    assert {name for name in weights if name.startswith(tuple(beside.split()) or '-')} == names
    assert network.has_head is (family not in WITHOUT_HEAD)
    assert native.unknown == []


BESIDE = ['head.fc.weight', 'head.layers.0.fc.bias', 'classifier.weight']
DECODER = [
    'norm.ln.bias',
    'head.bias',
    'mask_token',
    'proj.bias',
    'decoder.0.norm.bias',
    'pred.bias',
]


@pytest.mark.parametrize('name', FORMATS)
def test_heads_beside_the_network_are_its_own_and_all_else_is_a_models(name):
    row = FORMATS[name]
    inside = {'model.backbone.' + row.theirs('stages.0.0.dwconv.weight'): torch.ones(4, 1, 7, 7)}
    if row.marked_by:
        shape = (1,) * row.marked_by[1]
        inside['model.backbone.' + row.theirs(row.marked_by[0])] = torch.ones(shape)
    known = BESIDE + DECODER * (name == 'meta-sparse')
    for own in known:
        network = find_network({**inside, f'model.{own}': torch.ones(1)})
        assert (network.row, network.beside, network.has_head) == (row, [f'model.{own}'], True)
    strange = [*DECODER, 'head.fc2.weight', 'neck.head.fc.weight', 'head.x', 'classifiers.weight']
    weights = {f'model.{own}': torch.ones(1) for own in strange if own not in known}
    weights.update({own: torch.ones(1) for own in BESIDE})  # not beside it, but above
    network = find_network({**inside, **weights})
    found = ['model.head.fc2.weight', 'model.head.x'] if name == 'meta-sparse' else []
    assert network.beside == found and network.has_head is bool(found)
    assert network.outside.keys() == weights.keys() and network.prefix == 'model.backbone.'


OTHERS = {
    'native meta': 'head.weight norm.bias norms.3.bias projectors.0.weight mask_token proj.bias '
    'decoder.0.dwconv.weight pred.weight',
    'meta-sparse': 'norm.ln.weight head.bias mask_token proj.bias decoder.0.norm.bias pred.bias',
    'mmpretrain': 'head.fc.weight',
    'timm timm-conv timm-features': 'head.norm.weight head.fc.fc1.weight norm_pre.bias',
    'hf': 'layernorm.weight classifier.bias',
    'hf-dinov3': 'layer_norm.bias',
    'torchvision': 'classifier.0.bias classifier.2.weight',
}
STRANGE = 'heads.weight mask_token.weight projector.bias x.norm.bias norm.extra.y stages.0.weight'


@pytest.mark.parametrize('name', FORMATS)
def test_every_other_name_that_a_format_knows_is_dropped_and_no_more(name):
    (known,) = (text.split() for rows, text in OTHERS.items() if name in rows.split())
    weights = dict.fromkeys([*known, *STRANGE.split()], torch.ones(1))
    native = to_native(weights, FORMATS[name])
    assert native.dropped == [*known, *(['norm.extra.y'] if name in LOOSE else [])]
    assert set(native.unknown) == set(weights) - set(native.dropped)


LOOSE = ('native', 'meta', 'meta-sparse')  # whatever begins with norm. belongs to the classifier


@pytest.mark.parametrize('row', FORMATS.values(), ids=lambda row: row.name)
def test_own_weights_survive_every_format(row):
    version = 'v1' if row.theirs('stages.0.0.grn.gamma') is None else 'v2'
    weights = ConvNeXt(ARCH, version).state_dict()
    weights = {k: torch.randn_like(v) for k, v in weights.items() if row.theirs(k) is not None}
    theirs = from_native(weights, row)
    assert len(theirs) == len(weights)
    ((found, prefix),) = detect(theirs)
    assert (found, prefix) == (row, '')
    native = to_native(theirs, row)
    assert list(native.tensors) == list(weights) and not native.unknown
    for key, value in weights.items():
        assert torch.equal(native.tensors[key], value), key


NEEDS = {
    'overlap': (dict(design=dict(stem='overlap')), r"stem='overlap'", ('timm',)),
    'tiered': (dict(design=dict(stem='overlap_tiered')), "stem='overlap_tiered'", ('timm',)),
    'act': (dict(design=dict(stem='overlap_act')), "stem='overlap_act'", ('timm',)),
    'norm': (dict(design=dict(norm='SimpleNorm')), "norm='SimpleNorm'", ('timm',)),
    'kernels': (
        dict(design=dict(kernel_size=[7, 5, 5, 3])),
        r'kernel_size=\[7, 5, 5, 3\]',
        ('timm',),
    ),
    'kernel': (dict(design=dict(kernel_size=3)), 'kernel_size=3', ('timm',)),
    'patch': (
        dict(design=dict(stem_patch_size=2)),
        'stem_patch_size=2',
        ('timm', 'mmpretrain', 'hf'),
    ),
    'both': (
        dict(version='v2', layer_scale_init_value=1.0),
        'GRN with layer scale',
        ('timm', 'mmpretrain'),
    ),
}


@pytest.mark.parametrize('row', ['meta', 'mmpretrain', 'timm', 'hf'])
@pytest.mark.parametrize('need', NEEDS)
def test_what_the_code_of_a_format_cannot_build_is_not_written_in_it(need, row):
    options, match, able = NEEDS[need]
    weights = ConvNeXt(ARCH, **options).state_dict()
    weights = {k: torch.randn_like(v) for k, v in weights.items() if k[:4] != 'norm'}
    if row in able:
        back = to_native(from_native(weights, FORMATS[row]), FORMATS[row]).tensors
        assert weights.keys() == back.keys()
        assert all(torch.equal(back[k], v) for k, v in weights.items())
        return
    with pytest.raises(
        CheckpointMismatch, match=f'{row} cannot build a ConvNeXt with {match}; use'
    ):
        from_native(weights, FORMATS[row])


def test_what_a_format_has_no_name_for_is_refused_by_name():
    weights = ConvNeXt(ARCH).state_dict()
    with pytest.raises(CheckpointMismatch, match=r'timm has no name for norm0\.weight, norm0\.b'):
        from_native(weights, FORMATS['timm'])


@pytest.mark.parametrize('family', [name for name in FAMILIES if name not in BY_CHANNELS])
@pytest.mark.parametrize('fault', ['extra', 'missing', 'misshapen'])
def test_fault_in_a_foreign_file_is_named(fault, family):
    name, prefix, _ = FAMILIES[family]
    row, weights = FORMATS[name], source(family)[0]
    key = prefix + row.theirs('stages.2.1.dwconv.bias')
    if fault == 'extra':
        weights[f'{prefix}surplus.weight'] = torch.ones(3)
        match = r'1 unexpected: surplus\.weight'
    elif fault == 'missing':
        del weights[key]
        match = r'1 missing: stages\.2\.1\.dwconv\.bias'
    else:
        weights[key] = torch.ones(7)
        match = r'1 with the wrong shape: stages\.2\.1\.dwconv\.bias \(7,\) instead of \(12,\)'
    backbone = build(family)
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    with pytest.raises(CheckpointMismatch, match=match):
        backbone.load_state_dict(weights)
    for k, value in backbone.state_dict().items():
        assert torch.equal(value, before[k]), k


@pytest.mark.parametrize('shape', [(-1,), (1, -1), (1, 1, 1, -1), (-1, 1, 1)], ids=str)
def test_grn_is_the_same_in_every_layout(shape):
    weights, expected = source('meta_v2')
    weights = {k: v.reshape(shape) if '.grn.' in k else v for k, v in weights.items()}
    backbone = ConvNeXt(ARCH, 'v2').eval()
    backbone.load_state_dict(weights)
    reference = ConvNeXt(ARCH, 'v2').eval()
    reference.load_state_dict(source('meta_v2')[0])
    with torch.no_grad():
        pairs = zip(raw_maps(backbone, expected['image']), raw_maps(reference, expected['image']))
        assert all(torch.equal(a, b) for a, b in pairs)


def test_transformers_loads_what_we_write():
    transformers = pytest.importorskip('transformers')
    config = transformers.ConvNextConfig(
        hidden_sizes=ARCH['channels'],
        depths=ARCH['depths'],
        out_features=['stage1', 'stage2', 'stage3', 'stage4'],
    )
    theirs = transformers.ConvNextBackbone(config).eval()
    backbone = ConvNeXt(ARCH).eval()
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.normal_(0, 0.3)
    theirs.load_state_dict(from_native(backbone.state_dict(), FORMATS['hf']), strict=True)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for ours, other in zip(backbone(image), theirs(image).feature_maps):
            torch.testing.assert_close(ours, other, rtol=1e-5, atol=1e-5)
