# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""optimizer.py: other constructors in terms of ours; options without effect stay so."""

import pytest

from mmconvnext.migrate.notes import Notes
from mmconvnext.migrate.optimizer import constructor_of, our_name, renew_constructor
from mmconvnext.recipe.errors import RecipeError

OURS = 'mmconvnext.LayerDecayOptimWrapperConstructor'
TINY = (3, 3, 9, 3)
FIXED = 'LearningRateDecayOptimizerConstructor'
MMPRETRAIN = 'LearningRateDecayOptimWrapperConstructor'


def renewed(constructor, depths=TINY, shared=False, **paramwise):
    wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-4))
    if constructor:
        wrapper['constructor'] = constructor
    if paramwise:
        wrapper['paramwise_cfg'] = paramwise
    notes = Notes()
    renew_constructor(dict(optim_wrapper=wrapper), depths, shared, notes)
    return wrapper.get('constructor'), wrapper.get('paramwise_cfg'), notes


@pytest.mark.parametrize(
    ('name', 'kind'),
    [
        (FIXED, 'fixed'),
        (f'mmdet.{FIXED}', 'fixed'),
        ('LayerDecayOptimizerConstructor', 'fixed'),
        (MMPRETRAIN, 'mmpretrain'),
        (None, 'default'),
        ('DefaultOptimWrapperConstructor', 'default'),
        (OURS, 'ours'),
        ('Mine', 'unknown'),
    ],
)
def test_kinds(name, kind):
    assert constructor_of(dict(constructor=name)) == kind


def test_mmdets_and_mmsegs():
    constructor, options, notes = renewed(
        FIXED, decay_rate=0.9, decay_type='stage_wise', num_layers=6
    )
    assert (constructor, options) == (OURS, dict(decay_rate=0.9, decay_type='stage_wise'))
    assert not notes.look


def test_beits_spelling():
    _, options, _ = renewed(
        'LayerDecayOptimizerConstructor', layer_decay_rate=0.7, decay_type='layer_wise_vit'
    )
    assert options == dict(decay_rate=0.7, decay_type='layer_wise')


def test_options_that_a_fixed_rule_never_read_are_named_and_left_out():
    keys = dict(backbone=dict(lr_mult=0.1))
    _, options, notes = renewed(FIXED, decay_rate=0.9, num_layers=6, custom_keys=keys)
    assert options == dict(decay_rate=0.9, decay_type='layer_wise')
    assert any("'lr_mult': 0.1" in line and 'had no effect' in line for line in notes.look)


def test_a_wrong_number_of_layers_is_named():
    _, _, notes = renewed(FIXED, depths=(3, 3, 27, 3), decay_rate=0.9, num_layers=6)
    assert any('num_layers=6 does not match depths' in line for line in notes.look)


def test_shared_parameters_are_each_in_one_group():
    _, options, _ = renewed(FIXED, shared=True, decay_rate=0.9, num_layers=6)
    assert options['bypass_duplicate'] is True


def test_mmpretrains_says_what_decays():
    _, options, notes = renewed(MMPRETRAIN, layer_decay_rate=0.8, norm_decay_mult=0.0)
    assert options == dict(
        decay_rate=0.8, norm_decay_mult=0.0, bias_decay_mult=None, flat_decay_mult=None
    )
    assert any('bias_decay_mult' in line and 'None, so these par' in line for line in notes.look)


def test_mmpretrains_custom_keys():
    keys = {'backbone.stages.0.0.depthwise_conv': dict(decay_mult=0.5), '.x': dict(lr_mult=2.0)}
    _, options, notes = renewed(MMPRETRAIN, layer_decay_rate=0.8, custom_keys=keys)
    assert options['custom_keys'] == {
        'backbone.stages.0.0.dwconv': dict(decay_mult=0.5),
        '.x': dict(decay_mult=1.0),
    }
    assert any("lr_mult in custom_keys ['.x']" in line for line in notes.look)


def test_mmengines_constructor_stays():
    keys = dict(backbone=dict(lr_mult=0.1), query=dict(decay_mult=0.0))
    constructor, options, notes = renewed(None, custom_keys=keys, norm_decay_mult=0.0)
    assert constructor is None
    assert options == dict(custom_keys=keys, norm_decay_mult=0.0)
    (line,) = notes.look
    assert 'applies to the whole backbone' in line
    assert "custom_keys={'_delete_': True, 'query': {'decay_mult': 0.0}}" in line


def test_decay_without_a_constructor_is_named():
    _, options, notes = renewed(None, decay_rate=0.9, num_layers=6, norm_decay_mult=0.0)
    assert options == dict(norm_decay_mult=0.0)
    assert any('no constructor' in line and OURS in line for line in notes.look)


def test_unknown_constructors_are_left():
    constructor, options, notes = renewed('Mine', x=1)
    assert (constructor, options) == ('Mine', dict(x=1)) and "'Mine'" in notes.look[0]


def test_decay_without_a_rate_is_refused():
    with pytest.raises(RecipeError, match='paramwise_cfg has no decay_rate'):
        renewed(FIXED, num_layers=6)


@pytest.mark.parametrize('depths', [(3, 3, 9, 3), (3, 3, 27, 3)])
def test_the_number_of_layers_is_6_or_12(depths):
    """Of the official code; only the other number is named, also if it is missing."""
    right = 6 if depths[2] == 9 else 12
    for given in (6, 12, None):
        options = {} if given is None else dict(num_layers=given)
        _, _, notes = renewed(FIXED, depths=depths, decay_rate=0.9, **options)
        named = [line for line in notes.look if line.startswith(f'num_layers={given!r} does not')]
        assert bool(named) is (given != right)
        assert all(f'the official code uses {right}, and' in line for line in named)


def test_each_parameter_is_in_one_group_only_where_ours_is_used():
    for constructor, there in ((FIXED, True), (MMPRETRAIN, True), (None, False), ('Mine', False)):
        _, options, _ = renewed(constructor, shared=True, decay_rate=0.9, layer_decay_rate=0.9)
        assert ('bypass_duplicate' in options) is there
        _, options, _ = renewed(constructor, decay_rate=0.9, layer_decay_rate=0.9)
        assert 'bypass_duplicate' not in options


def test_defaults_of_mmpretrains():
    """Without a rate nothing decays by layer; what it never read is named."""
    _, options, notes = renewed(MMPRETRAIN, num_layers=6, bias_lr_mult=2.0, norm_decay_mult=0.5)
    assert options == dict(
        decay_rate=1.0, norm_decay_mult=0.5, bias_decay_mult=None, flat_decay_mult=None
    )
    assert notes.look[-1] == (
        "paramwise_cfg {'bias_lr_mult': 2.0} had no effect in mmpretrain and was removed"
    )
    assert notes.look[0].startswith("['bias_decay_mult', 'flat_decay_mult'] are None, so")


def test_keys_of_necks_and_heads_are_kept_beside_ours():
    keys = {'depthwise_conv': dict(decay_mult=0.5), 'neck': dict(lr_mult=2.0)}
    _, options, notes = renewed(None, custom_keys=keys)
    assert options['custom_keys'] == {**keys, 'dwconv': dict(decay_mult=0.5)}
    assert notes.changed == [
        "custom_keys['depthwise_conv'] became custom_keys['dwconv'], our name for it"
    ]
    assert our_name('backbone.x.depthwise_conv') == 'backbone.x.dwconv'


def test_a_config_without_an_optimizer_is_named():
    notes = Notes()
    renew_constructor({}, TINY, False, notes)
    assert notes.look == ['the config has no optim_wrapper: set the learning rates yourself']


@pytest.mark.parametrize(
    ('key', 'whole'),
    [('backbone', True), ('.backbone.', True), ('model.backbone', True), ('backbone.norm', False)],
)
def test_which_keys_are_of_the_whole_backbone(key, whole):
    _, _, notes = renewed(None, custom_keys={key: dict(lr_mult=0.1)})
    assert any('applies to the whole backbone' in line for line in notes.look) is whole


def test_names_of_layers():
    assert our_name('stages.0.0.pointwise_conv1.weight') == 'stages.0.0.pwconv1.weight'
