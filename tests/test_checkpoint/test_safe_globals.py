# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: what mmengine's Runner writes can be read under ``weights_only=True``; code cannot."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from torch import nn

from mmconvnext.checkpoint.safe_globals import allow_own_checkpoints


@pytest.fixture(autouse=True)
def allowed():
    """onedl's mmengine withdraws its own list after each load, and with it what it shares."""
    allow_own_checkpoints()


class ToyModel(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 1)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        out = self.linear(torch.stack(inputs))
        return dict(loss=out.square().mean()) if mode == 'loss' else [out]


class ToyMetric(BaseMetric):
    """Returns each kind of number that the metrics of mmdet and mmseg return."""

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
    """Without anything allowed, as in a process that did not import the package."""
    kept = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    yield
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(kept)


@pytest.mark.parametrize('name', ['iter_2.pth', 'best_mIoU_iter_1.pth'])
def test_checkpoint_of_mmengine_loads(name, work_dir):
    checkpoint = torch.load(work_dir / name, weights_only=True)
    assert set(checkpoint['state_dict']) == {'linear.weight', 'linear.bias'}
    scalars = checkpoint['message_hub']['log_scalars']
    assert isinstance(scalars['train/loss'], HistoryBuffer)
    history, _ = scalars['train/loss'].data
    assert isinstance(history, np.ndarray) and len(history) >= 1
    assert scalars['train/loss'].mean() == history.mean()


def test_checkpoint_of_mmengine_needs_the_allow_list(work_dir, cleared):
    with pytest.raises(pickle.UnpicklingError, match='HistoryBuffer'):
        torch.load(work_dir / 'iter_2.pth', weights_only=True)
    allow_own_checkpoints()
    assert torch.load(work_dir / 'iter_2.pth', weights_only=True)['meta']['iter'] == 2


def test_allowing_twice_changes_nothing(cleared):
    allow_own_checkpoints()
    once = set(torch.serialization.get_safe_globals())
    allow_own_checkpoints()
    assert set(torch.serialization.get_safe_globals()) == once


def test_importing_the_package_allows_it():
    assert HistoryBuffer in torch.serialization.get_safe_globals()


def test_allow_list_holds_no_function_with_effects(cleared):
    allow_own_checkpoints()
    # An entry is an object, or (object, the name it has in files): a stand-in.
    given = torch.serialization.get_safe_globals()
    objects = [entry[0] if isinstance(entry, tuple) else entry for entry in given]
    types = {f'{kind.__module__}.{kind.__name__}' for kind in objects if isinstance(kind, type)}
    assert types == {
        'mmengine.logging.history_buffer.HistoryBuffer',
        'numpy.ndarray',
        'numpy.dtype',
        *(f'numpy.dtypes.{kind}DType' for kind in ('Float64', 'Float32', 'Int64', 'Int32', 'Bool')),
    }
    functions = [entry for entry in objects if not isinstance(entry, type)]
    allowed = {np.zeros(1).__reduce__()[0], np.float64(0).__reduce__()[0]}
    others = [function for function in functions if function not in allowed]
    assert getattr not in others
    assert {function.__module__.partition('.')[0] for function in others} <= {'mmconvnext'}


class Attribute:
    """A pickle that reads an attribute when it is read; so mmengine stores a buffer's methods."""

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
    last = torch.load(work_dir / 'iter_3.pth', weights_only=True)
    history, _ = last['message_hub']['log_scalars']['train/loss'].data
    assert len(history) == 3


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


class TouchFile:
    """A pickle that writes a file when it is read."""

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
