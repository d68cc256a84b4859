# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""faults/repeat.py: a repetition gives the same numbers and leaves all as it was."""

import torch
from mmengine.optim import OptimWrapper
from number_runs import NumberModel

from mmconvnext.faults.repeat import Found, Turn, copies, repeat, told_losses
from mmconvnext.resume.randomness import take


def prepared(*faults):
    torch.manual_seed(1)
    model = NumberModel()
    wrapper = OptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    turns = []
    for bad in faults:
        inputs = torch.randn(3, 4)
        if bad:
            inputs[2, 0] = float('inf')
        turns.append(Turn(dict(inputs=inputs), take()))
    return model, wrapper, turns


def test_nothing_is_changed():
    model, wrapper, turns = prepared(True, False)
    before, buffers = copies(model), copies(model)
    model.norm.running_mean.fill_(7.0)
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    model.eval()
    state, grads = take()['torch'], [p.grad for p in model.parameters()]
    found = repeat(model, wrapper, turns, buffers)
    assert found.lines() and found.turn == 0 and found.weights == ''
    assert all(p.grad is grad and (grad == 1).all() for p, grad in zip(model.parameters(), grads))
    assert (model.norm.running_mean == 7).all() and not model.training
    assert model.norm.num_batches_tracked == before['norm.num_batches_tracked']
    assert torch.equal(state, take()['torch'])
    assert not any(layer._forward_hooks for layer in model.modules())


def test_the_first_iteration_that_is_bad():
    model, wrapper, turns = prepared(False, True, True)
    found = repeat(model, wrapper, turns, copies(model))
    assert found.turn == 1
    assert found.images == 'number 3 of the batch (1 inf of 4 values)'
    assert found.layer.startswith('first (Linear): 8 of 24 values of its output')
    assert found.layer.endswith('its input is not finite')
    assert found.losses == 'loss_a is nan, loss_b is nan' and found.gradients == ''


def test_all_finite():
    model, wrapper, turns = prepared(False)
    found = repeat(model, wrapper, turns, copies(model))
    assert found.lines() == [] and found.turn is None


def test_an_overflow_needs_the_scale():
    model, wrapper, turns = prepared(False)
    found = repeat(model, wrapper, turns, copies(model), 2.0**127)
    assert 'gradient of' in found.lines()[-1] and found.losses == ''


def test_weights_and_buffers():
    model, wrapper, turns = prepared(False)
    buffers = copies(model)
    model.last.bias.data[0] = float('nan')
    buffers['norm.running_var'][1] = float('inf')
    found = repeat(model, wrapper, turns, buffers)
    assert found.weights == 'last.bias (1 NaN of 2 values), and 1 more'
    assert found.layer.startswith('last (Linear)')


def test_told_losses():
    nan, inf = float('nan'), float('inf')
    assert told_losses(dict(loss=nan, loss_a=1.0, loss_b=-inf)) == 'loss_b is -inf'
    assert told_losses(dict(loss=inf, loss_a=3e38, loss_b=3e38)) == 'loss is inf'
    assert told_losses(dict(loss=1.0)) == ''
    assert Found(losses='x').lines() == ['loss: x']


def test_the_random_numbers_are_those_of_the_run():
    """Dropout leaves out the same values, though others were drawn since."""
    model, wrapper, turns = prepared(False)
    seen = []
    model.drop.register_forward_hook(lambda layer, args, output: seen.append(output == 0))
    model.train()
    model(turns[0].batch['inputs'], mode='loss')
    repeat(model, wrapper, turns, copies(model))
    repeat(model, wrapper, turns, copies(model))
    assert torch.equal(seen[0], seen[1]) and torch.equal(seen[0], seen[2]) and seen[0].any()
