# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""inference/arguments.py: numbers of Python and numpy, and errors that say what to give."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mmconvnext.inference.arguments import cut, device_of, number, path_of, score_of, shown, whole
from mmconvnext.recipe.errors import RecipeError


@pytest.mark.parametrize('value', [0, 1, 0.25, np.float32(0.25), np.float64(1), np.int64(1)])
def test_numbers(value):
    assert score_of(value) == value and type(score_of(value)) is float


@pytest.mark.parametrize('value', ['0.5', None, float('nan'), 2, -0.1, True, [0.5], 1j, np.ones(2)])
def test_what_is_no_score(value):
    with pytest.raises(RecipeError, match='score=.*: choose a number from 0 to 1'):
        score_of(value)


def test_the_greatest_number():
    assert number('x', 0.5, 0.5, 'less') == 0.5
    with pytest.raises(RecipeError, match=r'x=0\.51: choose less'):
        number('x', 0.51, 0.5, 'less')


@pytest.mark.parametrize('value', [32, np.int64(32), np.uint8(200)])
def test_whole_numbers(value):
    assert whole('tiles', value, 32, 'more') == value and type(whole('t', value, 1, '')) is int


@pytest.mark.parametrize('value', [31, 64.0, np.float32(64), '64', None, True, np.array([64])])
def test_what_is_no_whole_number(value):
    with pytest.raises(RecipeError, match='tiles=.*: choose more'):
        whole('tiles', value, 32, 'more')


def test_paths():
    assert path_of('x', 'a', '') == path_of('x', Path('a'), '') == 'a'
    for value in (None, {}, 42, '', b'a', ['a']):
        with pytest.raises(RecipeError, match='config=.*: give a file'):
            path_of('config', value, 'a file')


def test_long_values_are_cut():
    assert cut('a' * 200) == 'a' * 200 and len(cut('a' * 5000)) == 203
    assert cut('a' * 199 + 'bc').endswith('bc')
    for value in ('a' * 5000, list(range(5000)), {i: i for i in range(5000)}, np.ones(5000)):
        assert len(shown(value)) <= 200
    assert shown('a b') == "'a b'" and shown(1.5) == '1.5'


def test_devices():
    assert device_of('cpu') == device_of(torch.device('cpu')) == torch.device('cpu')
    assert device_of(None).type == ('cuda' if torch.cuda.is_available() else 'cpu')


@pytest.mark.parametrize('device', ['meta', 'cuda:77', 'tpu:9', '', 3.5, 77, torch.device('meta')])
def test_no_device(device):
    with pytest.raises(RecipeError, match='device=.* cannot be used here: .*; choose cpu'):
        device_of(device)
