# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""inference/patch.py: a mask without its empty rest is the same mask."""

import numpy as np
from pycocotools import mask as coco

from mmconvnext.inference.patch import Patch


def a_mask(seed: int) -> np.ndarray:
    mask = np.zeros((9, 14), bool)
    mask[2:, 3:9] = np.random.default_rng(seed).random((7, 6)) < 0.6
    return mask


def test_the_whole_mask_comes_back():
    mask = a_mask(0)
    patch = Patch.cut(mask)
    assert patch.mask.shape < mask.shape and patch.area == mask.sum()
    assert (patch.within(0, 0, 14, 9) == mask).all()
    assert (patch.within(4, 1, 7, 6) == mask[1:6, 4:7]).all()
    assert not patch.within(9, 0, 14, 9).any()
    assert patch.within(5, 5, 3, 9).shape == (4, 0)


def test_an_empty_mask():
    empty = Patch.cut(np.zeros((4, 5), bool))
    assert empty.area == 0 and not empty.within(0, 0, 5, 4).any()
    full = Patch.cut(a_mask(0))
    assert empty.joined(full) is full and full.joined(empty) is full
    assert not coco.decode(empty.run_lengths(4, 5)).any()


def test_joined_patches_hold_the_pixels_of_both():
    one, other = a_mask(1), np.roll(a_mask(2), -3, axis=1)
    joined = Patch.cut(one).joined(Patch.cut(other))
    assert (joined.within(0, 0, 14, 9) == one | other).all()


def test_a_moved_patch():
    moved = Patch.cut(a_mask(3)).moved(10, 20)
    assert (moved.within(10, 20, 24, 29) == a_mask(3)).all()


def test_run_lengths_are_cocos():
    for seed in range(5):
        mask = a_mask(seed)
        written = Patch.cut(mask).run_lengths(9, 14)
        assert (coco.decode(written) == mask).all()
        theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert coco.area(theirs) == coco.area(written) == mask.sum()
    full = np.ones((3, 5), bool)  # runs reach from the end of a column into the next one
    assert coco.decode(Patch.cut(full).run_lengths(3, 5)).all()
