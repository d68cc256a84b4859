# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/coco/read.py: a COCO file is read, or it is said what the file is instead."""

import json

import coco_files as files
import pytest

from mmconvnext.data.coco.read import BOM, read_coco
from mmconvnext.data.ledger import Ledger


def refusal(file, **options) -> str:
    ledger = Ledger()
    assert read_coco(file, ledger, **options) is None
    (found,) = ledger.refused
    assert found.check == 'annotations' and found.text.startswith(f'{file} is not a COCO ann')
    return found.text.partition(' file: ')[2]


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'utf-32', 'utf-16-be'])
def test_encodings(tmp_path, encoding):
    found = files.content()
    found['categories'][0]['name'] = 'Gr\u00f6\u00dfe \u72ac'
    text = json.dumps(found, ensure_ascii=False).encode(encoding)
    ledger = Ledger()
    assert read_coco(files.write(tmp_path, text), ledger) == found
    assert files.told(ledger.mended) == ({} if encoding == 'utf-8' else {BOM: 1})
    assert not ledger.refused


COCO = files.content()
BAD = [
    ('', 'it is empty'),
    (' \n', 'it is empty'),
    ('{"a": 1}', 'it has no "images"'),
    ('7', 'it holds 7 alone'),
    ('null', 'it holds null alone'),
    ('[]', 'it is a list'),
    (json.dumps({**COCO, 'annotations': None}), 'its "annotations" is null, not a list'),
    (json.dumps({**COCO, 'images': {'1': {}}}), 'its "images" is {"1": {}}, not a list'),
    (json.dumps(COCO)[:-1] + ',}', 'it is no JSON: Expecting property name .* in line 1, column'),
    (json.dumps(COCO)[:500], 'it is no JSON: .*, where the file ends: it was cut off'),
    (json.dumps(COCO) + 'x', 'it is no JSON: Extra data'),
    ('[' * 100_000, 'its lists are nested too deeply|no JSON'),
    ('{"name": "a"}\n{"name": "b"}\n', 'it is NDJSON, an object in each line; export COCO'),
    ('{"_via_img_metadata": {}}', 'it is a VIA project; export "COCO format"'),
    ('[{"image": "0.jpg", "annotations": []}]', 'it is CreateML; export COCO'),
    ('0 0.5 0.5 0.1 0.2\n', 'it is YOLO labels; convert the folder with tools'),
    (b'PK\x03\x04\x14', 'it is a zip file, or a table of Excel; unpack it'),
    ('Gr\u00f6\u00dfe'.encode('latin-1'), 'it is no text in UTF-8 .*; save it so'),
    (b'PK\x03\x04\x14', 'it is a zip file, or a table of Excel; unpack it'),
    (b'\x1f\x8b\x08', 'it is a gzip file; unpack it'),
    (json.dumps({**COCO, 'annotations': [dict(segments_info=[])]}), 'it holds panoptic segments'),
]


@pytest.mark.parametrize(('text', 'message'), BAD)
def test_what_is_no_coco_file(tmp_path, text, message):
    import re

    assert re.match(message, refusal(files.write(tmp_path, text)))


@pytest.mark.parametrize('key', ['images', 'annotations', 'categories'])
def test_each_list_is_needed(tmp_path, key):
    found = files.content()
    del found[key]
    assert refusal(files.write(tmp_path, found)) == f'it has no "{key}"'


def test_a_folder(tmp_path):
    assert refusal(tmp_path) == 'it is a folder'
    (tmp_path / 'a.xml').touch()
    assert refusal(tmp_path).startswith(
        'it is a folder of Pascal VOC files; convert the folder with tools'
    )


@pytest.mark.parametrize('given', [{}, dict(annotations=None)])
def test_images_for_predictions_have_no_annotations(tmp_path, given):
    found = files.content()
    del found['annotations']
    file = files.write(tmp_path, found | given)
    assert read_coco(file, Ledger(), unlabelled=True) == files.content() | dict(annotations=[])
    refusal(file)


def test_other_keys_stay(tmp_path):
    found = files.content() | dict(info=dict(year=1), licenses=[])
    found['images'][0]['categories'] = ['a']
    assert read_coco(files.write(tmp_path, found), Ledger()) == found


@pytest.mark.parametrize(
    ('text', 'cut'),
    [
        ('{"images": [{"id"', True),
        ('{"images": [{"file_na', True),
        ('{"images": [1,\n  \n', True),
        ('{"images": [1, 2', True),
        ('{"images": [1,]}', False),
        ('{"images": nul, "annotations": []}', False),
        ("{'images': []}", False),
    ],
)
def test_a_file_that_ends_early_was_cut_off(tmp_path, text, cut):
    found = refusal(files.write(tmp_path, text))
    assert found.startswith('it is no JSON: ') and ', column ' in found
    assert found.endswith(', where the file ends: it was cut off') == cut


def test_the_place_of_an_error_is_told(tmp_path):
    text = '{"images": [],\n "annotations": [1, x]}'
    assert refusal(files.write(tmp_path, text)) == (
        'it is no JSON: Expecting value in line 2, column 21'
    )


def test_long_values_are_named_by_their_beginning(tmp_path):
    assert refusal(files.write(tmp_path, json.dumps('x' * 99))) == f'it holds "{"x" * 39} alone'
    text = refusal(files.write(tmp_path, {**COCO, 'categories': 'x' * 99}))
    assert text == f'its "categories" is "{"x" * 39}, not a list'


def test_the_first_list_that_is_missing_or_wrong_is_named(tmp_path):
    assert refusal(files.write(tmp_path, dict(categories=[]))) == 'it has no "images"'
    assert refusal(files.write(tmp_path, dict(COCO, images=1, categories=2))).startswith(
        'its "images" is 1'
    )


@pytest.mark.parametrize('value', [None, 7, {}])
def test_only_missing_annotations_may_be_missing(tmp_path, value):
    for key in ('images', 'categories'):
        refusal(files.write(tmp_path, {**COCO, key: value}), unlabelled=True)
    file = files.write(tmp_path, {**COCO, 'annotations': value})
    if value is None:
        assert read_coco(file, Ledger(), unlabelled=True)['annotations'] == []
    else:
        refusal(file, unlabelled=True)


def test_objects_are_no_panoptic_segments_whatever_follows(tmp_path):
    found = files.content()
    found['annotations'].append(dict(segments_info=[]))
    assert read_coco(files.write(tmp_path, found), Ledger()) == found
    found['annotations'] = ['segments_info', *found['annotations']]
    assert read_coco(files.write(tmp_path, found), Ledger()) == found
    text = refusal(files.write(tmp_path, {**COCO, 'annotations': [dict(segments_info=[])]}))
    assert text.endswith('; use the file of instances, or a panoptic recipe')


@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16', 'utf-32-le'])
def test_the_encoding_is_told(tmp_path, encoding):
    ledger = Ledger()
    read_coco(files.write(tmp_path, json.dumps(COCO).encode(encoding)), ledger)
    (named,) = ledger.mended[BOM].first
    assert named == encoding or encoding == 'utf-16' == named[:6]


def test_text_behind_the_content_is_told_unless_it_is_one_object_a_line(tmp_path):
    text = json.dumps(COCO)
    assert refusal(files.write(tmp_path, f'{text}\n{text}')).startswith('it is NDJSON')
    assert refusal(files.write(tmp_path, f'{text}]')).startswith('it is no JSON: Extra data in')


def test_a_folder_of_unknown_files(tmp_path):
    (tmp_path / 'a.bin').touch()
    assert refusal(tmp_path) == 'it is a folder'


def test_an_integer_that_python_does_not_read(tmp_path):
    text = json.dumps(files.content()).replace('"id": 1', f'"id": {"7" * 5000}', 1)
    told = refusal(files.write(tmp_path, text.encode()))
    assert told == 'it holds an integer of thousands of digits'
