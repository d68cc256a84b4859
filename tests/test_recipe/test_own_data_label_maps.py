# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/own_data/kinds/label_maps.py: parts of the images as splits, and lists of names."""

from pathlib import Path

import numpy as np
import pytest
from fixtures import UPERNET, write_image
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.own_data import apply_own_data
from mmconvnext.recipe.walk import LOADERS


@pytest.fixture
def data(tmp_path):
    """20 images; soil is everywhere, crop in half of the maps, weed in 4."""
    for i in range(20):
        ids = np.zeros((4, 6))
        ids[0, :2], ids[1, :3] = i % 2, 2 * (i % 5 == 4)
        write_image(tmp_path / f'images/s/{i}_x.jpg', np.full((4, 6, 3), i))
        write_image(tmp_path / f'labels/s/{i}_y.png', ids)
    split = dict(images='images', annotations='labels')
    return dict(
        root=str(tmp_path),
        classes=['soil', 'crop', 'weed'],
        train=split,
        val=split,
        image_suffix='_x.jpg',
        label_suffix='_y.png',
    )


@pytest.fixture
def own(load, data):
    def build(cfg=None, **options):
        cfg = cfg or load(UPERNET)
        cfg.own_data = {**data, **options}
        apply_own_data(cfg)
        return cfg

    return build


def images(cfg, loader):
    """The numbers of the images that mmseg reads, each with its own label map."""
    from mmseg.registry import DATASETS

    init_default_scope('mmseg')
    dataset = DATASETS.build({**cfg[loader].dataset, 'pipeline': [], 'serialize_data': False})
    found = []
    for i in range(len(dataset)):
        entry = dataset.get_data_info(i)
        image, label = Path(entry['img_path']), Path(entry['seg_map_path'])
        assert image.is_file() and label.is_file()
        found.append(int(image.name.partition('_')[0]))
        assert label.name == f'{found[-1]}_y.png'
    return found


def test_a_part_of_the_training_data_is_measured(own):
    cfg = own(val=0.25)
    train, val, test = (images(cfg, loader) for loader in LOADERS)
    assert sorted(train + val) == list(range(20)) and val == test
    assert len(val) == 5
    assert sum(i % 5 == 4 for i in val) == 1  # a quarter of the rare class
    assert sum(i % 2 for i in val) in (2, 3)
    assert images(own(val=0.25), LOADERS[1]) == val


def test_the_part_of_a_list_of_names(own, data):
    cfg = own(val=0.25, train=dict(data['train'], names=[str(i) for i in range(8)]))
    train, val, test = (images(cfg, loader) for loader in LOADERS)
    assert sorted(train + val) == list(range(8)) and len(val) == 2 and test == val


def test_a_test_set_of_its_own(own, data):
    cfg = own(val=0.25, test=data['train'])
    assert len(images(cfg, LOADERS[2])) == 20
    cfg = own(val=0.25, test=dict(images='images'))
    assert 'ann_file' not in cfg.test_dataloader.dataset


def test_maps_that_cannot_be_read_yet_are_divided_too(own, data):
    Path(data['root'], 'labels/s/3_y.png').write_bytes(b'no image')
    assert sorted(images(own(val=0.5), LOADERS[0]) + images(own(val=0.5), LOADERS[1])) == [
        *range(20)
    ]


@pytest.mark.parametrize(
    ('options', 'error'),
    [
        (dict(val=1.5), r'own_data\.val=1\.5: the fraction 1\.5 is not between 0 and 1'),
        (dict(val=0.5, image_suffix='/7_x.jpg'), r'own_data\.val=0\.5: two images are needed'),
    ],
)
def test_what_cannot_be_divided(own, options, error):
    with pytest.raises(RecipeError, match=error):
        own(**options)


def test_folders_without_images_are_left_to_the_checks(own):
    cfg = own(val=0.5, image_suffix='.tif')
    assert 'ann_file' not in cfg.train_dataloader.dataset
    assert cfg.val_dataloader.dataset.data_prefix == cfg.train_dataloader.dataset.data_prefix


@pytest.mark.parametrize(
    'names',
    [
        ['s/3', 's/11'],
        ['3', '11'],
        ['3_x', '11_x.jpg'],
        ['s/3_x.jpg', 's\\11_x.jpg', ' ', '3'],
        's/list.txt',
    ],
)
def test_images_by_name(own, data, names):
    Path(data['root'], 's').mkdir()
    Path(data['root'], 's/list.txt').write_text('\ufeff3\n\ns/11\n', encoding='utf-8')
    cfg = own(val=dict(data['val'], names=names))
    assert images(cfg, LOADERS[1]) == [11, 3]  # in the order of their names
    assert len(images(cfg, LOADERS[0])) == 20


@pytest.mark.parametrize('names', [['3', 'x', '4'], ['3_y']])
def test_unknown_names(own, data, names):
    unknown = [name for name in names if name in ('x', '3_y')]
    with pytest.raises(
        RecipeError,
        match=rf"\.val\.names: .*images has no image \['{unknown[0]}'\] ending in '_x\.jpg'$",
    ):
        own(val=dict(data['val'], names=names))


@pytest.mark.parametrize(
    ('content', 'error'),
    [
        (b' \r\n\n', r'list\.txt is empty'),
        ('3\n'.encode('utf-16'), r"list\.txt cannot be read: 'utf-8' codec .* save it as UTF-8"),
        (None, r'list\.txt does not exist'),
    ],
)
def test_lists_that_cannot_be_read(own, data, content, error):
    if content is not None:
        Path(data['root'], 'list.txt').write_bytes(content)
    with pytest.raises(RecipeError, match=rf'own_data\.val\.names: \S+{error}'):
        own(val=dict(data['val'], names='list.txt'))


@pytest.mark.parametrize('name', ['reduce_zero_label', 'ignore_exif'])
@pytest.mark.parametrize('value', ['False', 1, []])
def test_switches_are_true_or_false(own, name, value):
    with pytest.raises(RecipeError, match=rf'own_data\.{name}=.*: choose True or False'):
        own(**{name: value})


@pytest.mark.parametrize('name', ['3_x', '3_x.jpg', 's/3_x'])
def test_names_of_images_with_another_suffix(own, data, name):
    with pytest.raises(
        RecipeError,
        match=rf"names: .*images has no image \['{name}'\] ending in '\.png', but s/3_x\.jpg; "
        r"set own_data\.image_suffix='\.jpg'$",
    ):
        own(val=dict(data['val'], names=[name]), image_suffix='.png')


def test_lists_come_back_when_the_cache_was_cleared(own, data, cache_home, tmp_path):
    cfg = own(val=0.25)
    cfg.dump(tmp_path / 'a.py')
    val = images(cfg, LOADERS[1])
    for file in (cache_home / 'splits').iterdir():
        file.unlink()
    again = Config.fromfile(tmp_path / 'a.py')
    apply_own_data(again)
    assert images(again, LOADERS[1]) == val


def test_lists_of_another_own_data_are_forgotten(own):
    cfg = own(val=0.25)
    own(cfg)
    assert [len(images(cfg, loader)) for loader in LOADERS] == [20] * 3


def test_a_list_of_the_users_own_stays(own, load):
    cfg = own()
    cfg.train_dataloader.dataset.ann_file = 'mine.txt'
    own(cfg, classes=['a', 'b', 'c'])
    assert cfg.train_dataloader.dataset.ann_file == 'mine.txt'
    assert 'ann_file' not in cfg.val_dataloader.dataset


def test_label_maps_among_the_images_are_no_images(own, data, tmp_path):
    for i in range(3):
        write_image(tmp_path / f'both/{i}.png', np.zeros((4, 6, 3)))
        write_image(tmp_path / f'both/{i}_y.png', np.full((4, 6), i))
    split = dict(images='both', annotations='both')
    options = dict(train=split, image_suffix='.png')
    cfg = own(val=split, **options)
    assert [images_of(cfg, loader) for loader in LOADERS] == [['0.png', '1.png', '2.png']] * 3
    cfg = own(val=0.4, **options)
    assert sorted(images_of(cfg, LOADERS[0]) + images_of(cfg, LOADERS[1])) == [
        '0.png',
        '1.png',
        '2.png',
    ]
    cfg = own(val=dict(split, names=['1']), **options)
    assert images_of(cfg, LOADERS[1]) == ['1.png']


@pytest.mark.parametrize(('link', 'target'), [('self', 'self'), ('s/up', '..')])
def test_a_folder_with_an_endless_link_is_listed(own, data, tmp_path, link, target):
    """mmseg's own listing fails."""
    (tmp_path / 'images' / link).symlink_to(target)
    cfg = own(test=dict(images='images'))
    assert sorted(images(cfg, LOADERS[0])) == list(range(20))
    assert len(images_of(cfg, LOADERS[2])) == 20
    assert sorted(sum((images(own(val=0.25), loader) for loader in LOADERS[:2]), [])) == [
        *range(20)
    ]


def images_of(cfg, loader):
    lines = Path(cfg[loader].dataset.ann_file).read_text().split()
    return [line + cfg[loader].dataset.img_suffix for line in lines]


def test_a_home_that_cannot_be_written_to(own, monkeypatch, tmp_path):
    (tmp_path / 'file').touch()
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
    with pytest.raises(
        RecipeError, match=r'own_data\.val=0\.5: images-\w+\.txt cannot be written to the cache'
    ):
        own(val=0.5)
    own()


def test_a_home_that_cannot_be_written_to_and_one_folder(own, monkeypatch, tmp_path):
    for name in ('0.png', '0_y.png'):
        write_image(tmp_path / 'both' / name, np.zeros((4, 6)))
    (tmp_path / 'file').touch()
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
    split = dict(images='both', annotations='both')
    with pytest.raises(RecipeError, match=r'own_data: \S+ cannot be written'):
        own(train=split, val=split, image_suffix='.png')
