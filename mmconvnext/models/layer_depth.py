# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Which depth group a parameter of the backbone belongs to: pure arithmetic on names.

Sources. 'layer_wise' and 'stage_wise', of the dense recipes: ``get_num_layer_layer_wise`` and
``get_num_layer_stage_wise`` of ``mmcv_custom/layer_decay_optimizer_constructor.py`` in Meta's
ConvNeXt, generalized from the two tables there (6 groups for depth 9, 12 for depth 27) to any
depths. 'single': ``get_num_layer_for_convnext_single`` of ``optim_factory.py`` in ConvNeXt-V2, the
default there; its 'group', for base to huge, is 'layer_wise'. 'timm': ``group_matcher`` of
``timm/models/convnext.py``, which timm's ``param_groups_layer_decay`` reads.

How they relate: a rate means little without its scheme. The stem learns at the rate to this power:

    ==================  ==========  ==========  ======  ====
    depths              layer_wise  stage_wise  single  timm
    ==================  ==========  ==========  ======  ====
    3, 3, 9, 3 (tiny)   7           7           18      19
    3, 3, 27, 3         13          13          36      37
    ==================  ==========  ==========  ======  ====

At 0.8 that is 0.21, 0.21, 0.018 and 0.014 for tiny, 0.055, 0.055, 0.00032 and 0.00026 below. With
the powers a and b, the rate r of one is ``r ** (a / b)`` of the other where the stem is to learn
alike: timm's 0.8 is 0.55 layer-wise for tiny, and 0.53 below; 0.8 here is timm's 0.92.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

DECAY_TYPES = ('layer_wise', 'stage_wise', 'single', 'timm')
BY_BLOCK = ('single', 'timm')  # a group for every block


class LayerDepth(NamedTuple):
    """A parameter of group ``depth`` learns at ``rate ** (num_depths - depth - 1)``.

    ``num_depths`` counts all groups, from 0, the stem, to ``num_depths - 1``, the head's full
    rate. The official ``num_layers`` is ``num_depths - 2``.
    """

    depth: int
    num_depths: int


def num_layers(depths: Sequence[int], decay_type: str = 'layer_wise') -> int:
    """The official ``num_layers`` of a network with these blocks a stage.

    By block it counts the blocks. Else every stage is a group of its own, but the last but one is
    cut into threes. Three pieces at the least: the shallow sizes (depth 6 and 8 of atto to nano)
    are published with ``num_layers`` 6 like depth 9.

    Raises:
        ValueError: an unknown ``decay_type``.
    """
    if decay_type not in DECAY_TYPES:
        raise ValueError(f'decay_type={decay_type!r} is unknown; choose one of {list(DECAY_TYPES)}')
    if decay_type in BY_BLOCK:
        return sum(depths)
    if len(depths) == 1:
        return 1
    return len(depths) - 1 + max(3, -(-depths[-2] // 3))


def head_depth(depths: Sequence[int], decay_type: str = 'layer_wise') -> LayerDepth:
    """The last group, at the full rate: all that is outside of the backbone, and output norms."""
    count = num_layers(depths, decay_type)
    return LayerDepth(count + 1, count + 2)


def get_layer_depth(name: str, depths: Sequence[int], decay_type: str = 'layer_wise') -> LayerDepth:
    """Depth group of the backbone's parameter ``name``.

    'layer_wise': the stem is 0; stages count on from 1, one group each, the last but one a group
    every three blocks; a downsampling layer is in the group of the block that follows it. With four
    stages of depth (3, 3, 9, 3): stem 0, stage 0 1, stage 1 2, stage 2 3 to 5, stage 3 6.

    'stage_wise': stem *and all downsampling layers* 0, stage i i + 1. The number of groups is that
    of 'layer_wise' nevertheless, so the last stage learns below the full rate: 0.9 ** 3 for depth
    9, 0.9 ** 9 for depth 27. It looks like an oversight but is what every published ADE20K model
    was trained with.

    'single' and 'timm': the blocks count from 1, a group each, and a downsampling layer is in the
    group of the block that follows it. They differ in the stem: with timm it is 0, with 'single' it
    is in the group of the first block, so that group 0 stays empty.

    In all, the norms of the outputs (``norm0`` ...) take part at the head's full rate. The codes
    for 'single' and 'timm' are classifiers, whose one final norm does so too.

    Raises:
        ValueError: an unknown ``decay_type``, or a name that the backbone cannot have.
    """
    head = head_depth(depths, decay_type)
    kind, _, rest = name.partition('.')
    if kind.startswith('norm') and kind[4:].isdigit() and int(kind[4:]) < len(depths):
        return head
    stage, block = _position(name, kind, rest, depths)
    downsampling = kind == 'downsample_layers'
    if decay_type == 'stage_wise':
        depth = 0 if downsampling else stage + 1
    elif downsampling and stage == 0 and decay_type != 'single':
        depth = 0
    elif decay_type in BY_BLOCK:
        depth = sum(depths[:stage]) + block + 1
    else:
        depth = _layer_wise(stage, block, depths)
    return LayerDepth(depth, head.num_depths)


def _position(name: str, kind: str, rest: str, depths: Sequence[int]) -> tuple[int, int]:
    """(stage, block) of a name; the block of a downsampling layer is the 0 that follows it."""
    parts = rest.split('.')
    if kind == 'downsample_layers' and parts[0].isdigit() and int(parts[0]) < len(depths):
        return int(parts[0]), 0
    if kind == 'stages' and len(parts) > 2 and parts[0].isdigit() and parts[1].isdigit():
        stage, block = int(parts[0]), int(parts[1])
        if stage < len(depths) and block < depths[stage]:
            return stage, block
    raise ValueError(
        f'no parameter of a ConvNeXt with depths {list(depths)} is called {name!r}; names begin '
        'with downsample_layers.<stage>, stages.<stage>.<block> or norm<stage>; a subclass that '
        'has others says their depth in get_layer_depth()'
    )


def _layer_wise(stage: int, block: int, depths: Sequence[int]) -> int:
    if stage == len(depths) - 1:
        return num_layers(depths)
    if stage == len(depths) - 2:
        return stage + 1 + block // 3
    return stage + 1
