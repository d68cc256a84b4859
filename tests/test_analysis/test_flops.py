# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""analysis/flops.py: the figures are those of hand counts, for every kind of model."""

import pytest
from fixtures import UPERNET, public_config
from mmengine.config import Config
from torch import nn

from mmconvnext.analysis.flops import Counted, Part, _uncounted, count_flops, default_shape
from mmconvnext.recipe.errors import RecipeError

ARCH = dict(depths=[1, 1, 1, 1], channels=[8, 16, 24, 32])


def retinanet(**changes):
    """Two convolutions on one map of stride 4; width and height differ."""
    head = dict(type='RetinaHead', num_classes=3, in_channels=8, feat_channels=8, stacked_convs=0)
    head.update(anchor_generator=dict(type='AnchorGenerator', scales=[8], ratios=[1], strides=[4]))
    backbone = dict(type='mmconvnext.ConvNeXt', arch=ARCH, out_indices=(0,))
    model = dict(type='RetinaNet', backbone=backbone, neck=None, bbox_head=head)
    return Config(dict(default_scope='mmdet', model=dict(model, **changes)))


# The stem's 4x4 convolution, a block (7x7 depthwise, 4-fold MLP); the head's two convolutions.
CELL = 8 * 48 + 8 * 49 + 2 * 4 * 8 * 8
HEAD = 9 * 8 * (3 + 4)


def test_multiply_adds_are_counted_once():
    counted = count_flops(retinanet(), (32, 64))
    cells = 8 * 16
    flops = {part.name: part.flops for part in counted.parts}
    assert flops == {'backbone': CELL * cells, 'bbox_head': HEAD * cells}
    assert counted.flops == (CELL + HEAD) * cells and counted.shape == (32, 64)
    head = next(part for part in counted.parts if part.name == 'bbox_head')
    assert head.parameters == HEAD + 3 + 4 and not counted.notes
    assert counted.parameters == sum(part.parameters for part in counted.parts)


def test_the_config_is_not_changed():
    cfg = retinanet()
    before = cfg.pretty_text
    count_flops(cfg, (32, 64))
    assert cfg.pretty_text == before


def test_a_model_that_needs_values_runs_on_the_cpu(monkeypatch):
    """With the same figures: our kernels, which the counter does not know, are off."""
    from mmdet.models import RetinaHead

    forward = RetinaHead.forward_single

    def needs_values(self, x):
        x.sum().item()
        return forward(self, x)

    monkeypatch.setattr(RetinaHead, 'forward_single', needs_values)
    told = []
    counted = count_flops(retinanet(), (32, 64), told.append)
    assert counted.flops == (CELL + HEAD) * 8 * 16
    assert told == ['this model needs values, so it runs on the CPU; that may take minutes']
    assert counted.notes[0].startswith('computed on the CPU, because it needs values (RuntimeError')


def test_a_model_that_cannot_run():
    cfg = retinanet()
    cfg.model.bbox_head.in_channels = 9
    message = 'cannot count RetinaNet at 32 x 64: .*RuntimeError.*on the CPU .*RuntimeError'
    with pytest.raises(RecipeError, match=message):
        count_flops(cfg, (32, 64))


def test_operators_that_are_not_counted_are_named():
    from mmcv.ops import DeformConv2d, RoIAlign

    layers = nn.ModuleList([DeformConv2d(3, 3, 3), RoIAlign((7, 7)), nn.Conv2d(3, 3, 3)])
    assert _uncounted(layers) == {'DeformConv2d'}


def test_channels_of_the_images():
    cfg = retinanet()
    preprocessor = dict(type='mmconvnext.DetDataPreprocessor', mean=[0.0] * 5, std=[1.0] * 5)
    cfg.model.update(data_preprocessor=preprocessor)
    cfg.model.backbone.in_channels = 5
    assert count_flops(cfg, (32, 64)).parts[0].flops == (CELL + 8 * 32) * 8 * 16


@pytest.mark.parametrize(('proposals', 'masks'), [(10, 4), (20, 2)])
def test_heads_of_regions_get_as_many_as_the_test_allows(proposals, masks):
    model = Config.fromfile(public_config('mmdet::_base_/models/mask-rcnn_r50_fpn.py')).model
    model.test_cfg.rpn.max_per_img, model.test_cfg.rcnn.max_per_img = proposals, masks
    cfg = Config(dict(default_scope='mmdet', model=small(model)))
    flops = {part.name: part.flops for part in count_flops(cfg, (64, 96)).parts}
    # Two hidden layers, classes and boxes: no bias, 7x7 regions of 16 channels.
    box = 16 * 49 * 32 + 32 * 32 + 32 * 81 + 32 * 320
    assert flops['roi_head.bbox_head'] == proposals * box
    # Four convolutions, a doubling one, classes.
    mask = 4 * 9 * 16 * 16 * 14**2 + 16 * 16 * 28**2 + 16 * 80 * 28**2
    assert flops['roi_head.mask_head'] == masks * mask
    heads = ['rpn_head', 'roi_head.bbox_head', 'roi_head.mask_head']
    assert list(flops) == ['backbone', 'neck', *heads]


def small(model):
    model.backbone = dict(type='mmconvnext.ConvNeXt', arch=ARCH)
    model.neck.update(in_channels=[8, 16, 24, 32], out_channels=16)
    model.rpn_head.update(in_channels=16, feat_channels=16)
    roi = model.roi_head
    roi.bbox_roi_extractor.out_channels = roi.mask_roi_extractor.out_channels = 16
    roi.bbox_head.update(in_channels=16, fc_out_channels=32)
    roi.mask_head.update(in_channels=16, conv_out_channels=16)
    return model


def test_auxiliary_heads_have_parameters_only(load):
    cfg = load(UPERNET)
    cfg.model.backbone.arch = ARCH
    cfg.model.decode_head.update(in_channels=[8, 16, 24, 32], channels=8)
    cfg.model.auxiliary_head.update(in_channels=24, channels=8)
    counted = count_flops(cfg, (64, 96))
    auxiliary = next(part for part in counted.parts if part.name == 'auxiliary_head')
    assert auxiliary.parameters > 0 and auxiliary.flops == 0
    assert counted.notes == ['auxiliary heads work in training only']


def segmentor(**preprocessor):
    return dict(default_scope='mmseg', model=dict(data_preprocessor=preprocessor))


@pytest.mark.parametrize(
    ('cfg', 'shape'),
    [
        (dict(default_scope='mmdet', model={}), (800, 1280)),
        (segmentor(size=(640, 640)), (640, 2560)),
        (segmentor(size=256), (256, 1024)),
        (segmentor(), (512, 2048)),
    ],
)
def test_shapes_of_the_published_figures(cfg, shape):
    assert default_shape(Config(cfg)) == shape


def test_sums():
    counted = Counted([Part('a', 1, 2), Part('b', 3, 4)], (1, 2), [])
    assert (counted.parameters, counted.flops) == (4, 6)
