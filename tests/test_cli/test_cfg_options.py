# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/cfg_options.py: values of --cfg-options are read as in mmengine, but keep their spaces."""

import argparse

import pytest
from fixtures import NUCLEI
from mmengine.config import Config, DictAction

from mmconvnext.cli.cfg_options import read_cfg_options
from mmconvnext.recipe.own_data import apply_own_data


def test_values_have_types():
    pairs = ['a.b=1', 'c=0.5', 'd=[1,2]', 'e=None', 'f=True', 'g=text']
    assert read_cfg_options(pairs) == {
        'a.b': 1,
        'c': 0.5,
        'd': [1, 2],
        'e': None,
        'f': True,
        'g': 'text',
    }


@pytest.mark.parametrize(
    'text, value',
    [
        ('a b', 'a b'),
        ('/my data/set (1)', '/my data/set (1)'),
        ('"a b"', 'a b'),
        ("' a b '", ' a b '),
        (' 1 ', 1),
        (' True', True),
        ('[traffic light, stop sign]', ['traffic light', 'stop sign']),
        ('["traffic light", "dog"]', ['traffic light', 'dog']),
        ('a b , c', ['a b', 'c']),
        ('[ (1, 2), ( 3 ,4 ), [a b] ]', [(1, 2), (3, 4), ['a b']]),
        ('[set (1), b]', ['set (1)', 'b']),
        ('( [ 1 ] )', ([1],)),
        ('[ a b ]', ['a b']),
    ],
)
def test_spaces_of_names_stay_and_those_between_are_dropped(text, value):
    assert read_cfg_options([f'k={text}', 'l=2']) == {'k': value, 'l': 2}


@pytest.mark.parametrize(
    'text', ['1', '0.5', '1e-3', 'true', 'None', '', 'a=b', '1,2', '[1,[2,(3,4)],x]', '(1,)', '[]']
)
def test_values_without_spaces_are_as_in_mmengine(text):
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    theirs = parser.parse_args(['--cfg-options', f'k={text}']).cfg_options
    assert read_cfg_options([f'k={text}']) == theirs


def test_the_last_pair_of_a_key_counts():
    assert read_cfg_options(['a=b c', 'd=1', 'a=2']) == {'a': 2, 'd': 1}
    assert read_cfg_options(None) == {}


def test_spaces_of_folders_and_classes_stay():
    pairs = ['own_data.root=my data', 'own_data.classes=[big cell, b]']
    cfg = Config.fromfile(NUCLEI)
    cfg.merge_from_dict(read_cfg_options(pairs))
    apply_own_data(cfg)
    assert cfg.train_dataloader.dataset.data_root == 'my data'
    assert cfg.train_dataloader.dataset.metainfo.classes == ('big cell', 'b')
