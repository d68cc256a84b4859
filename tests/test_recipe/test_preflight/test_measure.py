# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/preflight/measure.py: steps are measured, weights stay, too little memory is said."""

import itertools
import re
import resource
import time
from pathlib import Path

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from torch import nn

from mmconvnext.recipe.preflight import measure
from mmconvnext.recipe.preflight.measure import (
    CPU,
    Measured,
    NoRoom,
    measure_steps,
    measure_validation,
)

MB = 1_000_000


class Slow(BaseModel):
    """Sleeps for what a batch says, and fills as much memory."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 2)
        self.modes, self.iterations = [], []

    def forward(self, seconds, megabytes, mode):
        self.modes.append(mode)
        self.iterations.append(MessageHub.get_current_instance().get_info('iter'))
        filled = torch.ones(megabytes * MB // 4)
        time.sleep(seconds)
        loss = self.layer(torch.ones(3, 5)).sum() + 0 * filled[0]
        return dict(loss=loss) if mode == 'loss' else [0, 0]


def batches(*seconds, megabytes=1):
    return [dict(seconds=s, megabytes=megabytes) for s in seconds]


@pytest.fixture
def model():
    MessageHub._instance_dict.clear()
    yield Slow()
    MessageHub._instance_dict.clear()


def wrapper_of(model, **settings):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.5, weight_decay=0.3)
    return OptimWrapper(optimizer, **settings)


def test_the_first_step_only_warms_up(model):
    wrapper = wrapper_of(model)
    given = itertools.chain(batches(0.1), itertools.repeat(batches(0.02)[0], 5))
    found = measure_steps(model, wrapper, given, 3)
    assert found.steps == 3 and 0.02 <= found.step < 0.1
    assert model.modes == ['loss'] * 4 and model.iterations == [0, 1, 2, 3]
    assert found.device == CPU and found.processor <= found.step


def test_weights_and_rates_stay_and_the_optimizer_has_its_state(model):
    before = [p.clone() for p in model.parameters()]
    wrapper = wrapper_of(model, accumulative_counts=4)
    measure_steps(model, wrapper, batches(0.0), 2)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters()))
    assert wrapper.optimizer.param_groups[0]['lr'] == 0.5
    assert len(wrapper.optimizer.state) == 2
    assert all(p.grad is not None for p in model.parameters()) or wrapper.optimizer.state


def test_few_batches_are_used_again(model):
    assert measure_steps(model, wrapper_of(model), batches(0.0, 0.0), 5).steps == 5


def test_a_slow_step_counts_although_it_is_the_first(model, monkeypatch):
    monkeypatch.setattr(measure, 'SECONDS', 0.01)
    found = measure_steps(model, wrapper_of(model), batches(0.03), 4)
    assert (found.steps, len(model.modes)) == (1, 1)


def test_memory_is_the_peak_while_they_run(model):
    torch.ones(300 * MB // 4)  # before: freed again
    small = measure_steps(model, wrapper_of(model), batches(0.0), 1).memory
    large = measure_steps(model, wrapper_of(model), batches(0.0, megabytes=200), 1).memory
    assert 120 * MB < large - small < 280 * MB


@pytest.mark.skipif(not Path('/proc/self/status').exists(), reason='Linux only')
def test_memory_that_is_not_there(model, monkeypatch):
    monkeypatch.setattr(measure, 'available', lambda: 300 * MB)
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with pytest.raises(NoRoom, match='(?i)memory'):
        measure_steps(model, wrapper_of(model), batches(0.0, megabytes=900), 1)
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
    assert wrapper_of(model).optimizer.param_groups[0]['lr'] == 0.5


def test_other_errors_pass(model):
    with pytest.raises(TypeError, match='megabytes'):
        measure_steps(model, wrapper_of(model), [dict(seconds=0)], 1)


def test_validation_of_one_image(model):
    found = measure_validation(model, batches(0.3, 0.04, 0.04, 9.0))  # the last one is not run
    assert 0.02 <= found < 0.15  # two images in a batch
    assert model.modes == ['predict'] * 3 and not model.training
    assert measure_validation(model, []) == 0.0


def test_workers_load_beside_the_steps(monkeypatch):
    monkeypatch.setattr('os.cpu_count', lambda: 4)
    found = Measured(3, CPU, loading=6.0, step=2.0, processor=2.0, memory=0)
    assert found.iteration(0) == 8.0
    assert found.iteration(2) == 3.0
    assert found.iteration(100) == 2.0  # four at most: 1.5 s of loading


@pytest.mark.parametrize(
    ('step', 'device', 'busy'), [(1.4, CPU, False), (1.6, CPU, True), (1.6, 'a GPU', False)]
)
def test_a_busy_machine(step, device, busy):
    assert Measured(3, device, 0.0, step, processor=1.0, memory=0).is_busy is busy


def test_what_the_system_tells():
    assert measure.resident() > 50 * MB
    if Path('/proc/meminfo').exists():
        total = int(re.search(r'MemTotal:\s*(\d+)', Path('/proc/meminfo').read_text())[1]) * 1024
        assert 0 < measure.available() <= total
