# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: the defaults are the paper's final model, and no wrong switch passes unnoticed."""

import dataclasses

import pytest
from mmengine import ConfigDict

from mmconvnext.models.design import CHOICES, Design


def test_defaults_are_the_papers_final_model():
    # "A ConvNet for the 2020s", sections 2.2 to 2.6; eps: official models/convnext.py.
    assert dataclasses.asdict(Design()) == dict(
        stem='patchify',
        stem_patch_size=4,
        group_width=1,
        expansion_ratio=4,
        spatial_first=True,
        kernel_size=7,
        act='GELU',
        act_after='expansion',
        norm='LN',
        norm_after='spatial',
        norm_eps=None,
    )
    assert Design().eps == 1e-6


@pytest.mark.parametrize('kind', [dict, ConfigDict])
def test_of_a_mapping_changes_only_what_it_says(kind):
    design = Design.of(kind(kernel_size=3))
    assert design == dataclasses.replace(Design(), kernel_size=3)


def test_of_other_values():
    design = Design(act='ReLU')
    assert Design.of(design) is design
    assert Design.of(None) == Design.of({}) == Design()


@pytest.mark.parametrize('value', [['act'], 'ReLU', 3])
def test_of_wrong_type_is_named(value):
    with pytest.raises(
        TypeError, match=f'design must be a dict or None, got {type(value).__name__}'
    ):
        Design.of(value)


def test_unknown_key_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown keys \['act_layer', 'kernel'\].*'kernel_size'"):
        Design.of(dict(kernel=3, act_layer='ReLU'))


@pytest.mark.parametrize(
    ('norm', 'norm_eps', 'eps'),
    [
        ('LN', None, 1e-6),
        ('SimpleNorm', None, 1e-6),
        ('BN', None, 1e-5),
        ('SyncBN', None, 1e-5),
        ('BN', 1e-3, 1e-3),
    ],
)
def test_eps_in_force(norm, norm_eps, eps):
    assert Design(norm=norm, norm_eps=norm_eps).eps == eps


@pytest.mark.parametrize('field', sorted(CHOICES))
def test_unknown_choice_is_named_with_the_known_ones(field):
    with pytest.raises(ValueError, match=rf"design\.{field}='no' is unknown.*{CHOICES[field][-1]}"):
        Design(**{field: 'no'})


@pytest.mark.parametrize(
    ('field', 'value', 'match'),
    [
        ('stem_patch_size', 0, 'a positive integer, got 0'),
        ('stem_patch_size', 4.0, r'a positive integer, got 4\.0'),
        ('group_width', 0, 'a positive integer, or None for a dense convolution, got 0'),
        ('group_width', True, 'got True'),
        ('expansion_ratio', 0, 'a positive number, got 0'),
        ('expansion_ratio', '4', "a positive number, got '4'"),
        ('spatial_first', 1, 'True or False, got 1'),
        ('kernel_size', 4, 'a positive odd integer .*, got 4'),
        ('kernel_size', -1, 'got -1'),
        ('kernel_size', (7, 4), r'or a list with one per stage, got \(7, 4\)'),
        ('kernel_size', [], r'got \(\)'),
        ('kernel_size', '7', "got '7'"),
        ('norm_eps', 0, 'a positive number, or None, got 0'),
        ('norm_eps', '1e-6', "got '1e-6'"),
        ('norm_eps', -1e-6, 'got -1e-06'),
        ('expansion_ratio', -1, 'got -1'),
        *((f, True, 'got True') for f in ('stem_patch_size', 'kernel_size', 'expansion_ratio')),
        ('norm_eps', True, 'got True'),
    ],
)
def test_value_out_of_range_is_named(field, value, match):
    with pytest.raises(ValueError, match=match) as error:
        Design(**{field: value})
    assert str(error.value).startswith(f'design.{field} must be ')


@pytest.mark.parametrize('stem', [name for name in CHOICES['stem'] if name != 'patchify'])
def test_patch_size_without_effect_is_refused(stem):
    assert Design(stem=stem).stem_patch_size == Design(stem=stem).stem_stride == 4
    with pytest.raises(ValueError, match=f"stem_patch_size=2 has no effect on stem='{stem}'"):
        Design(stem=stem, stem_patch_size=2)


@pytest.mark.parametrize('kind', [list, tuple])
def test_each_stage_has_its_kernel_size(kind):
    design = Design(kernel_size=kind([7, 5, 3]), act='SiLU')
    assert design.of_stages(3) == [Design(kernel_size=k, act='SiLU') for k in (7, 5, 3)]
    assert Design(act='SiLU').of_stages(2) == [Design(act='SiLU')] * 2
    assert hash(design) == hash(Design(kernel_size=(7, 5, 3), act='SiLU'))
    with pytest.raises(ValueError, match=r'one for each of the 4 stages, got \(7, 5, 3\)'):
        design.of_stages(4)


@pytest.mark.parametrize(
    ('field', 'values', 'fusible'),
    [
        ('stem', ('resnet', 'overlap', 'overlap_tiered', 'overlap_act'), True),
        ('stem_patch_size', (1, 2, 16), True),
        ('group_width', (2, 32, None), False),
        ('expansion_ratio', (0.01, 1, 2.5, 6), True),
        ('spatial_first', (False,), False),
        ('kernel_size', (1, 3, 9, [7, 5], (3,)), False),
        ('act', ('GELU_tanh', 'ReLU', 'SiLU'), False),
        ('act_after', ('every_conv',), False),
        ('norm', ('BN', 'SyncBN', 'SimpleNorm'), False),
        ('norm_after', ('every_conv',), False),
        ('norm_eps', (1e-12, 1e-5, 1), True),
    ],
)
def test_which_values_are_built_and_which_of_them_the_fast_path_computes(field, values, fusible):
    for value in values:
        design = Design(**{field: value})
        stored = tuple(value) if isinstance(value, list) else value
        assert getattr(design, field) == stored
        assert design.unfusible == ({} if fusible else {field: stored})
    assert Design().unfusible == {}
    two = Design(stem='resnet', act='ReLU', norm='BN', norm_eps=0.1)
    assert two.unfusible == dict(act='ReLU', norm='BN')
