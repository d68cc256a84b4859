# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Exports of labelling tools: converted, or a SourceError, and nothing is written elsewhere."""

import json
from pathlib import Path

import coco_files
import export_files

from fuzz.edits import as_json
from mmconvnext.data.exports.folder import SourceError
from mmconvnext.data.exports.prepare import Settings, prepare

SHAPES = [
    dict(label='cat', shape_type='polygon', points=[[5, 5], [30, 6], [20, 33]]),
    dict(label='dog', shape_type='rectangle', points=[[9, 8], [40, 30]]),
    dict(label='dog', shape_type='circle', points=[[9, 8], [12, 9]]),
]
LABELME = dict(
    version='5.5.0', flags={}, shapes=SHAPES, imagePath='1.png', imageData=None, imageHeight=64,
    imageWidth=96,
)  # fmt: skip
CVAT = (
    '<annotations><meta><task><labels><label><name>cat</name></label></labels></task></meta>'
    '<image id="0" name="1.png" width="96" height="64"><box label="cat" xtl="1" ytl="2" xbr="30" '
    'ybr="20"/><polygon label="cat" points="1,2;30,4;20,30"/><mask label="cat" rle="1, 2" '
    'left="1" top="1" width="3" height="1"/></image>'
    '<image id="1" name="2.png" width="96" height="64"/></annotations>'
)
VOC = (
    '<annotation><filename>1.png</filename><size><width>96</width><height>64</height></size>'
    '<object><name>cat</name><bndbox><xmin>3</xmin><ymin>4</ymin><xmax>30</xmax><ymax>20</ymax>'
    '</bndbox></object></annotation>'
)
YAML = 'names: [cat, dog]\ntrain: ../images\nkpt_shape: [2, 3]\n'
LINES = '0 0.5 0.5 0.25 0.3\n1 0.1 0.1 0.4 0.1 0.3 0.5\n'
COCO = coco_files.content(2)
NAMES = 'cat:0,0,0\ndog:1,1,1\n'
TEXTS = {  # the file that the bytes become, its sound content, and the sound files beside it
    'labels/1.txt': (LINES, {'labels/2.txt': LINES, 'data.yaml': YAML}),
    'data.yaml': (YAML, {'labels/1.txt': LINES, 'labels/2.txt': LINES}),
    '1.xml': (VOC, {'2.xml': VOC.replace('1.png', '2.png')}),
    'annotations.xml': (CVAT, {}),
    '1.json': (json.dumps(LABELME), {'2.json': json.dumps(LABELME).replace('1.png', '2.png')}),
    'a.json': (json.dumps(COCO), {}),
    'masks/labelmap.txt': (NAMES, {}),
}
SEEDS = [bytes([i]) + text.encode() for i, (text, _) in enumerate(TEXTS.values())]
SEEDS += [b'\7', b'\7\3\4', b'\10', b'\10\3\4']  # edited LabelMe and COCO


def run(data: bytes, folder: Path) -> None:
    kind, source, out = data[0] % 9 if data else 0, folder / 'source', folder / 'out'
    name = [*TEXTS, '1.json', 'a.json'][kind]
    content = data[1:] if kind < 7 else as_json(LABELME if kind == 7 else COCO, data[1:21])
    for i in (1, 2):
        place = source / 'images' if kind in (0, 1, 6) else source
        export_files.picture(place / f'{i}.png', coco_files.SIZE)
        if kind == 6:
            shape = {(5, 5, 30, 20): 1}
            export_files.label_map(source / f'masks/{i}.png', shape, size=coco_files.SIZE)
    for beside, text in TEXTS[name][1].items():
        export_files.text(source / beside, text)
    (source / name).parent.mkdir(exist_ok=True)
    (source / name).write_bytes(content)
    before = {file: file.read_bytes() for file in source.rglob('*') if file.is_file()}
    try:
        prepare(source, out, Settings(format='masks' if kind == 6 else 'auto'))
    except SourceError as error:
        assert str(error) and not out.exists()
    after = {file: file.read_bytes() for file in source.rglob('*') if file.is_file()}
    assert before == after, 'the source was changed'
    assert {path.name for path in folder.iterdir()} <= {'source', 'out'}, 'written elsewhere'
