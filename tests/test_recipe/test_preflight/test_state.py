# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/preflight/state.py: bytes of model and optimizer are those that a real step leaves."""

import pytest
import torch
from torch import nn

from mmconvnext.recipe.preflight.state import count_state


def network():
    model = nn.Sequential(nn.Conv2d(3, 40, 3), nn.BatchNorm2d(40), nn.Conv2d(40, 7, 1))
    model[2].bias.requires_grad_(False)
    return model


@pytest.mark.parametrize(
    ('kind', 'settings'),
    [
        (torch.optim.SGD, dict(lr=0.1)),
        (torch.optim.SGD, dict(lr=0.1, momentum=0.9)),
        (torch.optim.AdamW, dict(lr=0.1, fused=True)),
        (torch.optim.Adam, dict(lr=0.1, amsgrad=True)),
        (torch.optim.RMSprop, dict(lr=0.1)),
    ],
    ids=['plain', 'momentum', 'adamw', 'amsgrad', 'rmsprop'],
)
def test_it_is_what_a_step_leaves(kind, settings):
    model = network()
    optimizer = kind([p for p in model.parameters() if p.requires_grad], **settings)
    state = count_state(model, optimizer)
    assert not optimizer.state  # it was tried elsewhere
    model(torch.rand(1, 3, 8, 8)).sum().backward()
    optimizer.step()
    held = [v for one in optimizer.state.values() for v in one.values() if torch.is_tensor(v)]
    held = sum(v.numel() * v.element_size() for v in held)
    assert state.optimizer == pytest.approx(held, rel=0.02, abs=20)
    weights = sum(v.numel() * v.element_size() for v in model.state_dict().values())
    assert state.weights == weights
    assert (state.parameters, state.trained) == (40 * 27 + 40 + 80 + 287, 40 * 27 + 40 + 80 + 280)
    assert state.gradients == 4 * state.trained
    assert state.total == state.weights + state.gradients + state.optimizer


def test_optimizers_that_cannot_be_tried():
    class Strange(torch.optim.Optimizer):
        def __init__(self, params, size):
            super().__init__(params, dict(lr=1))

    model = network()
    state = count_state(model, Strange(model.parameters(), 3))
    assert state.optimizer == 2 * state.gradients
    assert count_state(model, None).optimizer == 0
