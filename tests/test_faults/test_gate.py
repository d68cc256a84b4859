# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""faults/gate.py: what is read, when, and that nothing of it is left."""

import math

import pytest
import torch
from mmengine.optim import OptimWrapper
from number_runs import CpuAmpWrapper, NumberModel

from mmconvnext.faults.gate import Gate


class Refused(Exception):
    pass


@pytest.fixture
def model():
    return NumberModel()


def wrapper_of(model, kind=OptimWrapper, **options):
    return kind(optimizer=torch.optim.SGD(model.parameters(), lr=0.1), **options)


def step(model, wrapper, gate):
    gate.begin()
    data = dict(inputs=torch.randn(3, 4))
    return model.train_step(data, wrapper)


def refuse(wrapper):
    raise Refused


def test_losses_are_read_once_for_all(model, monkeypatch):
    wrapper, read = wrapper_of(model), []
    original = torch.Tensor.tolist
    monkeypatch.setattr(
        torch.Tensor, 'tolist', lambda self: (read.append(self.numel()), original(self))[1]
    )
    monkeypatch.setattr(torch.Tensor, 'item', lambda self: pytest.fail('read one by one'))
    with Gate(model, [wrapper], refuse) as gate:
        step(model, wrapper, gate)
    assert read == [5]  # loss, loss_a, loss_b, acc, and the norm of the gradient
    assert gate.stepped and not gate.refused
    assert gate.losses.keys() == {'loss', 'loss_a', 'loss_b'}


@pytest.mark.parametrize('clip', [None, dict(max_norm=0.1), dict(type='value', clip_value=0.1)])
@pytest.mark.parametrize('fault', ['backward', 'inf', '-inf', 'nan'])
def test_a_step_is_refused(fault, clip, model):
    wrapper, refused = wrapper_of(model, clip_grad=dict(clip) if clip else None), []
    before = [p.detach().clone() for p in model.parameters()]
    with Gate(model, [wrapper], refused.append) as gate:
        model.fault = fault
        step(model, wrapper, gate)
        assert refused == [wrapper] and gate.refused and gate.stepped
        assert all(map(torch.equal, model.parameters(), before))
        model.fault = ''
        step(model, wrapper, gate)
        assert refused == [wrapper] and not gate.refused
        assert not all(map(torch.equal, model.parameters(), before))
    kept = {key: value for key, value in (clip or {}).items() if key != 'type'}
    assert wrapper.clip_grad_kwargs == (kept or None)
    log = wrapper.message_hub.log_scalars.get('train/grad_norm')
    assert log is None or all(map(math.isfinite, log._log_history))


def test_a_gradient_that_is_nan_only_because_of_the_loss(model):
    """So that all processes see it after the exchange of gradients."""
    wrapper = wrapper_of(model)

    def look(wrapper):
        assert all(p.grad.isnan().all() for p in model.parameters())
        raise Refused

    model.fault = 'inf'  # a constant that is added: the gradient itself would be finite
    with Gate(model, [wrapper], look) as gate, pytest.raises(Refused):
        step(model, wrapper, gate)


def test_numbers_stay_bitwise_the_same():
    ends = []
    for watched in (False, True):
        torch.manual_seed(0)
        model = NumberModel()
        wrapper = wrapper_of(model, clip_grad=dict(max_norm=0.1))
        gate = Gate(model, [wrapper], refuse)
        if watched:
            gate.__enter__()
        for _ in range(3):
            step(model, wrapper, gate)
        gate.__exit__()
        ends.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(*ends)
    assert 'step' not in vars(wrapper) and 'parse_losses' not in vars(model)


def test_methods_that_were_replaced_before_come_back(model):
    wrapper = wrapper_of(model)
    wrapper.step = before = wrapper.step
    before.__func__  # noqa: B018  a bound method
    with Gate(model, [wrapper], refuse):
        assert vars(wrapper)['step'] is not before
    assert vars(wrapper)['step'] is before


def test_the_scaler_judges_itself(model):
    wrapper, refused = wrapper_of(model, CpuAmpWrapper, init_scale=4.0), []
    with Gate(model, [wrapper], refused.append) as gate:
        model.fault = 'backward'
        step(model, wrapper, gate)
        assert refused == [wrapper] and wrapper.loss_scaler.get_scale() == 2
        model.fault = ''
        step(model, wrapper, gate)
    assert refused == [wrapper]
    assert not wrapper.optimizer._optimizer_step_post_hooks


def test_a_fused_optimizer_looks_at_the_flag_itself(model):
    optimizer, refused = torch.optim.AdamW(model.parameters(), fused=True), []
    wrapper = CpuAmpWrapper(optimizer=optimizer)
    with Gate(model, [wrapper], refused.append) as gate:
        for fault, count in (('', 0), ('nan', 1), ('', 1)):
            model.fault = fault
            step(model, wrapper, gate)
            assert len(refused) == count


def test_processes_that_hold_parts_ask_each_other(model):
    wrapper, asked, refused = wrapper_of(model), [], []

    def agree(fine):
        asked.append(fine)
        return False  # another one found something

    with Gate(model, [wrapper], refused.append, agree) as gate:
        step(model, wrapper, gate)
    assert asked == [True] and refused == [wrapper]


@pytest.mark.slow
def test_hidden_from_the_compiler(model):
    """torch's compiler takes seconds to import; it is not called here."""
    wrapper, refused = wrapper_of(model), []
    gate = Gate(model, [wrapper], refused.append)
    gate.hide_from_compiler()
    model.fault = 'nan'
    with gate:
        step(model, wrapper, gate)
    assert refused == [wrapper] and gate.losses['loss_b'] != gate.losses['loss_b']
