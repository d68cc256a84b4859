# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: in mmdet's and mmseg's own tools the backbone loads every format by itself.

None of our tools or ``install`` is called.
"""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import load_checkpoint
from torch import nn

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')

from mmdet.apis import init_detector  # noqa: E402
from mmseg.apis import init_model  # noqa: E402
from test_formats import ARCH, BUILT, BY_CHANNELS, FAMILIES, raw_maps, source  # noqa: E402

pytestmark = [
    pytest.mark.usefixtures('alone'),
    pytest.mark.filterwarnings('ignore:``build_loss`` would be deprecated:UserWarning'),
]
META = dict(dataset_meta=dict(classes=('a', 'b')))
SCOPES = ('mmdet', 'mmseg')


@pytest.fixture(autouse=True)
def _scope():
    """init_detector and init_model leave a default scope in the process."""
    kept = DefaultScope._instance_dict.copy()
    yield
    DefaultScope._instance_dict = kept


def config(scope: str, version: str, **backbone: object) -> Config:
    """A minimal recipe of the project with our backbone."""
    model = dict(backbone=dict(type='mmconvnext.ConvNeXt', arch=ARCH, version=version, **backbone))
    if scope == 'mmseg':
        head = dict(type='FCNHead', in_channels=16, channels=4, num_convs=1, num_classes=3)
        head.update(loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True))
        model.update(type='EncoderDecoder', decode_head=head, test_cfg=dict(mode='whole'))
    else:
        anchors = dict(type='AnchorGenerator', ratios=[1.0], strides=[8, 16], scales=[4])
        head = dict(type='RetinaHead', num_classes=2, in_channels=8, stacked_convs=1)
        neck = dict(type='FPN', in_channels=ARCH['channels'], out_channels=8, num_outs=4)
        model.update(type='RetinaNet', neck=neck, bbox_head=dict(head, anchor_generator=anchors))
    return Config(dict(default_scope=scope, model=model))


def of_family(scope: str, family: str, **backbone: object) -> Config:
    return config(scope, FAMILIES[family][2], **BUILT.get(family, {}), **backbone)


def assert_same_maps(model: nn.Module, expected: dict) -> None:
    assert type(model.backbone).__module__ == 'mmconvnext.models.convnext'
    with torch.no_grad():
        maps = raw_maps(model.eval().backbone, expected['image'])
    for i, value in enumerate(maps):
        torch.testing.assert_close(value, expected[f'map{i}'], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('scope', SCOPES)
@pytest.mark.parametrize('family', [name for name in FAMILIES if name not in BY_CHANNELS])
def test_init_cfg_of_a_model_knows_every_format(family, scope, tmp_path, mmengine_state):
    weights, expected = source(family)
    torch.save({'model': weights}, tmp_path / 'w.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'w.pth'))
    before = mmengine_state()
    with DefaultScope.overwrite_default_scope(scope):
        model = MODELS.build(of_family(scope, family, init_cfg=init_cfg).model)
        model.init_weights()
    assert_same_maps(model, expected)
    assert mmengine_state() == before


@pytest.mark.parametrize('scope', SCOPES)
@pytest.mark.parametrize('family', [name for name in FAMILIES if name not in BY_CHANNELS])
def test_a_whole_model_with_names_of_every_format(family, scope, tmp_path):
    """As in ``load_from``: the file's names begin with 'backbone.', followed by the format's."""
    weights, expected = source(family)
    file = {f'backbone.{name}': value for name, value in weights.items()}
    torch.save({'state_dict': file, 'meta': {}}, tmp_path / 'w.pth')
    with DefaultScope.overwrite_default_scope(scope):
        model = MODELS.build(of_family(scope, family).model)
    load_checkpoint(model, str(tmp_path / 'w.pth'), map_location='cpu')
    assert_same_maps(model, expected)


@pytest.mark.parametrize('scope', SCOPES)
@pytest.mark.parametrize('family', ['mmpretrain_v1', 'timm_v2', 'hf_v1', 'meta_v2'])
def test_the_projects_own_way_to_a_model_for_inference(family, scope, tmp_path):
    weights, expected = source(family)
    cfg = of_family(scope, family)
    file = {f'backbone.{name}': value for name, value in weights.items()}
    torch.save({'state_dict': file, 'meta': META}, tmp_path / 'w.pth')
    if scope == 'mmdet':
        model = init_detector(cfg, str(tmp_path / 'w.pth'), palette='random', device='cpu')
    else:
        model = init_model(cfg, str(tmp_path / 'w.pth'), device='cpu')
    assert model.dataset_meta['classes'] == ('a', 'b')
    assert_same_maps(model, expected)


def test_init_detector_refuses_a_backbone_that_does_not_fit(tmp_path):
    """Not only a printed line, as for every other part of a detector."""
    weights, _ = source('timm_v2')
    file = {f'backbone.{name}': value for name, value in weights.items()}
    torch.save({'state_dict': file, 'meta': META}, tmp_path / 'w.pth')
    with pytest.raises(ValueError, match=r'weights for backbone\.: .*V2'):
        init_detector(config('mmdet', 'v1'), str(tmp_path / 'w.pth'), palette='random')
