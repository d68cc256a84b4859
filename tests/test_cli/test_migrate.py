# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/migrate.py: from a foreign config to a training step with our own tools."""

from pathlib import Path

import pytest
from fixtures import TINY_DETECTOR, TINY_SEGMENTOR
from mmengine.config import Config

from mmconvnext.cli.migrate import main
from mmconvnext.cli.train import main as train
from mmconvnext.migrate.source import shipped
from mmconvnext.recipe.errors import RecipeError

DETECTOR = 'convnext/mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py'
SEGMENTOR = 'convnext/convnext-tiny_upernet_8xb2-amp-160k_ade20k-512x512.py'


@pytest.mark.parametrize(('project', 'config'), [('mmdet', DETECTOR), ('mmseg', SEGMENTOR)])
def test_from_a_shipped_config_to_training(project, config, workplace, capsys):
    source = shipped()[project] / config
    result = main([str(source), '-o', 'mine/new.py'])
    said = capsys.readouterr().out
    assert f'{project}::{config}' in said and 'mine/new.py: ' in said
    assert 'learning rate and weight decay of all' in said
    assert Path('mine/new.py').read_text() == result.text
    assert Config.fromfile('mine/new.py').model.backbone.type == 'mmconvnext.ConvNeXt'
    options = [*(TINY_DETECTOR if project == 'mmdet' else TINY_SEGMENTOR)]
    runner = train(['mine/new.py', '--toy', '--work-dir', 'run', '--cfg-options', *options])
    assert runner.iter >= 1


def test_without_out_the_config_is_alone_on_stdout(workplace, capsys):
    source = shipped()['mmdet'] / DETECTOR
    result = main([str(source)])
    captured = capsys.readouterr()
    assert captured.out == result.text and 'proof:' in captured.err
    assert not list(Path().glob('*.py'))


def test_nothing_is_overwritten(workplace):
    Path('here.py').write_text('a = 1\n')
    with pytest.raises(RecipeError, match='here.py exists and would be overwritten'):
        main([str(shipped()['mmdet'] / DETECTOR), '-o', 'here.py'])
    assert Path('here.py').read_text() == 'a = 1\n'
