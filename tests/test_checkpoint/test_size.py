# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: the size of a network is read from its tensors; a difference is one exact sentence."""

import pytest
import torch

from mmconvnext import ConvNeXt
from mmconvnext.arch import Arch
from mmconvnext.checkpoint.size import Size

ARCHS = {
    'one': Arch((1, 3, 2, 1), (8, 24, 16, 40), ('v1', 'v2')),
    'twin': Arch((1, 3, 2, 1), (8, 24, 16, 48), ('v1', 'v2')),
}
LN = dict(stem='patchify', norm='LN')


def size(version='v1', depths=(1, 3, 2, 1), channels=(8, 24, 16, 40), scale=True, **design) -> Size:
    return Size(version, depths, channels, scale, {**LN, **design})


def test_size_is_read_by_stage_and_block_whatever_their_order():
    arch = dict(depths=[1, 3, 11, 2], channels=[8, 24, 16, 40])
    for version, scale in (('v1', 1e-6), ('v1', 0), ('v2', 0), ('v2', 1.0)):
        with torch.device('meta'):
            tensors = ConvNeXt(arch, version, layer_scale_init_value=scale).state_dict()
        backwards = dict(reversed(tensors.items()))
        for given in (tensors, backwards):
            found = Size.of(given)
            assert (found.version, found.layer_scale) == (version, scale > 0)
            assert (found.depths, found.channels) == ((1, 3, 11, 2), (8, 24, 16, 40))
            assert found.design['expansion_ratio'] == 4 and found.design['kernel_size'] == 7
    del tensors['stages.2.10.pwconv2.weight'], tensors['stages.1.0.pwconv2.weight']
    tensors['stages.3.1.pwconv2.weight'] = torch.tensor(1.0)  # of no shape
    assert Size.of(tensors).depths == (1, 3, 10, 1)
    assert Size.of({}) == Size('v1', (), (), False, {})


BIG = 'depths (1, 3, 2, 1), channels (8, 24, 16, 40)'
WIDE = 'depths (1, 3, 2, 1), channels (8, 24, 16, 48)'
OWN = 'depths (2, 3, 1, 1), channels (8, 24, 16, 40)'
CUT = (
    'the weights have neither GRN nor layer scale: if a converter removed the GRN of a V2 file, '
    'they are unusable; if they were trained without it, '
)
OR = ', or use weights of your size'
DIFFERENCES = {
    'none': (size(), size(), ''),
    'channels': (
        size(channels=(8, 24, 16, 48)),
        size(),
        f'the weights are for twin V1 ({WIDE}), the backbone is one V1 ({BIG}); '
        f"set arch='twin', version='v1'{OR}",
    ),
    'depths': (
        size('v2', (2, 3, 1, 1), scale=False),
        size('v2', scale=False),
        f'the weights are for V2 ({OWN}), the backbone is one V2 ({BIG}); '
        f"set arch={{'depths': [2, 3, 1, 1], 'channels': [8, 24, 16, 40]}}, version='v2'{OR}",
    ),
    'version': (
        size('v2', scale=False),
        size(),
        f'the weights are for one V2 ({BIG}), the backbone is one V1 ({BIG}); '
        f"set version='v2', layer_scale_init_value=0{OR}",
    ),
    'version back': (
        size(),
        size('v2', scale=False),
        f'the weights are for one V1 ({BIG}), the backbone is one V2 ({BIG}); '
        f"set version='v1', layer_scale_init_value=1e-6{OR}",
    ),
    'scale': (
        size('v2'),
        size('v2', scale=False),
        f'the weights are for one V2 with layer scale ({BIG}), the backbone is one V2 ({BIG}); '
        f"set version='v2', layer_scale_init_value=1e-6{OR}",
    ),
    'neither': (
        size(scale=False),
        size(),
        f'the weights are for one V1 without layer scale ({BIG}), the backbone is one V1 ({BIG}); '
        f"{CUT}set version='v1', layer_scale_init_value=0{OR}",
    ),
    'neither, but both': (
        size(scale=False, channels=(8, 24, 16, 48)),
        size(scale=False),
        f'the weights are for twin V1 without layer scale ({WIDE}), the backbone is one V1 without '
        f"layer scale ({BIG}); set arch='twin', version='v1'{OR}",
    ),
    'design': (
        size(norm='BN', kernel_size=5),
        size(kernel_size=7),
        "the weights were trained with norm='BN', kernel_size=5, the backbone has norm='LN', "
        "kernel_size=7; set design=dict(norm='BN', kernel_size=5)",
    ),
    'all': (
        size('v2', (2, 3, 1, 1), scale=False, group_width=None),
        size(group_width=1),
        f'the weights are for V2 ({OWN}), the backbone is one V1 ({BIG}); the weights were trained '
        'with group_width=None, the backbone has group_width=1; '
        "set arch={'depths': [2, 3, 1, 1], 'channels': [8, 24, 16, 40]}, version='v2', "
        f'layer_scale_init_value=0, design=dict(group_width=None){OR}',
    ),
    'what only one side shows': (size(kernel_size=5), size(expansion_ratio=2), ''),
    'no block': (Size.of({}), size(), 'the weights contain no ConvNeXt block'),
}


@pytest.mark.parametrize('name', DIFFERENCES)
def test_difference_is_one_sentence_with_the_way_out(name):
    given, own, text = DIFFERENCES[name]
    assert given.difference(own, ARCHS) == text


def test_switches_that_tensors_do_not_show_come_from_both_sides():
    trained, built = dict(act='ReLU', norm_eps=1e-5), dict(act='GELU', norm_eps=1e-5, other=1)
    assert size().difference(size(), {}, trained, built) == (
        "the weights were trained with act='ReLU', the backbone has act='GELU'; "
        "set design=dict(act='ReLU')"
    )
    assert size().difference(size(), {}, trained, dict(other=1)) == ''
    # The backbone's own design says more than its tensors.
    assert size().difference(size(stem='overlap'), {}, {}, dict(stem='patchify')) == ''
