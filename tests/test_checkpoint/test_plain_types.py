# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: what OpenMMLab's projects store beside weights is read; what could do harm is not.

The same holds before torch 2.6, see the fixture ``any_torch``.
"""

import datetime
import importlib
import pickle
from collections import Counter, OrderedDict, defaultdict, deque
from pathlib import Path, PosixPath, PurePosixPath, PureWindowsPath

import numpy as np
import pytest
import torch
from addict import Dict
from mmengine.config import Config, ConfigDict
from mmengine.logging import HistoryBuffer
from mmengine.optim import OneCycleLR, OneCycleParamScheduler
from torch import nn

from mmconvnext.checkpoint.errors import CheckpointUnreadable
from mmconvnext.checkpoint.plain_types import (
    named,
    stored_defaultdict,
    stored_deque,
    stored_function,
)
from mmconvnext.checkpoint.read import read_checkpoint

KINDS = '?bBhHiIlLqQefdgFDG'
ARRAYS = {
    **{code: np.array([[0, 1, 2], [3, 4, 5]], dtype=code) for code in KINDS},
    'str': np.array(['nose', 'left eye']),
    'bytes': np.array([b'a', b'bc']),
    'datetime64': np.array(['2026-01-01', '2026-01-02'], dtype='M8[D]'),
    'timedelta64': np.array([3, 4], dtype='m8[s]'),
    'big endian': np.arange(3, dtype='>f4'),
    'empty': np.zeros((0, 3)),
    'columns first': np.asfortranarray(np.ones((2, 3))),
}
SCALARS = [
    *(np.dtype(code).type(1) for code in KINDS),
    np.str_('nose'),
    np.bytes_(b'a'),
    np.datetime64('2026-01-01'),
    np.timedelta64(3, 's'),
]
VALUES = [
    *(ConfigDict(a=dict(b=[1, dict(c=(2, 3))]), keys=['img']), ConfigDict()),
    *(Counter('aab'), OrderedDict(a=1), {1, 2}, frozenset([1]), range(3), slice(1, 2)),
    *(1 + 2j, b'abc', bytearray(b'abc'), float('inf'), 2**70, None),
    *(Path('a/b'), PureWindowsPath('a/b'), datetime.datetime(2026, 1, 2, 3, 4, 5, 6)),
    *(datetime.date(2026, 1, 2), datetime.timedelta(3), datetime.timezone.utc, datetime.time(1, 2)),
    *(torch.device('cpu'), torch.Size([1, 2]), torch.uint8, torch.bool, torch.bfloat16),
]


def mmpose_meta() -> dict:
    """``parse_pose_metainfo`` of mmpose, with two keypoints."""
    return dict(
        dataset_name='coco',
        num_keypoints=2,
        keypoint_id2name={0: 'left_eye', 1: 'right_eye'},
        keypoint_name2id={'left_eye': 0, 'right_eye': 1},
        upper_body_ids=[0, 1],
        lower_body_ids=[],
        flip_indices=[1, 0],
        flip_pairs=[(1, 0)],
        keypoint_colors=np.array([[51, 153, 255], [0, 255, 0]], dtype=np.uint8),
        num_skeleton_links=1,
        skeleton_links=[(0, 1)],
        skeleton_link_colors=np.array([[51, 153, 255]], dtype=np.uint8),
        dataset_keypoint_weights=np.array([1.0, 1.5], dtype=np.float32),
        sigmas=np.array([0.025, 0.025], dtype=np.float32),
    )


METAS = {
    'mmpose': mmpose_meta(),
    # mmrotate and mmyolo: names, and a palette of tuples; of own data as the config has them.
    'mmrotate': dict(classes=('plane', 'ship'), palette=[(165, 42, 42), (189, 183, 107)]),
    'mmyolo': ConfigDict(classes=('cat',), palette=[(20, 220, 60)], anchors=[[(10, 13)]]).to_dict(),
    'mmyolo own': dict(classes=['cat'], info=ConfigDict(split=dict(train=1))),
    'mmpretrain': dict(classes=['tench', 'goldfish']),
    'mmdet OpenImages': dict(classes=['a'], RELATION_MATRIX=np.eye(2, dtype=np.uint8)),
}


def through(content: object, folder: Path, **options) -> object:
    torch.save({'state_dict': {'a': torch.ones(1)}, 'meta': content}, folder / 'w.pth', **options)
    return read_checkpoint(folder / 'w.pth')['meta']


def assert_same(found: object, given: object) -> None:
    if isinstance(given, (np.ndarray, np.generic)):
        # numpy itself reads into the machine's byte order, and long long as the long of its size.
        assert isinstance(found, (np.ndarray, np.generic)) and found.shape == given.shape
        assert found.dtype == given.dtype.newbyteorder('=') and np.array_equal(found, given)
        return
    assert type(found) is type(given)
    if isinstance(given, dict):
        assert found.keys() == given.keys()
        for key in given:
            assert_same(found[key], given[key])
    else:
        assert found == given


@pytest.mark.parametrize('content', METAS.values(), ids=METAS)
def test_meta_of_each_project(content, any_torch, tmp_path):
    assert_same(through(dict(dataset_meta=content, epoch=1), tmp_path)['dataset_meta'], content)


@pytest.mark.parametrize('array', ARRAYS.values(), ids=ARRAYS)
def test_arrays(array, any_torch, tmp_path):
    found = through(array, tmp_path)
    assert_same(found, array)
    assert found.flags['F_CONTIGUOUS'] == array.flags['F_CONTIGUOUS']


@pytest.mark.parametrize('value', SCALARS, ids=lambda value: type(value).__name__)
def test_scalars(value, any_torch, tmp_path):
    assert_same(through(value, tmp_path), value)


@pytest.mark.parametrize('value', VALUES, ids=lambda value: type(value).__name__)
def test_values(value, any_torch, tmp_path):
    assert_same(through(value, tmp_path), value)


def test_arrays_of_the_other_numpy(any_torch, tmp_path):
    """numpy 2 renamed numpy.core, and so the functions that arrays refer to in a file."""
    path, content = tmp_path / 'w.pth', [np.arange(3, dtype=np.uint8), np.float32(1.5)]
    torch.save(content, path, _use_new_zipfile_serialization=False)
    ours = np.zeros(1).__reduce__()[0].__module__.partition('.multiarray')[0].encode()
    (other,) = {b'numpy.core', b'numpy._core'} - {ours}
    assert path.read_bytes().count(ours) == 2
    path.write_bytes(path.read_bytes().replace(ours, other))
    for found, given in zip(read_checkpoint(path), content):
        assert_same(found, given)


def test_dicts_and_lists_of_other_kinds_come_plain(any_torch, tmp_path):
    """weights_only can fill only these types; the content is the same."""
    nested = defaultdict(dict, a={'b': 1})
    found = through([defaultdict(list, a=[1]), nested, deque([1, 2], 5)], tmp_path)
    assert found == [{'a': [1]}, {'a': {'b': 1}}, [1, 2]]


def test_config(any_torch, tmp_path):
    config = Config(dict(a=1, b=dict(keys=[2])))
    found = through(config, tmp_path)
    assert type(found) is Config and found.to_dict() == config.to_dict()


class OldConfigDict(Dict):
    """As in mmengine before 0.8: pickled like its base class."""


OldConfigDict.__module__, OldConfigDict.__qualname__ = 'mmengine.config.config', 'ConfigDict'


def test_dict_of_addict(any_torch, tmp_path):
    """The classes that make up the configs of mmcv 1 and mmengine."""
    assert through(Dict(a=1, b=dict(c=[2])), tmp_path) == {'a': 1, 'b': {'c': [2]}}


def test_config_dict_of_old_mmengine(any_torch, tmp_path, monkeypatch):
    monkeypatch.setattr('mmengine.config.config.ConfigDict', OldConfigDict)
    torch.save({'meta': OldConfigDict(a=1, b=dict(c=[2]))}, tmp_path / 'w.pth')
    monkeypatch.setattr('mmengine.config.config.ConfigDict', ConfigDict)
    assert read_checkpoint(tmp_path / 'w.pth')['meta'] == {'a': 1, 'b': {'c': [2]}}


@pytest.mark.parametrize('strategy', ['cos', 'linear'])
def test_scheduler_with_a_function_in_its_state(strategy, any_torch, tmp_path):
    def scheduler(steps: int) -> OneCycleLR:
        optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
        made = OneCycleLR(optimizer, 0.5, 10, anneal_strategy=strategy)
        for _ in range(steps):
            made.step()
        return made

    before, after = scheduler(4), scheduler(0)
    after.load_state_dict(through(before.state_dict(), tmp_path))
    before.step(), after.step()
    assert after.get_last_value() == before.get_last_value()


# All that a file may name besides what torch itself allows; each can build plain data only.
NAMED = {
    *('argparse.Namespace', '_codecs.encode', 'torch.device', 'addict.addict.Dict'),
    *('mmengine.config.config.Config', 'mmengine.config.config.ConfigDict'),
    *('mmcv.utils.config.ConfigDict', 'mmengine.logging.history_buffer.HistoryBuffer'),
    'mmengine.optim.scheduler.param_scheduler.OneCycleParamScheduler',
    *(f'collections.{kind}' for kind in ('OrderedDict', 'Counter', 'defaultdict', 'deque')),
    *('numpy.ndarray', 'numpy.dtype', 'numpy.core.multiarray._reconstruct'),
    *('numpy.core.multiarray.scalar', 'numpy._core.multiarray.scalar'),
    *('numpy._core.multiarray._reconstruct', 'builtins.getattr'),
    *(f'builtins.{kind}' for kind in ('bool', 'int', 'float', 'complex', 'str', 'bytes')),
    *(f'builtins.{kind}' for kind in ('bytearray', 'tuple', 'list', 'dict', 'set')),
    *(f'builtins.{kind}' for kind in ('frozenset', 'range', 'slice')),
    *(f'datetime.{kind}' for kind in ('datetime', 'date', 'time', 'timedelta', 'timezone')),
    *(f'pathlib.{kind}' for kind in ('PosixPath', 'PurePosixPath')),
    *(f'pathlib.{kind}' for kind in ('WindowsPath', 'PureWindowsPath')),
    *(f'pathlib._local.{kind}' for kind in ('PosixPath', 'PurePosixPath')),
    *(f'pathlib._local.{kind}' for kind in ('WindowsPath', 'PureWindowsPath')),
}


def test_what_a_file_may_name_and_no_more():
    assert set(named()) == NAMED
    for name, value in named().items():
        module, _, kind = name.rpartition('.')
        if module in ('builtins', 'datetime', 'argparse') and kind != 'getattr':
            assert value is getattr(importlib.import_module(module), kind)
        elif module.startswith('pathlib'):
            assert issubclass(value, PureWindowsPath if 'Windows' in kind else PurePosixPath)
    assert stored_function is named()['builtins.getattr']


@pytest.mark.parametrize('name', ['current', 'max', 'mean', 'min'])
def test_methods_of_a_history_that_mmengine_stores(name):
    assert stored_function(HistoryBuffer, name) is getattr(HistoryBuffer, name)
    with pytest.raises(pickle.UnpicklingError, match=f"getattr.*, '{name}'.* is not safe: refused"):
        stored_function(np.ndarray, name)


SCHEDULER = 'mmengine.optim.scheduler.param_scheduler.OneCycleParamScheduler'


@pytest.mark.parametrize('name', ['_annealing_cos', '_annealing_linear', '_get_value', '__init__'])
def test_functions_of_a_scheduler_that_mmengine_stores(name):
    if name.startswith('_annealing'):
        assert stored_function(SCHEDULER, name) is getattr(OneCycleParamScheduler, name)
    else:
        with pytest.raises(pickle.UnpicklingError, match=f"'{name}'.* is not safe: refused"):
            stored_function(SCHEDULER, name)
    with pytest.raises(pickle.UnpicklingError, match='is not safe: refused'):
        stored_function(SCHEDULER + 'x', name)


@pytest.mark.skipif(
    not hasattr(torch.serialization, 'safe_globals'), reason='torch 2.5 made it a context'
)
def test_dicts_and_lists_that_the_user_allows_come_as_they_are():
    assert stored_deque([1], 5) == [] and stored_defaultdict(list) == {}
    with torch.serialization.safe_globals([deque]):
        found = stored_deque([1, 2], 5)
        assert type(found) is deque and found.maxlen == 5 and list(found) == [1, 2]
        assert type(stored_defaultdict(list)) is dict
    with torch.serialization.safe_globals([defaultdict]):
        assert stored_defaultdict(list)['a'] == [] and type(stored_deque()) is list


# What is refused


class Reduced:
    """Pickled as a call and, if given, a state for what it returns."""

    def __init__(self, function: object, *arguments: object, state: object = None) -> None:
        self.parts = function, arguments, state

    def __reduce__(self):
        return self.parts


RECONSTRUCT, SCALAR = np.zeros(1).__reduce__()[0], np.float64(0).__reduce__()[0]


def array_of(state: tuple) -> Reduced:
    return Reduced(RECONSTRUCT, np.ndarray, (0,), b'b', state=state)


REFUSED = 'is not safe to read and was not read'
HARMFUL = {
    'array of objects': np.array(['a', None], dtype=object),
    'array of records': np.zeros(2, dtype=[('a', 'f4'), ('b', 'i4')]),
    'dtype of objects': np.dtype('O'),
    'dtype of fields': Reduced(np.dtype, [('a', 'O')]),
    'array over memory': Reduced(np.ndarray, (1,), 'O', b'8 bytes!'),
    'array by another shape': Reduced(RECONSTRUCT, np.ndarray, (1,), b'b'),
    'array of another kind': Reduced(RECONSTRUCT, dict, (0,), b'b'),
    'array of more than there is': array_of((1, (400,), np.dtype('S1'), False, b'8 bytes!')),
    'array of negative size': array_of((1, (-1, -1), np.dtype('S1'), False, b'!')),
    'array of a list': array_of((1, (1,), np.dtype('f8'), False, [0.0])),
    'array of objects by name': array_of((1, (1,), 'O', False, b'8 bytes!')),
    'dtype of more bytes': Reduced(
        np.dtype, 'S8', False, True, state=(3, '|', None, None, None, 400, 1, 0)
    ),
    'dtype of parts': Reduced(
        np.dtype, 'f8', False, True, state=(3, '<', (np.dtype('f8'), (9,)), None, None, -1, -1, 0)
    ),
    'dtype of new fields': Reduced(
        np.dtype, 'f8', False, True, state=(3, '<', None, ('x',), {'x': 1}, -1, -1, 0)
    ),
    'dtype of several': Reduced(np.dtype, 'f8,f8', False, True),
    'scalar of more than there is': Reduced(SCALAR, np.dtype('f8'), b'!'),
    'attribute of a dtype': Reduced(getattr, np.dtype, 'newbyteorder'),
    'function of a scheduler': Reduced(getattr, OneCycleLR, '_get_value'),
    'method of a path': Reduced(getattr, Path, 'unlink'),
    'method of a config': Reduced(getattr, Config, 'fromfile'),
    'import': Reduced(__import__, 'os'),
    'factory': defaultdict(print),
}


@pytest.mark.parametrize('content', HARMFUL.values(), ids=HARMFUL)
def test_what_could_do_harm_is_refused(content, any_torch, tmp_path):
    with pytest.raises(CheckpointUnreadable, match=f'{REFUSED}|damaged or truncated'):
        through(content, tmp_path)


def test_arrays_are_written_again_as_numpys_own(any_torch, tmp_path):
    """A resumed run saves what it has read."""
    (found,) = through([np.arange(6.0).reshape(2, 3).T], tmp_path)
    for protocol in (2, 5):
        text = pickle.dumps(found, protocol)
        assert b'mmconvnext' not in text
        again = pickle.loads(text)
        assert type(again) is np.ndarray and np.array_equal(again, found)


def test_lazy_objects_are_refused(any_torch, tmp_path):
    """They import the module that they name as soon as the config is read."""
    from mmengine.config.lazy import LazyObject

    with pytest.raises(CheckpointUnreadable, match='it holds mmengine.config.lazy.LazyObject'):
        through(ConfigDict(a=LazyObject('os')), tmp_path)


def test_a_file_cannot_change_the_dtypes_of_numpy(any_torch, tmp_path):
    flags = np.dtype('f4').flags
    shared = Reduced(np.dtype, 'f4', False, False, state=(3, '<', None, None, None, -1, -1, 63))
    assert through(shared, tmp_path).dtype == np.dtype('f4')  # alone it stays a stand-in
    assert np.dtype('f4').flags == flags
    kind = type(np.dtype('f4'))
    with pytest.raises(CheckpointUnreadable, match=REFUSED):
        through(Reduced(kind, state=(3, '<', None, None, None, -1, -1, 63)), tmp_path)
    assert np.dtype('f4').flags == flags


def test_a_config_opens_no_file(any_torch, tmp_path):
    (tmp_path / 'secret').write_text('secret')
    with pytest.raises(CheckpointUnreadable, match='damaged or truncated|not safe'):
        through(Reduced(Config, {}, None, str(tmp_path / 'secret')), tmp_path)


def test_paths_of_another_system_are_pure():
    assert named()['pathlib.PosixPath'] in (PosixPath, PurePosixPath)
    assert pickle.loads(pickle.dumps(named()['pathlib.WindowsPath'])) in (
        type(Path()),
        PureWindowsPath,
    )
