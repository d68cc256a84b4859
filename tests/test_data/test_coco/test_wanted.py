# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/coco/wanted.py: whoever wants nothing more of a file gets it as it is."""

import coco_files as files
import pytest
from coco_files import OBJECTS
from PIL import Image

from mmconvnext.data.coco import images
from mmconvnext.data.coco.sound import make_sound
from mmconvnext.data.coco.wanted import Wanted
from mmconvnext.data.ledger import Ledger


def by_default(folder, found):
    if not any(folder.glob('*.png')):
        files.pictures(folder)
    return make_sound(files.write(folder, found), Wanted(str(folder), files.CLASSES))


def test_a_sound_file(tmp_path):
    read = by_default(tmp_path, files.content())
    assert read.ledger == Ledger() and read.facts.classes == OBJECTS and not read.needed


def each(**values):
    def change(found):
        for entry in found['annotations']:
            entry.update(values)

    return change


@pytest.mark.parametrize(
    ('change', 'left'),
    [
        (each(segmentation=[]), dict(segmentation=[])),  # no masks are wanted, nor made of boxes
        (
            each(bbox=[9, 9, 0.5, 9], segmentation=[]),
            dict(bbox=[9, 9, 0.5, 9]),
        ),  # none is small
        (each(bbox=[9, 9, 200, 200]), dict(bbox=[9, 9, 87, 55])),  # nor judged as a whole
        (each(iscrowd=1), dict(iscrowd=1)),  # regions to ignore stay
        (lambda found: found['annotations'].clear(), {}),  # images without objects too
    ],
)
def test_what_only_matters_to_who_learns_or_measures(tmp_path, change, left):
    found = files.content()
    change(found)
    read = by_default(tmp_path, found)
    assert read.ledger.refused == [] and read.ledger.left_out == {}
    assert read.facts.images_learnt == 3
    for entry in read.content['annotations']:
        assert {**entry, **left} == entry


def test_images_are_turned_and_objects_are_not(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    files.pictures(tmp_path, exif=exif)
    (refusal,) = by_default(tmp_path, files.content()).ledger.refused
    assert refusal.check == 'image_sizes' and '3 images have an EXIF' in refusal.text


def test_nothing_is_passed_or_stripped(tmp_path):
    found = files.content()
    for entry in found['images']:
        entry['file_name'] = 'old/' + entry['file_name']
    read = by_default(tmp_path, found)
    assert [r.check for r in read.ledger.refused] == ['image_files']
    assert images.MISSING not in read.ledger.left_out and read.facts.images == 3
