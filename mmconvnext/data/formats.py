# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Recognises annotations of other formats by their own marks, and names the way to COCO's.

For the formats that ``exports`` reads it is ``tools/prepare_data.py``, for the others the export of
the tool that wrote the file.
"""

from __future__ import annotations

import re
from pathlib import Path

PREPARE = 'convert the folder with tools/prepare_data.py'
TABLE = 'write COCO from it with a few lines of pandas'
FILE = 'give the COCO file'
WRITE = 'write COCO from it'
YOLO = 'YOLO labels'
HEAD, MOST = 4096, 1000  # characters of a file, and files of a folder, that are looked at; ours
# How a COCO file begins.
COCO = r'\ufeff?\s*\{\s*"(info|licenses|images|annotations|categories)"'
# Of a text that is no JSON: a mark at its beginning, the format, and how it becomes COCO's.
TEXTS = (
    (
        r'\s*<\?xml[^>]*\?>\s*<annotations\b|\s*<annotations\b',
        'CVAT XML',
        'export "COCO 1.0" from CVAT, or ' + PREPARE,
    ),
    (
        r'\s*(<\?xml[^>]*\?>\s*)?<annotation\b',
        'Pascal VOC XML',
        PREPARE,
    ),
    (r'version https://git-lfs', 'a pointer of Git LFS', 'run git lfs pull'),
    (r'<<<<<<<', 'the mark of a merge conflict of Git', 'resolve it'),
    (r'(?i)\s*(<!doctype html|<html)', 'a web page', 'download the file that it shows'),
    (r'\s*(<\?xml|<)', 'XML', 'export COCO from the tool that wrote it'),
    (
        r'\s*\d+([ \t]+-?[\d.e-]+){4,}[ \t]*(\n|\Z)',
        YOLO,
        PREPARE,
    ),
    (
        r'(\s*#[^\n]*\n)*\s*(path|train|val|test|names|nc)\s*:',
        "YOLO's data.yaml",
        PREPARE,
    ),
    ('|'.join(rf'([^\n{{\[{by}]*{by}){{3}}[^\n{{\[]*\n' for by in ',;\t'), 'a CSV table', TABLE),
    (
        r'(?i)[^\n]+\.(jpe?g|png|bmp|tiff?)\s*\n',
        'a list of images',
        'give the COCO file; names=... of a split of own_data takes such a list',
    ),
)
# Of a file that is no text: how it begins.
BINARIES = (
    (b'PK\x03\x04', 'a zip file, or a table of Excel', 'unpack it'),
    (b'\x1f\x8b', 'a gzip file', 'unpack it'),
    (b'PAR1', 'a Parquet table', TABLE),
    (b'\xff\xd8\xff', 'an image', FILE),
    (b'\x89PNG', 'an image', FILE),
    (b'%PDF', 'a PDF', FILE),
)
# Of a JSON object: keys that tell its format.
OBJECTS = (
    ({'_via_img_metadata'}, 'a VIA project', 'export "COCO format" from VIA\'s menu Annotation'),
    ({'_via_settings'}, 'a VIA project', 'export "COCO format" from VIA\'s menu Annotation'),
    (
        {'shapes', 'imagePath'},
        'a LabelMe file of one image',
        PREPARE,
    ),
    (
        {'shapes', 'imageData'},
        'a LabelMe file of one image',
        PREPARE,
    ),
    ({'items', 'categories'}, "Datumaro's format", 'datum convert -f coco'),
    ({'objects', 'size'}, 'a Supervisely file of one image', 'export COCO from Supervisely'),
    ({'metadata', 'project', 'file'}, 'a VIA 3 project', 'export COCO from it'),
    ({'type', 'features'}, 'GeoJSON', 'write COCO from it: pixels instead of degrees'),
    ({'metainfo', 'data_list'}, "mmengine's own format", WRITE),
    ({'item', 'annotations'}, "V7 Darwin's file of one image", 'export COCO from V7'),
    ({'imgHeight', 'objects'}, 'a Cityscapes file of one image', WRITE),
    ({'file_name', 'objects'}, "a line of Hugging Face's metadata.jsonl", WRITE),
    ({'openlabel'}, 'ASAM OpenLABEL', 'export COCO from the tool that wrote it'),
    ({'weight_map'}, 'the index of a checkpoint', 'give the annotation file'),
)
# Of the objects in a JSON list.
LISTS = (
    (
        {'image', 'annotations'},
        'CreateML',
        'export COCO from the tool that wrote it, or download "COCO" from Roboflow',
    ),
    (
        {'imagefilename', 'annotation'},
        'CreateML',
        'export COCO from the tool that wrote it, or download "COCO" from Roboflow',
    ),
    ({'annotator'}, 'Label Studio', 'export "COCO" from Label Studio'),
    ({'filename', 'ann'}, "mmdet 2's own format", WRITE),
    ({'name', 'labels'}, 'BDD100K or Scalabel', 'convert it with scalabel.label.to_coco'),
    ({'data', 'annotations'}, 'Label Studio', 'export "COCO" from Label Studio'),
    ({'data', 'predictions'}, 'Label Studio', 'export "COCO" from Label Studio'),
    ({'External ID'}, 'Labelbox', "convert it with labelbox's COCO exporter"),
    ({'data_row', 'projects'}, 'Labelbox', "convert it with labelbox's COCO exporter"),
    ({'image_id', 'category_id', 'score'}, 'a list of predictions', 'give the annotation file'),
    ({'shapes', 'imagePath'}, 'a list of LabelMe files', PREPARE),
    ({'image_id', 'category_id'}, 'the list "annotations" alone', 'add "images" and "categories"'),
    (
        {'filename', 'regions'},
        'VIA annotations',
        'export "COCO format" from VIA\'s menu Annotation',
    ),
)
# Of a folder: the suffix of most of its files.
FOLDERS = {
    '.xml': ('Pascal VOC files', PREPARE),
    '.txt': ('YOLO files', PREPARE),
    '.json': ('a file for each image, as LabelMe writes', PREPARE),
    '.png': ('label maps', 'use a recipe of semantic segmentation, or convert them'),
    '.jpg': ('images', 'give the COCO file, not its folder'),
}


def of_text(text: str, end: int | None = None) -> tuple[str, str] | None:
    """The format of a text that is no JSON, and the way to COCO's; None if it is unknown.

    Args:
        end: where the JSON at the beginning of the text ends, if there is some.
    """
    head = text[:HEAD]
    if end is not None and text[end] == '{':
        return 'NDJSON, an object in each line', 'export COCO from the tool that wrote it'
    return next(((name, way) for mark, name, way in TEXTS if re.match(mark, head)), None)


def of_binary(start: bytes) -> tuple[str, str] | None:
    """The format of a file that begins so, if it is no text."""
    return next(((name, way) for mark, name, way in BINARIES if start.startswith(mark)), None)


def of_object(content: dict) -> tuple[str, str] | None:
    """The format of a JSON object that is not COCO's."""
    keys = set(content)
    found = next(((name, way) for marks, name, way in OBJECTS if marks <= keys), None)
    values = [value for value in list(content.values())[:3] if isinstance(value, dict)]
    if not found and values and all({'filename', 'regions'} <= set(v) for v in values):
        found = LISTS[-1][1:]
    return found


def of_list(content: list) -> tuple[str, str] | None:
    """The format of a JSON list."""
    first = content[0] if content and isinstance(content[0], dict) else {}
    return next(((name, way) for marks, name, way in LISTS if marks <= set(first)), None)


def of_folder(folder: Path) -> tuple[str, str] | None:
    """The format of a folder of files."""
    files = [file for file in sorted(folder.iterdir())[:MOST] if file.is_file()]
    coco = [file.name for file in files if file.suffix.lower() == '.json' and _is_coco(file)]
    if coco:
        return 'COCO files', f'give the file, such as {coco[0]}'
    if not any(file.suffix.lower() in FOLDERS for file in files):
        files = [*folder.rglob('*')]
    suffixes = [file.suffix.lower() for file in files if file.suffix.lower() in FOLDERS]
    if not suffixes:
        return None
    most = max(suffixes, key=suffixes.count)
    if most == '.txt':
        texts = [_start(f) for f in files if f.suffix.lower() == most and f.name != 'classes.txt']
        found = [of_text(text) for text in texts if text.strip()]
        if found and not any(of and of[0] == YOLO for of in found):
            return "texts in another form than YOLO's", 'convert them to COCO'
    return FOLDERS[most]


def _is_coco(file: Path) -> bool:
    return bool(re.match(COCO, _start(file)))


def _start(file: Path) -> str:
    try:
        with file.open('rb') as stream:
            return stream.read(HEAD).decode('utf-8', 'replace')
    except OSError:
        return ''
