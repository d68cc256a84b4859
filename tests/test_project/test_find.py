# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""project/find.py: the kind of data in a folder, and the command that converts others."""

import json

import coco_files
import numpy as np
import pytest
from fixtures import write_image

from mmconvnext.project.find import survey_of
from mmconvnext.recipe.errors import RecipeError


def objects(root, masks=True):
    content = coco_files.content()
    for entry in content['annotations']:
        entry['segmentation'] = entry['segmentation'] if masks else []
    coco_files.pictures(root)
    coco_files.write(root, content)
    return root


def maps(root):
    write_image(root / 'images/a.jpg', np.full((64, 96, 3), 90))
    write_image(root / 'labels/a.png', np.eye(64, 96))
    return root


def test_the_task_is_what_the_data_have(tmp_path):
    assert survey_of(objects(tmp_path / 'a'))[1] == 'instance'
    assert survey_of(objects(tmp_path / 'b', masks=False))[1] == 'det'
    assert survey_of(maps(tmp_path / 'c'))[1] == 'semantic'
    assert survey_of(tmp_path / 'a', 'det')[1] == 'det'
    both = maps(objects(tmp_path / 'd'))
    assert survey_of(both)[1] == 'instance' and survey_of(both, 'semantic')[1] == 'semantic'
    assert survey_of(both, annotations=['labels'], images=['images'])[1] == 'semantic'


def test_data_that_do_not_fit_the_task_are_refused_with_the_command(tmp_path):
    root = objects(tmp_path / 'my data')
    with pytest.raises(RecipeError, match=r"needs label maps(?s:.*)data_prepared' --task semantic"):
        survey_of(root, 'semantic')
    with pytest.raises(RecipeError, match='COCO files name their categories'):
        survey_of(root, classes=['a'])
    root = maps(tmp_path / 'maps')
    with pytest.raises(
        RecipeError, match=r'which --task det needs(?s:.*)maps_prepared --task inst'
    ):
        survey_of(root, 'det')


def test_other_formats_are_refused_with_the_commands(tmp_path):
    coco_files.pictures(tmp_path / 'images')
    coco_files.write(tmp_path / 'labels', '0 .5 .5 .1 .1\n', '1.txt')
    with pytest.raises(RecipeError, match='holds YOLO labels, which training') as error:
        survey_of(tmp_path)
    first, second = str(error.value).splitlines()[-2:]
    assert first == f'  python tools/prepare_data.py {tmp_path} {tmp_path}_prepared'
    assert second == f'  python tools/new_project.py {tmp_path}_prepared'


def test_label_maps_beside_other_formats_are_taken_if_asked_for(tmp_path):
    root = maps(tmp_path)
    coco_files.write(root / 'Annotations', '<annotation></annotation>', 'a.xml')
    with pytest.raises(RecipeError, match='holds Pascal VOC XML'):
        survey_of(root)
    assert survey_of(root, 'semantic')[1] == 'semantic'


def test_names_in_the_report_of_prepare_data_are_taken(tmp_path):
    root = maps(tmp_path)
    (root / 'report.json').write_text(json.dumps(dict(own_data=dict(classes=['soil', 'crop']))))
    assert survey_of(root)[0].classes == ['soil', 'crop']
    assert survey_of(root, classes=['x', 'y'])[0].classes == ['x', 'y']
    (root / 'report.json').write_text('[]')
    assert survey_of(root)[0].classes == ['background', 'object']
