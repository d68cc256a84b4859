# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: weights trained with another epsilon or activation are refused; the given fix works.

The values are timm's and transformers', see `mmconvnext/checkpoint/numerics.py`.
"""

import dataclasses
import json
import re
from pathlib import Path

import pytest
import torch

from mmconvnext import ConvNeXt
from mmconvnext.checkpoint import zoo
from mmconvnext.checkpoint.errors import CheckpointMismatch
from mmconvnext.checkpoint.formats import from_native
from mmconvnext.checkpoint.load import load_pretrained
from mmconvnext.checkpoint.numerics import trained_with
from mmconvnext.checkpoint.tables import FORMATS, HF, HF_DINOV3, META, TIMM

XXLARGE = (384, 768, 1536, 3072)
TEST = dict(depths=[1, 2, 4, 2], channels=[24, 32, 48, 64])  # timm's test_convnext


def write(folder, arch, row='timm', config=None, design=None):
    weights = ConvNeXt(arch, design=design).state_dict()
    weights = {k: v for k, v in weights.items() if k[:4] != 'norm'}
    torch.save(from_native(weights, FORMATS[row]), folder / 'weights.bin')
    if config is not None:
        (folder / 'config.json').write_text(json.dumps(config))
    return folder / 'weights.bin'


@pytest.mark.parametrize(
    ('row', 'channels', 'config', 'expected'),
    [
        (TIMM, (96, 192, 384, 768), {}, (1e-6, 'GELU')),
        (TIMM, XXLARGE, {}, (1e-5, 'GELU')),
        (META, XXLARGE, {}, (1e-6, 'GELU')),
        (TIMM, (24, 32, 48, 64), {}, (1e-5, 'GELU_tanh')),
        (TIMM, (1, 2), {'model_args': {'act_layer': 'silu', 'norm_eps': 1e-4}}, (1e-4, 'SiLU')),
        (HF, (1, 2), {'hidden_act': 'gelu', 'layer_norm_eps': 1e-12}, (1e-6, 'GELU')),
        (HF, (1, 2), {'hidden_act': 'gelu_new'}, (1e-6, 'GELU_tanh')),
        (HF_DINOV3, (1, 2), {'layer_norm_eps': 1e-5}, (1e-5, 'GELU')),
    ],
)
def test_what_sources_are_trained_with(row, channels, config, expected):
    known = trained_with(row, channels, config)
    assert (known['norm_eps'], known['act']) == expected


@pytest.mark.parametrize(
    ('name', 'act'),
    [
        *(('gelu', 'GELU'), ('gelu_tanh', 'GELU_tanh'), ('gelu_new', 'GELU_tanh')),
        *(('gelu_pytorch_tanh', 'GELU_tanh'), ('relu', 'ReLU'), ('silu', 'SiLU')),
        ('swish', 'SiLU'),
    ],
)
def test_names_of_activations(name, act):
    for config in ({'hidden_act': name}, {'model_args': {'act_layer': name}}):
        assert trained_with(HF, (1, 2), config) == dict(norm_eps=1e-6, act=act)
    both = {'hidden_act': name, 'model_args': {'act_layer': 'tanh'}}
    assert trained_with(HF, (1, 2), both)['act'] == act


@pytest.mark.parametrize(
    'config',
    [
        {'hidden_act': None, 'layer_norm_eps': '1e-5'},
        {'hidden_act': ['relu'], 'layer_norm_eps': 1},
        {'model_args': None},
        {'model_args': ['act_layer']},
        {'model_args': {'act_layer': 3, 'norm_eps': None}, 'norm_eps': 0.1},
    ],
)
def test_settings_of_another_kind_are_ignored(config):
    for row in (TIMM, HF, HF_DINOV3):
        assert trained_with(row, (1, 2), config) == dict(norm_eps=1e-6, act='GELU')


def test_each_row_reads_the_epsilon_where_its_source_has_it():
    config = {'layer_norm_eps': 0.25, 'model_args': {'norm_eps': 0.5}}
    found = {name: trained_with(row, (1, 2), config)['norm_eps'] for name, row in FORMATS.items()}
    assert found == {**dict.fromkeys(FORMATS, 0.5), 'hf-dinov3': 0.25}


@pytest.mark.parametrize('row', ['timm', 'timm-conv', 'timm-features'])
@pytest.mark.parametrize(
    ('channels', 'design', 'eps', 'act'),
    [
        ((384, 768, 1536, 3072), {}, 1e-5, 'GELU'),
        ((24, 32, 48, 64), {}, 1e-5, 'GELU_tanh'),
        ((32, 64, 96, 128), dict(kernel_size=7), 1e-5, 'GELU_tanh'),
        ((32, 64, 96, 128), dict(kernel_size=[7, 5, 5, 3]), 1e-5, 'SiLU'),
        ((32, 64, 128, 256), dict(kernel_size=7), 1e-6, 'GELU'),
        ((64, 48, 32, 24), {}, 1e-6, 'GELU'),
    ],
)
def test_what_timms_code_sets_by_size(row, channels, design, eps, act):
    assert trained_with(FORMATS[row], channels, {}, design) == dict(norm_eps=eps, act=act)


@pytest.mark.parametrize('row', ['timm', 'timm-conv', 'timm-features', 'hf', 'native'])
@pytest.mark.parametrize('channels', [(32, 64, 128, 256), (256, 128, 64, 32), (40, 80, 160, 320)])
@pytest.mark.parametrize('norm', ['SimpleNorm', 'LN'])
def test_only_timms_zepto_has_simple_norms(row, channels, norm):
    refused = norm == 'SimpleNorm' and row.startswith('timm') and channels[0] != 32
    if refused:
        with pytest.raises(CheckpointMismatch, match=r'zepto, with channels \(32, 64, 128, 256\)'):
            trained_with(FORMATS[row], channels, {}, dict(norm=norm))
    else:
        trained_with(FORMATS[row], channels, {}, dict(norm=norm))


def test_a_config_in_the_working_folder_speaks_for_no_short_name_and_no_url(
    tiny_arch, tmp_path, monkeypatch, server, cache
):
    content = write(tmp_path, tiny_arch).read_bytes()
    server.answers['/w.bin'] = content
    row = dataclasses.replace(zoo.find('convnext-tiny_in1k'), url=server.url('/w.bin'))
    monkeypatch.setitem(zoo.published(), row.name, row)
    (tmp_path / 'here').mkdir()
    monkeypatch.chdir(tmp_path / 'here')
    (tmp_path / 'here/config.json').write_text('{"hidden_act": "relu"}')
    for source in (row.name, row.url):
        load_pretrained(ConvNeXt(tiny_arch), source)
    with pytest.raises(CheckpointMismatch, match="trained with act='ReLU'"):
        load_pretrained(ConvNeXt(tiny_arch, design=dict(act='SiLU')), write_here(content))


def write_here(content: bytes) -> str:
    Path(Path.cwd() / 'w.bin').write_bytes(content)
    return 'w.bin'


def test_known_difference_is_refused_and_the_way_out_works(tmp_path):
    path = write(tmp_path, TEST)
    with pytest.raises(
        CheckpointMismatch,
        match=r"trained with norm_eps=1e-05, act='GELU_tanh', the backbone has norm_eps=1e-06, "
        r"act='GELU'; set design=dict\(norm_eps=1e-05, act='GELU_tanh'\)",
    ):
        load_pretrained(ConvNeXt(TEST), path)
    load_pretrained(ConvNeXt(TEST, design=dict(norm_eps=1e-5, act='GELU_tanh')), path)


def test_networks_of_one_size_are_told_apart_by_their_kernels(tmp_path):
    # timm's test_convnext2 and test_convnext3
    arch = dict(depths=[1, 1, 1, 1], channels=[32, 64, 96, 128])
    told = (
        dict(norm_eps=1e-5, act='GELU_tanh'),
        dict(kernel_size=[7, 5, 5, 3], norm_eps=1e-5, act='SiLU'),
    )
    for design in told:
        path = write(tmp_path, arch, design=design)
        with pytest.raises(CheckpointMismatch, match='; set design=dict') as error:
            load_pretrained(ConvNeXt(arch), path)
        line = re.search(r'; set (design=.*\))', str(error.value))[1]
        assert eval(f'dict({line})') == dict(design=design)
        load_pretrained(ConvNeXt(arch, design=design), path)


def test_norms_without_bias_are_timms_zepto_or_refused(tiny_arch, tmp_path):
    zepto = dict(depths=[1, 1, 1, 1], channels=[32, 64, 128, 256])
    simple = dict(norm='SimpleNorm')
    path = write(tmp_path, zepto, design=simple)
    load_pretrained(ConvNeXt(zepto, design=simple), path)
    path = write(tmp_path, tiny_arch, design=simple)  # as timm's convnext_atto_rms has
    with pytest.raises(
        CheckpointMismatch, match="timm's RMSNorm, which this package does not have"
    ):
        load_pretrained(ConvNeXt(tiny_arch, design=simple), path)


@pytest.mark.parametrize('where', ['file', 'folder'])
def test_config_beside_the_file_is_believed(where, tiny_arch, tmp_path, monkeypatch):
    path = write(tmp_path, tiny_arch, 'hf', {'hidden_act': 'relu'})
    if where == 'folder':
        path.rename(tmp_path / 'pytorch_model.bin')
        path = tmp_path
    with pytest.raises(
        CheckpointMismatch, match=r"trained with act='ReLU', .* set design=dict\(act"
    ):
        load_pretrained(ConvNeXt(tiny_arch), path)
    load_pretrained(ConvNeXt(tiny_arch, design=dict(act='ReLU')), path)
    monkeypatch.setenv('HOME', str(tmp_path))
    home = '~/' + ('' if where == 'folder' else path.name)
    with pytest.raises(CheckpointMismatch, match=r"trained with act='ReLU'"):
        load_pretrained(ConvNeXt(tiny_arch), home)


def test_unknown_activation_is_named(tiny_arch, tmp_path):
    path = write(tmp_path, tiny_arch, 'hf', {'hidden_act': 'quick_gelu'})
    listed = r"\['GELU', 'GELU_tanh', 'ReLU', 'SiLU'\]"
    match = f"sets the activation 'quick_gelu'; this package has {listed}"
    with pytest.raises(CheckpointMismatch, match=match):
        load_pretrained(ConvNeXt(tiny_arch), path)


@pytest.mark.parametrize('content', ['not json', '[1]', '{}'])
def test_other_files_of_that_name_are_ignored(content, tiny_arch, tmp_path):
    path = write(tmp_path, tiny_arch)
    (tmp_path / 'config.json').write_text(content)
    load_pretrained(ConvNeXt(tiny_arch), path)
    # Nor do they hide what the format itself says.
    with pytest.raises(CheckpointMismatch, match="act='GELU', the backbone has act='ReLU'; set"):
        load_pretrained(ConvNeXt(tiny_arch, design=dict(act='ReLU')), path)


def test_pretrained_weights_in_an_ablation_of_the_activation_are_refused(tiny_arch, tmp_path):
    path = write(tmp_path, tiny_arch)
    with pytest.raises(CheckpointMismatch, match=r"trained with act='GELU', .* act='ReLU'"):
        load_pretrained(ConvNeXt(tiny_arch, design=dict(act='ReLU')), path)


def test_own_weights_of_an_ablation_load(tiny_arch, tmp_path):
    design = dict(act='ReLU', norm_eps=1e-3)
    weights = {k: v + 1 for k, v in ConvNeXt(tiny_arch, design=design).state_dict().items()}
    torch.save(weights, tmp_path / 'own.pth')
    model = ConvNeXt(tiny_arch, design=design)
    load_pretrained(model, tmp_path / 'own.pth')
    assert all(torch.equal(v, weights[k]) for k, v in model.state_dict().items())
