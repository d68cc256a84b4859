# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Recognises annotations of other formats by their own marks, and names the way to COCO's.

Where supervision (Roboflow's library) reads a format, it is named, as the best kept converter that
needs no account; for the others it is the export of the tool that wrote the file.
"""

from __future__ import annotations

import re
from pathlib import Path

SUPERVISION = (
    "convert it with sv.DetectionDataset.{call}(...).as_coco(annotations_path='annotations.json') "
    'of the package supervision'
)
# Of a text that is no JSON: a mark at its beginning, the format, and how it becomes COCO's.
TEXTS = (
    (
        r'\s*<\?xml[^>]*\?>\s*<annotations\b|\s*<annotations\b',
        'CVAT XML',
        'export "COCO 1.0" from CVAT',
    ),
    (
        r'\s*(<\?xml[^>]*\?>\s*)?<annotation\b',
        'Pascal VOC XML',
        SUPERVISION.format(call='from_pascal_voc'),
    ),
    (r'\s*(<\?xml|<)', 'XML', 'export COCO from the tool that wrote it'),
    (
        r'\s*\d+([ \t]+-?[\d.e-]+){4,}[ \t]*(\n|\Z)',
        'YOLO labels',
        SUPERVISION.format(call='from_yolo'),
    ),
    (
        r'(\s*#[^\n]*\n)*\s*(path|train|val|test|names|nc)\s*:',
        "YOLO's data.yaml",
        SUPERVISION.format(call='from_yolo'),
    ),
    (
        r'[^\n{\[,]*,[^\n{\[,]*,[^\n{\[,]*,[^\n{\[]*\n',
        'a CSV table',
        'write COCO from it with a few lines of pandas',
    ),
)
# Of a JSON object: keys that tell its format.
OBJECTS = (
    ({'_via_img_metadata'}, 'a VIA project', 'export "COCO format" from VIA\'s menu Annotation'),
    ({'_via_settings'}, 'a VIA project', 'export "COCO format" from VIA\'s menu Annotation'),
    (
        {'shapes', 'imagePath'},
        'a LabelMe file of one image',
        'convert the folder with labelme2coco',
    ),
    (
        {'shapes', 'imageData'},
        'a LabelMe file of one image',
        'convert the folder with labelme2coco',
    ),
    ({'items', 'categories'}, "Datumaro's format", 'datum convert -f coco'),
    ({'objects', 'size'}, 'a Supervisely file of one image', 'export COCO from Supervisely'),
    ({'metadata', 'project', 'file'}, 'a VIA 3 project', 'export COCO from it'),
    ({'type', 'features'}, 'GeoJSON', 'write COCO from it: pixels instead of degrees'),
    ({'metainfo', 'data_list'}, "mmengine's own format", 'write COCO from it'),
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
    ({'data', 'annotations'}, 'Label Studio', 'export "COCO" from Label Studio'),
    ({'data', 'predictions'}, 'Label Studio', 'export "COCO" from Label Studio'),
    ({'External ID'}, 'Labelbox', "convert it with labelbox's COCO exporter"),
    ({'data_row', 'projects'}, 'Labelbox', "convert it with labelbox's COCO exporter"),
    ({'image_id', 'category_id', 'score'}, 'a list of predictions', 'give the annotation file'),
    ({'shapes', 'imagePath'}, 'a list of LabelMe files', 'convert the folder with labelme2coco'),
    ({'image_id', 'category_id'}, 'the list "annotations" alone', 'add "images" and "categories"'),
    (
        {'filename', 'regions'},
        'VIA annotations',
        'export "COCO format" from VIA\'s menu Annotation',
    ),
)
COCOS = ('images', 'annotations', 'categories')
# Of a folder: the suffix of most of its files.
FOLDERS = {
    '.xml': ('Pascal VOC files', SUPERVISION.format(call='from_pascal_voc')),
    '.txt': ('YOLO files', SUPERVISION.format(call='from_yolo')),
    '.json': ('a file for each image, as LabelMe writes', 'convert it with labelme2coco'),
    '.png': ('label maps', 'use a recipe of semantic segmentation, or convert them'),
    '.jpg': ('images', 'give the COCO file, not its folder'),
}

# Of any file: its first bytes.
BYTES = (
    (b'PK\x03\x04', 'a ZIP file', 'unpack it'),
    (b'\x1f\x8b', 'a gzip file', 'unpack it'),
)


def of_bytes(head: bytes) -> tuple[str, str] | None:
    """The format of a file that is no text."""
    return next(((name, way) for mark, name, way in BYTES if head.startswith(mark)), None)


def of_text(text: str, end: int | None = None) -> tuple[str, str] | None:
    """The format of a text that is no JSON, and the way to COCO's; None if it is unknown.

    Args:
        end: where the JSON at the beginning of the text ends, if there is some.
    """
    head = text[:4096]
    if end is not None and text[end] == '{':
        return 'NDJSON, an object in each line', 'export COCO from the tool that wrote it'
    return next(((name, way) for mark, name, way in TEXTS if re.match(mark, head)), None)


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
    suffixes = [file.suffix.lower() for file in sorted(folder.iterdir())[:1000] if file.is_file()]
    suffixes = [s for s in suffixes if s in FOLDERS] or [
        file.suffix.lower() for file in folder.rglob('*') if file.suffix.lower() in FOLDERS
    ]
    most = max(suffixes, key=suffixes.count, default='')
    whole = sorted(f.name for f in folder.glob('*.json') if _is_whole(f)) if most == '.json' else []
    if whole:
        return 'whole annotation files', f'give the file itself: {" or ".join(whole[:3])}'
    return FOLDERS.get(most)


def _is_whole(file: Path) -> bool:
    """Whether a JSON file seems to be COCO's, by its beginning; LabelMe's are of one image."""
    with file.open('rb') as stream:
        head = stream.read(4096)
    return b'"shapes"' not in head and any(f'"{k}"'.encode() in head for k in COCOS)
