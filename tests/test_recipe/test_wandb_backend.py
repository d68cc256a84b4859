# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/wandb_backend.py: W&B gets the config, and no code."""

import sys
from types import ModuleType, SimpleNamespace

from mmengine.config import Config
from mmengine.registry import VISBACKENDS


def test_the_config_is_recorded_and_no_code(tmp_path, monkeypatch):
    recorded = []

    def update(values, allow_val_change):
        recorded.append((values, allow_val_change))

    wandb = ModuleType('wandb')
    wandb.init = lambda **options: recorded.append(options)
    wandb.config = SimpleNamespace(update=update)
    wandb.run = SimpleNamespace(log_code=lambda **_: 1 / 0)
    wandb.join = lambda: None
    monkeypatch.setitem(sys.modules, 'wandb', wandb)
    backend = VISBACKENDS.build(
        dict(type='mmconvnext.WandbBackend', save_dir=str(tmp_path), init_kwargs=dict(project='p'))
    )
    assert recorded == []  # it begins with the first thing to log
    backend.add_config(Config(dict(a=1)))
    assert recorded == [dict(project='p', dir=str(tmp_path)), (dict(a=1), True)]
