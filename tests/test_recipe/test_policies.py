# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/policies.py: stop or skip, and nothing else."""

import pytest
from mmengine.config import Config

from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.policies import NAMES, policy


@pytest.mark.parametrize('name', NAMES)
def test_policies(name):
    assert policy(Config(), name) == 'stop'
    for value in ('stop', 'skip'):
        assert policy(Config({name: value}), name) == value
    for value in ('Skip', True, None, ['skip']):
        with pytest.raises(RecipeError, match=f"{name}=.*: choose 'stop' or 'skip'"):
            policy(Config({name: value}), name)
