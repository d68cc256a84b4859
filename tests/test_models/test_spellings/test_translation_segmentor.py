# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: ``pretrained``, which mmseg's EncoderDecoder passes from the model to the backbone."""

from pathlib import Path

import pytest
import torch
from mmengine import Config
from mmengine.registry import DefaultScope, init_default_scope

from mmconvnext.models import ConvNeXt

mmseg = pytest.importorskip('mmseg')
# By its path: mmengine resolves 'mmseg::' in one of the two stacks only.
BASE = Path(mmseg.__path__[0], '.mim/configs/_base_/models/upernet_r50.py')


@pytest.fixture
def build(monkeypatch, tiny_arch):
    """Build UPerNet's base model with our backbone."""
    from mmseg.registry import MODELS

    monkeypatch.setattr(DefaultScope, '_instance_dict', {})
    init_default_scope('mmseg')

    def model(**options):
        cfg = Config(Config.fromfile(BASE).model.to_dict())
        cfg.backbone = dict(type='mmconvnext.ConvNeXt', arch=tiny_arch)
        for head in (cfg.decode_head, cfg.auxiliary_head):
            head.norm_cfg = dict(type='BN')
            head.channels = 8
        cfg.decode_head.in_channels, cfg.auxiliary_head.in_channels = [8, 16, 32, 64], 32
        cfg.merge_from_dict(options)
        return MODELS.build(cfg)

    return model


def test_the_base_model_names_weights_of_a_resnet(build):
    with pytest.raises(ValueError, match=r'resnet50_v1c.*weights of another network.*model = dict'):
        build()


def test_weights_beside_it_do_not_hide_it(build):
    init_cfg = dict(type='Pretrained', checkpoint='a.pth')
    with pytest.raises(ValueError, match=r'init_cfg names weights too.*model.pretrained = None'):
        build(backbone=dict(init_cfg=init_cfg))


def test_none_is_the_way_out(build):
    assert build(pretrained=None).backbone.init_cfg is None


def test_weights_of_a_convnext_are_loaded(build, tiny_arch, tmp_path):
    file = tmp_path / 'convnext.pth'
    trained = ConvNeXt(tiny_arch, layer_scale_init_value=0.5)
    torch.save(trained.state_dict(), file)
    model = build(pretrained=str(file))
    model.init_weights()
    expected = trained.state_dict()
    assert all(torch.equal(t, expected[n]) for n, t in model.backbone.state_dict().items())
