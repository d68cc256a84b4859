# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: parameters are found with the names and backbone that they have in the plain model."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

from mmconvnext.optim.walk import is_wrapper, knows_depth, shell, unwrap, walk, whole_shapes


class Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3))

    def get_layer_depth(self, name, prefix=''):
        return 0, 3


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.head = nn.Linear(3, 1)


class Forwarding(nn.Module):
    """A wrapper that forwards every attribute of the wrapped module, as torch's do."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__('module'), name)


class Fsdp(nn.Module):
    """Named as FSDP1 names it; the real one needs processes."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._fsdp_wrapped_module = module


WRAPS = {
    'fsdp': Fsdp,
    'compile': torch.compile,
    'checkpoint': checkpoint_wrapper,
    'data parallel': nn.DataParallel,
    'forwarding': Forwarding,
    'shell': shell,
    'nested': lambda m: torch.compile(checkpoint_wrapper(Forwarding(m))),
}
NAMES = [
    'backbone.stages.0.weight',
    'backbone.stages.0.bias',
    'backbone.stages.1.weight',
    'backbone.stages.1.bias',
    'head.weight',
    'head.bias',
]


def wrapped(wrap, where: str) -> nn.Module:
    model = Model()
    if not where:
        return wrap(model)
    holder, _, name = where.rpartition('.')
    holder = model.get_submodule(holder)
    holder._modules[name] = wrap(holder._modules[name])
    return model


@pytest.mark.parametrize('where', ['', 'backbone', 'backbone.stages', 'backbone.stages.0', 'head'])
@pytest.mark.parametrize('wrap', WRAPS.values(), ids=list(WRAPS))
def test_names_and_backbone_are_those_of_the_plain_model(wrap, where):
    places = list(walk(wrapped(wrap, where)))
    assert [place.name for place in places] == NAMES
    for place in places:
        assert place.own == place.name.rpartition('.')[2]
        assert place.module.get_parameter(place.own) is place.param
        if place.name.startswith('backbone'):
            assert type(place.backbone) is Backbone
            assert place.inner == place.name.removeprefix('backbone.')
        else:
            assert place.backbone is None
            assert place.inner == place.name


def test_parent_is_what_holds_the_module_without_wrappers():
    model = wrapped(WRAPS['nested'], 'backbone.stages')
    first, *_, last = walk(shell(model))
    assert first.parent is unwrap(model.backbone.stages)
    assert last.parent is model


def test_backbone_in_a_backbone_is_the_outer_ones():
    outer = Backbone()
    outer.stages.append(Backbone())
    places = list(walk(nn.ModuleDict(dict(net=outer))))
    assert {id(place.backbone) for place in places} == {id(outer)}
    assert places[-1].inner == 'stages.2.stages.1.bias'


def test_wrapper_that_answers_itself_is_asked_with_its_own_names():
    class Own(Forwarding):
        def get_layer_depth(self, name, prefix=''):
            return 0, 3

    own = Own(Backbone())
    first, *_ = walk(nn.ModuleDict(dict(net=own)))
    assert first.backbone is own
    assert first.inner == 'module.stages.0.weight'


def test_only_single_children_are_wrapped():
    assert is_wrapper(nn.ModuleDict(dict(module=nn.Linear(1, 1))))
    assert not is_wrapper(nn.ModuleDict(dict(module=nn.Linear(1, 1), head=nn.Linear(1, 1))))
    assert not is_wrapper(nn.Sequential(nn.Linear(1, 1)))
    assert not is_wrapper(nn.Linear(1, 1))


def test_depth_is_known_by_class_or_instance_but_not_by_forwarding():
    assert knows_depth(Backbone())
    assert not knows_depth(Forwarding(Backbone()))
    assert not knows_depth(torch.compile(Backbone()))
    given = nn.Linear(1, 1)
    given.get_layer_depth = lambda name: (0, 3)
    assert knows_depth(given)


def test_places_are_as_many_as_mmengine_sees():
    """One for a module that one parent has twice, two for one that two parents have."""
    model = Model()
    model.again = model.head
    assert [place.name for place in walk(model)] == NAMES
    model.again = nn.Sequential(model.head)
    assert [place.name for place in walk(model)] == NAMES + ['again.0.weight', 'again.0.bias']


def test_whole_shapes_of_zero_and_of_fsdp():
    model = Model()
    model.head.weight.ds_shape = (7, 5)  # DeepSpeed's mark on a parameter that it has partitioned
    shard = model.head.bias
    model.head._handle = SimpleNamespace(
        flat_param=SimpleNamespace(_params=[shard], _shapes=[torch.Size([2, 3])])
    )
    assert whole_shapes(torch.compile(model)) == {
        id(model.head.weight): torch.Size([7, 5]),
        id(shard): torch.Size([2, 3]),
    }
