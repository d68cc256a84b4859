# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""write.py: the text reads back as the config, with and without bases, and stays short."""

import pytest
from mmengine.config import Config

from mmconvnext.migrate.source import shipped
from mmconvnext.migrate.write import base_name, format_config, merged, text_over

PIPELINE = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(1333, 800))] * 3


def reread(text: str, folder):
    path = folder / 'written.py'
    path.write_text(text)
    return Config.fromfile(str(path), import_custom_modules=False).to_dict()


@pytest.mark.parametrize(
    'cfg',
    [
        dict(a=1, b='text', c=None, d=(1,), e=[], f={}, g=1e-6, h=True),
        {'keys': {'.norm': dict(decay_mult=0.0), '1x': 2, 'plain': 3}},
        dict(scales=[(480 + i, 1333) for i in range(40)], long='x' * 120),
        dict(deep=dict(type='A', inner=dict(type='B', k=list(range(60))))),
        dict(classes=('caf\u00e9', "it's")),
    ],
)
def test_text_reads_back(cfg, tmp_path):
    text = format_config(cfg)
    assert text.isascii()
    assert reread(text, tmp_path) == cfg


def test_a_pipeline_is_written_once(tmp_path):
    cfg = dict(loader=dict(dataset=dict(pipeline=PIPELINE)), train_pipeline=PIPELINE)
    text = format_config(cfg)
    assert 'pipeline=train_pipeline' in text and text.count('LoadImageFromFile') == 3
    assert reread(text, tmp_path) == cfg


def test_over_a_shipped_base_only_changes_are_written(tmp_path):
    base = shipped()['mmdet'] / '_base_' / 'default_runtime.py'
    target = {**merged([base]), 'load_from': 'here.pth'}
    text = text_over([base], target, tmp_path, '# head\n')
    assert text == (
        "# head\n_base_ = 'mmdet::_base_/default_runtime.py'\n\nload_from = 'here.pth'\n"
    )
    assert reread(text, tmp_path)['load_from'] == 'here.pth'
    assert [path.name for path in tmp_path.iterdir()] == ['written.py']  # no left-overs


def test_an_own_base_is_named_relative_to_the_new_file(tmp_path):
    base = tmp_path / 'bases' / 'own.py'
    base.parent.mkdir()
    base.write_text('a = 1\nb = dict(c=2)\n')
    place = tmp_path / 'not' / 'there' / 'yet'
    text = text_over([base], dict(a=1, b=dict(c=3)), place, '')
    assert text == "_base_ = '../../../bases/own.py'\n\nb = dict(c=3)\n"
    assert not place.parent.exists()  # nothing is written here
    place.mkdir(parents=True)
    assert reread(text, place) == dict(a=1, b=dict(c=3))


def test_what_a_base_would_add_is_no_reason_to_lose_a_key(tmp_path):
    base = tmp_path / 'own.py'
    base.write_text('a = dict(x=1, y=2)\n')
    text = text_over([base], dict(a=dict(x=1)), tmp_path, '')
    assert reread(text, tmp_path)['a'] == dict(x=1)


def test_mmseg_is_found_under_any_distribution_name(tmp_path):
    path = shipped()['mmseg'] / '_base_' / 'default_runtime.py'
    name = base_name(path, tmp_path)
    assert eval(name) == str(path)
