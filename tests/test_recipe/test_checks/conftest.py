# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Fixtures for the tests of the checks."""

import pytest
from fixtures import UPERNET

from mmconvnext.recipe.own_data import apply_own_data


@pytest.fixture
def pairs_of(load, tmp_path):
    """A function: the config of images in `i` and label maps in `m` of the temporary folder."""

    def build(**options):
        split = dict(images='i', annotations='m')
        cfg = load(UPERNET)
        given = dict(root=str(tmp_path), classes=['a', 'b'], train=split, val=split)
        cfg.own_data = {**given, **options}
        apply_own_data(cfg)
        return cfg

    return build
