# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The ADE20K toy dataset: layout, labels, and the command that writes both datasets."""

import runpy
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from mmconvnext import toy
from mmconvnext.toy import (
    ADE_CLASSES,
    ADE_PALETTE,
    CLASSES,
    Scene,
    make_scene,
    void_labels,
    write_ade,
    write_coco,
)

PARAMS = dict(num_train=6, num_val=2, size=96, seed=7)
SPLITS = (('training', 'train', 6), ('validation', 'val', 2))
TINY = dict(num_train=1, num_val=1, size=64, seed=7)
TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'make_toy_data.py'


@pytest.fixture(scope='module')
def root(tmp_path_factory) -> Path:
    return write_ade(tmp_path_factory.mktemp('toy') / 'ade', **PARAMS)


def tree(root: Path) -> dict:
    """{relative path: bytes} of all files."""
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob('*') if p.is_file()}


def test_same_seed_same_bytes(tmp_path):
    one, two = (tree(write_ade(tmp_path / name, **TINY)) for name in 'ab')
    assert one == two
    other = tree(write_ade(tmp_path / 'c', **dict(TINY, seed=8)))
    assert other.keys() == one.keys()
    assert all(other[name] != one[name] for name in one)


def test_layout(root):
    expected = {'toy.json'}
    for folder, short, count in SPLITS:
        stems = [f'{folder}/ADE_{short}_{index:08d}' for index in range(1, count + 1)]
        expected |= {f'images/{stem}.jpg' for stem in stems}
        expected |= {f'annotations/{stem}.png' for stem in stems}
    assert tree(root).keys() == expected
    assert len(ADE_CLASSES) == len(ADE_PALETTE) == 5
    assert ADE_CLASSES == ('background', *CLASSES)
    assert ADE_PALETTE == ((110, 110, 110), *toy.PALETTE)  # in the order of the names
    assert len(set(ADE_PALETTE)) == 5


def test_files_hold_the_scenes(root, tmp_path):
    Image.new('RGB', (8, 8)).save(tmp_path / 'fine.jpg', quality=95)
    fine = Image.open(tmp_path / 'fine.jpg').quantization
    for split, (folder, short, count) in enumerate(SPLITS):
        for index in range(count):
            scene = make_scene((7, split, index), 96)
            stem = f'{folder}/ADE_{short}_{index + 1:08d}'
            labels = Image.open(root / 'annotations' / f'{stem}.png')
            assert labels.mode == 'L'
            labels = np.asarray(labels)
            kept = labels > 0
            np.testing.assert_array_equal(labels[kept], scene.semantic[kept] + 1)
            assert set(np.unique(labels)) == {0, 1, *(scene.labels + 2)}
            assert 0.005 < np.mean(~kept) < 0.15
            photo = Image.open(root / 'images' / f'{stem}.jpg')
            assert (photo.format, photo.mode, photo.size) == ('JPEG', 'RGB', (96, 96))
            error = np.asarray(photo).astype(float) - scene.image
            assert np.abs(error).mean() < 5
            assert JpegImagePlugin.get_sampling(photo) == 0  # one colour for each pixel
            assert photo.quantization == fine


def test_outline_is_one_pixel_and_parts_objects_of_one_class():
    masks = np.zeros((2, 5, 8), dtype=bool)
    masks[0, 1:4, 1:4] = masks[1, 1:4, 4:7] = True
    scene = Scene(
        image=np.zeros((5, 8, 3), dtype=np.uint8),
        instance_masks=masks,
        labels=np.array([1, 1]),
        semantic=(2 * masks.any(axis=0)).astype(np.uint8),
        crowd=np.zeros(2, dtype=bool),
    )
    expected = [
        [1, 0, 0, 0, 0, 0, 0, 1],
        [0, 3, 3, 0, 3, 3, 0, 1],
        [0, 3, 3, 0, 3, 3, 0, 1],
        [0, 0, 0, 0, 0, 0, 0, 1],
        [1, 1, 1, 1, 1, 1, 1, 1],
    ]
    np.testing.assert_array_equal(void_labels(scene), expected)
    above = replace(scene, instance_masks=masks.swapaxes(1, 2), semantic=scene.semantic.T)
    np.testing.assert_array_equal(void_labels(above), np.transpose(expected))


def test_mmseg_reads_classes_and_void(root):
    pytest.importorskip('mmcv')
    pytest.importorskip('mmseg')
    from mmseg.datasets import BaseSegDataset
    from mmseg.datasets.transforms import LoadAnnotations

    # What ADE20KDataset sets besides its 150 classes.
    dataset = BaseSegDataset(
        img_suffix='.jpg',
        seg_map_suffix='.png',
        reduce_zero_label=True,
        data_root=str(root),
        data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation'),
        metainfo=dict(classes=ADE_CLASSES, palette=ADE_PALETTE),
        pipeline=[],
    )
    assert len(dataset) == 2
    for index in range(2):
        labels = void_labels(make_scene((7, 1, index), 96))
        expected = np.where(labels == 0, 255, labels.astype(int) - 1)
        loaded = LoadAnnotations()(dataset.get_data_info(index))
        np.testing.assert_array_equal(loaded['gt_seg_map'], expected)


def test_equal_parameters_write_nothing(tmp_path):
    root = write_ade(tmp_path / 'ade', **TINY)
    (root / 'images' / 'training' / 'ADE_train_00000001.jpg').write_bytes(b'changed')
    before = tree(root)
    assert write_ade(root, **TINY) == root
    assert tree(root) == before


def test_coco_is_in_the_way(tmp_path):
    root = write_coco(tmp_path / 'toy', **TINY)
    before = tree(root)
    with pytest.raises(FileExistsError, match="its task is 'coco' instead of 'ade'"):
        write_ade(root, **TINY)
    assert tree(root) == before


def test_failure_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError('disk full')

    monkeypatch.setattr('mmconvnext.toy.ade.void_labels', fail)
    with pytest.raises(OSError, match='disk full'):
        write_ade(tmp_path / 'ade', **TINY)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    'name, value, least',
    [('num_train', 0, 1), ('num_val', -1, 1), ('size', 63, 64), ('seed', -1, 0)],
)
def test_bad_values_are_named(tmp_path, name, value, least):
    with pytest.raises(ValueError, match=f'{name} must be at least {least}, got {value}'):
        write_ade(tmp_path / 'ade', **{**TINY, name: value})
    assert not list(tmp_path.iterdir())


@pytest.fixture
def run_tool(monkeypatch, capsys):
    """Runs the command in this process, returns what it printed."""

    def run(*args) -> str:
        monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, args)])
        monkeypatch.setattr(sys, 'path', [*sys.path])
        runpy.run_path(str(TOOL), run_name='__main__')
        return capsys.readouterr().out

    return run


def test_tool_writes_all_and_tells_what_is_in_the_way(tmp_path, run_tool):
    args = (tmp_path, '--num-train', 1, '--num-val', 1, '--size', 64)
    printed = run_tool(*args, '--seed', 7)
    tasks = ('coco', 'ade', 'panoptic')
    assert printed.splitlines() == [f'{task}: {tmp_path / task}' for task in tasks]
    assert tree(tmp_path / 'ade') == tree(write_ade(tmp_path / 'same', **TINY))
    assert tree(tmp_path / 'coco') == tree(write_coco(tmp_path / 'same_coco', **TINY))
    with pytest.raises(SystemExit, match='its seed is 7 instead of 0'):
        run_tool(*args, '--task', 'ade')


@pytest.mark.parametrize('task', ['coco', 'ade', 'panoptic'])
def test_options_of_the_tool(monkeypatch, run_tool, task):
    """By default it writes all, as many and as large images as the functions do by themselves."""
    calls = []
    for name in ('coco', 'ade', 'panoptic'):
        fake = lambda *args, name=name: calls.append((name, *args)) or f'in {name}'  # noqa: E731
        monkeypatch.setattr(toy, f'write_{name}', fake)
    assert run_tool('my data').splitlines()[2] == 'panoptic: in panoptic'
    defaults = (440, 40, 192, 0)
    assert calls == [(n, Path('my data', n), *defaults) for n in ('coco', 'ade', 'panoptic')]
    calls.clear()
    given = ('--num-train', 5, '--num-val', 3, '--size', 70, '--seed', 9)
    assert run_tool('my data', '--task', task, *given) == f'{task}: in {task}\n'
    assert calls == [(task, Path('my data', task), 5, 3, 70, 9)]


def test_bad_values_of_the_tool_are_one_message(tmp_path, run_tool):
    with pytest.raises(SystemExit, match='^make_toy_data: size must be at least 64, got 63$'):
        run_tool(tmp_path, '--size', 63)
    with pytest.raises(SystemExit, match='^2$'):
        run_tool(tmp_path, '--task', 'voc')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('task', ['coco', 'ade', 'panoptic'])
def test_defaults_of_the_functions(monkeypatch, task):
    seen = []
    for module in ('coco', 'ade', 'panoptic'):
        monkeypatch.setattr(f'mmconvnext.toy.{module}.write_once', lambda *args: seen.append(args))
    getattr(toy, f'write_{task}')('here')
    ((root, params, _),) = seen
    assert root == 'here'
    assert params == dict(task=task, num_train=440, num_val=40, size=192, seed=0)
