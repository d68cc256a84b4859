# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Settings of bad data, and the error that survives a worker."""

import pickle

import pytest
from mmengine.config import Config
from torch._utils import ExceptionWrapper

from mmconvnext.faults.bad_data import WAITS, BadDataError, DataSettings, data_settings
from mmconvnext.recipe.errors import RecipeError


def test_defaults_and_values():
    assert data_settings(Config({})) == DataSettings('stop', WAITS)
    assert data_settings(Config(dict(on_bad_data='skip', data_waits=[0, 2.5]))) == (
        'skip',
        (0, 2.5),
    )
    assert data_settings(Config(dict(data_waits=[]))).waits == ()
    assert 1 <= min(WAITS) and max(WAITS) <= 60 and sum(WAITS) < 120


@pytest.mark.parametrize('policy', ['Skip', True, None, ''])
def test_a_wrong_policy(policy):
    with pytest.raises(RecipeError, match=f"on_bad_data={policy!r}: choose 'stop' or 'skip'"):
        data_settings(Config(dict(on_bad_data=policy)))


@pytest.mark.parametrize('waits', [5, 'x', [1, -1], [float('inf')], [True], [float('nan')], None])
def test_wrong_waits(waits):
    with pytest.raises(RecipeError, match='data_waits=.*: give a list of seconds of 0 or more'):
        data_settings(Config(dict(data_waits=waits)))


def test_the_error_of_a_worker_is_its_message():
    try:
        try:
            raise OSError('of the disk')
        except OSError as error:
            raise BadDataError('a.png: it is cut off\nand more: x') from error
    except BadDataError:
        wrapped = ExceptionWrapper(where='in DataLoader worker process 1')
    with pytest.raises(BadDataError) as found:
        wrapped.reraise()
    assert str(found.value) == 'a.png: it is cut off\nand more: x'
    assert str(pickle.loads(pickle.dumps(BadDataError('b: c')))) == 'b: c'
