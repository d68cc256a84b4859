# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipes.py: a config that equals one of ours is recognised."""

from pathlib import Path

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


def test_nothing_is_near():
    assert recipe_line(dict(default_scope='mmdet', model=dict(type='A'))) == ''
    assert recipe_line(dict(default_scope='mmpose')) == ''
