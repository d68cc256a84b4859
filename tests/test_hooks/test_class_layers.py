# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""hooks/class_layers.py: finds the tensors whose shape depends on the number of classes."""

import copy
import re
from pathlib import Path

import mmdet
import mmseg
import pytest
import torch
from fixtures import CASCADE, MASK_RCNN, UPERNET
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from mmconvnext.hooks.class_layers import class_counts, class_dimensions

MMDET, MMSEG = (str(Path(m.__file__).parent / '.mim/configs') for m in (mmdet, mmseg))
CASES = {  # the class layers, with the dimension of their weight
    MASK_RCNN: {
        'roi_head.bbox_head.fc_cls': 0,
        'roi_head.bbox_head.fc_reg': 0,
        'roi_head.mask_head.conv_logits': 0,
    },
    CASCADE: {
        **{f'roi_head.bbox_head.{i}.fc_cls': 0 for i in range(3)},
        **{f'roi_head.bbox_head.{i}.fc_reg': 0 for i in range(3)},
        **{f'roi_head.mask_head.{i}.conv_logits': 0 for i in range(3)},
    },
    UPERNET: {'decode_head.conv_seg': 0, 'auxiliary_head.conv_seg': 0},
    f'{MMDET}/retinanet/retinanet_r50_fpn_1x_coco.py': {'bbox_head.retina_cls': 0},
    f'{MMDET}/dino/dino-4scale_r50_8xb2-12e_coco.py': {
        **{f'bbox_head.cls_branches.{i}': 0 for i in range(7)},
        'dn_query_generator.label_embedding': 0,
    },
    f'{MMDET}/mask2former/mask2former_r50_8xb2-lsj-50e_coco.py': {'panoptic_head.cls_embed': 0},
    f'{MMSEG}/segmenter/segmenter_vit-t_mask_8xb1-160k_ade20k-512x512.py': {
        'decode_head.cls_emb': 1,
        'decode_head.mask_norm': 0,
    },
}


class Asks(nn.Module):
    """A layer that reads values when it is built, which meta tensors do not have."""

    def __init__(self, num_classes: int, out_channels: int | None = None, limit: int = 9) -> None:
        super().__init__()
        if num_classes > limit:
            raise ValueError('too many')
        if out_channels == 1 and num_classes != 2:
            raise ValueError('one channel tells two classes apart')
        width = int(torch.linspace(0, 4, 2).tolist()[1])
        self.linear = nn.Linear(width, out_channels or num_classes)
        self.neck = nn.Linear(width, width)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(MODELS._module_dict, 'Asks', Asks)


def dimensions(model: dict, scope: str | None = None, device: str = 'cpu') -> dict[str, set[int]]:
    """Only the tensors that depend on the number of classes."""
    with DefaultScope.overwrite_default_scope(scope):
        with torch.random.fork_rng(), torch.device(device):
            state = MODELS.build(copy.deepcopy(model)).state_dict()
        own = {name: tuple(tensor.shape) for name, tensor in state.items()}
        return {name: which for name, which in class_dimensions(model, own).items() if which}


@pytest.mark.parametrize(('config', 'layers'), CASES.items(), ids=[Path(c).stem for c in CASES])
def test_layers_of_known_heads(config, layers):
    cfg = Config.fromfile(config)
    cfg.model.pop('pretrained', None)
    before, random = cfg.model.to_dict(), torch.get_rng_state()
    device = 'cpu' if 'segmenter' in config else 'meta'  # its backbone reads values
    found = dimensions(cfg.model, cfg.default_scope, device)
    assert {re.sub(r'\.(weight|bias)$', '', name) for name in found} == set(layers)
    for layer, dimension in layers.items():
        assert found.get(f'{layer}.weight', found.get(layer)) == {dimension}
    assert cfg.model.to_dict() == before and torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize('options', [{}, dict(out_channels=2), dict(out_channels=1)])
def test_a_layer_that_needs_values_is_built_with_them(options):
    random = torch.get_rng_state()
    model = Config(dict(model=dict(type='Asks', num_classes=2, **options))).model
    rows = options.get('out_channels', 2)
    found = class_dimensions(model, {'linear.weight': (rows, 4), 'neck.weight': (4, 4)})
    assert found == {'linear.weight': {0}, 'neck.weight': set()}
    assert torch.equal(torch.get_rng_state(), random)


def test_a_model_that_cannot_have_one_more_tells_nothing():
    model = Config(dict(model=dict(type='Asks', num_classes=9))).model
    assert dimensions(model) == {}


def test_tensors_of_another_model_are_left_out():
    model = Config(dict(model=dict(type='Asks', num_classes=2))).model
    own = {'linear.weight': (2, 4), 'linear.bias': (2, 1), 'gone': (2,), 'scalar': ()}
    assert class_dimensions(model, own) == {'linear.weight': {0}}


def test_counts():
    heads = [dict(num_classes=80), dict(num_classes=80, num_stuff_classes=53)]
    heads += [dict(num_classes=None), dict(num_classes=True), dict(num_classes='7')]
    panoptic = dict(num_things_classes=3, num_stuff_classes=0, num_classes_note='x')
    assert class_counts(dict(heads=heads, panoptic=panoptic)) == [3, 53, 80]
