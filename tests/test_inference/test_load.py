# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""inference/load.py and build.py: a config and a checkpoint become a model, and nothing else."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

import mmconvnext
from mmconvnext.checkpoint.errors import CheckpointError
from mmconvnext.recipe.errors import RecipeError

from .conftest import CLASSES, _save

IMAGE = np.random.default_rng(0).integers(0, 256, (30, 44, 3), np.uint8)


@pytest.fixture(scope='module')
def models(detector, segmentor):
    return (
        mmconvnext.load(detector, device='cpu', score=0.05),
        mmconvnext.load(segmentor, device='cpu'),
    )


def copied(folder, tmp_path, change):
    """A work dir with another checkpoint."""
    content = torch.load(folder / 'best_x_epoch_1.pth', weights_only=False)
    change(content)
    torch.save(content, tmp_path / 'x.pth')
    (config,) = folder.glob('*.py')
    (tmp_path / 'my.py').write_text(config.read_text())
    return tmp_path


def test_a_detector_and_a_segmentor_beside_each_other(models):
    detector, segmentor = models
    assert (detector.scope, segmentor.scope) == ('mmdet', 'mmseg')
    assert detector.classes == segmentor.classes == CLASSES
    assert detector.colours == [(9, 8, 7)] * 3 or len(set(detector.colours)) == 3
    assert segmentor.colours == [(1, 2, 3)] * 3
    for _ in range(2):  # in turns
        objects, labels = detector(IMAGE), segmentor(IMAGE)
        assert len(objects) and objects.masks.shape[1:] == (30, 44)
        assert (objects.scores >= 0.05).all() and labels.label_map.shape == (30, 44)
    assert not detector.net.training and detector.net.backbone.stages[0][0]._folded is not None


def test_nothing_else_changes(detector, segmentor, models):
    from mmengine.fileio.backends.registry_utils import backends
    from mmengine.runner.checkpoint import CheckpointLoader

    schemes, local = dict(CheckpointLoader._schemes), backends['local']
    scope = DefaultScope.get_current_instance()
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    for folder in (detector, segmentor):
        mmconvnext.load(folder, device='cpu')(IMAGE)
    assert torch.equal(torch.rand(2), expected)
    now = DefaultScope.get_current_instance()
    assert getattr(now, 'scope_name', None) == getattr(scope, 'scope_name', None)
    assert CheckpointLoader._schemes == schemes and backends['local'] is local


def test_a_batch_gives_what_single_images_give(models):
    images = [IMAGE, IMAGE[:, ::-1], IMAGE[::-1, :36]]
    for model in models:
        for one, other in zip(model(images, batch=3), map(model, images)):
            assert one.boxes == pytest.approx(other.boxes, abs=1e-3)
            if one.label_map is not None:
                assert (one.label_map != other.label_map).mean() < 0.01


def test_a_config_object_is_not_changed(detector):
    cfg = Config.fromfile(detector / 'det.py')
    before = repr(cfg._cfg_dict)
    model = mmconvnext.load(cfg, detector, device='cpu')
    assert model.classes == CLASSES and repr(cfg._cfg_dict) == before
    with pytest.raises(RecipeError, match='a Config needs a checkpoint'):
        mmconvnext.load(cfg)


def test_objects_below_the_score_are_dropped_before_their_masks(detector, models):
    all_ = models[0](IMAGE)
    score = float(np.median(all_.scores))
    high = mmconvnext.load(detector, device='cpu', score=score)
    assert high.cfg.model.test_cfg.rcnn.score_thr == score
    assert models[0].cfg.model.test_cfg.rcnn.score_thr == 0.05
    few, expected = high(IMAGE), all_.at_least(score)
    assert 0 < len(few) == len(expected) < len(all_)
    assert few.boxes == pytest.approx(expected.boxes, abs=1e-3)
    assert (few.masks == expected.masks).mean() > 0.999


def test_a_config_object_works_in_any_folder(detector, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # which holds no config
    cfg = Config.fromfile(detector / 'det.py')
    assert mmconvnext.load(cfg, detector, device='cpu').classes == CLASSES


@pytest.mark.parametrize('config', [None, {}, 42, '', b'det.py', Config({}), Config(dict(a=1))])
def test_what_is_no_config(config, detector):
    with pytest.raises(RecipeError, match='config=.*give a config file, the folder of a run, or'):
        mmconvnext.load(config, detector, device='cpu')


@pytest.mark.parametrize('checkpoint', [{}, 42, '', b'x.pth', torch.zeros(2)])
def test_what_is_no_checkpoint(checkpoint, detector):
    with pytest.raises(RecipeError, match='checkpoint=.*: give the file, URL or short name of a'):
        mmconvnext.load(detector, checkpoint, device='cpu')


@pytest.mark.parametrize('name', ['a' * 5000, 'a/' * 3000, '~nobody-of-this-name/x', 'a\0b'])
def test_paths_that_cannot_be(name, detector):
    with pytest.raises(RecipeError, match='there is no config'):
        mmconvnext.load(name, detector, device='cpu')
    with pytest.raises(CheckpointError, match='neither a file nor'):
        mmconvnext.load(detector, name, device='cpu')
    with pytest.raises(RecipeError, match='^there is no .*: give the folder of a run') as caught:
        mmconvnext.load(name, device='cpu')
    assert len(str(caught.value)) < 300


def test_the_averaged_weights_of_a_run_are_taken(segmentor, tmp_path):
    def average(content):  # as mmengine's EMAHook leaves a checkpoint
        raw = content['state_dict']
        averaged = {name: value * 0.5 for name, value in raw.items()}
        steps = dict(steps=torch.tensor(3))
        ema = {**{f'module.{name}': value for name, value in raw.items()}, **steps}
        content.update(state_dict=averaged, ema_state_dict=ema)

    expected = torch.load(segmentor / 'best_x_epoch_1.pth', weights_only=False)['state_dict']
    net = mmconvnext.load(copied(segmentor, tmp_path, average), device='cpu').net
    name = 'decode_head.conv_seg.weight'
    assert torch.equal(net.state_dict()[name], expected[name] * 0.5)


def test_a_model_of_other_layers(segmentor, tmp_path):
    text = (segmentor / 'seg.py').read_text()
    start, end = text.index('backbone=dict('), text.index('decode_head=')
    backbone = "backbone=dict(type='ResNetV1c', depth=18, base_channels=8, stem_channels=8),\n    "
    head = text[end:].replace('in_channels=16, in_index=0', 'in_channels=64, in_index=3')
    _save(tmp_path, 'seg.py', text[:start] + backbone + head)
    model = mmconvnext.load(tmp_path, device='cpu')
    assert model(IMAGE).label_map.shape == (30, 44)


def test_other_classes_are_refused(detector, tmp_path):
    def swap(content):
        content['meta']['dataset_meta']['classes'] = ('dog', 'cat', 'emu')

    with pytest.raises(RecipeError, match="was trained with class 0 as 'dog', the config calls it"):
        mmconvnext.load(copied(detector, tmp_path, swap), device='cpu')


def test_names_come_from_the_config_if_the_checkpoint_has_none(detector, tmp_path):
    folder = copied(detector, tmp_path, lambda content: content.pop('meta'))
    assert mmconvnext.load(folder, device='cpu').classes == CLASSES


def test_no_list_of_the_right_number_of_names(segmentor, tmp_path):
    folder = copied(segmentor, tmp_path, lambda content: content.pop('meta'))
    text = (tmp_path / 'my.py').read_text().replace(f'{list(CLASSES)}', "['cat', 'dog']")
    (tmp_path / 'my.py').write_text(text)
    with pytest.raises(RecipeError, match='the model has 3 classes, but the checkpoint names none'):
        mmconvnext.load(folder, device='cpu')


def test_weights_that_do_not_fill_the_model_are_refused(detector, tmp_path):
    def drop(content):
        del content['state_dict']['roi_head.bbox_head.fc_cls.weight']

    folder = copied(detector, tmp_path, drop)
    with pytest.raises(RecipeError, match=r'(?s)1 missing: roi_head.*only what fits: lenient_load'):
        mmconvnext.load(folder, device='cpu')


def test_a_file_that_is_no_checkpoint_is_refused(detector, tmp_path):
    (tmp_path / 'x.pth').write_bytes(b'no checkpoint')
    with pytest.raises(CheckpointError, match=r'x\.pth'):
        mmconvnext.load(detector / 'det.py', tmp_path / 'x.pth', device='cpu')


@pytest.mark.parametrize(
    ('given', 'fault'),
    [
        (dict(score=1.1), r'score=1\.1: choose a number from 0 to 1'),
        (dict(overlap=0.6), r'overlap=0\.6: choose a part'),
        (dict(tiles=16), 'tiles=16: choose a side of 32 pixels or more'),
        (dict(tiles='some'), "tiles='some': choose a side"),
        (dict(tiles=64.0), r'tiles=64\.0: choose a side'),
        (dict(tiles=True), 'tiles=True: choose a side'),
        (dict(score='0.5'), r"score='0\.5': choose a number"),
        (dict(score=None), 'score=None: choose a number'),
        (dict(score=float('nan')), 'score=nan: choose a number'),
        (dict(overlap='x'), "overlap='x': choose a part"),
        (dict(overlap=None), 'overlap=None: choose a part'),
        (dict(device='meta'), "device='meta' cannot be used here: it holds no values; choose cpu"),
        (dict(device='tpu:9'), "device='tpu:9' cannot be used here"),
        (dict(tta=True), 'this recipe has no test-time augmentation'),
    ],
)
def test_wrong_arguments(given, fault, detector):
    with pytest.raises(RecipeError, match=fault):
        mmconvnext.load(detector, **{'device': 'cpu', **given})


def test_automatic_tiles_with_test_time_augmentation(segmentor):
    text = (segmentor / 'seg.py').read_text()
    sizes = ', '.join(f"dict(type='Resize', scale=({4 * i}, {3 * i}))" for i in (8, 16, 24, 32))
    start, end = text.index("[dict(type='Resize', scale_factor"), text.index("[dict(type='RandomF")
    cfg = Config.fromstring(f'{text[:start]}[{sizes}],\n{text[end:]}', '.py')
    model = mmconvnext.load(cfg, segmentor, device='cpu', tiles='auto', tta=True)
    assert model._tiles == 48
    for height, shrunk in ((96, 2.0), (97, 1)):  # of 64 x 48
        ((_, result, found),) = model.attempts([np.zeros((height, 64, 3), np.uint8)])
        assert result.label_map.shape == (height, 64) and found == pytest.approx(shrunk)


def test_numbers_of_numpy(detector):
    model = mmconvnext.load(
        detector, device='cpu', tiles=np.int64(64), score=np.float32(0.25), overlap=np.float16(0.25)
    )
    assert (model._tiles, model.score, model._overlap) == (64, 0.25, 0.25)
    assert type(model.cfg.model.test_cfg.rcnn.score_thr) is float


def test_automatic_tiles_are_as_large_as_the_model_sees(detector, segmentor):
    model = mmconvnext.load(detector, device='cpu', tiles='auto')
    ((_, result, _),) = model.attempts([np.tile(IMAGE, (4, 3, 1))])
    assert (result.height, result.width) == (120, 132)
    assert model._tiles == 48 and model._large_only


def test_test_time_augmentation(segmentor):
    model = mmconvnext.load(segmentor, device='cpu', tta=True)
    plain = mmconvnext.load(segmentor, device='cpu')
    image = np.kron(IMAGE[:8, :11], np.ones((4, 4, 1), np.uint8))
    both = [one(image).label_map for one in (model, plain)]
    assert both[0].shape == both[1].shape == image.shape[:2]
    # Its mean over flips is symmetric, which the model alone is not.
    mirrored = [one(image[:, ::-1]).label_map[:, ::-1] for one in (model, plain)]
    assert (mirrored[0] == both[0]).mean() > (mirrored[1] == both[1]).mean()


def test_a_config_that_is_more_than_data_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'c.py').write_text("model = dict()\nopen('ran', 'w')\n")
    (tmp_path / 'x.pth').touch()
    with pytest.raises(RecipeError, match='line 2: this is code, not data'):
        mmconvnext.load('c.py', 'x.pth', config_only_data=True)
    assert not (tmp_path / 'ran').exists()
