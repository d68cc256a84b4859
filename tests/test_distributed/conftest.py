# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Data for several processes: as many training images as four take at once, five to evaluate."""

import pytest


@pytest.fixture(scope='session')
def shared_root(tmp_path_factory):
    """Eight training and five validation images of 96 pixels, in COCO's and ADE20K's layouts."""
    from mmconvnext import toy

    root = tmp_path_factory.mktemp('shared')
    toy.write_coco(root / 'coco', num_train=8, num_val=5, size=96, seed=1)
    toy.write_ade(root / 'ade', num_train=8, num_val=5, size=96, seed=1)
    return root
