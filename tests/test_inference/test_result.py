# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""inference/result.py: what a user does with the result of an image."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from mmconvnext.inference.result import MOST, Result

from .conftest import CLASSES, found

RED, GREEN, BLUE = colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]


def of_objects(size=(30, 40), path='a/b.jpg', **given) -> Result:
    masks = np.zeros((2, *size), bool)
    masks[0, 5:9, 10:20] = masks[1, 20:25, 2:8] = True
    detections = found([[10, 5, 20, 9], [2, 20, 8, 25]], [1, 0], [0.9, 0.4], masks)
    image = np.full((*size, 3), 199, np.uint8)
    return Result(detections, image, size, CLASSES, colours, path)


def of_map() -> Result:
    labels = np.zeros((6, 8), np.uint8)
    labels[0], labels[5] = 2, 255
    image = np.full((6, 8, 3), 199, np.uint8)
    return Result(found([], label_map=labels), image, (6, 8), CLASSES, colours)


def test_objects():
    result = of_objects()
    assert len(result) == 2 and result and result.names == ['dog', 'cat']
    assert result.boxes.shape == (2, 4) and result.scores.tolist() == pytest.approx([0.9, 0.4])
    assert result.masks.shape == (2, 30, 40) and result.masks.sum((1, 2)).tolist() == [40, 30]
    assert result.counts == dict(dog=1, cat=1) and result.label_map is None
    assert repr(result) == 'a/b.jpg, 40 x 30 pixels: 1 dog, 1 cat'


def test_only_those_with_a_score():
    result = of_objects().at_least(0.5)
    assert len(result) == 1 and result.names == ['dog'] and result.masks.shape == (1, 30, 40)
    nothing = result.at_least(0.95)
    assert len(nothing) == 0 and nothing and nothing.masks.shape == (0, 30, 40)
    assert repr(nothing).endswith('pixels: nothing')
    assert np.asarray(nothing.draw(least=0)).tolist() == nothing.image.tolist()
    assert nothing.to_coco()['annotations'] == []


def test_a_label_map():
    result = of_map()
    assert len(result) == 2 and result.counts == dict(cat=32, emu=8) and result.masks is None
    assert repr(result) == 'image, 8 x 6 pixels: cat 67 %, emu 17 %'
    picture = np.asarray(result.draw(least=0, legend=False))
    assert picture.shape == (6, 8, 3)
    red, _, blue = (picture[row, 0].astype(int) for row in (3, 5, 0))
    assert red[0] > red[2] and blue[2] > blue[0] and picture[5, 0].tolist() == [199, 199, 199]
    with pytest.raises(ValueError, match=r'a label map has no form in COCO.*result\.label_map'):
        result.to_coco()


def test_a_small_image_is_drawn_larger_but_never_too_large():
    assert of_objects().draw(legend=False).size == (640, 480)
    assert of_objects().draw(least=0, legend=False).size == (40, 30)
    assert of_objects((500, 600)).draw(legend=False).size == (600, 500)
    thin = Result(found([]), np.zeros((1, 900, 3), np.uint8), (1, 900), CLASSES, colours)
    assert thin.draw().size == (1800, 2) and 1800 <= MOST


def test_a_label_map_is_drawn_with_the_names_of_its_classes():
    assert of_map().draw(legend=False).height < of_map().draw().height


@pytest.fixture
def written(monkeypatch):
    """The texts of the pictures that are drawn: beside objects, and in legends."""
    texts, legends = [], []
    monkeypatch.setattr(
        'mmconvnext.draw.objects.put_texts', lambda _, rows, size: texts.extend(r[2] for r in rows)
    )
    monkeypatch.setattr(
        'mmconvnext.draw.with_legend', lambda picture, *rows: legends.extend(zip(*rows)) or picture
    )
    return texts, legends


def test_the_legend_counts_the_objects(written):
    boxes = [[40 * x, 2, 40 * x + 3, 9] for x in range(5)]
    image = np.zeros((200, 200, 3), np.uint8)
    result = Result(found(boxes, [2, 0, 2, 2, 0]), image, (200, 200), CLASSES, colours)
    result.draw()
    assert written == ([], [('emu: 3', BLUE), ('cat: 2', RED)])  # too small for texts
    result.draw(texts=True)
    assert written[0] == ['cat 0.50', 'emu 0.60', 'emu 0.70', 'cat 0.80', 'emu 0.90']


def test_objects_of_the_only_class_have_scores_alone(written):
    image = np.zeros((480, 500, 3), np.uint8)
    one = found([[100, 100, 180, 190]], [0])
    Result(one, image, (480, 500), ('cell',), colours).draw()
    assert written == (['0.90'], [('cell: 1', RED)])
    Result(one, image, (480, 500), CLASSES, colours).draw(texts=False)
    assert written[0] == ['0.90']


def test_the_legend_of_a_label_map_has_no_numbers(written):
    of_map().draw()
    assert written == ([], [('cat', RED), ('emu', BLUE)])


def test_a_dark_image_is_drawn_brighter_and_the_legend_says_so(written):
    image = np.full((480, 500, 3), 9, np.uint8)
    image[:40], image[40:80] = 51, 30
    dark = Result(found([]), image, (480, 500), CLASSES, colours)
    picture = np.asarray(dark.draw())
    assert picture[::40, 0, 0].tolist()[:3] == [255, 150, 45]
    assert written[1] == [('image 5 times as bright', (255, 255, 255))]
    assert (np.asarray(dark.draw(brighten=False)) == image).all()
    assert len(written[1]) == 1
    image[:40] = 128
    assert (np.asarray(dark.draw()) == image).all() and len(written[1]) == 1


def test_the_background_of_a_label_map_is_not_tinted(written):
    labels = np.zeros((480, 500), np.uint8)
    labels[:, 250:] = 2
    image = np.full((480, 500, 3), 199, np.uint8)
    for name, tinted in (('Background', False), ('sky', True)):
        names = (name, 'dog', 'emu')
        result = Result(found([], label_map=labels), image, (480, 500), names, colours)
        picture = np.asarray(result.draw())
        assert ((picture[:, :250] != 199).any(), (picture[:, 250:] != 199).any()) == (tinted, True)
    assert written[1] == [('Background', RED), ('emu', BLUE), ('sky', RED), ('emu', BLUE)]


def test_outlines_leave_the_image_as_it_is():
    for result, inside in ((of_objects(), (112, 240)), (of_map(), (240, 320))):
        filled, outlined = (
            np.asarray(result.draw(legend=False, outline=outline)) for outline in (False, True)
        )
        assert outlined[inside].tolist() == [199] * 3 != filled[inside].tolist()
        assert 0 < (outlined != 199).any(axis=2).mean() < (filled != 199).any(axis=2).mean()


@pytest.mark.parametrize('least', [-1, 480.0, '480', None])
def test_sizes_are_whole_numbers(least):
    with pytest.raises(ValueError, match='least=.*: choose a number of pixels from 0 on'):
        of_objects().draw(least=least)
    assert of_objects().draw(least=np.int64(60), legend=False).size == (80, 60)


@pytest.mark.parametrize('score', ['0.5', None, float('nan'), 2])
def test_thresholds_are_numbers(score):
    with pytest.raises(ValueError, match='score=.*: choose a number from 0 to 1'):
        of_objects().at_least(score)


def test_masks_are_drawn_in_parts_if_they_are_many(monkeypatch):
    whole = np.asarray(of_objects().draw())
    monkeypatch.setattr('mmconvnext.inference.result.HELD', 1)
    assert (np.asarray(of_objects().draw()) == whole).all()


def test_cocos_form():
    result = of_objects()
    content = result.to_coco(image_id=7)
    assert content['images'] == [dict(id=7, file_name='b.jpg', width=40, height=30)]
    assert [one['name'] for one in content['categories']] == list(CLASSES)
    first, second = content['annotations']
    assert (first['id'], second['id'], first['image_id']) == (1, 2, 7)
    assert first['category_id'] == 2 and first['bbox'] == [10, 5, 10, 4] and first['area'] == 40
    assert first['score'] == pytest.approx(0.9) and first['iscrowd'] == 0
    assert (coco.decode(second['segmentation']) == result.masks[1]).all()


def test_it_is_saved_as_a_picture_or_as_json(tmp_path):
    result = of_objects()
    result.save(tmp_path / 'x.jpg')
    assert Image.open(tmp_path / 'x.jpg').width == 640
    result.save(str(tmp_path / 'x.json'))
    assert json.loads((tmp_path / 'x.json').read_text()) == result.to_coco()


def test_a_notebook_shows_it():
    assert Image.open(io.BytesIO(of_objects()._repr_png_())).format == 'PNG'


def test_the_image_may_be_loaded_later():
    result = of_objects()
    later = Result(result._found, lambda: result.image + 1, (30, 40), CLASSES, colours)
    assert later.image[0, 0].tolist() == [200] * 3 == later.at_least(0.5).image[0, 0].tolist()


def test_boxes_may_reach_out_of_the_image():
    image = np.zeros((30, 40, 3), np.uint8)
    wide = Result(found([[-1e20, -5, 1e20, 90]]), image, (30, 40), CLASSES, colours)
    assert wide.draw(legend=False).size == (640, 480)


def test_ids_of_numpy_become_json():
    found = of_objects().to_coco(np.int64(3))
    assert json.loads(json.dumps(found))['annotations'][0]['image_id'] == 3
    for image_id in ('3', 3.0, -1, True):
        with pytest.raises(ValueError, match='image_id=.*: choose a whole number from 0 on'):
            of_objects().to_coco(image_id)
