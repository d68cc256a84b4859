# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: weights fill the whole backbone, or an error names the faults and nothing changes.

The files are written here, with Meta's names; `test_formats.py` has all others. The same holds for
`init_cfg`, for `load_state_dict` of torch and mmengine, and for `load_checkpoint`.
"""

import copy
import logging
import re
from pathlib import Path

import pytest
import torch
from mmengine.model import BaseModel, PretrainedInit
from mmengine.runner import load_checkpoint
from torch import Tensor, nn

from mmconvnext.checkpoint.errors import CheckpointMismatch, CheckpointUnreadable
from mmconvnext.checkpoint.load import (
    fills,
    is_pretrained,
    lenient_loading,
    load_pretrained,
    pretrained_options,
    whole_loading,
)
from mmconvnext.checkpoint.stem import inflate
from mmconvnext.models import ConvNeXt

NORMS = [f'norm{i}.{tail}' for i in range(4) for tail in ('weight', 'bias')]
CLASSIFIER = {
    'head.bias': (10,),
    'head.weight': (10, 64),
    'norm.bias': (64,),
    'norm.weight': (64,),
}


@pytest.fixture(params=['v1', 'v2'])
def backbone(request, tiny_arch) -> ConvNeXt:
    return ConvNeXt(tiny_arch, request.param)


def classifier_weights(backbone: ConvNeXt) -> dict[str, Tensor]:
    """The names in Meta's classifier of that size: no norm0 to norm3, but norm and head."""
    weights = {k: torch.randn_like(v) for k, v in backbone.state_dict().items() if k not in NORMS}
    return {**weights, **{name: torch.randn(shape) for name, shape in CLASSIFIER.items()}}


def write(content: object, folder: Path) -> str:
    path = folder / 'weights.pth'
    torch.save(content, path)
    return str(path)


def assert_filled(backbone: ConvNeXt, weights: dict, before: dict) -> None:
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, before[name] if name in NORMS else weights[name]), name


@pytest.mark.parametrize(
    ('envelope', 'under'),
    [
        (lambda w: w, ''),
        (lambda w: {'model': w}, " in 'model'"),
        (lambda w: {'state_dict': w, 'meta': {'epoch': 3}}, " in 'state_dict'"),
        (lambda w: {'model': w, 'optimizer': {'step': 1}, 'epoch': 7}, " in 'model'"),
        (lambda w: {'state_dict': {'model': w}}, " in 'state_dict.model'"),
    ],
    ids=['bare', 'meta', 'openmmlab', 'training', 'nested'],
)
def test_file_fills_the_backbone_but_its_output_norms(envelope, under, backbone, tmp_path):
    weights = classifier_weights(backbone)
    before = copy.deepcopy(backbone.state_dict())
    path = write(envelope(weights), tmp_path)
    line = load_pretrained(backbone, path)
    assert_filled(backbone, weights, before)
    count = len(before)
    row = 'meta' if backbone.version == 'v1' else 'native'
    assert line == (
        f'Loaded {count - 8} of {count} tensors from {path} ({row} names{under}); missing (left at '
        'initialization): norm0, norm1, norm2, norm3; dropped: head, norm'
    )


def test_classifier_norm_does_not_become_the_last_output_norm(backbone, tmp_path):
    load_pretrained(backbone, write(classifier_weights(backbone), tmp_path))
    assert (backbone.norm3.weight == 1).all() and (backbone.norm3.bias == 0).all()


def test_file_with_output_norms_fills_them_too(backbone, tmp_path):
    weights = {k: torch.randn_like(v) for k, v in backbone.state_dict().items()}
    path = write(weights, tmp_path)
    line = load_pretrained(backbone, path)
    count = len(weights)
    assert re.fullmatch(f'Loaded {count} of {count} tensors from {path} \\(\\w+ names\\)', line)
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, weights[name]), name


@pytest.mark.parametrize('prefix', ['backbone', 'backbone.'])
def test_prefix_takes_the_part_of_a_detector(prefix, backbone, tmp_path):
    weights = {k: torch.randn_like(v) for k, v in backbone.state_dict().items()}
    detector = {f'backbone.{k}': v for k, v in weights.items()}
    detector['backbone_2.norm0.weight'] = detector['neck.weight'] = torch.zeros(3)
    load_pretrained(backbone, write({'state_dict': detector}, tmp_path), prefix)
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, weights[name]), name


def test_prefix_is_found_without_being_named(backbone, tmp_path):
    weights = {k: torch.randn_like(v) for k, v in backbone.state_dict().items()}
    detector = {f'module.model.backbone.{k}': v for k, v in weights.items()}
    detector['module.model.neck.weight'] = torch.zeros(3)
    line = load_pretrained(backbone, write({'state_dict': detector}, tmp_path))
    assert line.endswith(
        "prefix 'module.model.backbone.'; ignored outside of 'module.model.backbone.': 1 tensor"
    )
    assert torch.equal(backbone.norm2.bias, weights['norm2.bias'])


def test_prefix_without_a_network_is_named(backbone, tmp_path):
    path = write({'encoder.x': torch.zeros(1), 'head.y': torch.zeros(1)}, tmp_path)
    match = r"no ConvNeXt with the prefix 'backbone\.' in any .*the names begin with encoder, head"
    with pytest.raises(CheckpointMismatch, match=match):
        load_pretrained(backbone, path, 'backbone')


def test_teacher_and_student_must_be_chosen(backbone, tmp_path):
    own = backbone.state_dict()
    weights = {f'{who}.backbone.{k}': torch.randn_like(v) for k, v in own.items() for who in 'ab'}
    path = write(weights, tmp_path)
    match = r"2 ConvNeXts, with the prefixes \['a\.b.*', 'b\..*\]; choose one with prefix='a\.back"
    with pytest.raises(CheckpointMismatch, match=match):
        load_pretrained(backbone, path)
    load_pretrained(backbone, path, 'b')
    assert torch.equal(backbone.norm0.weight, weights['b.backbone.norm0.weight'])


def test_envelope_can_be_chosen_and_others_are_named(backbone, tmp_path):
    first, second = classifier_weights(backbone), classifier_weights(backbone)
    path = write({'model': first, 'model_ema': second}, tmp_path)
    assert 'other weights, select with envelope=: model_ema' in load_pretrained(backbone, path)
    assert torch.equal(backbone.stages[0][0].norm.bias, first['stages.0.0.norm.bias'])
    load_pretrained(backbone, path, envelope='model_ema')
    assert torch.equal(backbone.stages[0][0].norm.bias, second['stages.0.0.norm.bias'])


def without(weights: dict, *names: str) -> dict:
    return {k: v for k, v in weights.items() if k not in names}


MISMATCHES = {
    'missing': (
        lambda w: without(w, 'stages.2.1.dwconv.bias', 'downsample_layers.1.0.weight'),
        r'2 missing: downsample_layers\.1\.0\.weight, stages\.2\.1\.dwconv\.bias',
    ),
    'further part': (
        lambda w: {**w, 'stages.2.1.norm.extra': torch.zeros(32)},
        r'1 unexpected: stages\.2\.1\.norm\.extra',
    ),
    'foreign part': (
        lambda w: {**w, 'surplus.weight': torch.zeros(3)},
        r'1 unexpected: surplus\.weight',
    ),
    'shape': (
        lambda w: {**w, 'stages.0.0.dwconv.weight': torch.zeros(8, 1, 5, 7)},
        r'1 with the wrong shape: stages\.0\.0\.dwconv\.weight \(8, 1, 5, 7\) instead of',
    ),
    'output norm': (
        lambda w: {**w, 'norm2.weight': torch.zeros(5)},
        r'1 with the wrong shape: norm2\.weight \(5,\) instead of \(32,\)',
    ),
    'half renamed': (
        lambda w: {k.replace('pwconv1', 'fc1'): v for k, v in w.items()},
        r'(?s)10 missing: (\S+ ){5}and 5 more\n  10 unexpected: .*fc1\.\w+ and 5 more',
    ),
    'another size': (
        lambda w: {**w, 'stages.2.2.pwconv2.weight': torch.zeros(32, 128)},
        r'the weights are for V\d \(depths \(1, 1, 3, 1\), channels .*, the backbone is V\d '
        r"\(depths \(1, 1, 2, 1\).*; set arch=\{'depths': \[1, 1, 3, 1\], ",
    ),
    'not a number': (
        lambda w: {**w, 'stages.1.0.norm.bias': torch.full((16,), float('nan'))},
        r'stages\.1\.0\.norm\.bias: NaN or infinite values',
    ),
    'quantized': (
        lambda w: {**w, 'stages.1.0.norm.bias': torch.zeros(16, dtype=torch.int8)},
        r'stages\.1\.0\.norm\.bias: torch\.int8; weights must be one of float16, bfloat16, ',
    ),
    'no network': (
        lambda w: {'fc.weight': torch.ones(3)},
        'there is no ConvNeXt in any known format',
    ),
}


@pytest.mark.parametrize('name', MISMATCHES)
def test_mismatch_is_named_and_changes_nothing(name, backbone, tmp_path):
    change, match = MISMATCHES[name]
    before = copy.deepcopy(backbone.state_dict())
    path = write({'model': change(classifier_weights(backbone))}, tmp_path)
    with pytest.raises(CheckpointMismatch, match=match) as error:
        load_pretrained(backbone, path)
    assert str(error.value).startswith(f'{path}: ')
    # If nothing fits, lenient loading does not help.
    offered = str(error.value).endswith('To load only what fits, set strict=False in init_cfg.')
    assert offered == (name != 'no network')
    for key, value in backbone.state_dict().items():
        assert torch.equal(value, before[key]), key


@pytest.mark.parametrize('name', [name for name in MISMATCHES if name != 'no network'])
def test_not_strict_is_reported_as_such(name, backbone, tmp_path, log_records):
    change, match = MISMATCHES[name]
    weights = change(classifier_weights(backbone))
    path = write({'model': weights}, tmp_path)
    line = load_pretrained(backbone, path, strict=False)
    assert 'NOT STRICT: ' in line
    (record,) = log_records
    assert record.levelno == logging.WARNING and record.getMessage() == line
    assert torch.equal(backbone.stages[0][0].norm.bias, weights['stages.0.0.norm.bias'])


@pytest.mark.parametrize('prefix', [None, 'teacher'])
def test_not_strict_is_no_leave_to_load_nothing(prefix, backbone, tmp_path):
    path = write({'teacher.weight': torch.ones(3)}, tmp_path)
    with pytest.raises(CheckpointMismatch, match='nothing would be loaded: the weights contain no'):
        load_pretrained(backbone, path, prefix, strict=False)


def test_published_sizes_are_named(tmp_path):
    with torch.device('meta'):
        small, tiny = ConvNeXt('small'), ConvNeXt('tiny')
    weights = {k: torch.zeros(v.shape, device='meta') for k, v in small.state_dict().items()}
    with pytest.raises(
        CheckpointMismatch,
        match=r'the weights are for small V1 \(depths \(3, 3, 27, 3\), .* the backbone is tiny V1 '
        r"\(depths \(3, 3, 9, 3\), .*; set arch='small', version='v1'",
    ):
        tiny.load_state_dict(without(weights, 'norm0.weight'))


def test_weights_of_the_other_version_are_refused(tiny_arch, tmp_path):
    v1, v2 = ConvNeXt(tiny_arch, 'v1'), ConvNeXt(tiny_arch, 'v2')
    path = write(classifier_weights(v2), tmp_path)
    with pytest.raises(CheckpointMismatch, match=r"are for V2 .* is V1 .*version='v2'"):
        load_pretrained(v1, path)
    path = write(classifier_weights(v1), tmp_path)
    with pytest.raises(CheckpointMismatch, match=r"are for V1 .* is V2 .*version='v1'"):
        load_pretrained(v2, path)


def test_grn_left_at_zero_is_refused(tiny_arch, tmp_path):
    backbone = ConvNeXt(tiny_arch, 'v2')
    weights = classifier_weights(backbone)
    weights = {k: torch.zeros_like(v) if '.grn.' in k else v for k, v in weights.items()}
    with pytest.raises(CheckpointMismatch, match='every gamma and beta of the global response'):
        load_pretrained(backbone, write(weights, tmp_path))


def test_lost_grn_is_not_taken_for_v1(tiny_arch, tmp_path):
    backbone = ConvNeXt(tiny_arch, 'v2')
    weights = {k: v for k, v in classifier_weights(backbone).items() if '.grn.' not in k}
    match = 'neither GRN nor layer scale: if a converter removed the GRN of a V2 file, .*if they '
    with pytest.raises(CheckpointMismatch, match=match):
        load_pretrained(backbone, write(weights, tmp_path))


V1, V2 = ({'version': version} for version in ('v1', 'v2'))
BARE, BOTH = {**V1, 'layer_scale_init_value': 0}, {**V2, 'layer_scale_init_value': 1e-6}
PARTS = {'scale': V1, 'GRN': V2, 'GRN and scale': BOTH, 'neither': BARE}


@pytest.mark.parametrize('backbone', PARTS)
@pytest.mark.parametrize('weights', PARTS)
def test_grn_and_layer_scale_load_where_built_and_the_error_has_the_one_line_that_builds(
    weights, backbone, tiny_arch, tmp_path
):
    content = classifier_weights(ConvNeXt(tiny_arch, **PARTS[weights]))
    path = write(content, tmp_path)
    if weights != backbone:
        with pytest.raises(CheckpointMismatch, match='; .*set (version=.*), or use') as error:
            load_pretrained(ConvNeXt(tiny_arch, **PARTS[backbone]), path)
        line = re.search(
            "set (version='v[12]', layer_scale_init_value=[^,]+), or", str(error.value)
        )
        told = eval(f'dict({line[1]})')
        assert told == {
            'layer_scale_init_value': 1e-6 if weights == 'scale' else 0,
            **PARTS[weights],
        }
        # The line works with any other settings: the dense recipes start at 1.
        options = {**PARTS[backbone], 'layer_scale_init_value': 1.0, **told}
    else:
        options = PARTS[weights]
    model = ConvNeXt(tiny_arch, **options)
    load_pretrained(model, path)
    for name, value in model.state_dict().items():
        assert name in NORMS or torch.equal(value, content[name]), name


@pytest.mark.parametrize('content', [{}, {'model': {}}, {'epoch': 3}, [1, 2], 'text'], ids=str)
def test_file_without_weights_is_named(content, backbone, tmp_path):
    path = write(content, tmp_path)
    with pytest.raises(
        CheckpointUnreadable, match='weights.pth: holds no weights, only a (dict|list|str)'
    ):
        load_pretrained(backbone, path)


@pytest.mark.parametrize('value', [None, '', 3, ['a.pth']])
def test_checkpoint_that_is_no_path_is_named(value, backbone):
    with pytest.raises(ValueError, match='a checkpoint is a path, a URL or a short name, got '):
        load_pretrained(backbone, value)


def test_missing_file_is_named(backbone, tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere.pth'):
        load_pretrained(backbone, str(tmp_path / 'nowhere.pth'))


# What is logged


def test_classifier_norm_can_be_reused(backbone, tmp_path):
    weights = classifier_weights(backbone)
    path = write(weights, tmp_path)
    line = load_pretrained(backbone, path, classifier_norm='reuse')
    assert "norm3 is the classifier's norm" in line
    assert 'missing (left at initialization): norm0, norm1, norm2;' in line
    assert torch.equal(backbone.norm3.weight, weights['norm.weight'])
    with pytest.raises(ValueError, match="classifier_norm='keep': choose 'drop' or 'reuse'"):
        load_pretrained(backbone, path, classifier_norm='keep')
    bare = write(without(weights, 'norm.weight', 'norm.bias'), tmp_path)
    with pytest.raises(CheckpointMismatch, match="'reuse': the file has no classifier norm"):
        load_pretrained(backbone, bare, classifier_norm='reuse')


def mmpretrain(weights: dict) -> dict:
    """The same weights under the names of mmpretrain's classifiers and dense models."""
    renamed = {
        k.replace('dwconv', 'depthwise_conv').replace('pwconv', 'pointwise_conv'): v
        for k, v in weights.items()
    }
    return {f'backbone.{k}': v for k, v in renamed.items()}


@pytest.mark.parametrize('strict', [True, False])
@pytest.mark.parametrize('head', [True, False], ids=['classifier', 'without its head'])
def test_norm3_of_a_classifier_is_no_output_norm(head, strict, backbone, tmp_path):
    own = backbone.state_dict()
    weights = {k: torch.randn_like(v) for k, v in own.items() if k not in NORMS[:6]}
    content = mmpretrain(weights)
    if head:
        content['head.fc.weight'] = torch.zeros(5, 64)
    if not strict:  # a fault, so that the lenient way is gone
        del content['backbone.stages.0.0.norm.bias']
    path = write({'state_dict': content}, tmp_path)
    line = load_pretrained(backbone, path, strict=strict)
    count, lost = len(own), 0 if strict else 1
    assert f'Loaded {count - 8 - lost} of {count} ' in line and '; dropped: norm3' in line
    assert (backbone.norm3.weight == 1).all() and (backbone.norm3.bias == 0).all()
    line = load_pretrained(backbone, path, classifier_norm='reuse', strict=strict)
    assert f'Loaded {count - 6 - lost} of {count} ' in line and 'dropped' not in line
    for part in ('weight', 'bias'):
        assert torch.equal(getattr(backbone.norm3, part), weights[f'norm3.{part}'])


def test_norm3_beside_another_norm_is_a_maps(backbone, tmp_path):
    own = backbone.state_dict()
    weights = {k: torch.randn_like(v) for k, v in own.items() if k not in NORMS[:2]}
    line = load_pretrained(backbone, write({'state_dict': mmpretrain(weights)}, tmp_path))
    assert 'initialization): norm0' in line and 'dropped' not in line
    assert torch.equal(backbone.norm3.bias, weights['norm3.bias'])


def test_half_a_norm_is_refused(backbone, tmp_path):
    weights = {k: torch.randn_like(v) for k, v in backbone.state_dict().items()}
    path = write(without(weights, 'norm3.weight'), tmp_path)
    with pytest.raises(CheckpointMismatch, match=r'1 missing: norm3\.weight'):
        load_pretrained(backbone, path)
    with pytest.raises(CheckpointMismatch, match=r'1 missing: norm3\.weight'):
        backbone.load_state_dict(without(weights, 'norm3.weight'))


def test_norm3_of_a_dense_model_is_kept(tiny_arch, tmp_path):
    backbone = ConvNeXt(tiny_arch, out_indices=[3])
    weights = {k: torch.randn_like(v) for k, v in backbone.state_dict().items()}
    path = write({'state_dict': mmpretrain(weights)}, tmp_path)
    load_pretrained(backbone, path)
    assert torch.equal(backbone.norm3.weight, weights['norm3.weight'])
    path = write({**mmpretrain(weights), 'head.fc.weight': torch.zeros(5, 64)}, tmp_path)
    assert 'initialization): norm3' in load_pretrained(backbone, path)


def test_output_norms_of_maps_that_are_not_returned_are_dropped(tiny_arch, tmp_path):
    weights = {k: torch.randn_like(v) for k, v in ConvNeXt(tiny_arch).state_dict().items()}
    backbone = ConvNeXt(tiny_arch, out_indices=[1, 2, 3])
    assert 'dropped: norm0' in load_pretrained(backbone, write(weights, tmp_path))
    assert torch.equal(backbone.norm1.weight, weights['norm1.weight'])


@pytest.mark.parametrize('rule', ['repeat', 'mean', 'zero'])
def test_stem_is_inflated_and_that_is_said(rule, tiny_arch, tmp_path):
    weights = classifier_weights(ConvNeXt(tiny_arch))
    backbone = ConvNeXt(tiny_arch, in_channels=5)
    options = {} if rule == 'repeat' else dict(stem=rule)  # the default
    line = load_pretrained(backbone, write(weights, tmp_path), **options)
    assert f"stem: 3 -> 5 channels by '{rule}'" in line
    expected = inflate(weights['downsample_layers.0.0.weight'], 5, rule)
    assert torch.equal(backbone.downsample_layers[0][0].weight, expected)
    if not options:  # and the only rule for a state dict
        again = ConvNeXt(tiny_arch, in_channels=5)
        again.load_state_dict(weights)
        assert torch.equal(again.downsample_layers[0][0].weight, expected)


class TouchFile:
    """A pickle that writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_file_that_runs_code_is_refused(backbone, tmp_path):
    trace = tmp_path / 'trace'
    path = write({'model': classifier_weights(backbone), 'x': TouchFile(trace)}, tmp_path)
    with pytest.raises(CheckpointUnreadable, match='not safe to read .* holds pathlib'):
        load_pretrained(backbone, path)
    assert not trace.exists()


@pytest.mark.parametrize(
    'design', [dict(norm='BN'), dict(norm_after='every_conv', act='ReLU'), dict(stem='resnet')]
)
def test_own_weights_of_an_ablation_load(design, tiny_arch, tmp_path):
    trained, fresh = (ConvNeXt(tiny_arch, design=design) for _ in range(2))
    weights = trained.state_dict()
    path = write({'state_dict': {f'backbone.{k}': v for k, v in weights.items()}}, tmp_path)
    load_pretrained(fresh, path)
    for name, value in fresh.state_dict().items():
        assert torch.equal(value, weights[name]), name
    partial = ConvNeXt(tiny_arch, design=design, out_indices=[2, 3])
    assert 'dropped: norm0' in load_pretrained(partial, path)


# --- through init_cfg -----------------------------------------------------------------------------


def test_init_weights_loads_strictly_and_says_one_line(tiny_arch, tmp_path, log_records):
    weights = classifier_weights(ConvNeXt(tiny_arch))
    path = write({'model': weights}, tmp_path)
    model = ConvNeXt(tiny_arch, init_cfg=dict(type='Pretrained', checkpoint=path))
    before = copy.deepcopy(model.state_dict())
    model.init_weights()
    assert_filled(model, weights, before)
    (record,) = log_records
    assert record.levelno == logging.INFO
    count = len(before)
    assert record.getMessage().startswith(f'Loaded {count - 8} of {count} tensors from {path}')


@pytest.mark.parametrize('wrap', [lambda cfg: cfg, lambda cfg: [cfg]], ids=['dict', 'list'])
def test_init_weights_refuses_what_does_not_fit(wrap, tiny_arch, tmp_path):
    weights = classifier_weights(ConvNeXt(tiny_arch))
    path = write(without(weights, 'stages.0.0.gamma'), tmp_path)
    model = ConvNeXt(tiny_arch, init_cfg=wrap(dict(type='Pretrained', checkpoint=path)))
    with pytest.raises(CheckpointMismatch, match=r'1 missing: stages\.0\.0\.gamma'):
        model.init_weights()


def test_init_weights_takes_the_prefix_of_a_detector(tiny_arch, tmp_path):
    weights = {k: torch.randn_like(v) for k, v in ConvNeXt(tiny_arch).state_dict().items()}
    path = write({f'backbone.{k}': v for k, v in weights.items()}, tmp_path)
    init_cfg = dict(type='Pretrained', checkpoint=path, prefix='backbone.')
    model = ConvNeXt(tiny_arch, init_cfg=init_cfg)
    model.init_weights()
    assert torch.equal(model.norm3.weight, weights['norm3.weight'])


def test_second_init_weights_keeps_what_was_trained_since(tiny_arch, tmp_path):
    path = write(classifier_weights(ConvNeXt(tiny_arch)), tmp_path)
    model = ConvNeXt(tiny_arch, init_cfg=dict(type='Pretrained', checkpoint=path))
    model.init_weights()
    with torch.no_grad():
        model.norm0.weight.fill_(7)
        model.stages[0][0].gamma.fill_(7)
    model.init_weights()
    assert (model.norm0.weight == 7).all() and (model.stages[0][0].gamma == 7).all()


def test_options_of_init_cfg_are_those_of_loading():
    options = dict(checkpoint='a b.pth', prefix='x.', map_location='cuda', strict=False)
    options.update(envelope='ema', stem='mean', classifier_norm='drop')
    assert pretrained_options(dict(type='Pretrained', **options)) == options
    assert pretrained_options(dict(checkpoint='a')) == dict(checkpoint='a')
    with pytest.raises(ValueError) as error:
        pretrained_options(dict(checkpoint='a', backbone=1, arch=2))
    assert str(error.value) == (
        "init_cfg has unknown keys ['arch', 'backbone']; besides type, it may have the keys "
        "['checkpoint', 'prefix', 'map_location', 'strict', 'envelope', 'stem', 'classifier_norm']"
    )


@pytest.mark.parametrize(
    ('kind', 'found'),
    [
        *(('Pretrained', True), ('PretrainedInit', True), ('mmengine.Pretrained', True)),
        *((PretrainedInit, True), ('NotPretrained', False), ('Pretrained.Constant', False)),
        *(('Constant', False), (nn.Linear, False), (None, False), ('', False)),
    ],
)
def test_which_initializer_loads(kind, found):
    assert is_pretrained(dict(type=kind, checkpoint='a.pth')) is found
    assert not is_pretrained({})


@pytest.mark.skipif(torch.cuda.is_available(), reason='needs a machine without CUDA')
def test_weights_of_a_gpu_load_without_one(backbone, tmp_path, monkeypatch):
    weights = classifier_weights(backbone)
    with monkeypatch.context() as patch:
        patch.setattr(torch.serialization, 'location_tag', lambda storage: 'cuda:1')
        path = write(weights, tmp_path)
    load_pretrained(backbone, path)
    assert torch.equal(backbone.stages[0][0].norm.bias, weights['stages.0.0.norm.bias'])
    with pytest.raises(RuntimeError, match='map_location'):
        load_pretrained(backbone, path, map_location='cuda:1')


@pytest.mark.parametrize(
    ('init_cfg', 'match'),
    [
        (dict(checkpoint='a.pth', stict=False), r"unknown keys \['stict'\]; besides type,"),
        (dict(), 'init_cfg has no checkpoint'),
        (dict(checkpoint=''), 'init_cfg has no checkpoint'),
        (dict(checkpoint=None), 'init_cfg has no checkpoint'),
    ],
)
def test_init_cfg_is_checked(init_cfg, match, tiny_arch):
    model = ConvNeXt(tiny_arch, init_cfg=dict(type='Pretrained', **init_cfg))
    with pytest.raises(ValueError, match=match):
        model.init_weights()


# --- through load_state_dict and load_checkpoint, at any depth ------------------------------------


class Model(BaseModel):
    """A model around the backbone; ``nest`` is its depth."""

    def __init__(self, arch: dict, nest: int = 0) -> None:
        super().__init__()
        self.backbone = ConvNeXt(arch)
        for _ in range(nest):
            self.backbone = nn.ModuleDict({'inner': self.backbone})
        self.head = nn.Linear(64, 3)

    def forward(self, inputs: Tensor) -> None:
        """Never called."""


def load_with_torch(model: nn.Module, weights: dict, folder: Path) -> None:
    model.load_state_dict(weights)


def load_with_mmengine(model: nn.Module, weights: dict, folder: Path) -> None:
    load_checkpoint(model, write({'state_dict': weights}, folder))


entrances = pytest.mark.parametrize('load', [load_with_torch, load_with_mmengine])


@entrances
@pytest.mark.parametrize('nest', [0, 1, 3])
def test_foreign_detector_fills_ours_at_any_depth(nest, load, tiny_arch, tmp_path, log_records):
    model = Model(tiny_arch, nest)
    path = 'backbone.' + 'inner.' * nest
    weights = {k: torch.randn_like(v) for k, v in model.state_dict().items()}
    foreign = {
        k.replace('dwconv', 'depthwise_conv').replace('pwconv', 'pointwise_conv'): v
        for k, v in weights.items()
    }
    load(model, dict(foreign), tmp_path)
    for name, value in model.state_dict().items():
        assert torch.equal(value, weights[name]), name
    lines = [r.getMessage() for r in log_records if 'Loaded' in r.getMessage()]
    count = len(ConvNeXt(tiny_arch).state_dict())
    assert lines == [
        f'{path} Loaded {count} of {count} tensors from a state dict in mmpretrain names'
    ]


@entrances
def test_own_weights_pass_without_a_word(load, tiny_arch, tmp_path, log_records):
    model = Model(tiny_arch)
    weights = {k: torch.randn_like(v) for k, v in model.state_dict().items()}
    load(model, weights, tmp_path)
    assert torch.equal(model.backbone.norm1.bias, weights['backbone.norm1.bias'])
    assert not [r for r in log_records if 'Loaded' in r.getMessage()]


@entrances
@pytest.mark.parametrize('name', [name for name in MISMATCHES if name != 'no network'])
def test_no_entrance_lets_a_mismatch_in(name, load, tiny_arch, tmp_path):
    change, match = MISMATCHES[name]
    model = Model(tiny_arch)
    weights = change(classifier_weights(model.backbone))
    weights = {f'backbone.{k}': v for k, v in weights.items()}
    weights.update({k: v for k, v in model.state_dict().items() if k.startswith('head.')})
    with pytest.raises(CheckpointMismatch, match=match) as error:
        load(model, weights, tmp_path)
    assert str(error.value).startswith('weights for backbone.: ')
    assert 'with mmconvnext.lenient_loading()' in str(error.value)


@entrances
def test_weights_of_a_backbone_are_no_weights_of_a_detector(load, tiny_arch, tmp_path):
    model = Model(tiny_arch)
    with pytest.raises(CheckpointMismatch, match=r'no key begins with this prefix\. .* init_cfg'):
        load(model, classifier_weights(model.backbone), tmp_path)


def test_lenient_loading_warns(tiny_arch, log_records):
    model = Model(tiny_arch)
    weights = {f'backbone.{k}': v for k, v in classifier_weights(model.backbone).items()}
    del weights['backbone.stages.1.0.gamma']
    with lenient_loading():
        model.load_state_dict(weights, strict=False)
        model.load_state_dict({'head.bias': torch.ones(3)}, strict=False)
    assert torch.equal(model.backbone.stages[0][0].gamma, weights['backbone.stages.0.0.gamma'])
    assert (model.head.bias == 1).all()
    levels = [r.levelno for r in log_records]
    assert levels == [logging.WARNING] * 2
    assert '1 missing: stages.1.0.gamma' in log_records[0].getMessage()
    with pytest.raises(CheckpointMismatch):
        model.load_state_dict(weights, strict=False)


def test_ways_from_a_detector_to_a_backbone_alone(backbone, tiny_arch, tmp_path, log_records):
    """revise_keys leaves the detector's other keys beside the backbone's, which is an error."""
    detector = {f'backbone.{k}': torch.randn_like(v) for k, v in backbone.state_dict().items()}
    detector['neck.conv.weight'] = torch.ones(3)
    path, revise_keys = write({'state_dict': detector}, tmp_path), [(r'^backbone\.', '')]

    def assert_filled(model: ConvNeXt) -> None:
        for name, value in model.state_dict().items():
            assert torch.equal(value, detector[f'backbone.{name}']), name

    with pytest.raises(CheckpointMismatch, match=r'(?s)unexpected: neck\..*lenient_loading\(\)'):
        load_checkpoint(backbone, path, revise_keys=revise_keys)
    log_records.clear()
    with lenient_loading():
        load_checkpoint(backbone, path, revise_keys=revise_keys)
    assert_filled(backbone)
    levels = {record.levelno for record in log_records if 'NOT STRICT' in record.getMessage()}
    assert levels == {logging.WARNING}
    init_cfg = dict(type='Pretrained', checkpoint=path)
    other = ConvNeXt(tiny_arch, backbone.version, init_cfg=init_cfg)
    other.init_weights()
    assert_filled(other)


@pytest.mark.parametrize(
    ('change', 'filled'),
    [
        (lambda w: w, True),
        (lambda w: without(w, 'norm2.weight', 'norm2.bias'), True),  # which no init_cfg would fill
        (lambda w: without(w, 'stages.1.0.norm.bias'), False),
        (lambda w: {**w, 'norm3.bias': torch.ones(3)}, False),
        (lambda w: {}, False),
        (lambda w: {k: 'text' for k in w}, False),
    ],
)
def test_whether_a_state_dict_fills(change, filled, backbone):
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    weights = change({k: v + 1 for k, v in before.items()})
    weights = {f'backbone.{k}': v for k, v in weights.items()}
    assert fills(backbone, weights, 'backbone.') is filled
    assert all(torch.equal(v, before[k]) for k, v in backbone.state_dict().items())


def test_strict_false_on_the_backbone_itself_is_a_choice(backbone, log_records):
    weights = classifier_weights(backbone)
    del weights['stages.1.0.norm.bias']
    missing, unexpected = backbone.load_state_dict(weights, strict=False)
    assert 'stages.1.0.norm.bias' in missing and unexpected == []
    assert torch.equal(backbone.stages[0][0].norm.bias, weights['stages.0.0.norm.bias'])
    (record,) = log_records
    assert record.levelno == logging.WARNING and 'NOT STRICT' in record.getMessage()


def test_whole_loading_leaves_nothing_at_initialization(tiny_arch, log_records):
    model = Model(tiny_arch)
    weights = {k: torch.randn_like(v) for k, v in model.state_dict().items()}
    with whole_loading():
        model.load_state_dict(weights)
        foreign = mmpretrain({k: v + 1 for k, v in weights.items()})
        model.load_state_dict({k.removeprefix('backbone.'): v for k, v in foreign.items()})
        assert all(torch.equal(v, weights[k] + 1) for k, v in model.state_dict().items())
        assert not log_records  # the tools say it in a line of their own
        bare = without(weights, *(f'backbone.{name}' for name in NORMS))
        with pytest.raises(
            CheckpointMismatch, match=r'whole backbone; missing: norm0\.bias'
        ) as error:
            model.load_state_dict(bare)
        assert 'lenient' not in str(error.value)
        weights['backbone.downsample_layers.0.0.weight'] = torch.ones(8, 6, 4, 4)
        with pytest.raises(CheckpointMismatch, match='not match the whole backbone; stem: 6 -> 3'):
            model.load_state_dict(weights)
    model.load_state_dict(bare)


@pytest.mark.parametrize('value', [[1.0], torch.tensor(1.0), torch.ones(8, dtype=torch.int8)])
def test_values_that_are_no_weights_are_refused(value, backbone):
    weights = dict(backbone.state_dict())
    weights['stages.0.0.norm.bias'] = value
    with pytest.raises(CheckpointMismatch, match=r'stages\.0\.0\.norm\.bias'):
        backbone.load_state_dict(weights)


def test_a_backbone_without_memory_is_refused(tiny_arch, tmp_path):
    path = write(ConvNeXt(tiny_arch).state_dict(), tmp_path)
    with torch.device('meta'):
        backbone = ConvNeXt(tiny_arch)
    with pytest.raises(ValueError, match=r'on the meta device; call to_empty\('):
        load_pretrained(backbone, path)


def test_own_counters_of_batch_norms_may_be_missing(tiny_arch):
    backbone = ConvNeXt(tiny_arch, design=dict(norm='BN'))
    weights = {k: v for k, v in backbone.state_dict().items() if 'num_batches' not in k}
    backbone.load_state_dict(weights)


def test_an_ablation_of_a_classifier_is_not_taken_for_metas(tiny_arch, tmp_path):
    trained = ConvNeXt(tiny_arch, design=dict(act='ReLU'))
    content = {f'backbone.{k}': v for k, v in trained.state_dict().items()}
    path = write({**content, 'head.fc.weight': torch.ones(5, 64)}, tmp_path)
    load_pretrained(ConvNeXt(tiny_arch, design=dict(act='ReLU')), path)
    path = write(classifier_weights(trained), tmp_path)
    with pytest.raises(CheckpointMismatch, match="trained with act='GELU'"):
        load_pretrained(trained, path)


def test_what_the_user_gave_is_not_changed(backbone):
    weights = classifier_weights(backbone)
    copies = dict(weights)
    backbone.load_state_dict(weights)
    assert list(weights) == list(copies) and all(weights[k] is copies[k] for k in copies)


def test_copies_and_pickles_still_load(backbone):
    weights = {k: torch.randn_like(v) for k, v in backbone.state_dict().items()}
    clone = copy.deepcopy(backbone)
    clone.load_state_dict(weights)
    assert torch.equal(clone.norm3.bias, weights['norm3.bias'])
