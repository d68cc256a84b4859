# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/exports/table.py: which format a folder holds, and why."""

import pytest
from coco_files import content, pictures, write
from export_files import label_map, labelme, picture, ready, text, voc, voc_object, yolo

from mmconvnext.cli.options.own_data import FORMATS as LISTED
from mmconvnext.data.exports.folder import Folder, SourceError
from mmconvnext.data.exports.table import FORMATS, recognise


def found(root, task=''):
    return recognise(Folder(root), task)


def test_the_options_list_all_formats():
    assert LISTED == tuple(FORMATS)


def test_each_is_recognised_with_a_reason(tmp_path):
    box = voc_object('cat', (1, 2, 9, 12))
    write(tmp_path / 'coco', content(1))
    yolo(tmp_path / 'yolo', {'1.png': ''})
    voc(tmp_path / 'voc' / '1.xml', '1.png', box)
    labelme(tmp_path / 'labelme' / '1.json', [])
    text(tmp_path / 'cvat' / 'annotations.xml', '<?xml version="1.0"?>\n<annotations>')
    label_map(tmp_path / 'masks' / 'labels' / '1.png', {})
    picture(tmp_path / 'masks' / 'images' / '1.jpg')
    reasons = dict(
        coco='a.json: JSON with "images"',
        yolo='data.yaml names classes',
        voc='1 files such as 1.xml: <annotation>',
        labelme='1 files such as 1.json: JSON with "shapes"',
        cvat='annotations.xml: <annotations>',
        masks='1 label maps such as labels/1.png',
    )
    for name, reason in reasons.items():
        format_, why = found(tmp_path / name)
        assert format_ == name and why.startswith(reason)


def test_one_file_counts_alone(tmp_path):
    write(tmp_path / 'a', content(3), 'new.json')
    write(tmp_path / 'a', content(2), 'old.json')
    pictures(tmp_path / 'a', 3)
    facts, _ = ready_file(tmp_path / 'a' / 'new.json', tmp_path)
    assert facts['images'] == 3


def ready_file(file, tmp_path):
    from mmconvnext.data.exports.prepare import Settings, prepare

    return prepare(file, tmp_path / 'out', Settings())


def test_label_maps_beside_boxes_count_for_semantic_segmentation(tmp_path):
    voc(tmp_path / 'Annotations' / '1.xml', '1.png', voc_object('cat', (1, 2, 9, 12)))
    label_map(tmp_path / 'SegmentationClass' / '1.png', {})
    picture(tmp_path / 'JPEGImages' / '1.jpg')
    assert found(tmp_path)[0] == 'voc'
    assert found(tmp_path, 'semantic')[0] == 'masks'


def test_two_formats(tmp_path):
    yolo(tmp_path, {'1.png': ''})
    write(tmp_path, content(1))
    with pytest.raises(SourceError, match=r'2 ways: --format coco \(a.json.*--format yolo \(data'):
        found(tmp_path)


@pytest.mark.parametrize(
    ('names', 'match'),
    [
        ([], 'is empty: give the folder'),
        (['a.png', 'b.PNG', 'c.txt'], 'holds 2 .png, 1 .txt, but no annotations'),
        (['train2017.zip'], 'train2017.zip belongs to COCO 2017: .* --check-coco'),
    ],
)
def test_nothing_is_recognised(tmp_path, names, match):
    for name in names:
        text(tmp_path / name, 'x')
    with pytest.raises(SourceError, match=match):
        found(tmp_path)


@pytest.mark.parametrize(
    ('content_', 'match'),
    [('<html></html>', 'a web page; download'), ('x', 'none of their marks'), ('PK\3\4', 'unpack')],
)
def test_a_file_of_another_kind(tmp_path, content_, match):
    with pytest.raises(SourceError, match=match):
        found(text(tmp_path / 'a.bin', content_))


def test_a_format_that_is_not_there(tmp_path):
    yolo(tmp_path / 'a', {'1.png': ''})
    with pytest.raises(SourceError, match='holds no Pascal VOC that can be recognised'):
        ready(tmp_path / 'a', format='voc')
