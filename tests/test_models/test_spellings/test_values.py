# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: names under which other packages publish sizes and weights are read, and no others."""

import pytest
from mmengine.registry import MODELS

from mmconvnext.checkpoint import zoo
from mmconvnext.models.design import CHOICES
from mmconvnext.models.spellings.values import called, named, one, stages, without_stem

SMALL = dict(depths=[3, 3, 27, 3], channels=[96, 192, 384, 768])


@pytest.mark.parametrize(
    ('name', 'arguments', 'weights'),
    [
        ('Tiny', dict(arch='tiny'), None),
        ('T', dict(arch='tiny'), None),
        ('XL', dict(arch='xlarge'), None),
        ('H', dict(arch='huge', version='v2'), None),
        ('convnext-t', dict(arch='tiny'), None),
        ('ConvNeXt-T', dict(arch='tiny'), None),
        ('convnext_tiny', dict(arch='tiny'), None),
        ('convnext_tiny_in22k', dict(arch='tiny'), None),
        ('convnext_large_mlp', dict(arch='large'), None),
        ('convnextv2_huge', dict(arch='huge', version='v2'), None),
        ('convnextv2_small', dict(arch=SMALL, version='v2'), None),
        ('convnext_tiny.fb_in1k', dict(arch='tiny'), 'timm/convnext_tiny.fb_in1k'),
        ('hf-hub:timm/convnext_base.fb_in1k', dict(arch='base'), 'timm/convnext_base.fb_in1k'),
        ('facebook/convnext-tiny-224', dict(arch='tiny'), 'hf/facebook/convnext-tiny-224'),
        ('convnext-tiny_in1k', dict(arch='tiny'), 'convnext-tiny_in1k'),
        (
            'convnext_xxlarge.clip_laion2b_soup',
            dict(
                arch=dict(depths=[3, 4, 30, 3], channels=[384, 768, 1536, 3072]),
                design=dict(norm_eps=1e-5),
            ),
            'timm/convnext_xxlarge.clip_laion2b_soup',
        ),
    ],
)
def test_names(name, arguments, weights):
    assert called(name) == (arguments, weights)


@pytest.mark.parametrize(
    'name',
    ['resnet50', 'basement', 'tiny-foo', 'swin_tiny', 'convnext_iso_small', 'tinyx', None, 3],
)
def test_other_names_are_no_sizes(name):
    assert named(name) is None and called(name) is None


def test_a_design_that_is_not_built_is_not_offered():
    """timm's overlapping stems and norms: the arguments for them, where there are such choices."""
    for name, choice, value in (
        ('convnext_nano_ols', 'stem', 'overlap'),
        ('convnext_atto_ols', 'stem', 'overlap_tiered'),
        ('convnext_zepto_rms', 'norm', 'SimpleNorm'),
    ):
        found = called(name)
        assert named(name) is None
        if value in CHOICES[choice]:
            assert found[0]['design'] == {choice: value}
        else:
            assert found is None


@pytest.mark.parametrize('source', ['timm/', 'hf/'])
def test_every_published_name_that_is_read_is_built(source):
    """At least 25 files of each; the network of a size is built once."""
    names = [name for name in zoo.published() if name.startswith(source)]
    found = {name: called(name[len(source) :]) for name in names}
    assert [name for name in names if found[name] and found[name][1] != name] == []
    assert len([name for name in names if found[name]]) > 25
    small = ('atto', 'femto', 'pico', 'nano')
    for arguments in {str(pair[0]): pair[0] for pair in found.values() if pair}.values():
        if arguments['arch'] in small:
            MODELS.build(dict(type='mmconvnext.ConvNeXt', **arguments))


def test_a_size_of_ours():
    assert named('convnextv2_tiny') == ('tiny', 'v2', None)
    assert named('convnext_tiny.fb_in1k') == ('tiny', 'v1', 'timm/convnext_tiny.fb_in1k')
    assert named('convnext_xxlarge') is None


def test_numbers():
    assert one(7) == one((7, 7)) == one([7, 7, 7, 7]) == 7
    assert one([3, 7]) == (3, 7)
    assert stages(['stage1', 'stage4']) == (0, 3)
    assert without_stem((1, 4, -1)) == [0, 3, -1]
