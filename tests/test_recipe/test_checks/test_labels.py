# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/checks/labels.py: label maps whose ids do not fit the classes stop the run at once.

All maps are checked, all splits together where a single one could pass by chance.
"""

import re
from pathlib import Path

import numpy as np
import pytest
from fixtures import UPERNET, found, write_image
from mmengine.config import Config
from PIL import Image

from mmconvnext.recipe.checks.labels import check_labels
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


def seg_folder(cfg):
    dataset = cfg.train_dataloader.dataset
    return str(Path(dataset.data_root, dataset.data_prefix.seg_map_path))


@pytest.fixture
def draw(seg_data):
    """A function that rewrites the label map of a split with the given ids."""

    def write(ids, split='train', name='a.png'):
        row = np.repeat(np.array(ids), 4)
        folder = Path(seg_data['root']) / split
        write_image(folder / 'labels' / name, np.tile(row, (8, 1)))
        write_image((folder / 'images' / name).with_suffix('.jpg'), np.zeros((8, len(row), 3)))

    return write


def test_ids_of_all_classes_and_255_pass(own):
    assert found(own(), check_labels) == []


def test_a_class_that_no_map_holds_is_a_warning(own, draw):
    draw([1])
    (warning,) = found(own(), check_labels)
    assert warning == (
        "train_dataloader: no label map contains ['grass', 'sky']: cannot be learned"
    )
    draw([255])
    with pytest.raises(
        RecipeError, match=r'no label map contains any of the classes.*\n.*no_objects'
    ):
        found(own(), check_labels)


def test_ids_beyond_the_classes(own, draw):
    draw([0, 1, 2, 3, 7, 255])
    with pytest.raises(
        RecipeError,
        match=r'train_dataloader\.dataset: .* label maps contain the ids \{0, 1, 2, 3, 7, 255\}, '
        r'but 3 classes with reduce_zero_label=False allow 0 to 2 and 255: no class has \{3, 7\} '
        r'\(3 in 1, 7 in 1 of the maps, the first is \S*train/labels/a\.png\); '
        r'if no class is meant, set own_data\.ignore_ids=\[3, 7\]; otherwise correct own_data',
    ):
        found(own(), check_labels)


@pytest.mark.parametrize('first', [True, False])
def test_splits_that_differ_in_reduce_zero_label(own, draw, first):
    for split in ('train', 'val'):
        draw([1, 2], split=split)
    cfg = own(reduce_zero_label=first)
    cfg.val_dataloader.dataset.reduce_zero_label = not first
    found(cfg, check_labels, LOADERS[:1])
    match = (
        rf'val_dataloader\.dataset has reduce_zero_label={not first}, but '
        rf'train_dataloader\.dataset has {first}: id 1 would be class {int(first)} in one and '
        rf'class {int(not first)} in the other.*\n\(checks\.reduce_zero_label=False'
    )
    with pytest.raises(RecipeError, match=match):
        found(cfg, check_labels)
    cfg.checks = dict(reduce_zero_label=False)
    assert 'passed by checks.reduce_zero_label' in found(cfg, check_labels)[0]
    cfg.checks = {}
    cfg.val_dataloader.dataset.data_prefix.seg_map_path = None  # no label maps
    assert not any('reduce_zero_label' in text for text in found(cfg, check_labels, LOADERS[:2]))


def test_only_the_val_split_is_wrong(own, draw):
    draw([0, 9], split='val')
    found(own(), check_labels, LOADERS[:1])
    with pytest.raises(RecipeError, match=r'val_dataloader\.dataset: .*no class has \{9\}'):
        found(own(), check_labels)


def test_many_ids_are_cut_short(own, draw):
    draw(list(range(20)))
    with pytest.raises(RecipeError, match=r'\{0, 1, 2, 3, 4, 5, 6, 7, \.\.\.\}'):
        found(own(), check_labels)


@pytest.mark.parametrize(
    ('train', 'val', 'loaders', 'where'),
    [
        ([0, 255], [0, 255], LOADERS, 'train_dataloader'),
        ([0, 255], [0, 1], LOADERS, 'train_dataloader'),
        ([0, 1], [0, 255], LOADERS[1:], 'val_dataloader'),
        ([0, 1], [0, 255], LOADERS, None),  # it learns two classes
        ([0], [0], LOADERS, None),
    ],
)
def test_masks_in_black_and_white(own, draw, train, val, loaders, where):
    draw(train)
    draw(val, split='val')
    cfg = own(classes=['background', 'cell'])
    if where is None:
        assert not any('black' in text for text in found(cfg, check_labels, loaders))
        return
    match = rf'^{where}: .* \{{0, 255\}}, and 255 means "ignore".*ids 0 and 1\n\(checks.black'
    with pytest.raises(RecipeError, match=match):
        found(cfg, check_labels, loaders)


def test_reduce_zero_label_would_drop_a_class(own, draw):
    draw([0, 1])
    draw([0, 1], split='val')
    cfg = own(classes=['background', 'cell'], reduce_zero_label=True)
    with pytest.raises(
        RecipeError,
        match=r'one for each of the 2 classes, but reduce_zero_label=True drops id 0.*'
        r'own_data\.reduce_zero_label=False',
    ):
        found(cfg, check_labels)
    found(own(classes=['background', 'cell']), check_labels)


def test_reduce_zero_label_allows_one_id_more(own, draw):
    for split in ('train', 'val'):
        draw([0, 1, 2, 3], split=split)
    found(own(reduce_zero_label=True), check_labels)
    draw([0, 1, 2, 4])
    with pytest.raises(RecipeError, match=r'zero_label=True allow 0 to 3 and 255: .* has \{4\}'):
        found(own(reduce_zero_label=True), check_labels)


def test_rgb_label_maps(own, seg_data):
    file = Path(seg_data['root']) / 'train/labels/a.png'
    write_image(file, np.full((64, 64, 3), [9, 0, 0]))
    with pytest.raises(RecipeError, match=f'{file} has 3 channels with colours; a label map has'):
        found(own(), check_labels)


def test_palette_images_hold_ids(own, seg_data, draw):
    file = Path(seg_data['root']) / 'train/labels/a.png'
    with Image.open(file) as image:
        paletted = Image.fromarray(np.asarray(image), mode='P')
    paletted.putpalette([200] * 768)
    paletted.save(file)
    found(own(), check_labels)


def test_no_label_map(own, seg_data):
    (Path(seg_data['root']) / 'train/labels/a.png').unlink()
    with pytest.raises(RecipeError, match=r'no image has a label map: .*train/labels/a\.png'):
        found(own(), check_labels)


def test_another_suffix(own, seg_data):
    with pytest.raises(
        RecipeError,
        match=r"no image has a label map: .*a_mask\.png .* own_data\.label_suffix='\.png'",
    ):
        found(own(label_suffix='_mask.png'), check_labels)
    for split in ('train', 'val'):
        write_image(Path(seg_data['root']) / split / 'labels/a_mask.png', np.ones((64, 64)))
        write_image(Path(seg_data['root']) / split / 'labels/a.png', np.full((64, 64), 99))
    found(own(label_suffix='_mask.png'), check_labels)


def test_one_id_in_the_last_of_many_maps(own, draw):
    for i in range(40):
        draw([0, 1, 2], name=f'{i:02}.png')
    draw([0, 9], name='zz.png')
    with pytest.raises(
        RecipeError, match=r'no class has \{9\} \(9 in 1 of the maps, the first is \S*zz\.png\)'
    ):
        found(own(), check_labels, LOADERS[:1])


def test_a_rare_class_is_no_error(own, draw):
    # 0 is unlabelled, 1 a cat, 2 a dog; dogs are in the last map alone.
    for i in range(30):
        draw([0, 1], name=f'{i:02}.png')
    draw([0, 1, 2], name='zz.png')
    (Path(own().train_dataloader.dataset.data_root) / 'train/images/a.jpg').unlink()
    draw([0, 1], split='val')
    cfg = own(classes=['cat', 'dog'], reduce_zero_label=True)
    (warning,) = found(cfg, check_labels)  # and none of a class
    assert warning == f'{seg_folder(cfg)}: left out: 1 label map without an image (a.png)'


def test_a_rare_class_in_another_split(own, draw):
    draw([0, 1])
    draw([0, 1, 2], split='val')
    cfg = own(classes=['cat', 'dog'], reduce_zero_label=True)
    assert found(cfg, check_labels) == [
        "train_dataloader: no label map contains ['dog']: cannot be learned"
    ]


def test_a_class_absent_from_the_test_set_is_a_warning(own, draw):
    draw([0, 1], split='val')
    cfg = own(classes=['cat', 'dog'], reduce_zero_label=True)
    (warning,) = found(cfg, check_labels, LOADERS[2:])
    assert "so that 'dog' is in no map" in warning


def test_unlabelled_without_reduce_zero_label(own, draw):
    draw([0, 1, 2])
    draw([0, 1, 2], split='val')
    with pytest.raises(
        RecipeError,
        match=r'if 0 means unlabelled, set own_data\.reduce_zero_label=True; if no class is meant, '
        r'set own_data\.ignore_ids=\[2\]; otherwise',
    ):
        found(own(classes=['cat', 'dog']), check_labels)


@pytest.mark.parametrize(
    ('ids', 'classes', 'reduce', 'message'),
    [
        ([0, 257], 3, False, r'allow 0 to 2 and 255: no class has \{257\}'),
        ([0, -1], 3, False, r'allow 0 to 2 and 255: no class has \{-1\}'),
        # 255 is ignored, whatever the number of classes.
        ([254, 255, 256], 300, False, r'allow 0 to 254 and 255: no class has \{256\}'),
        ([254, 255, 256], 300, True, r'allow 0 to 254 and 255: no class has \{256\}'),
        ([253, 254, 255], 254, False, r'allow 0 to 253 and 255: no class has \{254\}'),
        ([253, 254, 255], 254, True, None),
    ],
)
def test_ids_beyond_8_bits(own, seg_data, ids, classes, reduce, message):
    # mmseg keeps the low 8 bits: 257 would be class 1.
    labels = np.resize(np.array(ids, dtype=np.int32), (64, 64))
    for split in ('train', 'val'):
        Image.fromarray(labels).save(Path(seg_data['root'], split, 'labels/a.tif'))
    names = [f'{i}' for i in range(classes)]
    cfg = own(classes=names, reduce_zero_label=reduce, label_suffix='.tif')
    if message is None:
        (warning,) = found(cfg, check_labels)  # 20 of the 252 names that are in no map
        assert warning.startswith("train_dataloader: no label map contains ['0', '1', ")
        assert "'19', ...]: cannot be learned" in warning
        return
    with pytest.raises(RecipeError, match=message):
        found(cfg, check_labels)


def test_an_image_without_label_map(own, seg_data):
    write_image(Path(seg_data['root']) / 'val/images/b.jpg', np.zeros((8, 8, 3)))
    with pytest.raises(
        RecipeError,
        match=r'val_dataloader\.dataset: 1 of 2 images have no .* first is .*labels/b\.png',
    ):
        found(own(), check_labels)


def test_label_maps_beside_images_of_the_same_suffix(own, seg_data):
    for split in ('train', 'val'):
        folder = Path(seg_data['root']) / split / 'images'
        for name in ('a.png', 'a_mask.png'):
            write_image(folder / name, np.eye(3, 3))
    cfg = own(
        image_suffix='.png',
        label_suffix='_mask.png',
        **{s: dict(images=f'{s}/images', annotations=f'{s}/images') for s in ('train', 'val')},
    )
    assert found(cfg, check_labels) == [
        "train_dataloader: no label map contains ['sky']: cannot be learned"
    ]
    cfg.train_dataloader.dataset.ann_file = ''  # as without own_data
    with pytest.raises(
        RecipeError, match='1 of 2 images have no .*a_mask_mask.png; label maps are mistaken'
    ):
        found(cfg, check_labels)


@pytest.mark.parametrize('reduce', [False, True])
def test_one_class_alone(own, draw, reduce):
    for split in ('train', 'val'):
        draw([0, 1] if reduce else [0, 255, 0], split=split)
    cfg = own(classes=['crop'], reduce_zero_label=reduce)
    way = r"write classes=\['background', 'crop'\] with reduce_zero_label=False"
    if reduce:
        with pytest.raises(
            RecipeError, match=rf"a single class, 'crop', whose softmax is always 1.*{way}"
        ):
            found(cfg, check_labels)
        cfg.model.decode_head.loss_decode.use_sigmoid = True
        assert found(cfg, check_labels) == []
    else:
        draw([0, 1])
        with pytest.raises(RecipeError, match=rf'no class has \{{1\}}.*{way} for the ids 0 and 1'):
            found(cfg, check_labels)


def test_a_label_map_without_image_does_not_count(own, seg_data):
    for name in ('other.png', 'sub/more.png'):
        write_image(Path(seg_data['root']) / 'train/labels' / name, np.full((8, 8), 99))
    write_image(Path(seg_data['root']) / 'train/labels/picture.jpg', np.full((8, 8, 3), 99))
    cfg = own()
    (warning,) = found(cfg, check_labels)
    assert warning == (
        f'{seg_folder(cfg)}: left out: 2 label maps without an image (other.png, sub/more.png)'
    )
    assert found(cfg, check_labels, LOADERS[1:]) == []


def test_label_maps_of_other_splits_in_one_folder_are_not_left_out(own, seg_data):
    root = Path(seg_data['root'])
    write_image(root / 'val/images/b.jpg', np.zeros((64, 64, 3)))
    (root / 'val/images/a.jpg').unlink()
    (root / 'val/labels/a.png').rename(root / 'train/labels/b.png')
    val = dict(images='val/images', annotations='train/labels')
    assert found(own(val=val), check_labels) == []
    assert found(own(val=val), check_labels, LOADERS[2:]) == []


def test_a_remote_dataset_hides_no_other(own, draw):
    cfg = own()
    cfg.train_dataloader.dataset.data_root = 's3://bucket'
    draw([0, 99], split='val')
    with pytest.raises(RecipeError, match=r'val_dataloader\.dataset: .* no class has \{99\}'):
        found(cfg, check_labels)


def test_only_the_images_of_a_list_count(own, seg_data, draw):
    draw([0, 99], name='other.png')
    cfg = own()
    for loader in LOADERS:
        cfg[loader].dataset.ann_file = 'list.txt'
    (Path(seg_data['root']) / 'list.txt').write_text('a\n')
    assert found(cfg, check_labels) == []


def test_no_image(own, seg_data):
    folder = re.escape(str(Path(seg_data['root']) / 'train/images'))
    with pytest.raises(
        RecipeError,
        match=rf"train_dataloader\.dataset: no image in {folder} ends in '\.tif', but 1 end "
        r"in '\.jpg'; set own_data\.image_suffix='\.jpg'",
    ):
        found(own(image_suffix='.tif'), check_labels)


def test_a_broken_label_map(own, seg_data, draw):
    draw([0, 1, 2], name='b.png')
    (Path(seg_data['root']) / 'train/labels/b.png').write_bytes(b'no image')
    with pytest.raises(
        RecipeError, match=r'1 of 2 label maps cannot be read, the first .*b\.png \(it is no image'
    ):
        found(own(), check_labels)


@pytest.mark.parametrize('name', ['label_ids', 'label_maps', 'black_white', 'reduce_zero_label'])
def test_each_refusal_has_a_way_round(own, seg_data, draw, name):
    for split in ('train', 'val'):
        draw([0, 255] if name == 'black_white' else [0, 1], split=split)
    if name == 'label_ids':
        draw([0, 1, 5])
    if name == 'label_maps':
        write_image(Path(seg_data['root']) / 'train/labels/a.png', np.full((8, 8, 3), [9, 0, 0]))
    cfg = own(classes=['a', 'b'], reduce_zero_label=name == 'reduce_zero_label')
    with pytest.raises(RecipeError, match=rf'\n\(checks\.{name}=False in the config'):
        found(cfg, check_labels)
    cfg.checks = {name: False}
    assert f'(passed by checks.{name}=False)' in found(cfg, check_labels)[0]


def test_other_processes_than_the_first_read_nothing(own, draw, monkeypatch):
    draw([0, 9])
    cfg = own()
    monkeypatch.setenv('RANK', '1')
    with pytest.raises(RecipeError):
        found(cfg, check_labels)  # without a launcher the variable is somebody else's
    cfg.launcher = 'pytorch'
    assert found(cfg, check_labels) == []
    monkeypatch.setenv('RANK', '0')
    with pytest.raises(RecipeError):
        found(cfg, check_labels)


def test_a_choice_among_the_classes_of_a_known_dataset(tmp_path):
    # mmseg maps their ids; the others become 255.
    write_image(tmp_path / 'labels/a.png', np.arange(151).reshape(1, 151))
    cfg = _of_type('ADE20KDataset', tmp_path)
    cfg.train_dataloader.dataset.metainfo = dict(classes=('sky', 'wall'))
    assert found(cfg, check_labels) == []


def test_label_maps_in_subfolders_are_found(own, draw):
    draw([0, 8], name='city/a.png')
    with pytest.raises(RecipeError, match=r'no class has \{8\}'):
        found(own(), check_labels)


def test_remote_data_and_data_without_labels_are_left_alone(own):
    cfg = own()
    cfg.train_dataloader.dataset.data_root = 's3://bucket'
    cfg.val_dataloader.dataset.data_prefix.pop('seg_map_path')
    cfg.test_dataloader.dataset.metainfo = None  # no names: nothing to compare with
    found(cfg, check_labels)


def _of_type(kind: str, root: Path) -> Config:
    dataset = dict(type=kind, data_root=str(root), data_prefix=dict(seg_map_path='labels'))
    return Config(dict(default_scope='mmseg', train_dataloader=dict(dataset=dataset)))


def test_ade20k_reduces_by_itself(tmp_path):
    write_image(tmp_path / 'labels/a.png', np.arange(151).reshape(1, 151))
    found(_of_type('ADE20KDataset', tmp_path), check_labels)
    write_image(tmp_path / 'labels/a.png', np.full((4, 4), 151))
    with pytest.raises(RecipeError, match=r'allow 0 to 150 and 255: no class has \{151\}'):
        found(_of_type('ADE20KDataset', tmp_path), check_labels)


def test_other_datasets_of_mmseg_that_reduce_by_themselves(tmp_path):
    write_image(tmp_path / 'labels/a.png', np.arange(8).reshape(1, 8))
    found(_of_type('LoveDADataset', tmp_path), check_labels)  # 0 is no data, 1 to 7 are classes


def test_other_datasets_of_mmseg_with_a_suffix_of_their_own(tmp_path):
    write_image(tmp_path / 'labels/a_gtFine_labelTrainIds.png', np.arange(19).reshape(1, 19))
    write_image(tmp_path / 'labels/a_gtFine_labelIds.png', np.arange(33).reshape(1, 33))
    write_image(tmp_path / 'labels/a_gtFine_color.png', np.zeros((4, 4, 4)))
    found(_of_type('CityscapesDataset', tmp_path), check_labels)


def test_a_missing_folder_of_images_is_told_by_the_check_of_files(own, seg_data):
    cfg = own()
    for loader in LOADERS:
        cfg[loader].dataset.data_prefix.img_path = 'elsewhere'
    with pytest.raises(RecipeError, match=r'no pair of image .* in .*elsewhere'):
        found(cfg, check_labels)
    cfg.checks = dict(label_maps=False)
    assert any('no pair of image' in line for line in found(cfg, check_labels))
