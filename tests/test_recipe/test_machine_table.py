# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The table of docs/long_runs.md: processes x batch x accumulation x --auto-scale-lr."""

import logging
import re
from types import SimpleNamespace

import pytest
import torch
from fixtures import MASK_RCNN, ROOT
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner

from mmconvnext.recipe import machine
from mmconvnext.recipe.machine import fit_to_machine

ROW = re.compile(
    r'^\| (\d+) x (\d+) \| (\d+) \| (`--auto-scale-lr`|) ?\| (\d+) '
    r'\| ([\de.-]+)(: [^|]*)? \| (\d+) \|$',
    re.MULTILINE,
)
ROWS = ROW.findall((ROOT / 'docs/long_runs.md').read_text())


def test_the_table_is_found():
    assert len(ROWS) == 6


@pytest.mark.parametrize('row', ROWS, ids=lambda row: '-'.join(filter(None, row[:4])))
def test_a_row_is_what_happens(row, load, monkeypatch):
    processes, batch, counts = map(int, row[:3])
    scaled, images, rate, remark, steps = row[3:]
    monkeypatch.setattr(machine.torch.cuda, 'is_available', lambda: True)
    cfg = load(MASK_RCNN)
    assert cfg.auto_scale_lr.base_batch_size == 16 and cfg.optim_wrapper.optimizer.lr == 1e-4
    cfg.train_dataloader.batch_size = batch
    cfg.optim_wrapper.accumulative_counts = counts
    cfg.auto_scale_lr.enable = bool(scaled)
    wrapper, taken = optimizer(counts)
    scale(wrapper, cfg, processes)
    assert wrapper.optimizer.param_groups[0]['lr'] == pytest.approx(float(rate))
    assert taken(1000) == int(steps)
    assert processes * batch * counts == int(images)
    said = ' '.join(fit_to_machine(cfg, world_size=processes))
    wrong = 'NOT scaled' in said or 'leaves the' in said
    assert wrong is bool(remark), said


def scale(wrapper, cfg, processes) -> None:
    """As mmengine's Runner does."""
    runner = SimpleNamespace(
        world_size=processes,
        _train_dataloader=cfg.train_dataloader,
        logger=logging.getLogger('test'),
        param_schedulers=None,
    )
    Runner.scale_lr(runner, wrapper, cfg.auto_scale_lr)


def optimizer(counts):
    """A wrapper with the recipe's rate, and how many steps it takes in a number of iterations."""
    weight = torch.nn.Parameter(torch.ones(1))
    wrapper = OptimWrapper(torch.optim.AdamW([weight], lr=1e-4), accumulative_counts=counts)

    def taken(iterations):
        made = []
        wrapper.step = lambda: made.append(1)
        wrapper.initialize_count_status(torch.nn.Identity(), 0, iterations)
        for _ in range(iterations):
            wrapper.update_params(weight.sum())
        return len(made)

    return wrapper, taken
