# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/convert.py: a published detector has the same metrics wherever it is loaded."""

import copy
from pathlib import Path

import pytest
import torch
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint

from mmconvnext.checkpoint.errors import CheckpointError
from mmconvnext.cli import test as evaluation
from mmconvnext.cli.convert import main
from mmconvnext.cli.train import main as train
from mmconvnext.recipe.errors import RecipeError


@pytest.mark.parametrize('to', ['native', 'meta', 'mmpretrain', 'hf'])
def test_a_published_detector_has_the_metrics_of_its_training(to, detector_run, workplace, capsys):
    published = main([detector_run.checkpoint, 'published/net.pth', '--to', to, '--publish'])
    said = capsys.readouterr().out
    assert said.startswith(f'{published}: ') and 'left out: ' in said and 'optimizer' in said
    metrics = [
        evaluation.main(
            [detector_run.config, str(path), '--toy', '--work-dir', f'tested{i}', '--cfg-options']
            + [*detector_run.options]
        )
        for i, path in enumerate((detector_run.checkpoint, published))
    ]
    assert metrics[0] == metrics[1]


@pytest.mark.parametrize('suffix', ['pth', 'safetensors'])
def test_every_entrance_gives_the_same_model(suffix, detector_run, workplace):
    path = f'zoo.{suffix}'
    main([detector_run.checkpoint, path, '--to', 'mmpretrain', '--drop-optimizer'])
    expected = detector_run.runner.model.state_dict()
    options = [*detector_run.options, f'load_from={path}', 'train_cfg.max_epochs=0']
    by_load_from = train(
        [detector_run.config, '--toy', '--work-dir', 'again', '--cfg-options', *options]
    ).model
    init_default_scope('mmdet')
    by_load_checkpoint = fresh(by_load_from)
    load_checkpoint(by_load_checkpoint, path)
    for model in (by_load_from, by_load_checkpoint):
        for name, value in model.state_dict().items():
            assert torch.equal(value, expected[name]), name


def test_a_run_in_foreign_names_resumes(detector_run, workplace):
    main([detector_run.checkpoint, 'run.pth', '--to', 'mmpretrain'])
    names = torch.load('run.pth', weights_only=False)['state_dict']
    assert 'backbone.stages.0.0.depthwise_conv.weight' in names
    argv = [detector_run.config, '--toy', '--work-dir', 'on', '--resume', 'run.pth']
    runner = train([*argv, '--cfg-options', *detector_run.options])
    assert runner.iter == detector_run.runner.iter > 0
    for name, value in detector_run.runner.model.state_dict().items():
        assert torch.equal(runner.model.state_dict()[name], value), name


def test_options_are_those_of_the_function(monkeypatch, capsys):
    calls = []

    def fake(*args, **options):
        calls.append((args, options))
        return Path('my out.pth'), ['one', 'two']

    monkeypatch.setattr('mmconvnext.cli.convert.convert', fake)
    assert main(['my in.pth', 'my out.pth', '--to', 'hf']) == Path('my out.pth')
    assert capsys.readouterr() == ('my out.pth: one; two\n', '')
    flags = ['--backbone-only', '--drop-optimizer', '--publish', '--drop-norms']
    main(['a', 'b.pth', '--to', 'timm', *flags, '--prefix', 'teacher.', '--envelope', 'ema'])
    names = ('backbone_only', 'drop_optimizer', 'publish', 'drop_norms')
    off = dict.fromkeys(names, False)
    assert calls == [
        (('my in.pth', 'my out.pth', 'hf'), dict(off, prefix=None, envelope=None)),
        (
            ('a', 'b.pth', 'timm'),
            dict(dict.fromkeys(names, True), prefix='teacher.', envelope='ema'),
        ),
    ]


def fresh(model):
    """The same model with other weights."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    return model


@pytest.mark.parametrize(
    ('argv', 'match'),
    [
        (['gone.pth', 'out.pth'], "'gone.pth' is neither a file nor the name of published weights"),
        (['here.pth', 'here.pth'], 'here.pth exists and would be overwritten'),
        (['here.pth', 'out.onnx'], r"'.*\.onnx'|\.onnx"),
    ],
)
def test_faults_are_one_message(argv, match, workplace):
    Path('here.pth').touch()
    with pytest.raises((RecipeError, CheckpointError), match=match):
        main([*argv, '--to', 'meta'])
