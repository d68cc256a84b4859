# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/formats.py: annotations of other formats are recognised by their own marks."""

import pytest

from mmconvnext.data.formats import of_binary, of_folder, of_list, of_object, of_text

CVAT = '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>'
CSV = 'filename,width,height,class,xmin,ymin,xmax,ymax\n0.jpg,9,9,cat,1,1,2,2\n'
PREPARE = 'tools/prepare_data.py'


@pytest.mark.parametrize(
    ('text', 'name', 'way'),
    [
        (CVAT, 'CVAT XML', 'COCO 1.0'),
        ('<annotations><image/>', 'CVAT XML', 'COCO 1.0'),
        ('<annotation>\n<folder>a</folder>', 'Pascal VOC XML', PREPARE),
        ('<?xml version="1.0"?><annotation>', 'Pascal VOC XML', PREPARE),
        ('<?xml version="1.0"?><dataset>', 'XML', 'export COCO'),
        ('0 0.5 0.5 0.1 0.2\n', 'YOLO labels', PREPARE),
        ('17 0.5 0.5 0.1 0.2 0.3 0.4\n3 0.1 0.1 0.2 0.2', 'YOLO labels', PREPARE),
        (
            'train: ../train/images\nval: ../valid/images\nnc: 3',
            "YOLO's data.yaml",
            PREPARE,
        ),
        ('# Ultralytics\npath: coco\n', "YOLO's data.yaml", PREPARE),
        (CSV, 'a CSV table', 'pandas'),
        (CSV.replace(',', ';'), 'a CSV table', 'pandas'),
        (CSV.replace(',', '\t'), 'a CSV table', 'pandas'),
        ('/data/a b.JPG\n/data/1.jpg\n', 'a list of images', 'names='),
        ('version https://git-lfs.github.com/spec/v1\n', 'a pointer of Git LFS', 'git lfs pull'),
        ('<!DOCTYPE html><html>', 'a web page', 'download'),
        ('<<<<<<< HEAD\n{', 'the mark of a merge conflict of Git', 'resolve'),
    ],
)
def test_texts(text, name, way):
    found = of_text(text)
    assert found[0] == name and way in found[1]


@pytest.mark.parametrize(
    'text', ['', 'hello', '{"images": [', '0 0.5\n', 'a,b\n', 'a,b;c;d\n', 'cat\ndog\n']
)
def test_unknown_texts(text):
    assert of_text(text) is None


def test_an_object_in_each_line():
    assert of_text('{"a": 1}\n{"a": 2}', end=9)[0].startswith('NDJSON')
    assert of_text('{"a": 1}\n]', end=9) is None


def test_a_long_text_of_numbers_takes_no_time():
    assert of_text('1 2 ' * 900 + 'x') is of_text('a,b;c\t' * 700) is None


@pytest.mark.parametrize(
    ('start', 'name'),
    [
        (b'PK\x03\x04\0', 'a zip file, or a table of Excel'),
        (b'\x1f\x8b\x08', 'a gzip file'),
        (b'\xff\xd8\xff\xe0', 'an image'),
    ],
)
def test_files_that_are_no_text(start, name):
    assert of_binary(start)[0] == name
    assert of_binary(b'x' + start) is of_binary(b'') is None


@pytest.mark.parametrize(
    ('content', 'name'),
    [
        ({'_via_img_metadata': {}, '_via_settings': {}}, 'a VIA project'),
        ({'0.jpg1': dict(filename='0.jpg', size=1, regions=[])}, 'VIA annotations'),
        (dict(version='5', shapes=[], imagePath='0.jpg'), 'a LabelMe file of one image'),
        (dict(items=[], categories={}), "Datumaro's format"),
        (dict(metainfo={}, data_list=[]), "mmengine's own format"),
        (dict(openlabel={}), 'ASAM OpenLABEL'),
        (dict(version='2.0', item={}, annotations=[]), "V7 Darwin's file of one image"),
        (dict(imgHeight=9, imgWidth=9, objects=[]), 'a Cityscapes file of one image'),
        (dict(type='FeatureCollection', features=[]), 'GeoJSON'),
    ],
)
def test_objects(content, name):
    assert of_object(content)[0] == name


def test_unknown_objects():
    assert of_object({}) is of_object(dict(a=dict(filename='x'))) is None


@pytest.mark.parametrize(
    ('first', 'name'),
    [
        (dict(image='0.jpg', annotations=[]), 'CreateML'),
        (dict(data={}, annotations=[], predictions=[]), 'Label Studio'),
        (dict(image='/data/0.jpg', id=1, label=[], annotator=1), 'Label Studio'),
        (dict(imagefilename='0.jpg', annotation=[]), 'CreateML'),
        (dict(filename='0.jpg', width=9, height=9, ann={}), "mmdet 2's own format"),
        (dict(name='0.jpg', labels=[]), 'BDD100K or Scalabel'),
        ({'External ID': 'x', 'Label': {}}, 'Labelbox'),
        (dict(image_id=1, category_id=1, bbox=[], score=0.9), 'a list of predictions'),
        (dict(image_id=1, category_id=1, bbox=[]), 'the list "annotations" alone'),
    ],
)
def test_lists(first, name):
    assert of_list([first])[0] == name


@pytest.mark.parametrize('content', [[], [1], [{}], [[]]])
def test_unknown_lists(content):
    assert of_list(content) is None


@pytest.mark.parametrize(
    ('names', 'name'),
    [
        (['a.xml', 'b.xml', 'c.jpg'], 'Pascal VOC files'),
        (['a.TXT', 'classes.txt'], 'YOLO files'),
        (['sub/a.png'], 'label maps'),
        (['a.jpg', 'notes'], 'images'),
        (['a.json', 'b.json'], 'a file for each image, as LabelMe writes'),
    ],
)
def test_folders(tmp_path, names, name):
    for file in names:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    assert of_folder(tmp_path)[0] == name


def test_a_folder_that_holds_the_file(tmp_path):
    (tmp_path / '0.jpg').touch()
    for name, text in (('a.json', '{"shapes": []}'), ('b.json', '\ufeff\n{"images": ')):
        (tmp_path / name).write_text(text, encoding='utf-8')
    assert of_folder(tmp_path) == ('COCO files', 'give the file, such as b.json')


@pytest.mark.parametrize(
    ('text', 'name'),
    [
        ('Car 0.00 0 -1.57 614.24 181.78', "texts in another form than YOLO's"),
        ('1 2 3 4 5 6 7 8 plane 0\n', "texts in another form than YOLO's"),
        ('0 0.5 0.5 0.1 0.2\n', 'YOLO files'),
        ('', 'YOLO files'),
    ],
)
def test_folders_of_texts(tmp_path, text, name):
    (tmp_path / 'classes.txt').write_text('cat\n')
    (tmp_path / '0.txt').write_text(text)
    assert of_folder(tmp_path)[0] == name


def test_unknown_folders(tmp_path):
    assert of_folder(tmp_path) is None
    (tmp_path / 'a.bin').touch()
    assert of_folder(tmp_path) is None
