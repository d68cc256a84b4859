# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""A COCO file beside its images: made sound, or refused, never an exception."""

import json
from pathlib import Path

import coco_files

from fuzz.edits import as_json
from mmconvnext.data.coco.sound import make_sound

SOUND = coco_files.content()
SEEDS = [b'\0' + json.dumps(SOUND).encode(), b'\1', b'\1\3\5\100\14', b'\0[]', b'\0\xff\xfe{\0}\0']


def run(data: bytes, folder: Path) -> None:
    content = data[1:] if data[:1] < b'\1' else as_json(SOUND, data[1:41])
    coco_files.pictures(folder)
    file = coco_files.write(folder, content)
    sound = make_sound(file, coco_files.wanted(folder))
    if not sound.ledger.refused:
        json.dumps(sound.content, allow_nan=False)
        coco_files.objects(sound.content)  # pycocotools reads every mask
