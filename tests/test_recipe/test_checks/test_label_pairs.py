# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/checks/label_pairs.py: where label maps or images are missing, the message says why.

More ways to name files are in tests/test_recipe/test_label_maps.py.
"""

from pathlib import Path

import numpy as np
import pytest
from fixtures import found, write_image
from mmengine.config import Config

from mmconvnext.recipe.checks.labels import check_labels
from mmconvnext.recipe.errors import RecipeError


@pytest.fixture
def own(pairs_of, tmp_path):
    """A function that writes files with these names, and gives the config for them."""

    def build(images, maps, **options):
        for name in images:
            write_image(tmp_path / 'i' / name, np.zeros((4, 4, 3)))
        (tmp_path / 'm').mkdir(exist_ok=True)
        for name in maps:
            (tmp_path / 'm' / name).parent.mkdir(parents=True, exist_ok=True)
            write_image(tmp_path / 'm' / name, np.eye(4))
        return pairs_of(**options)

    return build


@pytest.mark.parametrize(
    ('images', 'maps', 'message'),
    [
        (
            ['a/0.jpg', 'b/1.jpg'],
            ['0.png', '1.png'],
            r'2 of them are in other folders than their images, such as 0\.png; arrange',
        ),
        (['0.jpg', '1.jpg', '2.jpg'], ['0.png'], r'2 of 3 .* \(also 2\.png\); add them, remove'),
        (['Im_0.jpg'], ['im_0.png'], r'; im_0\.png differ in upper and lower case or Unicode form'),
        (['\u00e4.jpg'], ['a\u0308.png'], r'; a\u0308\.png differ in .* Unicode form; rename them'),
        (['Im_0.jpg'], ['im_0.PNG'], r"; set own_data\.label_suffix='\.PNG'"),
        (
            [f'{i}.jpg' for i in range(9)],
            ['0.png'],
            r'8 of 9 images have no label map, the first is \S*m/1\.png \(also 2\.png, '
            r'3\.png, 4\.png, '
            r'5\.png, 6\.png, \.\.\.\)',
        ),
        (['0.jpg'], ['5.png'], r'no image has a label map: .*; correct the folder or label_suffix'),
        (
            ['img_1.jpg', 'img_2.jpg'],
            ['mask_1.png', 'mask_2.png'],
            r'2 label maps are called mask_\*\.png, their images img_\*\.jpg: rename them like the '
            r'images, .* for f in mask_\*; do mv "\$f" "img_\$\{f#mask_\}"; done',
        ),
        (
            ['1.jpg', '2.jpg'],
            ['gt_1.tif', 'gt_2.tif'],
            r"called gt_\*\.tif, .*, and set own_data\.label_suffix='\.tif', for example",
        ),
        (
            ['0.jpg', '1.jpg', '2.jpg', '3.jpg'],
            ['0_m.png', '1_m.png', '2.png', '3_m.png'],
            r'3 of 4 images .* 3 label maps are called \*_m\.png, .*; give all of them one suffix',
        ),
    ],
)
def test_missing_label_maps(own, images, maps, message):
    with pytest.raises(RecipeError, match=message):
        found(own(images, maps), check_labels)


def test_images_of_another_suffix_that_lose_nothing(own):
    # A second picture of the same name, one without a label map, and label maps beside images.
    assert found(own(['0.jpg', '0.PNG', '1.png'], ['0.png']), check_labels) == []


@pytest.mark.parametrize(
    ('images', 'options', 'message'),
    [
        (
            ['0.jpg', '1.jpeg'],
            {},
            r"1 images with a label map in \S*/i would be left out.*'\.jpeg' 1",
        ),
        (
            ['0_x.png', '1_x.PNG'],
            dict(image_suffix='_x.png'),
            r"do not end in '_x\.png' like 1 others \('\.PNG' 1: 1_x\.PNG\)",
        ),
        (['0.jpg', 's/1.JPG'], {}, r"'\.JPG' 1: s/1\.JPG\)"),
    ],
)
def test_images_that_would_be_left_out(own, images, options, message):
    maps = ['0.png', 's/1.png' if 's/1.JPG' in images else '1.png']
    cfg = own(images, maps, **options)
    with pytest.raises(RecipeError, match=message + r'(.|\n)*checks\.image_suffix=False'):
        found(cfg, check_labels)


def test_no_image_at_all(own):
    with pytest.raises(
        RecipeError, match=r'no pair of image \(\*\.jpg\) and label map \(\*\.png\)'
    ):
        found(own([], ['0.png']), check_labels)
    with pytest.raises(
        RecipeError, match=r"but 2 end in '\.PNG'; set own_data\.image_suffix='\.PNG'"
    ):
        found(own(['0.PNG', '1.PNG', '2.tif'], []), check_labels)


@pytest.mark.parametrize(
    ('names', 'what'),
    [
        (['0.txt', '1.txt'], 'YOLO files'),
        (['0.xml'], 'Pascal VOC files'),
        (['0.json', '1.json'], 'a file for each image, as LabelMe writes'),
    ],
)
def test_folders_of_other_annotations(own, tmp_path, names, what):
    cfg = own(['0.jpg', '1.jpg'], [])
    for name in names:
        (tmp_path / 'm' / name).touch()
    with pytest.raises(RecipeError, match=f'/m holds {what}, not label maps; export masks'):
        found(cfg, check_labels)


def test_a_file_instead_of_a_folder(own, tmp_path):
    cfg = own(['0.jpg'], [])
    (tmp_path / 'a.json').touch()
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        cfg[loader].dataset.data_prefix.seg_map_path = 'a.json'
    with pytest.raises(RecipeError, match=r'a\.json is a file, not a folder of label maps; export'):
        found(cfg, check_labels)


def test_unknown_ways_of_pairing_are_not_judged(tmp_path):
    write_image(tmp_path / 'labels/a.png', np.full((4, 4), 3))
    dataset = dict(
        type='ADE20KDataset', data_root=str(tmp_path), data_prefix=dict(seg_map_path='labels')
    )
    cfg = Config(dict(default_scope='mmseg', train_dataloader=dict(dataset=dataset)))
    (warning,) = found(cfg, check_labels)
    assert 'cannot be learned' in warning


def test_images_as_their_own_label_maps(own):
    split = dict(images='i', annotations='i')
    cfg = own(['0.png', 'mask_0.png'], [], train=split, val=split, image_suffix='.png')
    with pytest.raises(
        RecipeError,
        match=r'2 images would be their own label maps, the first is \S*i/0\.png; set own_data\.'
        'label_suffix',
    ):
        found(cfg, check_labels)


@pytest.mark.parametrize('folder', ['i', 'i/'])
def test_label_maps_beside_their_images(own, tmp_path, folder):
    """They are not images that would be left out, which the message has renamed."""
    for name in ('0_mask.png', '1_mask.png'):
        write_image(tmp_path / 'i' / name, np.eye(4))
    options = dict.fromkeys(('train', 'val'), dict(images=folder, annotations='i'))
    with pytest.raises(RecipeError, match=r"set own_data\.label_suffix='_mask\.png'"):
        found(own(['0.jpg', '1.jpg'], [], **options), check_labels)
    options['label_suffix'] = '_mask.png'
    assert found(own(['0.jpg', '1.jpg'], [], **options), check_labels) == []
    write_image(tmp_path / 'i/2_mask.png', np.eye(4))
    with pytest.raises(RecipeError, match=r"1 images with .* left out.*'\.jpeg' 1: 2\.jpeg\)"):
        found(own(['0.jpg', '1.jpg', '2.jpeg'], [], **options), check_labels)


def test_the_way_without_own_data(own):
    cfg = own(['0.jpg', '1.jpg'], ['0.png', '1.png'])
    write_image(Path(cfg.train_dataloader.dataset.data_root, 'm/1.png'), np.full((4, 4), 9))
    with pytest.raises(RecipeError) as error:
        found(cfg, check_labels)
    assert 'without own_data' not in str(error.value)
    cfg.pop('own_data')
    with pytest.raises(
        RecipeError,
        match=r'own_data\.ignore_ids=\[9\]; .*; without own_data, load the maps with dict\(type='
        r"'mmconvnext\.LoadLabelMap', \.\.\.\) and these arguments",
    ):
        found(cfg, check_labels)
