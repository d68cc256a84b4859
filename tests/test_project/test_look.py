# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""project/look.py: what lies in a folder."""

import json
from pathlib import Path

import coco_files
import pytest

from mmconvnext.project.look import look, prepare_command, split_of
from mmconvnext.recipe.errors import RecipeError

LABELME = dict(version='5', shapes=[dict(points=[[1, 2]] * 999)], imagePath='1.png')


def test_images_and_coco_files_are_found(tmp_path):
    coco_files.pictures(tmp_path / 'a/b', images=2)
    coco_files.write(tmp_path / 'a', coco_files.content(2), 'labels.json')
    coco_files.pictures(tmp_path / '.hidden')
    (tmp_path / 'a/b/.cache.png').write_bytes(b'')
    seen = look(tmp_path)
    assert seen.coco == [Path('a/labels.json')] and seen.folders == {Path('a/b'): 2}
    assert seen.told() == '  COCO file a/labels.json\n  2 images in a/b'


def test_a_coco_file_may_begin_with_anything(tmp_path):
    coco_files.write(tmp_path, dict(kind='x' * 9999, **coco_files.content()))
    assert look(tmp_path).coco == [Path('a.json')]


def test_cocos_own_files_for_other_tasks_are_left_out(tmp_path):
    for name in ('instances_val', 'person_keypoints_val', 'captions_val', 'stuff_val', 'mine'):
        coco_files.write(tmp_path, coco_files.content(), f'{name}.json')
    assert look(tmp_path).coco == [Path('instances_val.json')]
    (tmp_path / 'instances_val.json').unlink()
    assert look(tmp_path).coco == [Path('mine.json')]


@pytest.mark.parametrize(
    ('name', 'text', 'kind'),
    [
        ('a.txt', '0 .5 .5 .1 .1\n', 'YOLO labels'),
        ('data.yaml', 'path: .\ntrain: a\n', "YOLO's data.yaml"),
        ('a.xml', '<annotation></annotation>', 'Pascal VOC XML'),
        ('a.xml', '<?xml version="1.0"?><annotations></annotations>', 'CVAT XML'),
        ('a.json', json.dumps(LABELME), 'LabelMe'),
        ('a.json', json.dumps([dict(image='1.png', annotations=[])]), 'CreateML'),
    ],
)
def test_other_formats_are_named(tmp_path, name, text, kind):
    for folder in ('x', 'y'):
        coco_files.write(tmp_path / folder, text, name)
    assert look(tmp_path).others == {kind: (2, Path('x', name))}
    assert f'2 files of {kind}, such as x/{name}' in look(tmp_path).told()


def test_texts_of_no_format_are_nothing(tmp_path):
    coco_files.pictures(tmp_path, images=1)
    (tmp_path / 'classes.txt').write_text('cat\n')
    (tmp_path / 'notes.json').write_text('[1, 2')
    assert not look(tmp_path).others


def test_links_in_a_circle_end(tmp_path):
    coco_files.pictures(tmp_path / 'a', images=1)
    (tmp_path / 'a/again').symlink_to(tmp_path)
    assert look(tmp_path).folders == {Path('a'): 1}


def test_links(tmp_path):
    """To themselves, out of the folder, and to what holds the folder."""
    coco_files.pictures(tmp_path / 'away', images=2)
    coco_files.pictures(tmp_path / 'root/a', images=1)
    for link, target in (('self', 'self'), ('out', '../away'), ('a/up', '../..')):
        (tmp_path / 'root' / link).symlink_to(target)
    assert look(tmp_path / 'root').folders == {Path('a'): 1, Path('out'): 2}


def test_folders_of_arrays(tmp_path):
    coco_files.pictures(tmp_path / 'a', images=1)
    for name in ('maps/x/1.npy', 'maps/2.NPY.txt', 'maps/y/3.npz'):
        coco_files.write((tmp_path / name).parent, '', Path(name).name)
    assert look(tmp_path).arrays == [Path('maps/x')]


def test_long_lists_are_cut(tmp_path):
    for i in range(20):
        coco_files.pictures(tmp_path / f'{i:02}', images=1)
    assert look(tmp_path).told().splitlines()[-1] == '  and 8 more'


def test_folders_without_anything_are_refused(tmp_path):
    with pytest.raises(RecipeError, match='holds neither images nor annotations; is it the right'):
        look(tmp_path)
    with pytest.raises(RecipeError, match='none does not exist: give the folder of your images'):
        look(tmp_path / 'none')
    with pytest.raises(RecipeError, match='a.json is a file, not a folder'):
        look(coco_files.write(tmp_path, {}))


@pytest.mark.parametrize(
    ('path', 'split'),
    [
        ('annotations/instances_train2017.json', 'train'),
        ('valid/_annotations.coco.json', 'val'),
        ('Validation', 'val'),
        ('test/images', 'test'),
        ('train/val.json', 'val'),
        ('constrained/latest.json', ''),
        ('train_val.json', ''),
        ('.', ''),
    ],
)
def test_splits_are_words_of_the_path(path, split):
    assert split_of(Path(path)) == split


def test_the_command_is_quoted():
    command = prepare_command(Path('my data'), '--task semantic')
    assert command.endswith("prepare_data.py 'my data' 'my data_prepared' --task semantic")
