# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""A recipe of another project with our backbone, as users write it: `_base_` and three lines."""

import json
import math
from pathlib import Path

import pytest
from fixtures import public_config
from mmengine.config import Config

# Channels of ConvNeXt-T.
CHANNELS = [96, 192, 384, 768]


@pytest.fixture
def three_lines(tmp_path):
    """A function that writes such a config and returns its path."""

    def write(base: str, out_indices=(0, 1, 2, 3), **parts) -> str:
        backbone = dict(_delete_=True, type='mmconvnext.ConvNeXt', arch='tiny')
        model = dict(parts, backbone=dict(backbone, out_indices=out_indices))
        file = tmp_path / 'recipe.py'
        file.write_text(f'_base_ = {public_config(base)!r}\nmodel = {model!r}\n')
        return str(file)

    return write


@pytest.fixture
def rehearse(workplace, three_lines):
    """A function that runs `tools/train.py CONFIG --toy` with such a config, cut to iterations.

    It asserts that training and evaluation finished, and returns the last metrics.
    """

    def run(*args, **parts) -> dict:
        from mmconvnext.cli.train import main

        file = three_lines(*args, **parts)
        unit, length = 'max_iters', 3
        if 'max_epochs' in Config.fromfile(file).train_cfg:
            unit, length = 'max_epochs', 1
        keys = (f'train_cfg.{unit}', 'train_cfg.val_interval', 'default_hooks.checkpoint.interval')
        options = [f'{key}={length}' for key in keys] + ['default_hooks.logger.interval=1']
        runner = main([file, '--toy', '--work-dir', 'run', '--cfg-options', *options])
        assert (runner.iter if unit == 'max_iters' else runner.epoch) == length
        lines = next(Path('run').glob('*/vis_data/scalars.json')).read_text().splitlines()
        rows = [json.loads(line) for line in lines]
        losses = [row.pop('loss') for row in rows if 'loss' in row]
        assert losses and all(map(math.isfinite, losses))
        assert 'lr' in rows[-2] and 'lr' not in rows[-1]  # training, then evaluation
        assert len(list(Path('run').glob('*.pth'))) >= 1
        size = sum(weight.numel() for weight in runner.model.parameters())
        assert size < 10e6  # atto alone has 3.4M
        return rows[-1]

    return run
