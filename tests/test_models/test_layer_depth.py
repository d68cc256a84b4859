# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: depth groups are the official ones for published depths, and sensible for any others.

The official code has two tables, for depths (3, 3, 9, 3) with ``num_layers`` 6 and (3, 3, 27, 3)
with 12; ``OFFICIAL`` spells both out by hand. ``test_layer_decay_by_block.py`` has golden tables of
the two schemes by block.
"""

import pytest
import torch

from mmconvnext.models import ARCHS, ConvNeXt
from mmconvnext.models.layer_depth import DECAY_TYPES, get_layer_depth, num_layers

# Group of every (stage, block), layer-wise; the downsampling layer has that of block 0, but for
# the stem, which is 0.
OFFICIAL = {
    (3, 3, 9, 3): (6, [[1] * 3, [2] * 3, [3, 3, 3, 4, 4, 4, 5, 5, 5], [6] * 3]),
    (3, 3, 27, 3): (
        12,
        [[1] * 3, [2] * 3, [group for group in range(3, 12) for _ in range(3)], [12] * 3],
    ),
}
TAILS = ('dwconv.weight', 'norm.bias', 'pwconv1.weight', 'pwconv2.bias', 'gamma', 'grn.beta')


@pytest.mark.parametrize('depths', sorted(OFFICIAL))
def test_layer_wise_is_the_official_table(depths):
    count, stages = OFFICIAL[depths]
    for i, groups in enumerate(stages):
        for j, group in enumerate(groups):
            for tail in TAILS:
                name = f'stages.{i}.{j}.{tail}'
                assert get_layer_depth(name, depths) == (group, count + 2), name
        first = 0 if i == 0 else groups[0]
        for tail in ('0.weight', '0.bias', '1.weight', '1.bias'):
            name = f'downsample_layers.{i}.{tail}'
            assert get_layer_depth(name, depths) == (first, count + 2), name
        assert get_layer_depth(f'norm{i}.weight', depths) == (count + 1, count + 2)


@pytest.mark.parametrize('depths', sorted(OFFICIAL))
def test_stage_wise_is_the_official_table(depths):
    count, stages = OFFICIAL[depths]
    for i, groups in enumerate(stages):
        for j in range(len(groups)):
            name = f'stages.{i}.{j}.pwconv1.weight'
            assert get_layer_depth(name, depths, 'stage_wise') == (i + 1, count + 2)
        # The quirk: all of them are in the stem's group.
        name = f'downsample_layers.{i}.1.weight'
        assert get_layer_depth(name, depths, 'stage_wise') == (0, count + 2)
        assert get_layer_depth(f'norm{i}.bias', depths, 'stage_wise') == (count + 1, count + 2)


@pytest.mark.parametrize(
    ('depths', 'expected'),
    [
        ((3, 3, 9, 3), 6),
        ((3, 3, 27, 3), 12),
        ((2, 2, 6, 2), 6),
        ((2, 2, 8, 2), 6),
        ((3, 3, 10, 3), 7),
        ((3, 3, 36, 3), 15),
        ((1, 1, 2, 1), 6),
        ((4,), 1),
        ((2, 3), 4),
        ((2, 9, 2), 5),
        ((3, 3, 9, 9, 3), 7),
    ],
)
def test_num_layers(depths, expected):
    assert num_layers(depths) == num_layers(depths, 'stage_wise') == expected
    assert num_layers(depths, 'single') == num_layers(depths, 'timm') == sum(depths)


def test_by_block_every_block_is_a_group():
    depths = (2, 1, 3)
    blocks = ['stages.0.0', 'stages.0.1', 'stages.1.0', 'stages.2.0', 'stages.2.1', 'stages.2.2']
    for decay_type, stem in (('single', 1), ('timm', 0)):
        for depth, block in enumerate(blocks, 1):
            assert get_layer_depth(f'{block}.gamma', depths, decay_type) == (depth, 8)
        for stage, depth in enumerate((stem, 3, 4)):
            name = f'downsample_layers.{stage}.0.weight'
            assert get_layer_depth(name, depths, decay_type) == (depth, 8)
            assert get_layer_depth(f'norm{stage}.weight', depths, decay_type) == (7, 8)


def test_layer_wise_only_the_last_stage_but_one_is_divided():
    depths, stages = (7, 4, 8, 5), ([1] * 7, [2] * 4, [3, 3, 3, 4, 4, 4, 5, 5], [6] * 5)
    for i, groups in enumerate(stages):
        names = [f'stages.{i}.{j}.norm.weight' for j in range(depths[i])]
        assert [get_layer_depth(name, depths) for name in names] == [(g, 8) for g in groups]
        by_stage = [get_layer_depth(name, depths, 'stage_wise') for name in names]
        assert by_stage == [(i + 1, 8)] * depths[i]


DEPTHS = sorted({arch.depths for arch in ARCHS.values()}) + [
    (4,),
    (2, 3),
    (2, 9, 2),
    (1, 2, 3, 4, 5),
    (3, 3, 36, 3),
    (1, 1, 2, 1),
]


@pytest.mark.parametrize('decay_type', DECAY_TYPES)
@pytest.mark.parametrize('version', ['v1', 'v2'])
@pytest.mark.parametrize('depths', DEPTHS, ids=str)
def test_groups_rise_in_the_order_of_computation_and_never_reach_the_head(
    depths, version, decay_type
):
    with torch.device('meta'):
        arch = dict(depths=depths, channels=[8] * len(depths))
        model = ConvNeXt(arch, version, out_indices=range(len(depths)))
    order = []
    for i, depth in enumerate(depths):
        order += [[f'downsample_layers.{i}.']] if decay_type != 'stage_wise' or i == 0 else []
        order += [[f'stages.{i}.{j}.'] for j in range(depth)]
    head = num_layers(depths, decay_type) + 1
    groups = []
    for (start,) in order:
        names = [name for name, _ in model.named_parameters() if name.startswith(start)]
        own = {get_layer_depth(name, depths, decay_type) for name in names}
        assert len(own) == 1, (start, own)
        groups.append(own.pop())
    assert {group.num_depths for group in groups} == {head + 1}
    values = [group.depth for group in groups]
    assert values[0] == (1 if decay_type == 'single' else 0)
    assert values == sorted(values)
    assert max(values) < head
    if decay_type != 'stage_wise':
        assert max(values) == head - 1


@pytest.mark.parametrize(
    'name',
    [
        'head.weight',
        'norm.weight',
        'norm4.weight',
        'normal.weight',
        'head0.weight',
        'stages.4.0.gamma',
        'stages.3.3.gamma',
        'stages.0.0',
        'stages.0.x.gamma',
        'levels.0.0.gamma',
        'downsample_layers.x.0.weight',
        'upsample_layers.0.0.weight',
        'stages.0.3.gamma',
        'stages.0',
        'stages.x.0.gamma',
        'stages.0.gamma',
        'downsample_layers.4.0.weight',
        'downsample_layers',
        'backbone.stages.0.0.gamma',
        '',
    ],
)
def test_foreign_name_is_refused(name):
    match = (
        rf"depths \[3, 3, 9, 3\] is called '{name}'; names begin with downsample_layers"
        '.* a subclass with other parameters must return their depth from its own get_layer_depth'
    )
    with pytest.raises(ValueError, match=match):
        get_layer_depth(name, (3, 3, 9, 3))


def test_unknown_decay_type_is_named():
    match = (
        r"decay_type='block_wise' is unknown; choose one of "
        r"\['layer_wise', 'stage_wise', 'single', 'timm'\]"
    )
    with pytest.raises(ValueError, match=match):
        get_layer_depth('norm0.weight', (3, 3, 9, 3), 'block_wise')
    with pytest.raises(ValueError, match=match):
        num_layers((3, 3, 9, 3), 'block_wise')


def test_backbone_answers_for_names_below_a_prefix(tiny_arch):
    model = ConvNeXt(tiny_arch)
    expected = get_layer_depth('stages.2.1.gamma', (1, 1, 2, 1), 'stage_wise')
    full = 'detector.backbone.stages.2.1.gamma'
    assert model.get_layer_depth(full, 'detector.backbone.', 'stage_wise') == expected
    depth, num_depths = model.get_layer_depth('stages.2.1.gamma')  # as mmpretrain's tools call it
    assert (depth, num_depths) == (3, 8)
    # Everything outside the prefix is in the head's group, as mmpretrain's constructor expects.
    assert model.get_layer_depth('head.weight', 'backbone.') == (7, 8)
    assert model.get_layer_depth('head.weight', 'backbone.', 'timm') == (6, 7)
