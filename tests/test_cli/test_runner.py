# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/runner.py: mmengine's Runner or a subclass; others are refused by name."""

import pytest
from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from mmconvnext.cli.runner import build_runner
from mmconvnext.recipe.errors import RecipeError


@RUNNERS.register_module()
class LoudRunner(Runner):
    """A user's own subclass."""


@pytest.mark.parametrize('name', ['LoudRunner', 'mmengine.LoudRunner', LoudRunner], ids=str)
def test_a_runner_of_the_same_kind_is_taken(name, monkeypatch):
    cfg = Config(dict(runner_type=name, default_scope='mmdet'))
    monkeypatch.setattr(LoudRunner, 'from_cfg', classmethod(lambda kind, cfg: (kind, cfg)))
    kind, given = build_runner(cfg)
    assert issubclass(kind, LoudRunner) and kind.__name__ == 'LoudRunner' and given is cfg


@pytest.mark.parametrize('name', [None, 'Runner', 'mmengine.Runner'])
def test_mmengines_runner_is_the_default(name, monkeypatch):
    monkeypatch.setattr(Runner, 'from_cfg', classmethod(lambda kind, cfg: kind))
    for cfg in (Config(dict(runner_type=name)), Config()):
        kind = build_runner(cfg)
        assert kind.__mro__[2] is Runner and kind.__name__ == 'Runner'


@pytest.mark.parametrize('name', ['FlexibleRunner', 'mmengine.FlexibleRunner', 'NoSuchRunner'])
def test_a_runner_of_another_kind_is_refused_by_name(name):
    with pytest.raises(RecipeError, match=rf"^runner_type='{name}': .*remove the line"):
        build_runner(Config(dict(runner_type=name)))
