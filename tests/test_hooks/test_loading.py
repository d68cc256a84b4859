# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""hooks/loading.py: a checkpoint fills the model, without needless downloads; one line says so."""

import itertools
import logging
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from fixtures import MASK_RCNN, TINY_DETECTOR, TINY_SEGMENTOR, UPERNET, forget_runs
from mmengine.config import Config
from mmengine.runner.priority import get_priority
from torch import nn

from mmconvnext.checkpoint.errors import CheckpointNotFound, CheckpointUnreachable
from mmconvnext.cli import test as evaluation
from mmconvnext.cli.train import main
from mmconvnext.hooks.loading import Loading
from mmconvnext.models import ConvNeXt
from mmconvnext.recipe.errors import RecipeError
from mmconvnext.toy import ADE_CLASSES
from mmconvnext.toy import CLASSES as TOY_CLASSES

# A port where nothing listens, so that connections are refused at once.
OFFLINE = 'http://127.0.0.1:9/convnext.pth'


def fetches(part: str) -> tuple[str, str]:
    """Options that give a part weights to download; --toy has removed those of the config."""
    return f'{part}.init_cfg.type=Pretrained', f'{part}.init_cfg.checkpoint={OFFLINE}'


FETCHES = fetches('model.backbone')
ONE = ('train_cfg.max_iters=1', 'train_cfg.val_interval=9')
CLASSES = len(TOY_CLASSES)
COUNT = itertools.count()


def name() -> str:
    """An option, so that runs within a second do not share mmengine's logger."""
    return f'experiment_name=run{next(COUNT)}'


def detector(*argv, options=()):
    forget_runs()
    options = (*TINY_DETECTOR, 'train_cfg.val_interval=9', name(), *options)
    return main([MASK_RCNN, '--toy', *argv, '--cfg-options', *options])


def segmentor(*argv, options=(), config=UPERNET):
    forget_runs()
    options = (*TINY_SEGMENTOR, *ONE, name(), *options)
    return main([config, '--toy', *argv, '--cfg-options', *options])


def widened(tensor: torch.Tensor, rows: int) -> torch.Tensor:
    return torch.full((rows, *tensor.shape[1:]), 7.0)


def change(run, file: str, *changes, **extra) -> str:
    """The checkpoint of a run, changed, without what only a resumed run needs."""
    content = torch.load(run.checkpoint, weights_only=False)
    content = {'meta': content['meta'], 'state_dict': content['state_dict'], **extra}
    for apply in changes:
        apply(content)
    torch.save(content, file)
    return f'load_from={file}'


def as_coco(content: dict) -> None:
    """As if it had been trained on the 80 classes of COCO."""
    weights = content['state_dict']
    rows = {'bbox_head.fc_cls': 81, 'bbox_head.fc_reg': 320, 'mask_head.conv_logits': 80}
    for layer, count in rows.items():
        for name in (f'roi_head.{layer}.weight', f'roi_head.{layer}.bias'):
            weights[name] = widened(weights[name], count)
    content['meta']['dataset_meta'] = dict(classes=tuple(f'class{i}' for i in range(80)))


def said(capsys) -> list[str]:
    """The lines of the log."""
    text = capsys.readouterr()
    return [line for line in (text.out + text.err).splitlines() if 'mmengine - ' in line]


def summary(lines: list[str]) -> str:
    """The line that says what was loaded; no later line mentions loading."""
    (line,) = (line for line in lines if ' - Loaded ' in line)
    after = '\n'.join(lines[lines.index(line) + 1 :])
    assert not re.search('Load|resumed |initialize|match exactly|mismatch', after), after
    return line


# load_from


def test_a_detector_with_other_classes_offline(detector_run, workplace, capsys):
    option = change(detector_run, 'coco.pth', as_coco)
    runner = detector(options=(option, *FETCHES))
    lines = said(capsys)
    total = len(runner.model.state_dict())
    assert re.search(
        rf' - INFO - Loaded {total - 6} of {total} tensors from coco\.pth; '
        r'left at initialization, as expected: '
        rf'roi_head\.bbox_head\.fc_cls \(81 -> {CLASSES + 1}\), '
        rf'roi_head\.bbox_head\.fc_reg \(320 -> {4 * CLASSES}\), '
        rf'roi_head\.mask_head\.conv_logits \(80 -> {CLASSES}\), because the model has '
        rf'{CLASSES} classes and the file 80; not read, because the file fills these modules: '
        r'init_cfg of backbone$',
        summary(lines),
    )
    assert 'Load checkpoint from coco.pth' in ''.join(lines)
    assert 'mismatch' not in ''.join(lines) and 'do not match' not in ''.join(lines)


def test_what_is_loaded_and_what_stays_at_initialization(segmentor_run, workplace, capsys):
    """With a learning rate of 0, so that it can be seen; averaged weights start alike."""

    def one_class_more(content):
        weights = content['state_dict']
        for name in [name for name in weights if 'conv_seg' in name]:
            weights[name] = widened(weights[name], len(weights[name]) + 1)
        del content['meta']['dataset_meta']

    option = change(segmentor_run, 'w.pth', one_class_more)
    still = ('optim_wrapper.optimizer.lr=0', 'model.backbone.drop_path_rate=0')
    config = workplace / 'average.py'
    config.write_text(f'_base_ = {UPERNET!r}\ncustom_hooks = [dict(type="EMAHook")]\n')
    runner = segmentor(options=(option, *FETCHES, *still), config=str(config))
    file = torch.load('w.pth', weights_only=True)['state_dict']
    (hook,) = (hook for hook in runner.hooks if type(hook).__name__ == 'EMAHook')
    ema = hook.ema_model.module.state_dict()
    for name, tensor in runner.model.state_dict().items():
        if 'conv_seg' in name:
            assert not (tensor == 7).any() and tensor.std() < 0.1
        elif 'running' not in name and 'num_batches' not in name:
            assert torch.equal(tensor, file[name]), name
        if 'running' not in name and 'num_batches' not in name:
            assert torch.allclose(tensor, ema[name]), name
    assert 'and the file another number' in summary(said(capsys))


def test_init_cfg_of_any_part_that_the_file_fills_is_not_read(segmentor_run, workplace, capsys):
    """Of the whole model, of a head; not that of a head whose class layer differs."""
    parts = [*fetches('model'), *fetches('model.backbone'), *fetches('model.auxiliary_head')]
    segmentor(options=(change(segmentor_run, 'same.pth'), *parts))
    lines = said(capsys)
    assert summary(lines).endswith('init_cfg of the model, backbone, auxiliary_head')
    assert 'more than once' not in ''.join(lines)

    def other(content):
        name = 'auxiliary_head.conv_seg.bias'
        content['state_dict'][name] = torch.ones(7)
        del content['meta']['dataset_meta']

    with pytest.raises(CheckpointUnreachable, match=OFFLINE):
        option = change(segmentor_run, 'other.pth', other)
        segmentor('--work-dir', 'second', options=(option, *parts))


def test_the_same_classes_in_a_foreign_envelope(segmentor_run, workplace, capsys):
    content = torch.load(segmentor_run.checkpoint, weights_only=False)
    torch.save({'model': content['state_dict'], 'epoch': 3}, 'w.pth')
    runner = segmentor(options=('load_from=w.pth', *FETCHES))
    total = len(runner.model.state_dict())
    assert re.search(
        rf'Loaded {total} of {total} tensors from w\.pth; not read,', summary(said(capsys))
    )


def other_neck(content: dict) -> None:
    name = 'decode_head.fpn_convs.0.conv.weight'
    content['state_dict'][name] = content['state_dict'][name][:8].clone()


def no_neck(content: dict) -> None:
    for name in [name for name in content['state_dict'] if 'decode_head.fpn_convs.0.' in name]:
        del content['state_dict'][name]


def other_backbone(content: dict) -> None:
    weights = content['state_dict']
    weights['backbone.norm3.weight'] = weights['backbone.norm3.weight'][:32].clone()


def no_backbone(content: dict) -> None:
    for name in [name for name in content['state_dict'] if name.startswith('backbone.')]:
        del content['state_dict'][name]


def other_classifier(content: dict) -> None:
    """One row more, although the classes are as many as the model's."""
    name = 'decode_head.conv_seg.bias'
    content['state_dict'][name] = torch.ones(len(content['state_dict'][name]) + 1)


FAULTS = {
    'as many classes': (other_classifier, r'size mismatch for decode_head\.conv_seg\.bias'),
    'another shape': (other_neck, r'size mismatch for decode_head\.fpn_convs\.0\.conv\.weight'),
    'missing': (no_neck, r'\d missing: decode_head\.fpn_convs\.0\.conv\.weight'),
    'backbone': (
        other_backbone,
        r'weights for backbone\.: .*\n.*norm3\.weight \(32,\) instead of \(64,\)',
    ),
    'head only': (no_backbone, r'weights for backbone\.: no key begins with this prefix'),
}


@pytest.mark.parametrize(('apply', 'match'), FAULTS.values(), ids=FAULTS)
def test_other_than_class_layers_must_fit(apply, match, segmentor_run, workplace):
    option = change(segmentor_run, 'w.pth', apply)
    match = rf'(?s)w\.pth \(load_from\) does not fill the model:\n.*{match}.*'
    with pytest.raises(RecipeError, match=match + '--lenient, or lenient_loading = True'):
        segmentor(options=(option,))


LENIENT = {'option': (('--lenient',), ()), 'config': ((), ('lenient_loading=True',))}


@pytest.mark.parametrize(('argv', 'options'), LENIENT.values(), ids=LENIENT)
def test_lenient_loading_is_loud(argv, options, segmentor_run, workplace, capsys):
    option = change(segmentor_run, 'w.pth', other_neck)
    runner = segmentor(*argv, options=(option, *FETCHES, *options))
    line, total = summary(said(capsys)), len(runner.model.state_dict())
    assert re.search(
        rf' - WARNING - Loaded {total - 1} of {total} tensors from w\.pth; NOT STRICT '
        r'\(lenient_loading\), left at initialization: decode_head\.fpn_convs\.0\.conv \(8 -> 16\)',
        line,
    )


def test_lenient_loading_of_a_head_keeps_the_init_cfg(segmentor_run, workplace, capsys):
    option = change(segmentor_run, 'w.pth', no_backbone)
    with pytest.raises(CheckpointUnreachable, match=OFFLINE):
        segmentor('--lenient', options=(option, *FETCHES))
    (workplace / 'lenient').mkdir()
    segmentor('--lenient', '--work-dir', 'lenient', options=(option,))
    line = summary(said(capsys))
    assert (
        'NOT STRICT (lenient_loading), left at initialization: backbone.downsample_layers' in line
    )


def test_lenient_loading_of_broken_values_keeps_the_init_cfg(segmentor_run, workplace):
    def broken(content):
        name = 'auxiliary_head.convs.0.bn.running_mean'
        content['state_dict'][name] = spoiled(content['state_dict'][name], torch.nan)

    with pytest.raises(CheckpointUnreachable, match=OFFLINE):
        option = change(segmentor_run, 'w.pth', broken)
        segmentor('--lenient', options=(option, *fetches('model.auxiliary_head')))


def test_lenient_loading_takes_what_the_backbone_can_use(segmentor_run, workplace, capsys):
    """A stem for six channels, of which three are used, and a norm of another width."""

    def six_channels(content):
        weights = content['state_dict']
        stem = weights['backbone.downsample_layers.0.0.weight']
        weights['backbone.downsample_layers.0.0.weight'] = stem.repeat(1, 2, 1, 1)

    six = change(segmentor_run, 'w.pth', six_channels)
    runner = segmentor('--lenient', options=(six,))
    total = len(runner.model.state_dict())
    assert f'Loaded {total} of {total} tensors' in summary(said(capsys))
    change(segmentor_run, 'w.pth', six_channels, other_backbone)
    segmentor('--lenient', '--work-dir', 'second', options=(six,))
    line = summary(said(capsys))
    assert f' - WARNING - Loaded {total - 1} of {total} tensors' in line
    assert 'left at initialization: backbone.norm3' in line


def test_a_part_of_the_file_that_is_not_used_is_named(segmentor_run, workplace, capsys):
    def more(content):
        content['state_dict']['neck.conv.weight'] = torch.ones(3)

    segmentor(options=(change(segmentor_run, 'w.pth', more),))
    line = summary(said(capsys))
    assert ' - WARNING - ' in line and line.endswith('; not used: neck.conv.weight')


def test_no_weights_are_refused(workplace):
    torch.save([torch.ones(2)], 'w.pth')
    with pytest.raises(RecipeError, match=r'w\.pth holds no weights, only a list'):
        segmentor(options=('load_from=w.pth',))


def test_lenient_loading_is_true_or_false(workplace):
    with pytest.raises(RecipeError, match="lenient_loading='yes': choose True or False"):
        segmentor(options=('lenient_loading=yes',))


# Names and values, without a run


class Small(nn.Module):
    """A backbone of ours, a neck and a head with a counter."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = ConvNeXt(dict(depths=[1, 1, 1, 1], channels=[4, 8, 8, 8]))
        self.neck = nn.Sequential(nn.Conv2d(8, 4, 1), nn.BatchNorm2d(4))
        self.head = nn.Linear(4, 2)


def load_into(model: nn.Module, checkpoint: dict, what: str = 'load_from', lenient=False):
    """What the tools do with the content of a file w.pth, without mmengine's part."""
    hook = Loading(what, lenient)
    hook.source = 'w.pth'
    runner = SimpleNamespace(model=model, cfg=Config(dict(model={})), work_dir='.')
    hook.after_load_checkpoint(runner, checkpoint)
    return hook


def run_of(weights: dict) -> dict:
    meta = dict(iter=1, epoch=0)
    return dict(state_dict=weights, optimizer={}, message_hub={}, meta=meta)


def spoiled(tensor: torch.Tensor, value: float) -> torch.Tensor:
    tensor = tensor.clone()
    tensor.view(-1)[-1] = value
    return tensor


VALUES = {
    'nan': (lambda t: spoiled(t, torch.nan), 'NaN or infinite values'),
    'inf': (lambda t: spoiled(t.half(), -torch.inf), 'NaN or infinite values'),
    'too large': (lambda t: spoiled(t.double(), 1e300), r'values out of range for torch\.float32'),
    'int8': (lambda t: t.to(torch.int8), r'torch\.int8; weights must be one of float16, bfloat16'),
    'bool': (lambda t: t > 0, r'torch\.bool; weights must be one of'),
    'complex': (lambda t: t + 0j, r'torch\.complex64; weights must be one of'),
}
PLACES = ('neck.0.weight', 'neck.1.running_var', 'head.bias', 'backbone.norm0.weight')


@pytest.mark.parametrize('what', ['load_from', 'resume', 'test'])
@pytest.mark.parametrize(('spoil', 'match'), VALUES.values(), ids=VALUES)
@pytest.mark.parametrize('place', PLACES)
def test_values_that_cannot_be_right(place, spoil, match, what):
    torch.manual_seed(0)
    weights = Small().state_dict()
    weights[place] = spoil(weights[place])
    model = Small()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    match = rf'(?s)not fill the model:\n{re.escape(place)}: {match}.*not quantized\. To load only'
    with pytest.raises(RecipeError, match=match):
        load_into(model, run_of(weights), what)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())

    hook = load_into(model, run_of(weights), what, lenient=True)
    total = len(before)
    assert hook.level == logging.WARNING
    assert f'Loaded {total - 1} of {total} tensors from w.pth; left out: {place}: ' in hook.line
    assert f'left at initialization: {place.rpartition(".")[0]}' in hook.line
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, (before if name == place else weights)[name]), name


def test_values_of_a_run_with_averaged_weights():
    """EMAHook swaps the two: it saves the average as the weights, and vice versa."""
    weights = Small().state_dict()
    average = {f'module.{name}': tensor for name, tensor in weights.items()}
    average.update({'steps': torch.tensor(1), 'module.head.bias': torch.full((2,), torch.nan)})
    checkpoint = {**run_of(weights), 'ema_state_dict': dict(average)}
    with pytest.raises(RecipeError, match=r'\nema_state_dict\.head\.bias: NaN or infinite'):
        load_into(Small(), checkpoint, 'resume')
    checkpoint['ema_state_dict'] = dict(average)
    hook = load_into(Small(), checkpoint, 'resume', lenient=True)
    assert hook.level == logging.WARNING
    assert 'left out: ema_state_dict.head.bias: NaN or infinite values' in hook.line
    assert average.keys() - checkpoint['ema_state_dict'].keys() == {'module.head.bias'}
    load_into(Small(), {**run_of(weights), 'ema_state_dict': average}, 'test')


def test_lenient_loading_leaves_out_what_the_backbone_would_rename():
    model, weights = Small(), Small().state_dict()
    for name in list(weights):  # as mmpretrain calls them
        other = name.replace('dwconv', 'depthwise_conv').replace('pwconv', 'pointwise_conv')
        weights[other] = weights.pop(name)
    place = 'backbone.stages.1.0.depthwise_conv.weight'
    weights[place] = spoiled(weights[place], torch.nan)
    hook = load_into(model, dict(state_dict=weights), lenient=True)
    assert f'left out: {place}: NaN' in hook.line
    assert 'left at initialization: backbone.stages.1.0.dwconv' in hook.line
    total = len(model.state_dict())
    assert f'Loaded {total - 1} of {total} tensors' in hook.line
    assert all(tensor.isfinite().all() for tensor in model.state_dict().values())


def test_a_part_that_is_not_used_may_hold_anything():
    weights = {**Small().state_dict(), 'other.mask': torch.tensor([True]), 'nan': torch.tensor(0.0)}
    weights['nan'] /= 0
    hook = load_into(Small(), dict(state_dict=weights))
    assert hook.line.endswith('; not used: other.mask, nan')


FRONTS = ('_orig_mod.', 'module._orig_mod.', '_orig_mod.module.', 'module.module.', 'module.')


@pytest.mark.parametrize('what', ['load_from', 'resume', 'test'])
@pytest.mark.parametrize('front', FRONTS)
def test_prefixes_of_wrappers_are_taken_off(front, what):
    """mmengine loads once more, and has to find the names of the model."""
    weights, model = Small().state_dict(), Small()
    checkpoint = run_of({front + name: tensor for name, tensor in weights.items()})
    hook = load_into(model, checkpoint, what)
    assert f'Loaded {len(weights)} of {len(weights)} tensors' in hook.line
    assert hook.level == logging.INFO
    assert checkpoint['state_dict'].keys() == weights.keys()
    assert all(torch.equal(weights[name], tensor) for name, tensor in model.state_dict().items())


def test_names_that_become_one_are_refused():
    weights = Small().state_dict()
    weights['_orig_mod.head.bias'] = torch.ones(2)
    match = r'w\.pth has 1 tensors twice, .*: head\.bias, _orig_mod\.head\.bias; keep one'
    with pytest.raises(RecipeError, match=match):
        load_into(Small(), dict(state_dict=weights))


@pytest.mark.parametrize('what', ['load_from', 'resume', 'test'])
def test_a_key_that_is_no_name_is_left_over(what):
    checkpoint = run_of({**Small().state_dict(), 7: torch.ones(2), None: 3})
    hook = load_into(Small(), checkpoint, what)
    assert hook.level == logging.WARNING and hook.line.endswith('; not used: 7, None')
    assert all(isinstance(name, str) for name in checkpoint['state_dict'])


@pytest.mark.parametrize('content', [[], {}, None], ids=['list', 'empty', 'none'])
def test_weights_beside_a_state_dict_without_any(content):
    weights = Small().state_dict()
    checkpoint = dict(state_dict=content, model=weights)
    hook = load_into(Small(), checkpoint, 'test')
    assert f'Loaded {len(weights)} of {len(weights)}' in hook.line
    assert checkpoint['state_dict'].keys() == weights.keys()


@pytest.mark.parametrize('meta', [None, ['iter'], 'iter', 3], ids=repr)
def test_an_odd_meta_continues_no_run(meta):
    with pytest.raises(RecipeError, match=r'not written by a training run \(no iteration count\)'):
        load_into(Small(), {**run_of(Small().state_dict()), 'meta': meta}, 'resume')
    load_into(Small(), {**run_of(Small().state_dict()), 'meta': meta}, 'load_from')


@pytest.mark.parametrize('what', ['load_from', 'resume', 'test'])
def test_counters_of_batch_norms_may_be_missing(what):
    """Old files have none; torch then keeps the layer's own."""
    weights, model = Small().state_dict(), Small()
    del weights['neck.1.num_batches_tracked']
    model.neck[1].num_batches_tracked += 5
    hook = load_into(model, run_of(weights), what)
    total = len(weights) + 1
    assert hook.level == logging.INFO
    assert hook.line.startswith(f'Loaded {total} of {total} tensors from w.pth')
    assert ('; resumed at epoch 0, iteration 1' in hook.line) == (what == 'resume')
    assert model.neck[1].num_batches_tracked == 5


@pytest.mark.parametrize(
    ('what', 'lenient', 'complete'),
    [('load_from', False, True), ('resume', False, False), ('test', False, False)]
    + [(what, True, True) for what in ('load_from', 'resume', 'test')],
)
def test_what_mmengine_loads_afterwards(what, lenient, complete):
    """All of the model if something may be left out, so that it logs nothing about it."""
    weights = Small().state_dict()
    del weights['neck.1.num_batches_tracked']
    checkpoint = run_of(weights)
    load_into(Small(), checkpoint, what, lenient)
    assert ('neck.1.num_batches_tracked' in checkpoint['state_dict']) == complete
    assert (checkpoint['state_dict'] is weights) != complete


# Class layers: the head of two classes and a file of five.


def five_classes(**changes) -> dict:
    weights = {**Small().state_dict(), 'head.weight': torch.ones(5, 4), 'head.bias': torch.ones(5)}
    weights.update(changes)
    return {**run_of(weights), 'meta': dict(iter=1, dataset_meta=dict(classes=tuple('abcde')))}


@pytest.fixture
def two_classes(monkeypatch):
    """A function like load_into, for a model whose head depends on the number of classes."""
    from mmconvnext.hooks import loading

    known = {'head.weight': {0}, 'head.bias': {0}, 'neck.0.weight': set()}
    monkeypatch.setattr(loading, 'class_dimensions', lambda config, own: known)

    def call(checkpoint, what='load_from', lenient=False):
        hook, model = Loading(what, lenient), Small()
        hook.source = 'w.pth'
        cfg = Config(dict(model=dict(head=dict(num_classes=2))))
        runner = SimpleNamespace(model=model, cfg=cfg, work_dir='.')
        hook.after_load_checkpoint(runner, checkpoint)
        return hook, model

    return call


def test_class_layers_stay_at_initialization(two_classes):
    """Whatever they hold in the file, which is not used."""
    checkpoint = five_classes(**{'head.weight': torch.full((5, 4), torch.nan)})
    hook, model = two_classes(checkpoint)
    total = len(model.state_dict())
    assert hook.line == (
        f'Loaded {total - 2} of {total} tensors from w.pth; left at initialization, as expected: '
        'head (5 -> 2), because the model has 2 classes and the file 5'
    )
    assert hook.level == logging.INFO
    assert torch.equal(checkpoint['state_dict']['head.weight'], model.head.weight)
    checkpoint = five_classes()
    del checkpoint['meta']
    hook, _ = two_classes(checkpoint)
    assert f'Loaded {total - 2} of {total} ' in hook.line
    assert hook.line.endswith('2 classes and the file another number')


def test_no_other_model_is_built_if_all_fits(monkeypatch):
    monkeypatch.setattr('mmconvnext.hooks.loading.class_dimensions', None)
    assert load_into(Small(), run_of(Small().state_dict())).level == logging.INFO


OTHERS = {
    'another width': ({'head.weight': torch.ones(5, 3)}, 'load_from', 5),
    'one dimension more': ({'head.weight': torch.ones(5, 4, 1)}, 'load_from', 5),
    'the neck too': ({'neck.0.weight': torch.ones(5, 8, 1, 1)}, 'load_from', 5),
    'as many classes': ({}, 'load_from', 2),
    'a resumed run': ({}, 'resume', 5),
    'a test': ({}, 'test', 5),
}


@pytest.mark.parametrize(('change', 'what', 'count'), OTHERS.values(), ids=OTHERS)
def test_what_else_differs_is_no_class_layer(two_classes, change, what, count):
    checkpoint = five_classes(**change)
    checkpoint['meta']['dataset_meta'] = dict(classes=tuple('abcde'[:count]))
    purpose = '' if what == 'test' else f' ({what})'
    match = rf'(?s)^the checkpoint w\.pth{re.escape(purpose)} does not fill .*size mismatch for '
    match += re.escape(next(iter(change), 'head.weight'))
    with pytest.raises(RecipeError, match=match):
        two_classes(checkpoint, what)
    hook, model = two_classes(checkpoint, what, lenient=True)
    assert hook.level == logging.WARNING and 'NOT STRICT' in hook.line
    left = 3 if 'neck.0.weight' in change else 2
    total = len(model.state_dict())
    assert f'Loaded {total - left} of {total} ' in hook.line


# The other steps of the hook


@pytest.mark.parametrize(
    ('what', 'lenient', 'loaded', 'there', 'skipped'),
    [
        ('load_from', False, False, True, ['neck']),
        ('resume', False, False, True, ['neck', 'head']),  # it fills everything, or is refused
        ('resume', True, False, True, ['neck']),
        ('test', False, False, True, []),
        ('load_from', False, True, True, []),
        ('resume', False, False, False, []),
    ],
)
def test_modules_that_are_not_initialized(tmp_path, what, lenient, loaded, there, skipped):
    model = Small()
    for part in (model.neck, model.head):
        part.init_cfg = dict(type='Pretrained', checkpoint=OFFLINE)
    weights = {k: v for k, v in model.state_dict().items() if not k.startswith('head.')}
    torch.save(dict(state_dict=weights), tmp_path / 'w.pth')
    named = str(tmp_path / 'w.pth') if what == 'load_from' else None
    if there:  # the last checkpoint of a run that mmengine resumes
        (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'w.pth'))
    hook = Loading(what, lenient)
    runner = SimpleNamespace(
        _load_from=named, work_dir=str(tmp_path), _has_loaded=loaded, model=model
    )
    hook.before_run(runner)
    assert hook.source == (str(tmp_path / 'w.pth') if there else None)
    assert hook.skipped == skipped
    assert [n for n in ('neck', 'head') if getattr(getattr(model, n), '_is_init', 0)] == skipped


def test_the_line_is_logged_once_with_its_level():
    logged, hook = [], Loading('test')
    logger = SimpleNamespace(log=lambda *args: logged.append(args))
    hook.before_test(SimpleNamespace(logger=logger))
    assert logged == []
    hook.line, hook.level = 'Loaded', logging.WARNING
    for _ in range(2):
        hook.before_test(SimpleNamespace(logger=logger))
    assert logged == [(logging.WARNING, 'Loaded')]


def test_it_comes_before_the_average_is_copied():
    from mmengine.hooks import EMAHook

    assert get_priority(Loading.priority) < get_priority(EMAHook.priority)


@pytest.mark.parametrize('out_dir', [None, 'elsewhere'])
def test_where_checkpoints_are_remembered(out_dir):
    """In the folder of this run, unless all are kept elsewhere."""
    checkpoint = run_of(Small().state_dict())
    checkpoint['message_hub'] = dict(runtime_info=dict(best_ckpt='/old/best_1.pth', epoch=3))
    hook = Loading('resume')
    hook.source = 'w.pth'
    hooks = dict(checkpoint=dict(type='CheckpointHook', out_dir=out_dir))
    cfg = Config(dict(model={}, default_hooks=hooks))
    runner = SimpleNamespace(model=Small(), cfg=cfg, work_dir='my run')
    hook.after_load_checkpoint(runner, checkpoint)
    best = '/old/best_1.pth' if out_dir else 'my run/best_1.pth'
    assert checkpoint['message_hub']['runtime_info'] == dict(best_ckpt=best, epoch=3)


@pytest.mark.parametrize('lacking', ['optimizer', 'message_hub'])
@pytest.mark.parametrize('value', [None, [], 'gone'])
def test_a_run_needs_all_of_its_state(lacking, value):
    checkpoint = {**run_of(Small().state_dict()), lacking: value}
    if value == 'gone':
        del checkpoint[lacking]
    with pytest.raises(RecipeError, match=rf'\(no {lacking}\), so it cannot be resumed; start'):
        load_into(Small(), checkpoint, 'resume')
    load_into(Small(), checkpoint, 'load_from')


@pytest.mark.parametrize('average', [None, [], 'text'])
def test_an_average_that_is_none_has_no_faults(average):
    checkpoint = {**run_of(Small().state_dict()), 'ema_state_dict': average}
    assert load_into(Small(), checkpoint, 'resume').level == logging.INFO


def test_classes_in_another_order_and_odd_keys_through_the_tool(segmentor_run, workplace, capsys):
    def other(content):
        content['state_dict'] = {f'_orig_mod.{k}': v for k, v in content['state_dict'].items()}
        content['state_dict'][7] = torch.ones(1)
        content['meta']['dataset_meta'] = dict(classes=ADE_CLASSES[::-1])

    segmentor(options=(change(segmentor_run, 'w.pth', other),))
    lines = said(capsys)
    assert summary(lines).endswith('; not used: 7')
    (line,) = (line for line in lines if 'was trained with' in line)
    assert ' - WARNING - ' in line and 'load_from: training starts' in line


# Resuming and testing


def test_a_resumed_run_fetches_nothing(segmentor_run, workplace, capsys):
    shutil.copytree(segmentor_run.work_dir, 'copy')
    note = Path('copy/last_checkpoint')
    assert Path(note.read_text()).parent != Path('copy').resolve()  # it names the original's
    options = ('train_cfg.max_iters=3', *FETCHES)
    runner = segmentor('--work-dir', 'copy', '--resume', options=options)
    assert runner.iter == 3
    total, lines = len(runner.model.state_dict()), said(capsys)
    assert re.search(
        rf' - INFO - Loaded {total} of {total} tensors from copy/iter_2\.pth; resumed at epoch 0, '
        r'iteration 2; not read, because the file fills these modules: init_cfg of backbone$',
        summary(lines),
    )
    assert 'resumed epoch: 0, iter: 2' in ''.join(lines)


def test_a_run_that_goes_on_elsewhere_spares_the_best_of_the_first(segmentor_run, workplace):
    """CheckpointHook deletes what it remembers as the best when there is a better one."""
    content = torch.load(segmentor_run.checkpoint, weights_only=False)
    Path('first').mkdir()
    best = Path('first/best_mIoU_iter_1.pth').resolve()
    best.touch()
    info = content['message_hub']['runtime_info']
    info.update(best_ckpt=str(best), best_score=-1.0)
    content['message_hub']['resumed_keys'].update(best_ckpt=True, best_score=True)
    torch.save(content, 'first/iter_2.pth')
    options = ['train_cfg.max_iters=3', 'train_cfg.val_interval=1']
    options += ['default_hooks.checkpoint.save_best=mIoU', 'default_hooks.checkpoint.rule=greater']
    segmentor('--work-dir', 'second', '--resume', 'first/iter_2.pth', options=options)
    # The validation after iteration 2 is not in the checkpoint, so it comes first.
    assert list(Path('second').glob('best_mIoU_iter_[23].pth')) and best.is_file()


def test_a_test_says_what_it_loaded(segmentor_run, workplace, capsys):
    def evaluate(*argv):
        forget_runs()
        run = segmentor_run
        return evaluation.main([run.config, *argv, '--toy', '--cfg-options', *run.options, name()])

    evaluate(segmentor_run.checkpoint)
    assert re.search(
        r'INFO - Loaded (\d+) of \1 tensors from .*iter_2\.pth$', summary(said(capsys))
    )
    change(segmentor_run, 'w.pth', other_neck)
    with pytest.raises(RecipeError, match='(?s)size mismatch.*the same classes. To load only what'):
        evaluate('w.pth')
    evaluate('w.pth', '--lenient')
    assert ' - WARNING - Loaded ' in summary(said(capsys))


def test_a_missing_init_cfg_is_still_an_error_without_a_checkpoint(workplace):
    options = (
        'model.backbone.init_cfg.type=Pretrained',
        'model.backbone.init_cfg.checkpoint=gone.pth',
    )
    with pytest.raises(CheckpointNotFound, match=r'gone\.pth'):
        segmentor(options=options)
