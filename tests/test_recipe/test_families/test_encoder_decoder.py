# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/families/encoder_decoder.py: segmentors with any head rehearse."""

import pytest

from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.load import load_config
from mmconvnext.recipe.toy import make_toy

from .conftest import CHANNELS

ALL, LAST = dict(in_channels=CHANNELS), dict(in_channels=CHANNELS[3])
AUXILIARY = dict(pretrained=None, auxiliary_head=dict(in_channels=CHANNELS[2]))
KNET = 'mmseg::knet/knet-s3_r50-d8_upernet_8xb2-adamw-80k_ade20k-512x512.py'
DEEPLAB = 'mmseg::deeplabv3plus/deeplabv3plus_r50-d8_4xb4-160k_ade20k-512x512.py'


@pytest.mark.slow
@pytest.mark.parametrize(
    'base, parts',
    [
        (
            'mmseg::segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py',
            dict(decode_head=ALL),
        ),
        ('mmseg::mask2former/mask2former_r50_8xb2-160k_ade20k-512x512.py', dict(decode_head=ALL)),
        (
            'mmseg::pspnet/pspnet_r50-d8_4xb4-160k_ade20k-512x512.py',
            dict(AUXILIARY, decode_head=LAST),
        ),
        (KNET, dict(AUXILIARY, decode_head=dict(kernel_generate_head=ALL))),
        (
            'mmseg::sem_fpn/fpn_r50_4xb4-160k_ade20k-512x512.py',
            dict(pretrained=None, neck=ALL),
        ),
    ],
)
def test_rehearsal(rehearse, base, parts):
    assert 'mIoU' in rehearse(base, **parts)


def test_every_head_gets_the_channels_of_its_maps(three_lines, toy_data):
    head = dict(in_channels=768, c1_in_channels=96)
    cfg = load_config(three_lines(DEEPLAB, decode_head=head, **AUXILIARY))
    make_toy(cfg)
    head = cfg.model.decode_head
    assert (head.in_channels, head.c1_in_channels, head.channels) == (320, 40, 64)
    assert cfg.model.auxiliary_head.in_channels == 160


def test_a_head_inside_of_a_head(three_lines, toy_data):
    parts = dict(AUXILIARY, decode_head=dict(kernel_generate_head=ALL))
    cfg = load_config(three_lines(KNET, **parts))
    make_toy(cfg)
    assert cfg.model.decode_head.kernel_generate_head.in_channels == [40, 80, 160, 320]


def test_a_backbone_that_returns_some_stages(three_lines, toy_data):
    parts = dict(AUXILIARY, decode_head=dict(LAST, in_index=1))
    parts['auxiliary_head'].update(in_index=0)
    base = 'mmseg::fcn/fcn_r50-d8_4xb4-160k_ade20k-512x512.py'
    cfg = load_config(three_lines(base, out_indices=(2, 3), **parts))
    make_toy(cfg)
    assert cfg.model.decode_head.in_channels == 320
    assert cfg.model.auxiliary_head.in_channels == 160


def test_a_head_that_fits_one_backbone_alone_is_refused(three_lines, toy_data):
    base = 'mmseg::ddrnet/ddrnet_23-slim_in1k-pre_2xb6-120k_cityscapes-1024x1024.py'
    cfg = load_config(three_lines(base, decode_head=dict(in_channels=768)))
    with pytest.raises(
        RecipeError, match="decode_head.type='DDRHead' only works with the backbone DDRNet"
    ):
        make_toy(cfg)
