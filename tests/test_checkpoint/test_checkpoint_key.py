# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: weights are found under any checkpoint key, or the error says what the file holds."""

from collections import OrderedDict

import pytest
import torch
from torch import nn

from mmconvnext.checkpoint.checkpoint_key import CHECKPOINT_KEYS, Unwrapped, unwrap
from mmconvnext.checkpoint.errors import CheckpointMismatch, CheckpointUnreadable

WEIGHTS = {'a.weight': torch.ones(2), 'a.bias': torch.zeros(2)}
AVERAGED = {name: value + 1 for name, value in WEIGHTS.items()}


def assert_found(found: Unwrapped, tensors: dict, path: str, others: tuple = ()) -> None:
    assert found.tensors.keys() == tensors.keys()
    assert all(found.tensors[name] is tensors[name] for name in tensors)
    assert (found.path, found.others) == (path, others)


def test_bare_weights():
    assert_found(unwrap(WEIGHTS), WEIGHTS, '')
    assert_found(unwrap(OrderedDict(WEIGHTS)), WEIGHTS, '')


def test_parameters_are_tensors():
    module = nn.Linear(2, 2)
    parameters = dict(module.named_parameters())
    assert_found(unwrap(parameters), parameters, '')


@pytest.mark.parametrize('key', CHECKPOINT_KEYS)
def test_each_checkpoint_key_is_opened(key):
    assert_found(unwrap({'epoch': 3, key: WEIGHTS, 'optimizer': {'state': {}}}), WEIGHTS, key)


def test_checkpoint_keys_may_be_nested():
    content = {'state_dict': {'model': WEIGHTS}, 'meta': {'state_dict': 'no'}}
    assert_found(unwrap(content), WEIGHTS, 'state_dict.model')


@pytest.mark.parametrize(
    ('preferred', 'other'),
    [
        ('state_dict', 'ema_state_dict'),  # mmengine's EMAHook: the average is in the first
        ('model', 'model_ema'),
        ('teacher', 'student'),
        ('state_dict', 'state_dict_ema'),
        ('state_dict', 'model'),
    ],
)
def test_preferred_checkpoint_key_and_choice(preferred, other):
    content = {other: AVERAGED, preferred: WEIGHTS}
    assert_found(unwrap(content), WEIGHTS, preferred, (other,))
    assert_found(unwrap(content, other), AVERAGED, other, (preferred,))


# Typed from the code that writes such files; see `checkpoint_key.py`.
PREFERRED = ['state_dict', 'model', 'module', 'teacher', 'model_ema', 'state_dict_ema']
PREFERRED += ['ema_state_dict', 'ema', 'student', 'network', 'backbone', 'encoder']


def test_of_all_keys_the_first_is_preferred():
    content = {key: {'a': torch.full((1,), i)} for i, key in enumerate(reversed(PREFERRED))}
    while content:
        key, *others = PREFERRED[-len(content) :]
        assert_found(unwrap(content), content[key], key, tuple(others))
        del content[key]


@pytest.mark.parametrize(('levels', 'found'), [(1, True), (9, True), (10, False)])
def test_depth_is_limited(levels, found):
    content = WEIGHTS
    for _ in range(levels):
        content = {'model': content}
    if found:
        assert_found(unwrap(content), WEIGHTS, '.'.join(['model'] * levels))
    else:
        with pytest.raises(CheckpointUnreadable, match=r"only a dict with the keys \['model'\]"):
            unwrap(content)


def test_choice_of_a_key_that_is_not_known():
    content = {'model': WEIGHTS, 'swa': AVERAGED}
    assert_found(unwrap(content), WEIGHTS, 'model')
    assert_found(unwrap(content, 'swa'), AVERAGED, 'swa', ('model',))


def test_choice_below_another_key():
    content = {'state_dict': {'model': WEIGHTS, 'model_ema': AVERAGED}}
    assert_found(unwrap(content, 'model_ema'), AVERAGED, 'state_dict.model_ema', ('model',))


def test_choice_that_is_not_there_is_named():
    match = r"envelope='ema': the file has no .*; keys with weights: \['model', 'model_ema'\]"
    with pytest.raises(CheckpointMismatch, match=match):
        unwrap({'model': WEIGHTS, 'model_ema': AVERAGED}, 'ema')
    with pytest.raises(CheckpointMismatch, match=r"envelope='ema': .* keys with weights: \[\]"):
        unwrap(WEIGHTS, 'ema')


def test_empty_keys_and_values_that_are_none_are_passed_over():
    content = {'state_dict': {}, 'model': WEIGHTS, 'teacher': None, 'student': torch.ones(1)}
    assert_found(unwrap(content), WEIGHTS, 'model')


def test_only_named_tensors_count():
    content = {**WEIGHTS, 'epoch': 3, 'lr': 0.1, 0: torch.ones(1), 'note': 'x'}
    assert_found(unwrap(content), WEIGHTS, '')


def test_config_in_the_place_of_weights_is_passed_over():
    content = {'model': {'name': 'tiny'}, 'model_ema': WEIGHTS}
    assert_found(unwrap(content), WEIGHTS, 'model_ema')
    content = {**WEIGHTS, 'model': {'name': 'tiny'}}
    assert_found(unwrap(content), WEIGHTS, '')


def test_unknown_key_is_offered():
    with pytest.raises(CheckpointUnreadable, match=r"one of its keys \['net'\] with envelope="):
        unwrap({'net': WEIGHTS, 'epoch': 3})
    assert_found(unwrap({'net': WEIGHTS}, 'net'), WEIGHTS, 'net')


def test_module_of_that_name_is_no_checkpoint_key():
    tensors = {'model': torch.ones(1), 'backbone': torch.ones(1)}
    assert_found(unwrap(tensors), tensors, '')


@pytest.mark.parametrize(
    ('content', 'match'),
    [
        ({}, '^holds no weights, only a dict$'),
        ({'epoch': 3, 'b': 1}, r"^holds no weights, only a dict with the keys \['b', 'epoch'\]$"),
        ({'model': {'x': 'y'}}, r"^holds no weights, only a dict with the keys \['model'\]$"),
        ({0: torch.ones(1)}, r"^holds no weights, only a dict with the keys \['0'\]$"),
        ([1], '^holds no weights, only a list$'),
        (torch.ones(1), '^holds no weights, only a Tensor$'),
        (None, '^holds no weights, only a NoneType$'),
    ],
    ids=['empty', 'no tensor', 'envelope', 'numbered', 'list', 'tensor', 'none'],
)
def test_file_without_weights_is_named(content, match):
    with pytest.raises(CheckpointUnreadable, match=match):
        unwrap(content)


def test_dict_that_holds_itself_ends():
    content = {'model': {}}
    content['model'] = content
    with pytest.raises(CheckpointUnreadable, match=r"holds no weights, .* \['model'\]"):
        unwrap(content)
    content['a.weight'] = WEIGHTS['a.weight']
    found = unwrap(content)
    assert list(found.tensors) == ['a.weight'] and found.path == '.'.join(['model'] * 9)


def test_one_dict_a_billion_times():
    """A pickle of a kilobyte can hold it; each dict is looked at once."""
    shared = {'a': 1}
    for _ in range(9):
        shared = dict.fromkeys(map(str, range(20)), shared)
    with pytest.raises(CheckpointUnreadable, match='holds no weights, only a dict with the keys'):
        unwrap({'model': shared})
    shared['w'] = torch.ones(2)
    assert unwrap({'model': shared}).path == 'model'
