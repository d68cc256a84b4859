# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""project/coco.py: which COCO files and folders belong together, and what they hold."""

import shutil

import coco_files
import numpy as np
import pytest

from mmconvnext.project.coco import survey_coco
from mmconvnext.project.look import look
from mmconvnext.recipe.errors import RecipeError


def survey(root, task='', annotations=None, images=None):
    return survey_coco(look(root), task, annotations, images)


def two_splits(root, train=3, val=2):
    """The same names of images in both splits."""
    for split, count in (('train', train), ('val', val)):
        coco_files.pictures(root / split, images=count)
        coco_files.write(root / 'labels', coco_files.content(count), f'{split}.json')
    return root


def test_facts(tmp_path):
    found = survey(two_splits(tmp_path))
    assert found.own_data == dict(
        root=str(tmp_path),
        classes=['cat', 'dog'],
        train=dict(images='train', annotations='labels/train.json'),
        val=dict(images='val', annotations='labels/val.json'),
    )
    assert (found.images, found.val_images, found.masks, found.is_maps) == (3, 2, True, False)
    assert found.counts == dict(cat=3, dog=4) and list(found.crowding) == [3, 2, 2]
    assert found.sizes.tolist() == [[96, 64]] * 3 and (found.long_side, found.short_side) == (
        96,
        64,
    )
    cat = found.objects[0]
    np.testing.assert_allclose(cat, (20 / 96, 31 / 96))
    np.testing.assert_allclose(found.objects_at(192)[0], (40, 62))
    assert found.notes == []


def test_one_file_is_divided(tmp_path):
    coco_files.pictures(tmp_path, images=10)
    coco_files.write(tmp_path, coco_files.content(10), 'val.json')
    found = survey(tmp_path)
    assert found.own_data['train'] == dict(images='.', annotations='val.json')
    assert found.own_data['val'] == 0.2 and (found.images, found.val_images) == (8, 2)


def test_boxes_alone_are_for_a_detector(tmp_path):
    content = coco_files.content()
    for entry in content['annotations']:
        del entry['segmentation']
    coco_files.pictures(tmp_path)
    coco_files.write(tmp_path, content)
    assert survey(tmp_path).masks is False
    with pytest.raises(RecipeError, match='has a mask: take --task det, which learns boxes'):
        survey(tmp_path, 'instance')


def test_masks_may_be_left_aside(tmp_path):
    assert survey(two_splits(tmp_path), 'det').masks is False


def test_categories_without_objects_are_no_classes(tmp_path):
    content = coco_files.content()
    content['categories'].insert(0, dict(id='7', name='animals'))
    content['categories'] += [dict(id=i, name=f'no {i}') for i in range(10, 16)]
    coco_files.pictures(tmp_path)
    coco_files.write(tmp_path, content)
    found = survey(tmp_path)
    assert found.own_data['classes'] == ['cat', 'dog']
    assert 'no class, for want of objects: animals, no 10, no 11, no 12, no 13 and 2 more' in (
        found.notes
    )


def test_a_class_that_only_validation_has_is_told(tmp_path):
    two_splits(tmp_path)
    content = coco_files.content(3)
    content['annotations'] = [a for a in content['annotations'] if a['category_id'] == 1]
    coco_files.write(tmp_path / 'labels', content, 'train.json')
    found = survey(tmp_path)
    assert found.own_data['classes'] == ['cat', 'dog']
    assert 'only in validation, so not learnt: dog' in found.notes


def test_what_was_mended_is_told(tmp_path):
    content = coco_files.content()
    content['annotations'][0]['bbox'] = [80, 5, 40, 20]
    coco_files.pictures(tmp_path)
    coco_files.write(tmp_path, content)
    assert 'train: mended: 1 boxes partly outside the image, cut at its border' in (
        survey(tmp_path).notes
    )


def test_folders_too_many_in_the_names_are_stripped(tmp_path):
    content = coco_files.content()
    for entry in content['images']:
        entry['file_name'] = f'C:\\mine\\{entry["file_name"]}'
    coco_files.pictures(tmp_path / 'pictures')
    coco_files.write(tmp_path, content)
    found = survey(tmp_path)
    assert found.own_data['strip_folders'] is True
    assert found.own_data['train']['images'] == 'pictures'


def test_names_may_begin_with_the_folder(tmp_path):
    content = coco_files.content()
    for entry in content['images']:
        entry['file_name'] = f'b/{entry["file_name"]}'
    coco_files.pictures(tmp_path / 'a/b')
    coco_files.write(tmp_path, content)
    found = survey(tmp_path)
    assert found.own_data['train']['images'] == 'a' and 'strip_folders' not in found.own_data


def test_files_whose_names_do_not_tell_are_refused(tmp_path):
    coco_files.pictures(tmp_path)
    for name in ('one', 'two'):
        coco_files.write(tmp_path, coco_files.content(), f'{name}.json')
    with pytest.raises(RecipeError, match=r'(?s)2 COCO files.*one\.json.*--annotations TRAIN.json'):
        survey(tmp_path)
    found = survey(tmp_path, annotations=['two.json', 'one.json'])
    assert found.own_data['train']['annotations'] == 'two.json'
    found = survey(tmp_path, annotations=[str(tmp_path / 'two.json')])
    assert found.own_data['val'] == 0.2 and 'not used: one.json' in found.notes
    with pytest.raises(RecipeError, match='three.json is neither in'):
        survey(tmp_path, annotations=['three.json'])


def test_images_may_be_named(tmp_path):
    two_splits(tmp_path)
    found = survey(tmp_path, images=['val', 'train'], annotations=['labels/val.json'] * 2)
    assert found.own_data['train']['images'] == 'val'
    with pytest.raises(RecipeError, match='--images has 3 folders for 2 annotation files'):
        survey(tmp_path, images=['val'] * 3)


def test_images_that_are_nowhere_are_refused(tmp_path):
    coco_files.write(tmp_path, coco_files.content())
    coco_files.pictures(tmp_path / 'other', images=1)
    shutil.move(tmp_path / 'other/1.png', tmp_path / 'other/x.png')
    with pytest.raises(RecipeError, match=r"(?s)such as '1.png', which no folder.*--images FOLDER"):
        survey(tmp_path)


def test_files_that_training_refuses_are_refused(tmp_path):
    two_splits(tmp_path)
    (tmp_path / 'val/2.png').unlink()
    with pytest.raises(
        RecipeError, match='val.json cannot be trained on as it is:\n- 1 of 2 images'
    ):
        survey(tmp_path)
    coco_files.write(tmp_path / 'labels', '{"images": [', 'val.json')
    with pytest.raises(RecipeError, match='it was cut off'):
        survey(tmp_path)


def test_no_objects_are_refused(tmp_path):
    coco_files.pictures(tmp_path)
    coco_files.write(tmp_path, dict(coco_files.content(), annotations=[]))
    with pytest.raises(RecipeError, match='a.json: no object has a category of the file'):
        survey(tmp_path)
