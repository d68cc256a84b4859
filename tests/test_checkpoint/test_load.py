# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: a file fills the whole backbone, or is refused by name and changes nothing.

The files are written here, with the names that Meta's checkpoints have.
"""

import copy
import logging
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mmconvnext.checkpoint.load import CheckpointMismatch, load_pretrained
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
    """What Meta's classifier of that size holds: no norm0 to norm3, but norm and head."""
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
    'envelope',
    [
        lambda w: w,
        lambda w: {'model': w},
        lambda w: {'state_dict': w, 'meta': {'epoch': 3}},
        lambda w: {'model': w, 'optimizer': {'step': 1}, 'epoch': 7},
    ],
    ids=['bare', 'meta', 'openmmlab', 'training'],
)
def test_file_fills_the_backbone_but_its_output_norms(envelope, backbone, tmp_path):
    weights = classifier_weights(backbone)
    before = copy.deepcopy(backbone.state_dict())
    path = write(envelope(weights), tmp_path)
    line = load_pretrained(backbone, path)
    assert_filled(backbone, weights, before)
    count = len(before)
    assert line == (
        f'Loaded {count - 8} of {count} tensors from {path}; new: {", ".join(sorted(NORMS))}; '
        f'dropped: {", ".join(sorted(CLASSIFIER))}'
    )


def test_classifier_norm_does_not_become_the_last_output_norm(backbone, tmp_path):
    load_pretrained(backbone, write(classifier_weights(backbone), tmp_path))
    assert (backbone.norm3.weight == 1).all() and (backbone.norm3.bias == 0).all()


def test_file_with_output_norms_fills_them_too(backbone, tmp_path):
    weights = {k: torch.randn_like(v) for k, v in backbone.state_dict().items()}
    path = write(weights, tmp_path)
    line = load_pretrained(backbone, path)
    assert line == f'Loaded {len(weights)} of {len(weights)} tensors from {path}'
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


def test_prefix_without_a_tensor_is_named(backbone, tmp_path):
    path = write({'encoder.x': torch.zeros(1), 'head.y': torch.zeros(1)}, tmp_path)
    match = r"no tensor below 'backbone\.'; its names begin with \['encoder', 'head'\]"
    with pytest.raises(CheckpointMismatch, match=match):
        load_pretrained(backbone, path, 'backbone')


def without(weights: dict, *names: str) -> dict:
    return {k: v for k, v in weights.items() if k not in names}


@pytest.mark.parametrize(
    ('change', 'match'),
    [
        (
            lambda w: without(w, 'stages.2.1.dwconv.bias', 'downsample_layers.1.0.weight'),
            r'2 missing: downsample_layers\.1\.0\.weight, stages\.2\.1\.dwconv\.bias',
        ),
        (
            lambda w: {**w, 'stages.2.2.norm.bias': torch.zeros(32)},
            r'1 left over: stages\.2\.2\.norm\.bias',
        ),
        (lambda w: {**w, 'decoder.weight': torch.zeros(3)}, r'1 left over: decoder\.weight'),
        (
            lambda w: {**w, 'downsample_layers.0.0.weight': torch.zeros(8, 4, 4, 4)},
            r'1 of another shape: downsample_layers\.0\.0\.weight \(8, 4, 4, 4\) for \(8, 3',
        ),
        (
            lambda w: {**w, 'norm2.weight': torch.zeros(5)},
            r'1 of another shape: norm2\.weight \(5,\) for \(32,\)',
        ),
        (
            lambda w: {k.replace('dwconv', 'depthwise_conv'): v for k, v in w.items()},
            r'(?s)10 missing: (\S+, ){4}\S+ \.\.\.\n  10 left over: .*depthwise_conv\.\w+ \.\.\.',
        ),
    ],
    ids=['missing', 'further block', 'foreign part', 'stem', 'output norm', 'other names'],
)
def test_mismatch_is_named_and_changes_nothing(change, match, backbone, tmp_path):
    before = copy.deepcopy(backbone.state_dict())
    path = write({'model': change(classifier_weights(backbone))}, tmp_path)
    with pytest.raises(CheckpointMismatch, match=match) as error:
        load_pretrained(backbone, path)
    assert str(error.value).startswith(f'{path} does not fit this backbone:\n')
    assert str(error.value).endswith(
        "Check arch and version against the file; its names must be those of Meta's code."
    )
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_weights_of_the_other_version_are_refused(tiny_arch, tmp_path):
    v1, v2 = ConvNeXt(tiny_arch, 'v1'), ConvNeXt(tiny_arch, 'v2')
    path = write(classifier_weights(v2), tmp_path)
    with pytest.raises(CheckpointMismatch, match=r'(?s)5 missing: .*gamma.*10 left over: .*grn'):
        load_pretrained(v1, path)
    path = write(classifier_weights(v1), tmp_path)
    with pytest.raises(CheckpointMismatch, match=r'(?s)10 missing: .*grn.*5 left over: .*gamma'):
        load_pretrained(v2, path)


@pytest.mark.parametrize('content', [{}, {'model': {}}, {'epoch': 3}, [1, 2], 'text'], ids=str)
def test_file_without_weights_is_named(content, backbone, tmp_path):
    path = write(content, tmp_path)
    with pytest.raises(
        CheckpointMismatch, match='weights.pth holds no weights, but (dict|list|str)'
    ):
        load_pretrained(backbone, path)


@pytest.mark.parametrize('value', [None, '', 3, ['a.pth']])
def test_checkpoint_that_is_no_path_is_named(value, backbone):
    with pytest.raises(ValueError, match='checkpoint must be a path or a URL, got '):
        load_pretrained(backbone, value)


def test_missing_file_is_named(backbone, tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere.pth'):
        load_pretrained(backbone, str(tmp_path / 'nowhere.pth'))


class TouchFile:
    """A pickle that writes a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_file_that_runs_code_is_refused(backbone, tmp_path):
    trace = tmp_path / 'trace'
    path = write({'model': classifier_weights(backbone), 'x': TouchFile(trace)}, tmp_path)
    with pytest.raises(Exception, match='Weights only load failed'):
        load_pretrained(backbone, path)
    assert not trace.exists()


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
