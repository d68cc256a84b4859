# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: a section that the Runner needs and a config lacks is named before anything is done."""

import pytest
from mmengine.config import Config

from mmconvnext.recipe.checks.sections import TESTING, TRAINING, VALIDATION, check_sections
from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.walk import default_hook


def whole(**changes) -> Config:
    sections = {name: dict(a=1) for name in ('model', *TRAINING, *VALIDATION, *TESTING)}
    return Config({**sections, **changes})


def without(*names: str) -> Config:
    cfg = whole()
    for name in names:
        del cfg._cfg_dict[name]
    return cfg


def test_whole_configs_pass():
    check_sections(whole(), training=True)
    check_sections(whole(), training=False)


@pytest.mark.parametrize('name', ['model', *TRAINING])
def test_training_needs_its_sections(name):
    with pytest.raises(
        RecipeError, match=f'^the config has no {name}, which training needs: begin'
    ):
        check_sections(without(name), training=True)
    with pytest.raises(RecipeError, match=f'no {name}, which training needs'):
        check_sections(whole(**{name: None}), training=True)


@pytest.mark.parametrize('name', ['model', *TESTING])
def test_a_test_needs_its_sections(name):
    with pytest.raises(RecipeError, match=f'^the config has no {name}, which a test needs: begin'):
        check_sections(without(name), training=False)


def test_all_that_is_missing_is_named_at_once():
    with pytest.raises(RecipeError, match='no model, train_cfg, optim_wrapper, which'):
        check_sections(whole(model=None, train_cfg=None, optim_wrapper=None), training=True)


def test_a_training_does_without_validation_and_test():
    check_sections(without(*VALIDATION, *TESTING), training=True)
    check_sections(without(*TRAINING, *VALIDATION), training=False)


@pytest.mark.parametrize(
    ('group', 'name'), [(group, name) for group in (VALIDATION, TESTING) for name in group]
)
def test_parts_of_the_validation_and_of_the_test_belong_together(group, name):
    others = ' and '.join(other for other in group if other != name)
    with pytest.raises(RecipeError, match=f'has {others}, but no {name}, which belong together'):
        check_sections(without(name), training=True)
    with pytest.raises(RecipeError, match=f'has {name}, but no {others}, which belong together'):
        check_sections(without(*others.split(' and ')), training=True)


def test_an_empty_loop_and_an_evaluator_without_metrics_are_sections():
    cfg = whole(train_cfg={}, val_cfg={}, test_cfg={}, val_evaluator=[], test_evaluator=[])
    check_sections(cfg, training=True)
    check_sections(cfg, training=False)


def test_a_default_hook_that_a_config_leaves_out():
    cfg = Config(dict(default_hooks=dict(logger=dict(type='MyLogger'))))
    assert default_hook(cfg, 'logger', 'LoggerHook').type == 'MyLogger'
    default_hook(cfg, 'checkpoint', 'CheckpointHook').interval = 3
    assert cfg.default_hooks.checkpoint == dict(type='CheckpointHook', interval=3)
    cfg = Config(dict(default_hooks=None))
    default_hook(cfg, 'logger', 'LoggerHook').interval = 5
    assert cfg.default_hooks == dict(logger=dict(type='LoggerHook', interval=5))
