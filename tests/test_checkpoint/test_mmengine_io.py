# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: mmengine's entry points read what ours read, write atomically, and run no code."""

import dataclasses
import io
import json

import mmengine.runner.checkpoint as mmengine_checkpoint
import pytest
import torch
from mmengine.fileio import get_file_backend
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.model import BaseModel, BaseModule
from mmengine.registry import DefaultScope
from mmengine.runner import Runner, load_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader
from mmengine.visualization import Visualizer
from neighbours import WEIGHTS, contents, lost_by_init_weights, same
from safetensors.torch import save_file
from torch import nn

from mmconvnext import ConvNeXt
from mmconvnext.checkpoint import mmengine_io, zoo
from mmconvnext.checkpoint.checkpoint_key import unwrap
from mmconvnext.checkpoint.errors import CheckpointUnreadable
from mmconvnext.checkpoint.read import read_checkpoint

pytestmark = pytest.mark.usefixtures('installed')
REFUSED = 'is not safe to read and was not read'


def assert_weights(tensors: dict) -> None:
    assert tensors.keys() == WEIGHTS.keys()
    assert all(torch.equal(tensors[name], WEIGHTS[name]) for name in WEIGHTS)


def load(source: object) -> dict:
    return CheckpointLoader.load_checkpoint(str(source), map_location='cpu')


# What CheckpointLoader reads


@pytest.fixture
def convnext(tiny_arch) -> dict:
    """The weights of a backbone inside a detector."""
    return {f'backbone.{k}': v for k, v in ConvNeXt(tiny_arch).state_dict().items()}


def test_bare_convnext_and_safetensors(convnext, tmp_path):
    torch.save(convnext, tmp_path / 'w.pth')
    save_file(convnext, tmp_path / 'model.safetensors')
    for path in (tmp_path / 'w.pth', tmp_path / 'model.safetensors', tmp_path):
        content = load(path)  # the folder: a repository of Hugging Face
        assert set(content) == {'meta', 'state_dict'}
        assert content['state_dict'].keys() == convnext.keys()
        assert content['meta'] == {}  # which mmseg's init_model reads


@pytest.mark.parametrize('key', ['model', 'module', 'model_ema', 'state_dict'])
def test_a_convnext_under_another_key_comes_as_state_dict_too(key, convnext, tmp_path):
    file = {key: convnext, 'optimizer': {'lr': 1}, 'epoch': 7}
    torch.save(file, tmp_path / 'w.pth')
    content = load(tmp_path / 'w.pth')
    assert same(content.pop('meta'), {}) and same(content['state_dict'], convnext)
    assert same({key: content[key] for key in file}, file)
    assert set(content) == {*file, 'state_dict'}


def test_state_dict_is_where_the_weights_are(convnext, tmp_path):
    """Also if something else had that key, or the weights lie deeper; other entries stay."""
    for given, found in (
        ({'state_dict': {'model': convnext}, 'epoch': 1}, convnext),
        ({'state_dict': {}, 'model': convnext}, convnext),
        ({'state_dict': {**convnext, 'extra': 3}}, {**convnext, 'extra': 3}),
    ):
        torch.save(given, tmp_path / 'w.pth')
        content = load(tmp_path / 'w.pth')
        assert same(content['state_dict'], found) and content['meta'] == {}
        assert set(content) == {*given, 'meta'}


@pytest.mark.parametrize('key', ['teacher', 'student'])
def test_of_a_teacher_and_its_student_none_is_chosen(key, convnext, tmp_path):
    for given in ({key: convnext}, {key: {'model': convnext}}):
        torch.save(given, tmp_path / 'w.pth')
        assert same(load(tmp_path / 'w.pth'), given)


def test_every_way_puts_tensors_where_they_shall(server, cache, convnext, bucket, tmp_path):
    torch.save({'model': convnext}, tmp_path / 'w.pth')
    server.answers['/w.pth'] = (tmp_path / 'w.pth').read_bytes()
    for source in (tmp_path / 'w.pth', server.url('/w.pth'), f's3://{tmp_path / "w.pth"}'):
        for read in (CheckpointLoader.load_checkpoint, mmengine_io.load_by_scheme):
            for device in ('meta', 'cpu'):
                content = read(str(source), device)
                devices = {v.device.type for v in content['model'].values()}
                assert devices == {device}, source


@pytest.mark.parametrize('case', contents({}))
def test_anything_else_comes_as_from_mmengine(case, convnext, untouched, tmp_path):
    given = contents(convnext)[case]
    torch.save(given, tmp_path / 'w.pth')
    found = load(tmp_path / 'w.pth')
    assert same(found, given)
    assert same(found, untouched['schemes'][''](str(tmp_path / 'w.pth'), 'cpu'))


@dataclasses.dataclass
class Own:
    """A type that a user wrote and allow-lists."""

    value: int


@pytest.mark.skipif(
    not hasattr(torch.serialization, 'safe_globals'), reason='torch 2.5 made it a context'
)
def test_types_that_the_user_allows_come_as_from_mmengine(untouched, tmp_path):
    given = {'own': Own(3), 'state_dict': WEIGHTS}
    torch.save(given, tmp_path / 'w.pth')
    with torch.serialization.safe_globals([Own]):
        found = load(tmp_path / 'w.pth')
        assert found['own'] == given['own']
        assert same(found, untouched['schemes'][''](str(tmp_path / 'w.pth'), 'cpu'))


def test_models_that_load_by_themselves_get_their_weights(tmp_path):
    pytest.importorskip('mmseg')
    assert lost_by_init_weights(tmp_path) == []


def test_urls_and_short_names(server, cache, monkeypatch, convnext):
    with io.BytesIO() as file:
        torch.save({'model': convnext}, file)
        server.answers['/w.pth'] = file.getvalue()
    row = dataclasses.replace(zoo.find('convnext-tiny_in1k'), url=server.url('/w.pth'))
    monkeypatch.setitem(zoo.published(), row.name, row)
    assert load(server.url('/w.pth'))['state_dict'].keys() == convnext.keys()
    assert load('convnext-tiny_in1k')['state_dict'].keys() == convnext.keys()
    assert server.asked == ['/w.pth']


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'nowhere\.pth.* is neither a file nor the name'):
        load(tmp_path / 'nowhere.pth')


@pytest.mark.parametrize('envelope', [None, 'state_dict'])
def test_load_checkpoint_fills_a_module(envelope, tmp_path):
    torch.save({envelope: WEIGHTS} if envelope else WEIGHTS, tmp_path / 'w.pth')
    module = nn.Linear(3, 2)
    load_checkpoint(module, str(tmp_path / 'w.pth'), strict=True)
    assert_weights(module.state_dict())


class Neck(BaseModule):
    def __init__(self, init_cfg: dict) -> None:
        super().__init__(init_cfg)
        self.linear = nn.Linear(3, 2)


@pytest.mark.parametrize('prefix', [None, 'neck.'])
def test_init_cfg_of_another_module(prefix, tmp_path):
    tensors = {f'{prefix or ""}linear.{name}': value for name, value in WEIGHTS.items()}
    path = tmp_path / 'model.safetensors'
    save_file(tensors, path)
    neck = Neck(dict(type='Pretrained', checkpoint=str(path), prefix=prefix))
    neck.init_weights()
    assert_weights(neck.linear.state_dict())


# What a Runner wrote


class ToyModel(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 1)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return dict(loss=self.linear(torch.stack(inputs)).square().mean())


def runner(work_dir, **options) -> Runner:
    data = [dict(inputs=torch.ones(2), data_samples=i) for i in range(2)]
    return Runner(
        model=ToyModel(),
        work_dir=str(work_dir),
        train_dataloader=dict(dataset=data, batch_size=1, sampler=dict(type='DefaultSampler')),
        train_cfg=dict(by_epoch=False, max_iters=3),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.5)),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=3, by_epoch=False)),
        custom_hooks=[dict(type='EMAHook', momentum=0.3)],
        experiment_name=f'{work_dir.name}-{len(MessageHub._instance_dict)}',
        **options,
    )


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A training run with averaged weights, and its checkpoint."""
    work_dir = tmp_path_factory.mktemp('run')
    run = runner(work_dir)
    run.train()
    yield run, work_dir / 'iter_3.pth'
    for singletons in (MessageHub, DefaultScope, Visualizer):  # what runners leave in the process
        singletons._instance_dict.clear()


def averaged(run: Runner) -> torch.Tensor:
    (hook,) = (hook for hook in run.hooks if type(hook).__name__ == 'EMAHook')
    return hook.ema_model.module.linear.weight


def test_checkpoint_of_mmengine_comes_whole(trained):
    content = load(trained[1])
    assert {'meta', 'state_dict', 'ema_state_dict', 'message_hub', 'optimizer'} <= set(content)
    assert content['meta']['iter'] == 3
    assert content['optimizer']['param_groups'][0]['lr'] == 0.5
    losses = content['message_hub']['log_scalars']['train/loss']
    assert isinstance(losses, HistoryBuffer) and len(losses.data[0]) >= 1


def test_weights_of_a_run_with_ema_are_the_averaged(trained):
    run, path = trained
    average, last = averaged(run), run.model.linear.weight
    assert not torch.equal(average, last)
    found = unwrap(read_checkpoint(path))
    assert (found.path, found.others) == ('state_dict', ('ema_state_dict',))
    assert torch.equal(found.tensors['linear.weight'], average)
    model = ToyModel()
    load_checkpoint(model, str(path), strict=True)
    assert torch.equal(model.linear.weight, average)


def test_run_with_ema_resumes(trained, tmp_path):
    run, path = trained
    resumed = runner(tmp_path / 'resumed', load_from=str(path), resume=True)
    resumed.train()  # at its end already: it only reads the checkpoint
    assert resumed.iter == 3
    assert torch.equal(resumed.model.linear.weight, run.model.linear.weight)
    assert torch.equal(averaged(resumed), averaged(run))


# Files that would run code


def test_path_to_a_malicious_file(evil, tmp_path):
    path, trace = evil
    for read in (load, lambda source: load_checkpoint(nn.Linear(3, 2), str(source))):
        with pytest.raises(CheckpointUnreadable, match=REFUSED):
            read(path)
    with pytest.raises(CheckpointUnreadable, match=REFUSED):
        Neck(dict(type='Pretrained', checkpoint=str(path))).init_weights()
    assert not trace.exists()


def test_url_of_a_malicious_file(evil, server, cache, monkeypatch, tmp_path):
    """Directly, and through mmengine's tables of URLs."""
    path, trace = evil
    server.answers['/w.pth'] = path.read_bytes()
    table = {'model': server.url('/w.pth')}
    monkeypatch.setenv('MMENGINE_HOME', str(tmp_path))
    (tmp_path / 'open_mmlab.json').write_text(json.dumps(table))
    monkeypatch.setattr(mmengine_checkpoint, 'get_torchvision_models', lambda: table)
    monkeypatch.setattr(mmengine_checkpoint, 'get_mmcls_models', lambda: table)
    schemes = ('openmmlab', 'open-mmlab', 'torchvision', 'modelzoo', 'mmcls')
    sources = [server.url('/w.pth'), *(f'{scheme}://model' for scheme in schemes)]
    for source in sources:
        with pytest.raises(CheckpointUnreadable, match=REFUSED):
            load(source)
    assert not trace.exists()
    assert len(server.asked) == len(sources)  # each time the bad file is set aside
    assert [path.name.partition('--')[2] for path in cache.iterdir()] == ['w.pth.bad']


# Of torch, and of our unpickler for torch before 2.6.
NOT_READ = r'Weights only load failed|Unsupported GLOBAL|getattr\(.*is not safe'


def test_table_that_leads_to_a_malicious_file(evil, unsafe_default, monkeypatch, tmp_path):
    path, trace = evil
    monkeypatch.setenv('MMENGINE_HOME', str(tmp_path))
    (tmp_path / 'open_mmlab.json').write_text(json.dumps({'model': path.name}))
    for scheme in ('openmmlab', 'open-mmlab'):
        with pytest.raises(Exception, match=NOT_READ):
            load(f'{scheme}://model')
    assert not trace.exists()


def test_bucket_with_a_malicious_file(evil, unsafe_default, bucket):
    path, trace = evil
    with pytest.raises(Exception, match=NOT_READ):
        load(f's3://{path}')
    assert not trace.exists()


def test_good_files_by_the_same_routes(server, cache, monkeypatch, tmp_path, bucket):
    torch.save({'state_dict': WEIGHTS}, tmp_path / 'w.pth')
    server.answers['/w.pth'] = (tmp_path / 'w.pth').read_bytes()
    monkeypatch.setenv('MMENGINE_HOME', str(tmp_path))
    table = {'here': 'w.pth', 'there': server.url('/w.pth')}
    (tmp_path / 'open_mmlab.json').write_text(json.dumps(table))
    for source in ('openmmlab://here', 'openmmlab://there', f's3://{tmp_path / "w.pth"}'):
        assert_weights(load(source)['state_dict'])


# Installing


def test_installing_twice_changes_nothing(mmengine_state):
    before = mmengine_state()
    mmengine_io.install()
    assert mmengine_state() == before
    assert before['schemes'][''] is mmengine_io.load_from_local
    assert before['schemes']['https://'] is mmengine_io.load_from_http
    assert before['local'] is mmengine_io.AtomicLocalBackend


def test_installing_changes_no_function_of_mmengine(untouched):
    """Schemes and the backend are replaced; everything else that reads and writes stays."""
    assert mmengine_checkpoint.torch is torch
    own = untouched['schemes']['']
    assert mmengine_checkpoint.load_from_local is own and own is not mmengine_io.load_from_local
    assert mmengine_checkpoint.load_from_http is untouched['schemes']['https://']
    assert type(CheckpointLoader._schemes) is type(untouched['schemes'])


def test_messages_name_the_loader():
    # mmengine logs which backend loads, by the name of the function.
    names = {loader.__name__ for loader in CheckpointLoader._schemes.values()}
    assert names >= {'load_from_ceph', 'load_from_torchvision', 'load_from_openmmlab'}


def test_a_loader_of_somebody_else_stays(monkeypatch):
    def load_from_mine(filename, map_location=None):
        return filename

    CheckpointLoader.register_scheme('mine://', load_from_mine)
    mmengine_io.install()
    assert CheckpointLoader._schemes['mine://'] is load_from_mine
    assert load('mine://w') == mmengine_io.load_by_scheme('mine://w') == 'mine://w'


def test_a_table_that_somebody_exchanges_later_counts(monkeypatch, tmp_path):
    """Such as the user's offline mirror of the tables behind openmmlab://."""
    torch.save({'state_dict': WEIGHTS}, tmp_path / 'w.pth')
    table = {'model': str(tmp_path / 'w.pth')}
    monkeypatch.setattr(mmengine_checkpoint, 'get_external_models', lambda: table)
    assert_weights(load('openmmlab://model')['state_dict'])


def test_backend_writes_what_it_is_given(tmp_path):
    backend = get_file_backend(str(tmp_path))
    assert type(backend) is mmengine_io.AtomicLocalBackend
    backend.put(b'content', tmp_path / 'new/file')
    assert backend.get(tmp_path / 'new/file') == b'content'
    assert [path.name for path in (tmp_path / 'new').iterdir()] == ['file']
