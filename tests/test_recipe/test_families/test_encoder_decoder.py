# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/families/encoder_decoder.py: segmentors with any head rehearse."""

import re

import pytest
from mmengine.config import Config

from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.families.encoder_decoder import EncoderDecoder
from mmconvnext.recipe.families.family import Input
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
    auxiliary = dict(AUXILIARY['auxiliary_head'], in_index=0)
    parts = dict(AUXILIARY, auxiliary_head=auxiliary, decode_head=dict(LAST, in_index=1))
    base = 'mmseg::fcn/fcn_r50-d8_4xb4-160k_ade20k-512x512.py'
    cfg = load_config(three_lines(base, out_indices=(2, 3), **parts))
    make_toy(cfg)
    assert cfg.model.decode_head.in_channels == 320
    assert cfg.model.auxiliary_head.in_channels == 160


ONE, SOME, NONE = dict(in_channels=8), dict(in_channels=[1, 2]), dict(type='Theirs')


@pytest.mark.parametrize(
    ('key', 'head', 'maps', 'used'),
    [
        ('decode_head', ONE, [2], [2]),  # the last one: mmseg's own default
        ('auxiliary_head', ONE, [2], [2]),
        ('decode_head', SOME, [0, 1, 2], [0, 1, 2]),
        ('decode_head', dict(in_channels=(1, 2)), [0, 1, 2], [0, 1, 2]),
        ('decode_head', NONE, [0, 1, 2], [0, 1, 2]),
        ('auxiliary_head', dict(ONE, in_index=0), [0], [0]),
        ('auxiliary_head', dict(ONE, in_index=-3), [0], [0]),
        ('decode_head', dict(SOME, in_index=[2, 0]), [2, 0], [0, 2]),
        ('decode_head', dict(SOME, in_index=(-1, -2)), [2, 1], [1, 2]),
        ('decode_head', dict(ONE, in_index=2, c1_in_channels=4), [2], [0, 2]),
        ('decode_head', dict(ONE, in_index=2, c1_in_channels=0), [2], [2]),
    ],
)
def test_which_maps_a_head_takes(key, head, maps, used):
    family = EncoderDecoder()
    expected = Input(key, head, maps, used, by_index=True)
    assert family.inputs({key: head}, 3) == [expected]
    inner = {key: [dict(NONE), dict(kernel_generate_head=head)]}
    path = f'{key}.1.kernel_generate_head'
    assert family.inputs(inner, 3)[1:] == [expected._replace(path=path)]
    with_neck = {key: head, 'neck': dict(in_channels=[5, 6, 7])}
    assert [part.path for part in family.inputs(with_neck, 3)] == ['neck']
    family.fit_inputs(dict(with_neck, type='A'), [1, 2, 3])
    assert head.get('c1_in_channels') in (None, 0, 4)  # its input is the neck's output


@pytest.mark.parametrize('index', [3, -4, [0, 3]])
def test_a_map_that_the_backbone_does_not_return(index):
    model = dict(auxiliary_head=[dict(ONE), dict(ONE, in_index=index)])
    match = re.escape(f'auxiliary_head.1.in_index={index} selects a map that the backbone does not')
    with pytest.raises(RecipeError, match=f'{match} return; it returns 3$'):
        EncoderDecoder().inputs(model, 3)


def test_all_heads_are_inputs_in_their_order():
    model = dict(auxiliary_head=[dict(ONE), dict(ONE)], decode_head=(dict(ONE), dict(ONE)))
    paths = ['decode_head.0', 'decode_head.1', 'auxiliary_head.0', 'auxiliary_head.1']
    assert [part.path for part in EncoderDecoder().inputs(model, 3)] == paths
    assert EncoderDecoder().inputs(dict(decode_head=None), 3) == []


@pytest.mark.parametrize(('kind', 'backbone'), [('DDRHead', 'DDRNet'), ('PIDHead', 'PIDNet')])
def test_a_head_that_fits_one_backbone_alone_is_refused(kind, backbone):
    model = dict(type='EncoderDecoder', decode_head=dict(type=f'mmseg.{kind}', in_channels=768))
    match = rf"decode_head\.type='{kind}' only works with the backbone {backbone}; use another"
    with pytest.raises(RecipeError, match=match):
        EncoderDecoder().shrink(Config(), model, [8])
