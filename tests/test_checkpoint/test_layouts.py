# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: each layout converts back bitwise; MinkowskiEngine's kernel does as in Meta's code."""

import pytest
import torch

from mmconvnext.checkpoint.layouts import LAYOUTS, to_our_layout

# layout: our name, our shape, their shape
SHAPES = {
    '(1, C)': ('grn.gamma', (6,), (1, 6)),
    '(1, 1, 1, C)': ('grn.gamma', (6,), (1, 1, 1, 6)),
    '(C, 1, 1)': ('gamma', (6,), (6, 1, 1)),
    '(O, I, 1, 1)': ('pwconv1.weight', (8, 2), (8, 2, 1, 1)),
    '(kernel, C)': ('dwconv.weight', (6, 1, 7, 7), (49, 6)),
    '(kernel, I, O)': ('1.weight', (6, 4, 2, 2), (4, 4, 6)),
}


def test_every_layout_is_tried():
    assert set(SHAPES) == set(LAYOUTS)


@pytest.mark.parametrize('layout', SHAPES)
def test_there_and_back(layout):
    name, shape, their_shape = SHAPES[layout]
    tensor = torch.randn(shape)
    theirs = LAYOUTS[layout](tensor)
    assert theirs.shape == their_shape
    their_name = 'conv.kernel' if 'kernel' in layout else name
    assert torch.equal(to_our_layout(f'stages.0.0.{name}', their_name, theirs), tensor)


def test_kernel_positions_run_down_the_columns():
    """ConvNeXt-V2, utils.remap_checkpoint_keys: weight[o, i, y, x] = kernel[x * side + y, i, o]."""
    kernel = torch.randn(9, 2, 5)
    weight = to_our_layout('downsample_layers.1.1.weight', 'a.kernel', kernel)
    for y in range(3):
        for x in range(3):
            assert torch.equal(weight[:, :, y, x], kernel[x * 3 + y].T)


@pytest.mark.parametrize(
    ('name', 'shape'),
    [('grn.gamma', (2, 3)), ('pwconv1.weight', (8, 2, 3, 3)), ('dwconv.weight', (6, 1, 7, 7))],
)
def test_what_does_not_fit_stays_for_the_error(name, shape):
    tensor = torch.randn(shape)
    assert to_our_layout(f'stages.0.0.{name}', name, tensor) is tensor
    assert to_our_layout('stages.0.0.dwconv.weight', 'a.kernel', torch.ones(5, 3)).shape == (5, 3)
