# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/formats.py: annotations of other formats are recognised by their own marks."""

import pytest

from mmconvnext.data import formats
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


# Each row of the tables by itself, with the way to COCO


CONVERT = 'convert the folder with tools/prepare_data.py'


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        (CVAT, ('CVAT XML', 'export "COCO 1.0" from CVAT, or ' + CONVERT)),
        (' \n<annotations>', ('CVAT XML', 'export "COCO 1.0" from CVAT, or ' + CONVERT)),
        ('<annotation>', ('Pascal VOC XML', CONVERT)),
        ('\n<?xml version="1.0"?>\n <annotation verified="no">', ('Pascal VOC XML', None)),
        ('version https://git-lfs.', ('a pointer of Git LFS', 'run git lfs pull')),
        ('<<<<<<< HEAD', ('the mark of a merge conflict of Git', 'resolve it')),
        (' <HTML>', ('a web page', 'download the file that it shows')),
        ('<!doctype html>', ('a web page', 'download the file that it shows')),
        ('<x/>', ('XML', 'export COCO from the tool that wrote it')),
        ('<annotationset>', ('XML', None)),
        ('3 .5 -0.1 1e-3 0.2', ('YOLO labels', CONVERT)),
        ('3\t.5\t0.1\t0.3\t0.2 \n', ('YOLO labels', None)),
        ('names: [a]\n', ("YOLO's data.yaml", CONVERT)),
        ('nc : 3\n', ("YOLO's data.yaml", None)),
        ('# a\n# b\ntest: x\n', ("YOLO's data.yaml", None)),
        ('a,b,c,d\n', ('a CSV table', 'write COCO from it with a few lines of pandas')),
        ('a;;;\n', ('a CSV table', None)),
        ('x.tiff\n', ('a list of images', None)),
        ('a b.BMP \nc', ('a list of images', None)),
    ],
)
def test_marks_of_texts(text, expected):
    name, way = of_text(text)
    assert name == expected[0] and expected[1] in (way, None)


@pytest.mark.parametrize(
    'text',
    [
        'a,b,c\n',
        '{"a,b,c,d": 1\n',
        '3 .5 .1 .3\n',
        '3 .5 .1 .3 x\n',
        'a 0 0 0 0\n',
        'filename: x\n',
        'x.gif\n',
        'x.png',
        'a version https://git-lfs',
        '<',
    ],
)
def test_texts_without_a_mark(text):
    found = of_text(text)
    assert found is None or (text, found[0]) == ('<', 'XML')


def test_only_the_beginning_of_a_text_is_read():
    assert of_text(' ' * 4080 + '<x/>')[0] == 'XML'
    assert of_text(' ' * 4096 + '<x/>') is None


def test_what_follows_an_object_is_read_wherever_it_is():
    text = '{"a": "' + 'x' * 5000 + '"}'
    assert of_text(text + '{}', end=len(text)) == (
        'NDJSON, an object in each line',
        'export COCO from the tool that wrote it',
    )


@pytest.mark.parametrize(
    ('start', 'expected'),
    [
        (b'PK\x03\x04', ('a zip file, or a table of Excel', 'unpack it')),
        (b'\x1f\x8b', ('a gzip file', 'unpack it')),
        (b'PAR1', ('a Parquet table', 'write COCO from it with a few lines of pandas')),
        (b'\xff\xd8\xff', ('an image', 'give the COCO file')),
        (b'\x89PNG', ('an image', 'give the COCO file')),
        (b'%PDF', ('a PDF', 'give the COCO file')),
    ],
)
def test_marks_of_files_that_are_no_text(start, expected):
    assert of_binary(start) == of_binary(start + b'x') == expected
    assert of_binary(start[:-1]) is None


VIA = 'export "COCO format" from VIA\'s menu Annotation'
LABELME = CONVERT
EXPORT = 'export COCO from the tool that wrote it'
WRITE = 'write COCO from it'


@pytest.mark.parametrize(
    ('keys', 'expected'),
    [
        ('_via_img_metadata', ('a VIA project', VIA)),
        ('_via_settings', ('a VIA project', VIA)),
        ('shapes imagePath', ('a LabelMe file of one image', LABELME)),
        ('shapes imageData', ('a LabelMe file of one image', LABELME)),
        ('items categories', ("Datumaro's format", 'datum convert -f coco')),
        ('objects size', ('a Supervisely file of one image', 'export COCO from Supervisely')),
        ('metadata project file', ('a VIA 3 project', 'export COCO from it')),
        ('type features', ('GeoJSON', 'write COCO from it: pixels instead of degrees')),
        ('metainfo data_list', ("mmengine's own format", WRITE)),
        ('item annotations', ("V7 Darwin's file of one image", 'export COCO from V7')),
        ('imgHeight objects', ('a Cityscapes file of one image', WRITE)),
        ('file_name objects', ("a line of Hugging Face's metadata.jsonl", WRITE)),
        ('openlabel', ('ASAM OpenLABEL', EXPORT)),
        ('weight_map', ('the index of a checkpoint', 'give the annotation file')),
    ],
)
def test_marks_of_objects(keys, expected):
    content = dict.fromkeys(['x', *keys.split(), 'y'])
    assert of_object(content) == expected
    for key in keys.split():
        assert of_object({k: None for k in content if k != key}) is None


def test_via_annotations_are_told_by_the_first_three_images():
    image, other = dict(filename='a', regions=[]), dict(filename='a')
    expected = ('VIA annotations', VIA)
    assert of_object({'a': image}) == of_object({'a': image, 'b': image}) == expected
    assert of_object({'a': image, 'b': 7, 'c': image}) == expected
    assert of_object({'a': image, 'b': image, 'c': other}) is None
    assert of_object({'a': image, 'b': image, 'c': image, 'd': other}) == expected
    assert of_object({'a': 1, 'b': 2, 'c': 3, 'd': image}) is None
    assert of_object({'items': image, 'categories': image})[0] == "Datumaro's format"


CREATE = 'export COCO from the tool that wrote it, or download "COCO" from Roboflow'
LABELBOX = ('Labelbox', "convert it with labelbox's COCO exporter")
STUDIO = ('Label Studio', 'export "COCO" from Label Studio')


@pytest.mark.parametrize(
    ('keys', 'expected'),
    [
        ('image annotations', ('CreateML', CREATE)),
        ('imagefilename annotation', ('CreateML', CREATE)),
        ('annotator', STUDIO),
        ('filename ann', ("mmdet 2's own format", WRITE)),
        ('name labels', ('BDD100K or Scalabel', 'convert it with scalabel.label.to_coco')),
        ('data annotations', STUDIO),
        ('data predictions', STUDIO),
        ('External_ID', LABELBOX),
        ('data_row projects', LABELBOX),
        ('image_id score category_id', ('a list of predictions', 'give the annotation file')),
        ('shapes imagePath', ('a list of LabelMe files', LABELME)),
        (
            'image_id category_id',
            ('the list "annotations" alone', 'add "images" and "categories"'),
        ),
        ('filename regions', ('VIA annotations', VIA)),
    ],
)
def test_marks_of_lists(keys, expected):
    names = [key.replace('_ID', ' ID') for key in keys.split()]
    assert of_list([dict.fromkeys(['x', *names, 'y']), 7]) == expected
    for key in names:
        found = of_list([{name: None for name in names if name != key}])
        assert found is None or (key, found[0]) == ('score', 'the list "annotations" alone')


@pytest.mark.parametrize(
    ('suffix', 'expected'),
    [
        ('.xml', ('Pascal VOC files', CONVERT)),
        ('.txt', ('YOLO files', CONVERT)),
        ('.json', ('a file for each image, as LabelMe writes', CONVERT)),
        ('.png', ('label maps', 'use a recipe of semantic segmentation, or convert them')),
        ('.jpg', ('images', 'give the COCO file, not its folder')),
    ],
)
def test_marks_of_folders(tmp_path, suffix, expected):
    for name in ('a', 'b'):
        (tmp_path / (name + suffix.upper())).touch()
    (tmp_path / ('c.jpg' if suffix != '.jpg' else 'c.png')).touch()
    (tmp_path / 'd.bin').touch()
    assert of_folder(tmp_path) == expected


def test_files_below_count_if_there_are_none_in_the_folder(tmp_path):
    (tmp_path / 'a.xml').mkdir()
    (tmp_path / 'a.xml/b.txt').write_text('0 0.5 0.5 0.1 0.2\n')
    (tmp_path / 'a.xml/c.txt').touch()
    assert of_folder(tmp_path)[0] == 'YOLO files'
    (tmp_path / 'd.png').touch()
    assert of_folder(tmp_path)[0] == 'label maps'


def test_one_text_of_yolo_is_enough_and_names_of_classes_are_none(tmp_path):
    (tmp_path / 'classes.txt').write_text('cat\ndog\n')
    assert of_folder(tmp_path)[0] == 'YOLO files'
    (tmp_path / 'a.TXT').write_text('Car 0.00 0 -1.57\n')
    assert of_folder(tmp_path) == ("texts in another form than YOLO's", 'convert them to COCO')
    (tmp_path / 'b.txt').write_text('0 0.5 0.5 0.1 0.2\n')
    assert of_folder(tmp_path)[0] == 'YOLO files'


def test_the_first_coco_file_of_a_folder_is_named(tmp_path):
    for name in ('b.JSON', 'c.json', 'a.txt', 'd/a.json'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('{"info": {}, "images": []}')
    assert of_folder(tmp_path) == ('COCO files', 'give the file, such as b.JSON')


@pytest.mark.parametrize('key', ['info', 'licenses', 'images', 'annotations', 'categories'])
def test_how_a_coco_file_begins(tmp_path, key):
    (tmp_path / 'a.json').write_text(f' {{\n "{key}": ')
    assert of_folder(tmp_path)[0] == 'COCO files'
    (tmp_path / 'a.json').write_text(f'{{"x": 1, "{key}": ')
    assert of_folder(tmp_path)[0] == 'a file for each image, as LabelMe writes'


def test_a_file_that_is_no_utf8_or_cannot_be_read_is_no_coco_file(tmp_path):
    (tmp_path / 'a.json').write_bytes(b'{"images": "\xff\xfe')
    assert of_folder(tmp_path)[0] == 'COCO files'
    (tmp_path / 'a.json').write_bytes(b'\xff\xfe{"images": ')
    (tmp_path / 'b.json').symlink_to('nowhere')
    assert of_folder(tmp_path)[0] == 'a file for each image, as LabelMe writes'


def test_a_file_that_may_not_be_read_has_no_text(tmp_path, monkeypatch):
    (tmp_path / 'a.json').write_text('{"images": ')

    def refuse(self, *args, **kwargs):
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr(formats.Path, 'open', refuse)
    assert of_folder(tmp_path)[0] == 'a file for each image, as LabelMe writes'


def test_of_a_large_folder_the_first_thousand_files_are_read(tmp_path):
    for i in range(1000):
        (tmp_path / f'{i:04}.xml').touch()
    (tmp_path / 'x.json').write_text('{"images": []}')
    assert of_folder(tmp_path)[0] == 'Pascal VOC files'
    (tmp_path / '0000.xml').unlink()
    assert of_folder(tmp_path)[0] == 'COCO files'
