# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""COCO files beside three images, with 7 objects of two classes."""

import json

import coco_files

from malformed import Case

GONE = object()
NAN, INF = float('nan'), float('inf')


def edit(*keys: object, to: object = GONE) -> dict:
    """Sound content with another value at a path; without one, that is removed."""
    content = coco_files.content()
    node = content
    for key in keys[:-1]:
        node = node[key]
    if to is GONE:
        del node[keys[-1]]
    else:
        node[keys[-1]] = to
    return content


def of_all(change) -> dict:
    content = coco_files.content()
    for entry in content['annotations']:
        change(entry)
    return content


def _corners(entry: dict) -> None:
    x, y, w, h = entry['bbox']
    entry['bbox'] = [x, y, x + w, y + h]


def _fractions(entry: dict) -> None:
    entry['bbox'] = [v / 100 for v in entry['bbox']]
    del entry['segmentation']


def mask(value: object) -> dict:
    return edit('annotations', 0, 'segmentation', to=value)


def box(value: object) -> dict:
    return edit('annotations', 0, 'bbox', to=value)


SIX, SEVEN = r'train +3 of 3 +6 of 7 ', r'train +3 of 3 +7 of 7 '
BOX = r'mended: 1 boxes that are missing or unusable, taken from the segmentation \(1\)'
MASK = r'masks that cannot be read|polygons'
ENTRY = r'1 entries of "images" lack an "id" or a "file_name" \(number 0 is '
CLASS = r'1 entries of "categories" lack an "id" or a "name" \(number 0 is '
CASES = {
    'empty': Case(b'', 'a.json is not a COCO annotation file: it is empty'),
    'blank': Case(b' \n', 'it is empty'),
    'cut off': Case(json.dumps(coco_files.content())[:300], 'where the file ends: it was cut off'),
    'no JSON': Case(b'{images: []}', 'it is no JSON: Expecting property name .* line 1, column 2'),
    'a list': Case([], 'it is a list'),
    'a number': Case(7, 'it holds 7 alone'),
    'nested deeply': Case(b'[' * 100_000, 'its lists are nested too deeply'),
    'Latin-1': Case('{"\u00e4": 1}'.encode('latin-1'), r'it is no text in UTF-8 .*; save it so'),
    'zip': Case(b'PK\3\4....', 'it is a zip file, or a table of Excel; unpack it'),
    'gzip': Case(b'\x1f\x8b\x08', 'it is a gzip file; unpack it'),
    'pickle': Case(b'\x80\x04\x95', 'it is no text in UTF-8'),
    'web page': Case(b'<html>', 'it is a web page; download the file that it shows'),
    'YOLO': Case(b'0 0.5 0.5 0.1 0.2\n', 'it is YOLO labels; convert the folder with tools/prep'),
    'VOC': Case(b'<annotation></annotation>', 'it is Pascal VOC XML; convert the folder'),
    'NDJSON': Case(b'{"a": 1}\n{"a": 2}\n', 'it is NDJSON, an object in each line'),
    'CreateML': Case([dict(image='0.jpg', annotations=[])], 'it is CreateML; export COCO'),
    'VIA': Case({'_via_img_metadata': {}}, 'it is a VIA project; export "COCO format"'),
    'no images': Case(edit('images', to=[]), '"images" is empty'),
    'images are a dict': Case(edit('images', to={}), r'its "images" is \{\}, not a list'),
    'no categories': Case(edit('categories', to=[]), '"categories" is empty: label the objects'),
    'objects are null': Case(edit('annotations', to=None), 'its "annotations" is null, not a list'),
    'no objects': Case(
        edit('annotations', to=[]), 'none of 0 objects is left: there are no objects'
    ),
    'panoptic': Case(
        edit('annotations', to=[dict(segments_info=[])]), 'it holds panoptic segments'
    ),
    'image without id': Case(edit('images', 0, 'id'), ENTRY),
    'image id is a list': Case(edit('images', 0, 'id', to=[1]), ENTRY),
    'image name is a number': Case(edit('images', 0, 'file_name', to=7), ENTRY),
    'image is null': Case(edit('images', 0, to=None), ENTRY + 'None'),
    'null byte in a name': Case(
        edit('images', 0, 'file_name', to='a\0'), '1 of 3 images do not exist'
    ),
    'long name': Case(edit('images', 0, 'file_name', to='a' * 5000), '1 of 3 images do not exist'),
    'no such image': Case(
        edit('images', 0, 'file_name', to='gone.png'), r'not exist \(gone\.png\)'
    ),
    'no image': Case(
        edit('images', 0, 'file_name', to='a.json'), r'cannot be read \(.*it is no image'
    ),
    'no such image, and its width is a list': Case(
        edit('images', 0, to=dict(id=1, file_name='gone.png', width=[1], height=64)),
        r'do not exist \(gone\.png\)',
    ),
    'image id twice': Case(
        edit('images', 0, 'id', to=2), r'share their id .* \(2: 1\.png and 2\.png\)'
    ),
    'image twice': Case(
        edit('images', 0, 'file_name', to='2.png'), '1 files are listed under two ids'
    ),
    'wrong size': Case(
        edit('images', 0, 'width', to=50), '1.png: 50 x 64 listed, 96 x 64 in the file'
    ),
    'size is NaN': Case(
        edit('images', 0, 'width', to=NAN), r'1 sizes of .* wrong, read from the', False
    ),
    'size is a text': Case(edit('images', 0, 'width', to='x'), '1 sizes of images', False),
    'size below 0': Case(edit('images', 0, 'height', to=-64), '1 sizes of images', False),
    'category without id': Case(edit('categories', 0, 'id'), CLASS),
    'category id twice': Case(
        edit('categories', 0, 'id', to=2), r"two names \(2: 'cat' and 'dog'\)"
    ),
    'category name is null': Case(edit('categories', 0, 'name', to=None), CLASS),
    'category is null': Case(edit('categories', 0, to=None), CLASS + 'None'),
    'category name twice': Case(edit('categories', 0, 'name', to='dog'), r"no match for \['cat'\]"),
    'another category': Case(edit('categories', 0, 'name', to='cow'), r"in \['cow', 'dog'\]"),
    'huge category id': Case(edit('categories', 0, 'id', to=10**400), '2 ids of categories', False),
    'object is null': Case(edit('annotations', 0, to=None), SIX, False),
    'object of no image': Case(edit('annotations', 0, 'image_id', to=99), SIX, False),
    'image of object is a list': Case(edit('annotations', 0, 'image_id', to=[1]), SIX, False),
    'object of no class': Case(edit('annotations', 0, 'category_id', to=99), SIX, False),
    'object id twice': Case(
        edit('annotations', 0, 'id', to=2), '1 ids of objects that are 0', False
    ),
    'box of three numbers': Case(box([1, 2, 3]), BOX, False),
    'box is NaN': Case(box([1, 2, NAN, 4]), BOX, False),
    'box is infinite': Case(box([1, 2, INF, 4]), BOX, False),
    'box is a text': Case(box('1 2 3 4'), BOX, False),
    'box of no size': Case(box([1, 2, 0, 0]), BOX, False),
    'box of negative size': Case(box([10, 10, -5, -5]), BOX, False),
    'box outside the image': Case(box([500, 500, 5, 5]), SIX, False),
    'huge box': Case(box([0, 0, 1e308, 1e308]), '1 boxes partly outside the image, cut', False),
    'mask of two points': Case(mask([[1, 2, 3, 4]]), SIX, False),
    'mask of seven numbers': Case(mask([[1, 2, 3, 4, 5, 6, 7]]), SIX, False),
    'mask is a text': Case(mask('x'), SIX, False),
    'mask is NaN': Case(mask([[1, 2, 3, NAN, 5, 6]]), SIX, False),
    'mask of another size': Case(mask(dict(counts=[1, 2], size=[3, 4])), SIX, False),
    'mask of too few pixels': Case(mask(dict(counts=[5, 5], size=[64, 96])), SIX, False),
    'mask of negative runs': Case(mask(dict(counts=[-5, 6149], size=[64, 96])), SIX, False),
    'mask of broken text': Case(mask(dict(counts='\x7f\x7f', size=[64, 96])), SIX, False),
    'all are crowds': Case(of_all(lambda e: e.update(iscrowd=1)), 'all 7 objects have iscrowd=1'),
    'corners': Case(of_all(_corners), r'the 7 boxes are corners \[x1, y1, x2, y2\]'),
    'fractions': Case(of_all(_fractions), '7 of 7 boxes are at most one pixel large'),
}
