# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: a format is one row of the table, and no other module names a format."""

import re
from pathlib import Path

import pytest
import torch

from mmconvnext.checkpoint import tables
from mmconvnext.checkpoint.formats import detect, format_to_write, from_native
from mmconvnext.checkpoint.tables import FORMATS, TARGETS
from mmconvnext.models import ConvNeXt

PACKAGE = Path(tables.__file__).parent


def test_only_the_table_names_single_formats():
    rows = {name for name, value in vars(tables).items() if value in FORMATS.values()}
    assert len(rows) == len(FORMATS)
    for file in PACKAGE.glob('*.py'):
        if file.name != 'tables.py':
            known = rows & set(re.findall(r'\w+', file.read_text('utf-8')))
            # Without ``strict``, unrecognised names are taken to be Meta's, which are our own.
            assert known <= ({'META'} if file.name == 'formats.py' else set()), file.name


def test_formats_of_the_same_names_are_told_apart_by_a_mark():
    for row in FORMATS.values():
        twins = [other for other in FORMATS.values() if other.signature == row.signature]
        assert [other.marked_by is None for other in twins] == [False] * (len(twins) - 1) + [True]


@pytest.mark.parametrize(
    ('target', 'channels', 'name'),
    [
        # timm/models/convnext.py: conv_mlp=True from zepto to nano.
        ('timm', [32, 64, 128, 256], 'timm-conv'),
        ('timm', [40, 80, 160, 320], 'timm-conv'),
        ('timm', [48, 96, 192, 384], 'timm-conv'),
        ('timm', [64, 128, 256, 512], 'timm-conv'),
        ('timm', [80, 160, 320, 640], 'timm-conv'),
        ('timm', [96, 192, 384, 768], 'timm'),
        ('timm', [128, 256, 512, 1024], 'timm'),
        ('timm', [192, 384, 768, 1536], 'timm'),
        ('timm', [24, 32, 48, 64], 'timm'),
        ('timm', [32, 64, 96, 128], 'timm'),
        ('timm', [80, 160, 240, 320], 'timm'),
        ('timm', [40, 80, 160, 640], 'timm'),
        ('hf', [40, 80, 160, 320], 'hf'),
        ('meta', [80, 160, 320, 640], 'meta'),
        ('mmpretrain', [80, 160, 320, 640], 'mmpretrain'),
    ],
)
def test_a_size_decides_which_layout_of_a_target_is_written(target, channels, name):
    row = format_to_write(target, tuple(channels))
    assert row is FORMATS[name] and target in TARGETS
    with torch.device('meta'):
        weights = ConvNeXt(dict(depths=[1, 1, 1, 1], channels=channels)).state_dict()
    weights = {k: v for k, v in weights.items() if not k.startswith('norm')}
    assert detect(from_native(weights, row)) == [(row, '')]


def test_what_can_be_written_and_in_which_form():
    """Target: (checkpoint key, prefix), as the sources' own files have them."""
    expected = {
        'native': ('state_dict', ''),
        'meta': ('model', ''),
        'mmpretrain': ('state_dict', 'backbone.'),
        'timm': ('', ''),
        'hf': ('', ''),
    }
    assert {
        name: (FORMATS[name].checkpoint_key, FORMATS[name].prefix) for name in TARGETS
    } == expected
    sizes = (80, 160, 320, 640)
    assert TARGETS == ('native', 'meta', 'mmpretrain', 'timm', 'hf')
    found = {name: format_to_write(name, sizes).name for name in TARGETS}
    assert found == {**{name: name for name in expected}, 'timm': 'timm-conv'}
    row = FORMATS['meta-sparse']
    assert (row.checkpoint_key, row.prefix) == ('model', 'encoder.')


def test_the_documentation_lists_every_format():
    text = (PACKAGE.parents[1] / 'docs/checkpoints.md').read_text('utf-8')
    table = text.partition('\n## Formats\n')[2].partition('\n**Add')[0]
    assert set(re.findall(r'^\| `([\w-]+)` ', table, re.MULTILINE)) == set(FORMATS)
