# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""project/maps.py: which folders of images and label maps belong together."""

from pathlib import Path

import numpy as np
import pytest
from fixtures import write_image

from mmconvnext.project.look import look
from mmconvnext.project.maps import pair_of, survey_maps
from mmconvnext.recipe.errors import RecipeError

WIDTH, HEIGHT = 40, 24


def labels(*values):
    """(H, W) with a stripe of each value."""
    return np.repeat(values, HEIGHT // len(values))[:, None].repeat(WIDTH, 1)


def write(root, images, maps, count=3, suffix='.png', kind='.jpg', values=(0, 1)):
    for i in range(count):
        write_image(root / images / f'{i}{kind}', np.full((HEIGHT, WIDTH, 3), 90))
        write_image(root / maps / f'{i}{suffix}', labels(*values))
    return root


def survey(root, annotations=None, images=None, classes=None):
    return survey_maps(look(root), annotations, images, classes)


@pytest.mark.parametrize(
    ('train', 'val'),
    [
        (('train/images', 'train/labels'), ('val/images', 'val/labels')),
        (('images/training', 'annotations/training'), ('images/valid', 'annotations/valid')),
        (('img/train', 'mask/train'), ('img/test', 'mask/test')),
    ],
)
def test_usual_layouts(tmp_path, train, val):
    write(tmp_path, *train)
    write(tmp_path, *val, count=2)
    found = survey(tmp_path)
    assert found.own_data == dict(
        root=str(tmp_path),
        classes=['background', 'object'],
        train=dict(images=train[0], annotations=train[1]),
        val=dict(images=val[0], annotations=val[1]),
        image_suffix='.jpg',
        label_suffix='.png',
    )
    assert (found.images, found.val_images, found.is_maps) == (3, 2, True)
    assert found.sizes.tolist() == [[WIDTH, HEIGHT]] * 3


def test_one_pair_is_divided(tmp_path):
    write(tmp_path, 'pictures', 'Masks', count=5, kind='.PNG', suffix='_mask.png')
    found = survey(tmp_path)
    assert found.own_data['val'] == 0.2 and (found.images, found.val_images) == (4, 1)
    assert (
        found.own_data['image_suffix'] == '.PNG' and found.own_data['label_suffix'] == '_mask.png'
    )


def test_images_and_maps_in_one_folder(tmp_path):
    write(tmp_path, 'train', 'train', suffix='_mask.png')
    found = survey(tmp_path)
    assert found.own_data['train'] == dict(images='train', annotations='train')
    assert (
        found.own_data['label_suffix'] == '_mask.png' and found.own_data['image_suffix'] == '.jpg'
    )


def test_vocs_lists_divide(tmp_path):
    write(tmp_path, 'JPEGImages', 'SegmentationClass')
    write_image(tmp_path / 'JPEGImages/no_map.jpg', np.full((HEIGHT, WIDTH, 3), 90))
    write_image(tmp_path / 'SegmentationObject/0.png', labels(0, 1))
    lists = tmp_path / 'ImageSets/Segmentation'
    lists.mkdir(parents=True)
    (lists / 'train.txt').write_text('0\n2\n')
    (lists / 'val.txt').write_text('1\n')
    found = survey(tmp_path)
    assert found.own_data['train'] == dict(
        images='JPEGImages',
        annotations='SegmentationClass',
        names='ImageSets/Segmentation/train.txt',
    )
    assert (found.images, found.val_images) == (2, 1)


def test_counts_are_of_the_maps_for_training(tmp_path):
    write(tmp_path, 'train/images', 'train/labels', values=(0, 2))
    write_image(tmp_path / 'train/labels/1.png', labels(0, 0))
    write(tmp_path, 'val/images', 'val/labels', values=(0, 1, 2))
    found = survey(tmp_path, classes=['soil', 'crop', 'weed'])
    assert found.counts == dict(soil=3, crop=0, weed=2)
    assert 'in no label map for training, so not learnt: crop' in found.notes


def test_folders_may_be_named(tmp_path):
    write(tmp_path, 'a', 'b')
    with pytest.raises(RecipeError, match=r'(?s)cannot be told.*3 images in a\n.*--images FOLDER'):
        survey(tmp_path)
    found = survey(tmp_path, ['b'], [str(tmp_path / 'a')])
    assert found.own_data['train'] == dict(images='a', annotations='b')
    with pytest.raises(RecipeError, match='as many folders'):
        survey(tmp_path, ['b'], None)
    with pytest.raises(RecipeError, match='c is no folder'):
        survey(tmp_path, ['c'], ['a'])
    write(tmp_path, 'a', 'elsewhere/labels')
    for i in range(3):
        (tmp_path / f'elsewhere/labels/{i}.png').rename(tmp_path / f'elsewhere/labels/x{i}y.png')
    with pytest.raises(RecipeError, match='no label map that is called as an image in a; rename'):
        survey(tmp_path, ['elsewhere/labels'], ['a'])


def test_several_pairs_that_do_not_tell_are_refused(tmp_path):
    write(tmp_path, 'train/a/images', 'train/a/labels')
    write(tmp_path, 'train/b/images', 'train/b/labels')
    with pytest.raises(RecipeError, match=r'(?s)several folders of label maps.*train/b/labels'):
        survey(tmp_path)


def test_images_without_a_label_map_are_refused(tmp_path):
    write(tmp_path, 'images', 'labels')
    (tmp_path / 'labels/1.png').unlink()
    with pytest.raises(RecipeError, match=r'1 of 3 images have no label map in .*, such as 1\.jpg'):
        survey(tmp_path)


def test_images_of_two_suffixes_are_refused(tmp_path):
    write(tmp_path, 'images', 'labels')
    write_image(tmp_path / 'images/1.png', np.full((HEIGHT, WIDTH, 3), 90))
    with pytest.raises(RecipeError, match=r'3 images end in \.jpg, but 1 do not, such as 1\.png'):
        survey(tmp_path)


def test_splits_with_other_suffixes_are_refused(tmp_path):
    write(tmp_path, 'train/images', 'train/labels')
    write(tmp_path, 'val/images', 'val/labels', kind='.png')
    with pytest.raises(RecipeError, match='end differently in the splits'):
        survey(tmp_path)


@pytest.mark.parametrize(('file', 'kind'), [('images/1.jpg', 'images'), ('labels/1.png', 'label')])
def test_broken_files_are_refused(tmp_path, file, kind):
    write(tmp_path, 'images', 'labels')
    (tmp_path / file).write_bytes(b'broken')
    with pytest.raises(RecipeError, match=rf'1 {kind}.* cannot be read, such as .*1\.'):
        survey(tmp_path)


def test_folders_that_do_not_fit_are_no_pair(tmp_path):
    write(tmp_path, 'images', 'labels')
    assert pair_of(tmp_path, Path('images'), Path('images')) is None
    assert pair_of(tmp_path, Path('images'), Path('labels')).stems == ['0', '1', '2']


@pytest.mark.parametrize(('link', 'target'), [('self', 'self'), ('up', '..'), ('up', '../..')])
def test_links_without_end(tmp_path, link, target):
    """own_data gives mmseg a list of the images, so that it does not follow them."""
    root = write(tmp_path / 'root', 'images', 'labels')
    (root / 'images' / link).symlink_to(target)
    (root / 'labels' / link).symlink_to(target)
    found = survey(root)
    assert (found.images, found.val_images) == (2, 1)


def test_an_image_that_is_a_link_to_nothing(tmp_path):
    root = write(tmp_path / 'root', 'images', 'labels')
    (root / 'images/1.jpg').unlink()
    (root / 'images/1.jpg').symlink_to('gone.jpg')
    with pytest.raises(RecipeError, match=r'1 images cannot .*1.jpg \(it is a link to gone'):
        survey(root)
