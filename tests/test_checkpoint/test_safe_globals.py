# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: what mmengine's Runner writes is read with ``weights_only=True``; code is not.

The same holds before torch 2.6, where the list of safe names is insufficient or missing.
"""

import builtins
import importlib
import io
import pickle
import shutil
import subprocess
import sys
from argparse import Namespace
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType

import mmengine
import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.utils import digit_version
from mmengine.visualization import Visualizer
from torch import nn
from torch.torch_version import TorchVersion

from mmconvnext.checkpoint import plain_types, safe_globals
from mmconvnext.checkpoint.errors import CheckpointUnreadable
from mmconvnext.checkpoint.read import read_checkpoint
from mmconvnext.checkpoint.safe_globals import (
    LISTS_NAMES,
    LISTS_NOTHING,
    allow_own_checkpoints,
    torch_load,
)

BUFFER = 'mmengine.logging.history_buffer.HistoryBuffer'
LISTS_NAMES_ONLY = pytest.mark.skipif(
    torch.__version__ < LISTS_NAMES, reason="torch's own list cannot hold ours before 2.6"
)


@pytest.fixture(autouse=True)
def allowed():
    """onedl's mmengine removes its own list after each load, shared entries included."""
    allow_own_checkpoints()


class ToyModel(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 1)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        out = self.linear(torch.stack(inputs))
        return dict(loss=out.square().mean()) if mode == 'loss' else [out]


class ToyMetric(BaseMetric):
    """Returns every type of number that the metrics of mmdet and mmseg return."""

    def process(self, data_batch, data_samples) -> None:
        self.results.append(1)

    def compute_metrics(self, results) -> dict:
        return dict(AP=0.5, mIoU=np.float64(46.0), acc=np.float32(0.25), count=np.int64(3))


class ToyDataset(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> dict:
        return dict(inputs=torch.ones(2), data_samples=index)


def runner(work_dir: Path, max_iters: int = 2, **options) -> Runner:
    loader = dict(dataset=ToyDataset(), batch_size=1, sampler=dict(type='DefaultSampler'))
    return Runner(
        model=ToyModel(),
        work_dir=str(work_dir),
        train_dataloader=loader,
        train_cfg=dict(by_epoch=False, max_iters=max_iters, val_interval=1),
        val_dataloader=loader,
        val_cfg=dict(),
        val_evaluator=Evaluator(ToyMetric()),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.1)),
        param_scheduler=dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=2),
        default_hooks=dict(
            checkpoint=dict(
                type='CheckpointHook', interval=1, by_epoch=False, save_best='mIoU', rule='greater'
            )
        ),
        experiment_name=f'{work_dir.name}-{max_iters}',
        **options,
    )


@pytest.fixture(scope='module')
def work_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp('run')
    runner(folder).train()
    yield folder
    for singletons in (MessageHub, DefaultScope, Visualizer):  # what runners leave in the process
        singletons._instance_dict.clear()


@pytest.fixture
def cleared():
    """With an empty allow-list, as in a process that did not import the package."""
    kept = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    yield
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(kept)


@LISTS_NAMES_ONLY
@pytest.mark.parametrize('name', ['iter_2.pth', 'best_mIoU_iter_1.pth'])
def test_checkpoint_of_mmengine_loads(name, work_dir):
    checkpoint = torch.load(work_dir / name, weights_only=True)
    assert set(checkpoint['state_dict']) == {'linear.weight', 'linear.bias'}
    scalars = checkpoint['message_hub']['log_scalars']
    assert isinstance(scalars['train/loss'], HistoryBuffer)
    history, _ = scalars['train/loss'].data
    assert isinstance(history, np.ndarray) and len(history) >= 1
    assert scalars['train/loss'].mean() == history.mean()


@LISTS_NAMES_ONLY
def test_checkpoint_of_mmengine_needs_the_allow_list(work_dir, cleared):
    with pytest.raises(pickle.UnpicklingError, match='HistoryBuffer'):
        torch.load(work_dir / 'iter_2.pth', weights_only=True)
    allow_own_checkpoints()
    assert torch.load(work_dir / 'iter_2.pth', weights_only=True)['meta']['iter'] == 2


@pytest.mark.parametrize(
    ('version', 'lists'), [('2.5.1', False), ('2.6.0', True), ('2.6.0+cu124', True), ('2.10', True)]
)
def test_torchs_list_is_used_from_2_6_on(version, lists, monkeypatch):
    given = []
    monkeypatch.setattr(torch, '__version__', TorchVersion(version))
    monkeypatch.setattr(torch.serialization, 'add_safe_globals', given.append)
    allow_own_checkpoints()
    assert len(given) == lists


@LISTS_NAMES_ONLY
def test_allowing_twice_changes_nothing(cleared):
    allow_own_checkpoints()
    once = set(torch.serialization.get_safe_globals())
    allow_own_checkpoints()
    assert set(torch.serialization.get_safe_globals()) == once


@pytest.mark.parametrize(
    ('version', 'listed'),
    [
        *(('0.8.0', True), ('0.10.6', True), ('0.10.7', True), ('0.10.8', False)),
        *(('0.11.0rc1', False), ('0.11.0', False), ('1.0.0', False)),
    ],
)
def test_only_for_an_mmengine_without_a_list(version, listed, monkeypatch):
    calls = []
    monkeypatch.setattr(mmengine, '__version__', version)
    monkeypatch.setattr(safe_globals, 'allow_own_checkpoints', lambda: calls.append(version))
    safe_globals.allow_for_mmengine()
    assert calls == [version] * listed


IMPORT = """
import numpy as np, torch
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import CheckpointLoader
given = set(torch.serialization.get_safe_globals())
import mmconvnext
from mmconvnext.checkpoint.read import read_checkpoint
added = set(torch.serialization.get_safe_globals()) - given
for _ in range(2):
    read_checkpoint('w.pth')
    content = CheckpointLoader.load_checkpoint('w.pth', map_location='cpu')
    losses = content['message_hub']['log_scalars']['train/loss']
    assert isinstance(losses, HistoryBuffer) and losses.mean() == losses.data[0].mean()
assert set(torch.serialization.get_safe_globals()) - given == added
print(len(added))
"""


@pytest.mark.slow
@LISTS_NAMES_ONLY
def test_import_lets_mmengine_read_its_own_checkpoints(work_dir, tmp_path):
    """With our list if mmengine has none, else with its own; our reads leave the list unchanged.

    In separate interpreters, because torch chooses by address between two entries of one name.
    """
    shutil.copy(work_dir / 'iter_2.pth', tmp_path / 'w.pth')
    for _ in range(2):
        command = [sys.executable, '-W', 'ignore', '-c', IMPORT]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        lists = digit_version(mmengine.__version__) > digit_version(LISTS_NOTHING)
        assert (int(done.stdout.splitlines()[-1]) == 0) == lists


# numpy 1.26 has a numpy._core too, for pickles of 2, with nothing else in it.
NUMPY = importlib.import_module('numpy.core' if np.__version__ < '2' else 'numpy._core').multiarray
THEIRS = {
    'builtins.getattr': getattr,
    'numpy.ndarray': np.ndarray,
    'numpy.dtype': np.dtype,
    f'{NUMPY.__name__}._reconstruct': NUMPY._reconstruct,
    f'{NUMPY.__name__}.scalar': NUMPY.scalar,
    'collections.defaultdict': defaultdict,
}


@LISTS_NAMES_ONLY
@pytest.mark.parametrize('name', THEIRS)
def test_what_the_user_allows_after_the_import_goes_with_ours(name, cleared, tmp_path, monkeypatch):
    """torch's list then has two entries of one name and may pick either, so each is tried alone."""
    history = HistoryBuffer([1.0, 2.0], [1, 1])
    content = dict(a=history, b=np.float64(3), c=np.array(['d']), e=defaultdict(int))
    torch.save(content, tmp_path / 'w.pth')
    allow_own_checkpoints()
    kinds = [type(np.dtype(code)) for code in ('f8', 'i8', 'U1')]
    torch.serialization.add_safe_globals([*THEIRS.values(), *kinds])
    unpickler, ours = torch._weights_only_unpickler, plain_types.named()
    known = unpickler._get_user_allowed_globals()
    known.update(enumerate([*ours.values(), *THEIRS.values()]))  # what may be called and filled
    for one, others in ((ours, THEIRS), (THEIRS, ours)):
        mixed = {**known, **{key: others[key] for key in THEIRS}, name: one[name]}
        monkeypatch.setattr(unpickler, '_get_user_allowed_globals', lambda mixed=mixed: mixed)
        found = torch.load(tmp_path / 'w.pth', weights_only=True)
        assert found['a'].mean() == 1.5 and found['b'] == 3.0 and found['c'].tolist() == ['d']
        assert type(found['e']) is defaultdict


@LISTS_NAMES_ONLY
def test_a_list_of_the_users_own_is_kept_and_comes_back(cleared, tmp_path):
    torch.save({'own': Own(3), 'count': np.ones(2)}, tmp_path / 'w.pth')
    torch.serialization.add_safe_globals([Own])
    for _ in range(2):
        assert torch_load(tmp_path / 'w.pth')['own'] == Own(3)
        assert torch.serialization.get_safe_globals() == [Own]


@LISTS_NAMES_ONLY
def test_allow_list_holds_no_function_with_effects(cleared):
    allow_own_checkpoints()
    given = {name: value for value, name in torch.serialization.get_safe_globals()}
    assert given['builtins.getattr'] is plain_types.stored_function
    functions = [value for value in given.values() if isinstance(value, FunctionType)]
    ours = {f'mmconvnext.checkpoint.{name}' for name in ('plain_types', 'stored_arrays')}
    assert {function.__module__ for function in functions} == ours
    assert not {builtins.getattr, builtins.eval, importlib.import_module} & set(given.values())
    kinds = [value for value in given.values() if isinstance(value, type)]
    allowed = ('builtins', 'collections', 'datetime', 'numpy', 'pathlib', 'torch', 'mmconvnext')
    others = {kind for kind in kinds if kind.__module__.partition('.')[0] not in allowed}
    assert others == {HistoryBuffer, Namespace, Config}
    assert not {type, object, np.dtype, np.dtypes.ObjectDType, np.dtypes.VoidDType} & set(kinds)


@LISTS_NAMES_ONLY
def test_what_the_user_allows_counts_and_comes_first(cleared, tmp_path):
    """Even if we have a stand-in for the type; torch's list alone might pick either."""
    torch.save({'own': Own(3), 'count': defaultdict(int)}, tmp_path / 'w.pth')
    with pytest.raises(CheckpointUnreadable, match=r'it holds [\w.]*\.Own, which could run code'):
        read_checkpoint(tmp_path / 'w.pth')
    torch.serialization.add_safe_globals([Own, getattr, np.dtype, HistoryBuffer, (len, 'x.len')])
    for _ in range(2):
        assert read_checkpoint(tmp_path / 'w.pth') == {'own': Own(3), 'count': {}}
        allow_own_checkpoints()
        given = torch.serialization.get_safe_globals()
        ours = {entry[1] for entry in given if isinstance(entry, tuple)}
        assert not ours & {'builtins.getattr', 'numpy.dtype', BUFFER} and 'torch.device' in ours
        assert {Own, getattr, np.dtype, HistoryBuffer, (len, 'x.len')} <= set(given)
        torch.serialization.add_safe_globals([dict])


class Attribute:
    """A pickle that calls getattr when unpickled; so mmengine stores a buffer's methods."""

    def __init__(self, owner: object, name: str) -> None:
        self.arguments = owner, name

    def __reduce__(self):
        return getattr, self.arguments


@pytest.mark.parametrize(
    ('owner', 'name'),
    [(HistoryBuffer, '__subclasses__'), (HistoryBuffer, '__init__'), (np.ndarray, 'tofile')],
    ids=lambda value: getattr(value, '__name__', value),
)
def test_attributes_other_than_the_methods_of_a_buffer_are_refused(owner, name, tmp_path):
    torch.save(Attribute(owner, name), tmp_path / 'attribute.pth')
    with pytest.raises(pickle.UnpicklingError, match='getattr'):
        torch.load(tmp_path / 'attribute.pth', weights_only=True)


def test_runner_resumes_its_own_run(work_dir):
    MessageHub._instance_dict.clear()
    resumed = runner(work_dir, max_iters=3, resume=True)
    resumed.train()
    assert resumed.iter == 3
    allow_own_checkpoints()
    last = torch_load(work_dir / 'iter_3.pth')
    history, _ = last['message_hub']['log_scalars']['train/loss'].data
    assert len(history) == 3


def test_a_run_with_the_meta_of_mmpose_resumes(work_dir, tmp_path, monkeypatch):
    """Arrays of colors, sigmas and names, part of a config, a path in the message hub."""
    meta = dict(colors=np.ones((2, 3), dtype=np.uint8), sigmas=np.ones(2, dtype=np.float32))
    meta.update(names=np.array(['nose', 'eye']), links=ConfigDict(a=dict(link=('nose', 'eye'))))
    monkeypatch.setattr(ToyDataset, 'metainfo', meta, raising=False)
    MessageHub._instance_dict.clear()
    first = runner(tmp_path)
    first.message_hub.update_info('best_score', np.float16(0.5))
    first.message_hub.update_info('data_root', Path('data/coco'))
    first.train()
    found = read_checkpoint(tmp_path / 'iter_2.pth')['meta']['dataset_meta']
    assert found['colors'].dtype == np.uint8 and found['links'] == meta['links']
    MessageHub._instance_dict.clear()
    resumed = runner(tmp_path, max_iters=3, resume=True)
    resumed.train()
    assert resumed.iter == 3
    assert resumed.message_hub.get_info('data_root') == Path('data/coco')


@LISTS_NAMES_ONLY
@pytest.mark.parametrize(
    'value',
    [np.float32(1.5), np.float64(1.5), np.int64(3), np.bool_(True), np.arange(3), np.ones((2, 2))],
    ids=lambda value: f'{value.dtype}{value.shape}',
)
def test_numpy_values_load(value, tmp_path):
    torch.save({'value': value}, tmp_path / 'value.pth')
    loaded = torch.load(tmp_path / 'value.pth', weights_only=True)['value']
    assert np.array_equal(loaded, value)
    assert loaded.dtype == value.dtype


@dataclass
class Own:
    """A type that a user wrote."""

    value: int


class TouchFile:
    """A pickle that writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    'hide',
    [
        lambda evil: evil,
        lambda evil: {'state_dict': {}, 'message_hub': {'log_scalars': {'loss': evil}}},
        lambda evil: np.array([evil], dtype=object),
    ],
    ids=['bare', 'in a message hub', 'in an array'],
)
def test_code_in_a_checkpoint_is_refused(hide, tmp_path):
    trace = tmp_path / 'trace'
    torch.save(hide(TouchFile(trace)), tmp_path / 'evil.pth')
    with pytest.raises(pickle.UnpicklingError, match='Weights only load failed'):
        torch.load(tmp_path / 'evil.pth', weights_only=True)
    assert not trace.exists()
    torch.load(tmp_path / 'evil.pth', weights_only=False)
    assert trace.exists()  # it would have run


def test_arguments_of_metas_training_code_load(tmp_path):
    content = {'model': {'a': torch.ones(2)}, 'args': Namespace(lr=4e-3, drop_path=0.1)}
    torch.save(content, tmp_path / 'meta.pth')
    assert torch_load(tmp_path / 'meta.pth')['args'] == content['args']


@LISTS_NAMES_ONLY
def test_torch_load_allows_what_it_needs_by_itself(work_dir, cleared):
    assert torch_load(work_dir / 'iter_2.pth')['meta']['iter'] == 2


# Before torch 2.6


def test_checkpoint_of_mmengine_loads_on_old_torch(old_torch, work_dir):
    allow_own_checkpoints()  # has nothing to add to
    checkpoint = read_checkpoint(work_dir / 'iter_2.pth')
    assert set(checkpoint['state_dict']) == {'linear.weight', 'linear.bias'}
    loss = checkpoint['message_hub']['log_scalars']['train/loss']
    assert isinstance(loss, HistoryBuffer) and loss.mean() == loss.data[0].mean()
    assert checkpoint['optimizer']['param_groups'][0]['initial_lr'] == 0.1


TENSORS = {
    'float': torch.arange(5.0),
    'half': torch.ones(2, 3).half(),
    'bfloat16': torch.ones(2).bfloat16(),
    'long': torch.arange(3),
    'bool': torch.tensor([True, False]),
    'parameter': nn.Parameter(torch.ones(2)),
    'view': torch.arange(12.0).reshape(3, 4)[1:, ::2],
}


@pytest.mark.parametrize('protocol', [2, 4])
@pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'legacy'])
def test_plain_files_load_on_old_torch(zipped, protocol, old_torch, tmp_path):
    content = {'model': TENSORS, 'args': Namespace(lr=1), 'seen': {1, 2}, 'lr': np.float64(0.5)}
    path = tmp_path / 'w.pth'
    torch.save(content, path, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    for source in (path, str(path), io.BytesIO(path.read_bytes())):
        found = torch_load(source, 'cpu')
        assert {key: found[key] for key in ('args', 'seen', 'lr')} == {
            key: content[key] for key in ('args', 'seen', 'lr')
        }
        for name, tensor in TENSORS.items():
            assert torch.equal(found['model'][name], tensor)
            assert found['model'][name].dtype == tensor.dtype


def test_what_the_user_allows_counts_on_old_torch(old_torch, tmp_path, monkeypatch):
    """torch 2.4 and 2.5 have a list of bare objects; earlier versions have none."""
    torch.save({'own': Own(3)}, tmp_path / 'w.pth')
    match = r'it holds [\w.]*\.Own, .*add_safe_globals \(torch 2\.4 or later\)'
    with pytest.raises(CheckpointUnreadable, match=match):
        read_checkpoint(tmp_path / 'w.pth')
    monkeypatch.setattr(torch.serialization, 'get_safe_globals', lambda: [Own], raising=False)
    assert read_checkpoint(tmp_path / 'w.pth') == {'own': Own(3)}


def test_malicious_file_is_refused_on_old_torch(evil, old_torch):
    path, trace = evil
    match = r'not safe to read and was not read: it holds (\w+\.system|\w+\.eval|getattr\(.*\)), w'
    with pytest.raises(CheckpointUnreadable, match=match):
        read_checkpoint(path)
    assert not trace.exists()


@pytest.mark.filterwarnings('ignore')  # of torch: TorchScript is deprecated
def test_torchscript_is_refused_on_old_torch(old_torch, tmp_path):
    torch.jit.script(nn.Linear(2, 2)).save(str(tmp_path / 'w.pt'))
    with pytest.raises(CheckpointUnreadable, match='is a TorchScript program'):
        read_checkpoint(tmp_path / 'w.pt')


def test_pickled_module_is_refused_on_old_torch(old_torch, tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / 'w.pt')
    with pytest.raises(CheckpointUnreadable, match=r'it holds torch\.nn\.modules\.linear\.Linear'):
        read_checkpoint(tmp_path / 'w.pt')


@pytest.mark.parametrize('length', [1, 10, 100, 400, 600, -1])
@pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'legacy'])
def test_truncated_files_are_refused_on_old_torch(zipped, length, old_torch, tmp_path):
    path = tmp_path / 'w.pth'
    torch.save(TENSORS, path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(CheckpointUnreadable, match='truncated|is not a checkpoint'):
        read_checkpoint(path)


# A pickle of HistoryBuffer, the class, whose state is (None, {'mean': 1}): a new attribute.
CHANGED = (
    b'\x80\x02cmmengine.logging.history_buffer\nHistoryBuffer\nN}X\x04\x00\x00\x00meanK\x01s\x86b.'
)


# A numpy.ndarray made of (1, 'O', '8 bytes!'): an object at an address given in the file.
MADE = b'\x80\x02cnumpy\nndarray\nK\x01X\x01\x00\x00\x00OU\x088 bytes!\x87\x81.'


def assert_refused(content: bytes, folder: Path, match: str) -> None:
    parts = [pickle.dumps(value, 2) for value in (torch.serialization.MAGIC_NUMBER, 1001, {}, [])]
    (folder / 'w.pt').write_bytes(b''.join([*parts[:3], content, parts[3]]))
    with pytest.raises(CheckpointUnreadable, match=match):
        read_checkpoint(folder / 'w.pt')


def assert_changes_are_refused(folder: Path, match: str) -> None:
    before = HistoryBuffer.mean
    assert_refused(CHANGED, folder, match)
    assert HistoryBuffer.mean is before


def test_a_file_cannot_make_an_array_by_itself(any_torch, tmp_path):
    assert_refused(MADE, tmp_path, 'a call to numpy.ndarray in a checkpoint is not safe')


def test_a_file_cannot_change_a_class(tmp_path):
    assert_changes_are_refused(tmp_path, 'not safe to read and was not read')


# The function that stands in for getattr, with a new attribute.
CHANGED_FUNCTION = b'\x80\x02cbuiltins\ngetattr\n}X\x01\x00\x00\x00aK\x01sb.'


def test_a_file_cannot_change_a_function(any_torch, tmp_path):
    assert_refused(CHANGED_FUNCTION, tmp_path, 'not safe to read and was not read')
    assert not hasattr(plain_types.stored_function, 'a')


@pytest.mark.parametrize('name', ['torch\nload', 'torch\nhub', 'os\nuint8', 'os\ngetcwd'])
def test_of_torch_a_file_may_name_dtypes_alone(name, any_torch, tmp_path):
    assert_refused(
        b'\x80\x02c' + name.encode() + b'\n.', tmp_path, 'it holds ' + name.replace('\n', '.')
    )


def test_a_file_cannot_change_a_class_on_old_torch(old_torch, tmp_path):
    assert_changes_are_refused(tmp_path, "it changes <class '.*HistoryBuffer'>")
