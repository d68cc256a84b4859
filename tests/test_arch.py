# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: the table of sizes is the published one; the error for a wrong `arch` gives the fix."""

import dataclasses

import numpy as np
import pytest

from mmconvnext.arch import ARCHS, get_arch

# Blocks and first channels (they double with each stage), typed from the papers: V1 section 3
# and table 1, V2 appendix A.1; timm's convnext_{atto,femto,pico,nano} for the small V1 sizes.
PUBLISHED = {
    'v1': {
        'atto': ((2, 2, 6, 2), 40),
        'femto': ((2, 2, 6, 2), 48),
        'pico': ((2, 2, 6, 2), 64),
        'nano': ((2, 2, 8, 2), 80),
        'tiny': ((3, 3, 9, 3), 96),
        'small': ((3, 3, 27, 3), 96),
        'base': ((3, 3, 27, 3), 128),
        'large': ((3, 3, 27, 3), 192),
        'xlarge': ((3, 3, 27, 3), 256),
    },
    'v2': {
        'atto': ((2, 2, 6, 2), 40),
        'femto': ((2, 2, 6, 2), 48),
        'pico': ((2, 2, 6, 2), 64),
        'nano': ((2, 2, 8, 2), 80),
        'tiny': ((3, 3, 9, 3), 96),
        'base': ((3, 3, 27, 3), 128),
        'large': ((3, 3, 27, 3), 192),
        'huge': ((3, 3, 27, 3), 352),
    },
}
ROWS = [(version, name) for version, sizes in PUBLISHED.items() for name in sizes]


@pytest.mark.parametrize(('version', 'name'), ROWS)
def test_published_sizes(version, name):
    depths, first = PUBLISHED[version][name]
    arch = get_arch(name, version)
    assert arch.depths == depths
    assert arch.channels == (first, 2 * first, 4 * first, 8 * first)


def test_no_size_beyond_the_published_ones():
    listed = {(version, name) for name, arch in ARCHS.items() for version in arch.versions}
    assert listed == set(ROWS)


def test_rows_are_constants():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ARCHS['tiny'].depths = (1,)


@pytest.mark.parametrize('kind', [list, tuple])
@pytest.mark.parametrize('num_stages', [1, 2, 5])
def test_own_arch(kind, num_stages):
    given = dict(depths=kind([2] * num_stages), channels=kind(range(8, 8 + num_stages)))
    arch = get_arch(given)
    assert arch.depths == (2,) * num_stages
    assert arch.channels == tuple(range(8, 8 + num_stages))


def test_own_arch_of_numpy_integers_holds_python_ones():
    arch = get_arch(dict(depths=[np.int64(2)], channels=[np.int32(8)]), 'v2')
    assert [type(n) for n in arch.depths + arch.channels] == [int, int]


def test_unpublished_pair_tells_how_to_build_it_anyway():
    match = r"arch='small' was never published as ConvNeXt V2, only as V1; V2 has \[.*'huge'\]"
    with pytest.raises(ValueError, match=match) as error:
        get_arch('small', 'v2')
    assert 'arch=dict(depths=[3, 3, 27, 3], channels=[96, 192, 384, 768])' in str(error.value)
    with pytest.raises(ValueError, match="'huge' was never published as ConvNeXt V1"):
        get_arch('huge', 'v1')


@pytest.mark.parametrize(
    ('arch', 'match'),
    [
        ('tinny', r"arch='tinny' is unknown; choose one of \['atto', .*depths=\[3, 3, 9, 3\]"),
        (None, r'arch=None is unknown'),
        ([3, 3, 9, 3], r'arch=\[3, 3, 9, 3\] is unknown'),
        (dict(depths=[1]), r"exactly the keys 'depths' and 'channels', got \['depths'\]"),
        (
            dict(depths=[1], channels=[8], dims=[8]),
            r"exactly the keys .* got \['channels', 'depths', 'dims'\]",
        ),
        (dict(depths=[1, 1], channels=[8]), r'2 depths \(1, 1\) but 1 channels \(8,\)'),
        (dict(depths=[], channels=[]), r"arch\['depths'\] must be a list .* got \[\]"),
        (dict(depths=3, channels=[8]), r"arch\['depths'\] must be a list .* got 3"),
        (dict(depths=[1], channels='8'), r"arch\['channels'\] must be a list .* got '8'"),
        (
            dict(depths=[0], channels=[8]),
            r"arch\['depths'\] must contain positive integers, got \[0\]",
        ),
        (dict(depths=[1], channels=[8.0]), r"arch\['channels'\] must contain positive .* \[8.0\]"),
        (dict(depths=[True], channels=[8]), r"arch\['depths'\] must contain positive .* \[True\]"),
    ],
)
def test_wrong_arch_is_named(arch, match):
    with pytest.raises(ValueError, match=match):
        get_arch(arch)


@pytest.mark.parametrize('version', ['V1', 'v3', 2, None])
def test_wrong_version_is_named(version):
    with pytest.raises(ValueError, match=rf"version={version!r} is unknown.*\['v1', 'v2'\]"):
        get_arch('tiny', version)


def test_the_old_module_is_there_for_pickles():
    from mmconvnext import arch
    from mmconvnext.models import arch as old

    assert old.Arch is arch.Arch and old.get_arch is get_arch and old.ARCHS is ARCHS
