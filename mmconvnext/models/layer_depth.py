# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The depth group of a parameter for layer-wise learning-rate decay, computed from its name.

Sources. 'layer_wise' and 'stage_wise', for the dense recipes: ``get_num_layer_layer_wise`` and
``get_num_layer_stage_wise`` of ``mmcv_custom/layer_decay_optimizer_constructor.py`` in Meta's
ConvNeXt, generalized from the two tables there (6 groups for depth 9, 12 for depth 27) to any
depths. 'single': ``get_num_layer_for_convnext_single`` of ``optim_factory.py`` in ConvNeXt-V2, the
default there; its 'group', for base to huge, is 'layer_wise'. 'timm': ``group_matcher`` of
``timm/models/convnext.py``, which timm's ``param_groups_layer_decay`` reads.

A decay rate means different things in different schemes. The stem's learning rate is multiplied by
the rate to this power:

    ==================  ==========  ==========  ======  ====
    depths              layer_wise  stage_wise  single  timm
    ==================  ==========  ==========  ======  ====
    3, 3, 9, 3 (tiny)   7           7           18      19
    3, 3, 27, 3         13          13          36      37
    ==================  ==========  ==========  ======  ====

At rate 0.8 these are factors of 0.21, 0.21, 0.018 and 0.014 in the first row, and 0.055, 0.055,
0.00032 and 0.00026 in the second. To give the stem the same learning rate in a scheme of power b as
rate r gives in one of power a, use ``r ** (a / b)``: timm's 0.8 corresponds to a layer-wise 0.55 in
the first row and 0.53 in the second; a layer-wise 0.8 to timm's 0.92.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

DECAY_TYPES = ('layer_wise', 'stage_wise', 'single', 'timm')
BY_BLOCK = ('single', 'timm')  # a group per block


class LayerDepth(NamedTuple):
    """The learning rate of group ``depth`` is multiplied by ``rate ** (num_depths - depth - 1)``.

    ``num_depths`` is the number of groups, from 0, the stem, to ``num_depths - 1``, the head, which
    has the full rate. The official ``num_layers`` is ``num_depths - 2``.
    """

    depth: int
    num_depths: int


def num_layers(depths: Sequence[int], decay_type: str = 'layer_wise') -> int:
    """The official ``num_layers`` of a network with ``depths`` blocks per stage.

    For 'single' and 'timm' it is the number of blocks. Otherwise every stage is one group, except
    that the last but one has a group for every three blocks, and at least three: the shallow sizes
    (depths 6 and 8, atto to nano) are published with ``num_layers`` 6, like depth 9.

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


def head_depth(depths: Sequence[int], decay_type: str) -> LayerDepth:
    """The last group, at the full rate: the output norms and everything outside the backbone."""
    count = num_layers(depths, decay_type)
    return LayerDepth(count + 1, count + 2)


def get_layer_depth(name: str, depths: Sequence[int], decay_type: str = 'layer_wise') -> LayerDepth:
    """Depth group of the backbone's parameter ``name``.

    'layer_wise': the stem is group 0. The stages follow from 1 on with one group each; the last but
    one has a group for every three blocks. A downsampling layer is in the group of the block after
    it. With depths (3, 3, 9, 3): the stem is 0, stage 0 is 1, stage 1 is 2, stage 2 is 3 to 5,
    stage 3 is 6.

    'stage_wise': the stem *and all downsampling layers* are group 0, stage i is group i + 1. The
    number of groups is still that of 'layer_wise', so the last stage is below the full rate, by
    0.9 ** 3 for depth 9 and 0.9 ** 9 for depth 27. It looks like an oversight, but every published
    ADE20K model was trained with it.

    'single' and 'timm': every block is a group, from 1 on, and a downsampling layer is in the group
    of the block after it. They differ in the stem: it is group 0 in 'timm'; in 'single' it is in
    the group of the first block, and group 0 is empty.

    In all schemes the output norms (``norm0`` ...) have the head's full rate. The sources of
    'single' and 'timm' are classifiers, where the one final norm has the full rate too.

    Raises:
        ValueError: ``decay_type`` is unknown, or the backbone has no parameter of this name.
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
    """(stage, block) of a name; a downsampling layer belongs to block 0 of its stage."""
    parts = rest.split('.')
    if kind == 'downsample_layers' and parts[0].isdigit() and int(parts[0]) < len(depths):
        return int(parts[0]), 0
    if kind == 'stages' and len(parts) > 2 and parts[0].isdigit() and parts[1].isdigit():
        stage, block = int(parts[0]), int(parts[1])
        if stage < len(depths) and block < depths[stage]:
            return stage, block
    raise ValueError(
        f'no parameter of a ConvNeXt with depths {list(depths)} is called {name!r}; names begin '
        'with downsample_layers.<stage>, stages.<stage>.<block> or norm<stage>; a subclass with '
        'other parameters must return their depth from its own get_layer_depth()'
    )


def _layer_wise(stage: int, block: int, depths: Sequence[int]) -> int:
    if stage == len(depths) - 1:
        return num_layers(depths)
    if stage == len(depths) - 2:
        return stage + 1 + block // 3
    return stage + 1
