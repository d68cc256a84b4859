# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""hooks/model_weights.py: names, shapes and modules of a model and of a checkpoint, compared."""

import pytest
import torch
from mmengine.model import BaseTTAModel, MMDistributedDataParallel
from torch import nn

from mmconvnext.hooks import model_weights
from mmconvnext.models import ConvNeXt
from mmconvnext.recipe.errors import RecipeError


class Wrapper(MMDistributedDataParallel):
    """Of the kind that mmengine puts around a model, without processes."""

    def __init__(self, module):
        nn.Module.__init__(self)
        self.module = module


class Augmented(BaseTTAModel):
    """Test-time augmentation around a model."""

    def __init__(self, module):
        nn.Module.__init__(self)
        self.module = module

    def merge_preds(self, data_samples_list):
        """Not called."""


class Detector(nn.Module):
    """A backbone of ours twice, one in a part, and a neck."""

    def __init__(self):
        super().__init__()
        small = dict(depths=[1, 1, 1, 1], channels=[4, 8, 8, 8])
        self.backbone = ConvNeXt(small)
        self.teacher = nn.ModuleDict(dict(net=ConvNeXt(small)))
        self.neck = nn.Sequential(nn.Conv2d(8, 4, 1), nn.BatchNorm2d(4))


def test_wrappers_in_any_order():
    model = nn.Linear(1, 1)
    for wrapped in (
        model,
        Wrapper(model),
        Augmented(model),
        Augmented(Wrapper(model)),
        Wrapper(Augmented(model)),
    ):
        assert model_weights.unwrapped_model(wrapped) is model


@pytest.mark.parametrize(
    ('name', 'unwrapped'),
    [
        ('module.a', 'a'),
        ('module._orig_mod.module.a.module.b', 'a.module.b'),
        ('_orig_mod.a', 'a'),
        ('a.module.b', 'a.module.b'),
        ('modules.a', 'modules.a'),
        ('module', 'module'),
        (7, '7'),
    ],
)
def test_names_without_wrappers(name, unwrapped):
    assert model_weights.unwrapped_name(name) == unwrapped


def test_tensors_twice_are_all_counted():
    weights = {f'{front}{name}': torch.ones(1) for name in 'ab' for front in ('', 'module.')}
    with pytest.raises(RecipeError, match=r'^w has 2 tensors twice, .*: a, module\.a; keep one'):
        model_weights.weights_of({'state_dict': weights}, 'w')


def test_where_our_backbones_are():
    assert model_weights.backbone_prefixes(Detector()) == ('backbone.', 'teacher.net.')
    assert model_weights.backbone_prefixes(nn.Linear(1, 1)) == ()


def test_shapes_that_differ_outside_our_backbones():
    model = Detector()
    weights = dict(model.state_dict(), other=torch.ones(1))
    weights['backbone.norm3.weight'] = torch.ones(3)
    weights['teacher.net.norm3.weight'] = torch.ones(3)
    weights['neck.0.weight'] = torch.ones(5, 8, 1, 1)
    weights['neck.1.bias'] = 'no tensor'
    found = model_weights.other_shapes(weights, model)
    assert found == {'neck.0.weight': ((5, 8, 1, 1), (4, 8, 1, 1))}  # the file's comes first
    shared = model_weights.shared_tensors(weights, model.state_dict())
    assert weights.keys() - shared.keys() == {'other', 'neck.1.bias'}


PRETRAINED = dict(type='Pretrained', checkpoint='x.pth')


@pytest.mark.parametrize(
    ('init_cfg', 'loads'),
    [
        (None, False),
        ([], False),
        (dict(type='Normal'), False),
        (PRETRAINED, True),
        ([dict(type='Normal'), PRETRAINED], True),
        ((PRETRAINED,), True),
        ([PRETRAINED, 'odd'], False),
        ('odd', False),
    ],
    ids=str,
)
def test_what_would_be_downloaded(init_cfg, loads):
    module = nn.Linear(1, 1)
    assert not model_weights.loads_pretrained(module)
    module.init_cfg = init_cfg
    assert model_weights.loads_pretrained(module) is loads


def test_what_fills_a_module():
    model = Detector()
    weights = model.state_dict()
    del weights['neck.1.num_batches_tracked']
    parts = (('neck', model.neck), ('backbone', model.backbone), ('teacher.net', model.teacher.net))

    def filled() -> list:
        return [name for name, part in parts if model_weights.fills_module(weights, part, name)]

    assert filled() == ['neck', 'backbone', 'teacher.net']
    assert model_weights.fills_module(weights, model, '')
    for name in [name for name in weights if name.startswith('backbone.')]:  # mmpretrain's names
        other = name.replace('dwconv', 'depthwise_conv').replace('pwconv', 'pointwise_conv')
        weights[other] = weights.pop(name)
    assert filled() == ['neck', 'backbone', 'teacher.net']
    weights['neck.1.running_var'] = torch.ones(1)  # would broadcast
    del weights['teacher.net.stages.1.0.gamma']
    assert filled() == ['backbone']
    assert not model_weights.fills_module(weights, model, '')
