# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""An argument that a class of ours refuses is one message; errors of other classes are not ours."""

import pytest
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS
from torch import nn

from mmconvnext.cli.refused import refused
from mmconvnext.cli.run import run_tool


def build(cfg: Config) -> None:
    """As mmengine's Runner does: the config and its model are in frames."""
    MODELS.build(cfg.model)


def message(function, *arguments) -> str:
    with pytest.raises((TypeError, ValueError)) as told:
        function(*arguments)
    return refused(told.value)


class Outer(nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = MODELS.build(backbone)


@pytest.mark.parametrize(
    ('argument', 'said'),
    [
        (dict(arch='giant'), "model.backbone: arch='giant' is unknown; choose one of"),
        (dict(drop_path_rate=2), r'model.backbone: drop_path_rate must be in [0, 1), got 2'),
        (dict(depth=3), "model.backbone: ConvNeXt got unexpected keyword arguments ['depth']"),
    ],
)
def test_the_backbone(argument, said):
    backbone = dict(dict(type='mmconvnext.ConvNeXt', arch='atto'), **argument)
    assert message(build, Config(dict(model=dict(type=Outer, backbone=backbone)))).startswith(said)


def test_without_a_config_the_class_is_named():
    said = message(MODELS.build, dict(type='mmconvnext.ConvNeXt', arch='giant'))
    assert said.startswith("ConvNeXt: arch='giant' is unknown")


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (dict(foo=1), "optim_wrapper: paramwise_cfg has unknown keys ['foo']; the keys are ["),
        (dict(decay_rate=-1), 'optim_wrapper: paramwise_cfg decay_rate must be above 0'),
    ],
)
def test_the_optimizer(options, said):
    wrapper = dict(
        type='OptimWrapper',
        optimizer=dict(type='AdamW', lr=0.1),
        constructor='mmconvnext.LayerDecayOptimWrapperConstructor',
        paramwise_cfg=options,
    )
    assert message(build_optim_wrapper, nn.Linear(2, 2), wrapper).startswith(said)


def test_errors_of_others_are_not_ours():
    assert refused(ValueError('x')) == ''  # never raised
    wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=-1))
    assert message(build_optim_wrapper, nn.Linear(2, 2), wrapper) == ''
    wrapper['optimizer'] = dict(type='AdamW', lr=1, foo=2)
    assert message(build_optim_wrapper, nn.Linear(2, 2), wrapper) == ''


def test_errors_of_ours_in_a_training_keep_their_traceback():
    backbone = MODELS.build(dict(type='mmconvnext.ConvNeXt', arch='atto'))
    assert message(backbone, nn.Parameter()) == ''


def test_the_tools_show_it_without_a_traceback(capsys):
    cfg = Config(dict(model=dict(type='mmconvnext.ConvNeXt', arch='giant')))
    with pytest.raises(SystemExit, match='^2$'):
        run_tool(lambda: build(cfg))
    assert capsys.readouterr().err.startswith("error: model: arch='giant' is unknown; choose one")
