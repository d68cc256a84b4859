# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Writes small exports of labelling tools, as these write them, and reads what became of them."""

import json
from pathlib import Path

import numpy as np
from coco_files import mask
from PIL import Image

from mmconvnext.data.exports.prepare import Settings, prepare

WIDTH, HEIGHT = 64, 48


def picture(file: Path, size=(WIDTH, HEIGHT), **save) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', size, (60, 10, 200)).save(file, **save)
    return file


def text(file: Path, content: object) -> Path:
    """Write a text, or anything else as JSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding='utf-8')
    return file


def label_map(file: Path, values: dict, kind='L', size=(WIDTH, HEIGHT)) -> Path:
    """A label map of zeros, with rectangles (x1, y1, x2, y2) of other values or colours."""
    file.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0], 3) if kind == 'RGB' else (size[1], size[0])
    array = np.zeros(shape, np.uint8)
    for (x1, y1, x2, y2), value in values.items():
        array[y1:y2, x1:x2] = value
    Image.fromarray(array).save(file)
    return file


def yolo(root: Path, images: dict[str, str], data='names: [cat, dog]\n') -> Path:
    """images/NAME and labels/STEM.txt."""
    text(root / 'data.yaml', data)
    for name, lines in images.items():
        picture(root / 'images' / name)
        text((root / 'labels' / name).with_suffix('.txt'), lines)
    return root


def voc(file: Path, image: str, objects: str, more='') -> Path:
    size = f'<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>'
    return text(file, f'<annotation><filename>{image}</filename>{size}{objects}{more}</annotation>')


def voc_object(name: str, box, more='') -> str:
    tags = ('xmin', 'ymin', 'xmax', 'ymax')
    corners = ''.join(f'<{tag}>{v}</{tag}>' for tag, v in zip(tags, box))
    return f'<object><name>{name}</name><bndbox>{corners}</bndbox>{more}</object>'


def labelme(file: Path, shapes: list, **changes) -> Path:
    content = dict(
        version='5.5.0',
        flags={},
        shapes=[dict(group_id=None, flags={}, **shape) for shape in shapes],
        imagePath=file.with_suffix('.png').name,
        imageData=None,
        imageHeight=HEIGHT,
        imageWidth=WIDTH,
    )
    return text(file, {**content, **changes})


def ready(source: Path, out='out', **settings) -> tuple[dict, Path]:
    """Prepare a folder; the report, and the folder beside it that was written."""
    out = source.parent / out
    facts, _ = prepare(source, out, Settings(**settings))
    return facts, out


def objects(out: Path) -> dict[str, list[tuple]]:
    """By the name of an image its objects in both splits: class, box, and the area of the mask."""
    found: dict[str, list[tuple]] = {}
    for file in sorted((out / 'annotations').glob('*.json')):
        content = json.loads(file.read_text(encoding='utf-8'))
        names = {entry['id']: entry['name'] for entry in content['categories']}
        images = {entry['id']: entry for entry in content['images']}
        for entry in images.values():
            assert (out / 'images' / entry['file_name']).is_file()
            found.setdefault(entry['file_name'], [])
        for entry in content['annotations']:
            image = images[entry['image_id']]
            pixels = int(mask(entry, image).sum()) if entry.get('segmentation') else None
            box = tuple(round(v, 2) for v in entry['bbox'])
            found[image['file_name']].append((names[entry['category_id']], box, pixels))
    return found


def splits(out: Path) -> dict[str, list[str]]:
    """The names of the images of each split."""
    files = sorted((out / 'annotations').glob('*.json'))
    contents = {file.stem: json.loads(file.read_text(encoding='utf-8')) for file in files}
    return {k: sorted(i['file_name'] for i in c['images']) for k, c in contents.items()}


def labels_beside(out: Path, name: str) -> np.ndarray:
    """The label map of an image (H, W)."""
    (image,) = out.glob(f'*/images/**/{name}')
    folder = image.relative_to(out).parts[0]
    file = out / folder / 'labels' / image.relative_to(out / folder / 'images')
    with Image.open(file.with_suffix('.png')) as found:
        assert found.mode == 'P'
        return np.asarray(found)
