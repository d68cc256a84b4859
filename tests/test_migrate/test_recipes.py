# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipes.py: a config that equals one of ours is recognised."""

from pathlib import Path

import pytest
from mmengine.config import Config

from mmconvnext.migrate.recipes import recipe_line
from mmconvnext.migrate.source import plain

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
RECIPE = CONFIGS / 'upernet' / 'convnext-base_upernet_8xb2-amp-160k_ade20k-512x512.py'


def recipe():
    return plain(Config.fromfile(str(RECIPE), import_custom_modules=False).to_dict())


def test_the_same_recipe_is_named():
    cfg = recipe()
    cfg['model']['backbone']['init_cfg'] = None  # weights and logging do not define a recipe
    cfg['default_hooks'] = {}
    line = recipe_line(cfg)
    assert line.startswith('the config is the same as our recipe ') and RECIPE.name in line


def test_a_near_one_is_named_with_the_difference():
    cfg = recipe()
    cfg['model']['backbone']['drop_path_rate'] = 0.1
    line = recipe_line(cfg)
    assert RECIPE.name in line and line.endswith('differs in model.backbone.drop_path_rate')


@pytest.mark.parametrize(('changes', 'near'), [(6, True), (7, False)])
def test_near_is_up_to_six_differences(changes, near):
    cfg = recipe()
    for i in range(changes):
        cfg['model'][f'own{i}'] = i
    assert (RECIPE.name in recipe_line(cfg)) is near


def test_what_defines_a_recipe_and_what_does_not():
    cfg = recipe()
    cfg['model']['pretrained'] = 'a.pth'
    cfg['train_cfg']['val_interval'] = 7
    cfg['train_dataloader']['dataset'].update(data_root='elsewhere')
    for step in cfg['train_dataloader']['dataset']['pipeline']:
        step['backend_args'] = None
    cfg['val_dataloader'] = cfg['work_dir'] = None
    assert recipe_line(cfg).startswith('the config is the same as our recipe ')
    cfg['train_dataloader']['batch_size'] = 3
    cfg['train_cfg']['max_iters'] = 7
    cfg['optim_wrapper']['optimizer']['lr'] = 1.0
    cfg['param_scheduler'][0]['end'] = 1
    cfg['train_dataloader']['dataset']['pipeline'][0]['type'] = 'Own'
    assert recipe_line(cfg).endswith(
        'differs in optim_wrapper.optimizer.lr, param_scheduler, train_cfg.max_iters, '
        'train_pipeline, batch_size'
    )


@pytest.mark.slow
def test_nothing_is_near():
    assert recipe_line(dict(default_scope='mmdet', model=dict(type='A'))) == ''
    assert recipe_line(dict(default_scope='mmpose')) == ''
