# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/preflight/units.py: bytes and seconds as people read them."""

import pytest

from mmconvnext.recipe.preflight.units import duration, size


@pytest.mark.parametrize(
    ('count', 'text'),
    [(0, '0 MB'), (57.4e6, '57 MB'), (999e6, '999 MB'), (1e9, '1.0 GB'), (53.52e9, '53.5 GB')],
)
def test_sizes(count, text):
    assert size(count) == text


@pytest.mark.parametrize(
    ('seconds', 'text'),
    [
        (0.0612, '0.06 s'),
        (9.99, '9.99 s'),
        (10, '10 s'),
        (99, '99 s'),
        (100, '2 min'),
        (5940, '99 min'),
        (6000, '1.7 h'),
        (47 * 3600, '47.0 h'),
        (60 * 3600, '2.5 days'),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text
