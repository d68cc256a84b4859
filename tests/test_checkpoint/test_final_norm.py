# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: loading and converting agree whether norm3 is the classifier's."""

import pytest
import torch

from mmconvnext.checkpoint.final_norm import settle_final_norm
from mmconvnext.checkpoint.formats import to_native
from mmconvnext.checkpoint.tables import FORMATS

ALONE = ['norm3.weight', 'norm3.bias']
TWO = ['norm2.weight', 'norm2.bias', *ALONE]
ALL = [f'norm{i}.{part}' for i in range(4) for part in ('weight', 'bias')]


@pytest.mark.parametrize(
    ('given', 'has_head', 'needed', 'classifiers'),
    [
        (ALONE, True, [], True),  # to convert
        (ALONE, False, [], False),
        (TWO, True, [], False),
        (ALONE, True, ALL, True),  # to load
        (ALONE, False, ALL, True),  # the backbone needs more norms than this one
        (ALONE, True, ALONE, True),
        (ALONE, False, ALONE, False),
        (TWO, False, ALL, False),
        ([], True, ALL, False),
        (['norm0.weight', *ALONE], True, [], False),  # one part of another is enough
        (ALONE, False, TWO, True),
        (TWO, True, ALONE, False),
        (TWO[:2], False, ALL, False),  # norm2 is never a classifier's
    ],
)
def test_whose_norm3_is(given, has_head, needed, classifiers):
    native = to_native({name: torch.ones(4) for name in given}, FORMATS['mmpretrain'])
    settled = settle_final_norm(native, has_head, needed)
    own = [name for name in given if name.startswith('norm3')]
    parts = {name.partition('.')[2] for name in own}
    assert set(settled.final_norm) == (parts if classifiers else set())
    assert list(settled.tensors) == ([] if classifiers else given)


def test_a_norm_with_a_name_of_its_own_needs_no_answer():
    native = to_native({'norm.weight': torch.ones(4)}, FORMATS['meta'])
    assert settle_final_norm(native, has_head=False, needed=ALL) is native
