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
