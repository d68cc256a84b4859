# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/checks/labels.py: label maps whose ids do not fit the classes stop the run at once."""

from pathlib import Path

import numpy as np
import pytest
from fixtures import UPERNET, write_image
from mmengine.config import Config
from PIL import Image

from mmconvnext.recipe.checks.labels import SAMPLE, check_labels
from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.own_data import apply_own_data
from mmconvnext.recipe.walk import LOADERS


@pytest.fixture
def own(load, seg_data):
    """A function that gives the config of ``seg_data`` with the changes."""

    def build(**change):
        cfg = load(UPERNET)
        cfg.own_data = dict(seg_data, **change)
        apply_own_data(cfg)
        return cfg

    return build


@pytest.fixture
def draw(seg_data):
    """A function that rewrites the label map of a split with the given ids."""

    def write(ids, split='train', name='a.png'):
        row = np.repeat(np.array(ids), 4)
        write_image(Path(seg_data['root']) / split / 'labels' / name, np.tile(row, (8, 1)))

    return write


def test_ids_of_all_classes_and_255_pass(own):
    check_labels(own(), LOADERS)


def test_fewer_ids_than_classes_pass(own, draw):
    draw([1])
    check_labels(own(), LOADERS)


def test_ids_beyond_the_classes(own, draw):
    draw([0, 1, 2, 3, 7, 255])
    with pytest.raises(
        RecipeError,
        match=r'train_dataloader\.dataset: .*\{0, 1, 2, 3, 7, 255\}, but 3 classes with '
        r'reduce_zero_label=False allow 0 to 2 and 255: \{3, 7\} is no class; correct own_data',
    ):
        check_labels(own(), LOADERS)


def test_only_the_val_split_is_wrong(own, draw):
    draw([0, 9], split='val')
    check_labels(own(), LOADERS[:1])
    with pytest.raises(RecipeError, match=r'val_dataloader\.dataset: .*\{9\} is no class'):
        check_labels(own(), LOADERS)


def test_many_ids_are_cut_short(own, draw):
    draw(list(range(20)))
    with pytest.raises(RecipeError, match=r'\{0, 1, 2, 3, 4, 5, 6, 7, \.\.\.\}'):
        check_labels(own(), LOADERS)


def test_masks_in_black_and_white(own, draw):
    draw([0, 255])
    with pytest.raises(RecipeError, match=r'\{0, 255\}, and 255 means "ignore".*ids 0 and 1'):
        check_labels(own(classes=['background', 'cell']), LOADERS)


def test_reduce_zero_label_would_drop_a_class(own, draw):
    draw([0, 1])
    draw([0, 1], split='val')
    cfg = own(classes=['background', 'cell'], reduce_zero_label=True)
    with pytest.raises(
        RecipeError,
        match=r'one for each of the 2 classes, but reduce_zero_label=True drops id 0.*'
        r'own_data\.reduce_zero_label=False',
    ):
        check_labels(cfg, LOADERS)
    check_labels(own(classes=['background', 'cell']), LOADERS)


def test_reduce_zero_label_allows_one_id_more(own, draw):
    for split in ('train', 'val'):
        draw([0, 1, 2, 3], split=split)
    check_labels(own(reduce_zero_label=True), LOADERS)
    draw([0, 1, 2, 4])
    with pytest.raises(RecipeError, match=r'reduce_zero_label=True allow 0 to 3 and 255: \{4\}'):
        check_labels(own(reduce_zero_label=True), LOADERS)


def test_rgb_label_maps(own, seg_data):
    file = Path(seg_data['root']) / 'train/labels/a.png'
    write_image(file, np.zeros((8, 8, 3)))
    with pytest.raises(RecipeError, match=f'{file} has 3 channels; a label map has one'):
        check_labels(own(), LOADERS)


def test_palette_images_hold_ids(own, seg_data, draw):
    file = Path(seg_data['root']) / 'train/labels/a.png'
    with Image.open(file) as image:
        paletted = Image.fromarray(np.asarray(image), mode='P')
    paletted.putpalette([200] * 768)
    paletted.save(file)
    check_labels(own(), LOADERS)


def test_no_label_map(own, seg_data):
    (Path(seg_data['root']) / 'train/labels/a.png').unlink()
    with pytest.raises(RecipeError, match=r'no label map \(\*\.png\) lies in .*train/labels'):
        check_labels(own(), LOADERS)


def test_another_suffix(own, seg_data):
    with pytest.raises(RecipeError, match=r'no label map \(\*_mask\.png\)'):
        check_labels(own(label_suffix='_mask.png'), LOADERS)
    for split in ('train', 'val'):
        write_image(Path(seg_data['root']) / split / 'labels/b_mask.png', np.ones((8, 8)))
        write_image(Path(seg_data['root']) / split / 'labels/a.png', np.full((8, 8), 99))
    check_labels(own(label_suffix='_mask.png'), LOADERS)


def test_a_sample_is_enough(own, draw, monkeypatch):
    opened = []
    real = Image.open
    monkeypatch.setattr(Image, 'open', lambda file: opened.append(file) or real(file))
    for i in range(SAMPLE + 5):
        draw([0, 1, 2], name=f'{i}.png')
    check_labels(own(), LOADERS[:1])
    assert len(opened) == SAMPLE


def test_label_maps_in_subfolders_are_found(own, draw):
    draw([0, 8], name='city/a.png')
    with pytest.raises(RecipeError, match=r'\{8\} is no class'):
        check_labels(own(), LOADERS)


def test_remote_data_and_data_without_labels_are_left_alone(own):
    cfg = own()
    cfg.train_dataloader.dataset.data_root = 's3://bucket'
    cfg.val_dataloader.dataset.data_prefix.pop('seg_map_path')
    cfg.test_dataloader.dataset.metainfo = None  # no names: nothing to compare with
    check_labels(cfg, LOADERS)


def _of_type(kind: str, root: Path) -> Config:
    dataset = dict(type=kind, data_root=str(root), data_prefix=dict(seg_map_path='labels'))
    return Config(dict(default_scope='mmseg', train_dataloader=dict(dataset=dataset)))


def test_ade20k_reduces_by_itself(tmp_path):
    write_image(tmp_path / 'labels/a.png', np.arange(151).reshape(1, 151))
    check_labels(_of_type('ADE20KDataset', tmp_path), LOADERS)
    write_image(tmp_path / 'labels/a.png', np.full((4, 4), 151))
    with pytest.raises(RecipeError, match=r'allow 0 to 150 and 255: \{151\}'):
        check_labels(_of_type('ADE20KDataset', tmp_path), LOADERS)


def test_other_datasets_of_mmseg_that_reduce_by_themselves(tmp_path):
    write_image(tmp_path / 'labels/a.png', np.arange(8).reshape(1, 8))
    check_labels(_of_type('LoveDADataset', tmp_path), LOADERS)  # 0 is no data, 1 to 7 are classes


def test_other_datasets_of_mmseg_with_a_suffix_of_their_own(tmp_path):
    write_image(tmp_path / 'labels/a_gtFine_labelTrainIds.png', np.arange(19).reshape(1, 19))
    write_image(tmp_path / 'labels/a_gtFine_labelIds.png', np.arange(33).reshape(1, 33))
    write_image(tmp_path / 'labels/a_gtFine_color.png', np.zeros((4, 4, 4)))
    check_labels(_of_type('CityscapesDataset', tmp_path), LOADERS)
