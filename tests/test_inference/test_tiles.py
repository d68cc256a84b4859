# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""inference/tiles.py: objects that tiles have cut are whole in the result."""

import numpy as np
import pytest

from mmconvnext.inference.tiles import join, tiles_of

from .conftest import found

HEIGHT, WIDTH = 200, 340


@pytest.mark.parametrize('overlap', [0, 0.2, 0.5])
@pytest.mark.parametrize(
    ('height', 'width', 'side'), [(200, 340, 100), (101, 99, 100), (30, 340, 64)]
)
def test_tiles_cover_the_image_with_the_overlap(height, width, side, overlap):
    tiles = tiles_of(height, width, side, overlap)
    seen = np.zeros((height, width), int)
    for x1, y1, x2, y2 in tiles:
        assert (x2 - x1, y2 - y1) == (min(side, width), min(side, height))
        seen[y1:y2, x1:x2] += 1
    assert seen.min() == 1
    columns = sorted({tile[0] for tile in tiles})
    for before, after in zip(columns, columns[1:]):
        assert before + side - after >= int(overlap * side) - 1


def test_a_small_image_is_one_tile():
    assert tiles_of(50, 60, 64, 0.2) == [(0, 0, 60, 50)]


def seen_by(tiles, objects, masks=True, miss=lambda tile, number: False):
    """What a perfect model sees in each tile of objects (x1, y1, x2, y2, class, score)."""
    parts = []
    for tile in tiles:
        x1, y1, x2, y2 = tile
        rows = []
        for number, (a, b, c, d, label, score) in enumerate(objects):
            box = [max(a, x1) - x1, max(b, y1) - y1, min(c, x2) - x1, min(d, y2) - y1]
            if box[0] < box[2] and box[1] < box[3] and not miss(tile, number):
                rows.append((box, label, score - 0.01 * x1 / WIDTH))
        drawn = np.zeros((len(rows), y2 - y1, x2 - x1), bool)
        for mask, (box, _, _) in zip(drawn, rows):
            mask[box[1] : box[3], box[0] : box[2]] = True
        boxes, labels, scores = ([row[i] for row in rows] for i in range(3))
        parts.append(found(boxes, labels, scores, drawn if masks else None))
    return parts


OBJECTS = [
    (10, 10, 30, 40, 0, 0.9),  # in one tile
    (85, 20, 95, 50, 1, 0.8),  # in the overlap of two
    (60, 60, 130, 120, 0, 0.7),  # cut by all
    (5, 150, 335, 170, 2, 0.6),  # longer than any tile
    (200, 20, 240, 60, 0, 0.5),
    (210, 30, 235, 55, 1, 0.4),  # of another class, inside of the one above
]


@pytest.mark.parametrize('masks', [True, False])
@pytest.mark.parametrize('overlap', [0.1, 0.2, 0.5])
def test_every_object_is_found_once_and_whole(masks, overlap):
    tiles = tiles_of(HEIGHT, WIDTH, 100, overlap)
    joined = join(seen_by(tiles, OBJECTS, masks), tiles, HEIGHT, WIDTH)
    assert joined.boxes.tolist() == [list(one[:4]) for one in OBJECTS]
    assert joined.labels.tolist() == [one[4] for one in OBJECTS]
    assert (np.diff(joined.scores) < 0).all()
    if masks:
        for one, patch in zip(OBJECTS, joined.patches):
            assert patch.corners == one[:4] and patch.mask.all()
    else:
        assert joined.patches is None


def test_a_view_that_was_cut_does_not_change_a_whole_one():
    tiles = [(0, 0, 100, 50), (80, 0, 180, 50)]
    whole = found([[60, 10, 95, 30]], scores=[0.5])
    cut = found([[0, 8, 17, 33]], scores=[0.9])  # in the image 80 to 97: the border is not exact
    joined = join([whole, cut], tiles, 50, 180)
    assert joined.boxes.tolist() == [[60, 10, 95, 30]] and joined.scores.tolist() == [0.5]


def test_neighbours_of_one_class_stay_apart():
    objects = [(70, 10, 88, 30, 0, 0.9), (89, 10, 110, 30, 0, 0.8)]
    tiles = [(0, 0, 100, 50), (80, 0, 180, 50)]
    joined = join(seen_by(tiles, objects), tiles, 50, 180)
    assert joined.boxes.tolist() == [list(one[:4]) for one in objects]


def test_the_rest_of_an_object_is_left_out():
    tiles = [(0, 0, 100, 50), (80, 0, 180, 50)]
    whole = found([[40, 10, 98, 40]], scores=[0.9])
    rest = found([[0, 12, 15, 20]], scores=[0.6])  # little of what the first tile sees there
    assert len(join([whole, rest], tiles, 50, 180).labels) == 1
    other = found([[0, 12, 15, 20]], labels=[1], scores=[0.6])
    assert len(join([whole, other], tiles, 50, 180).labels) == 2
    free = found([[5, 12, 15, 20]], scores=[0.6])  # not cut: an object inside of another one
    assert len(join([whole, free], tiles, 50, 180).labels) == 2


def test_no_object():
    tiles = tiles_of(HEIGHT, WIDTH, 100, 0.2)
    joined = join([found([], masks=[]) for _ in tiles], tiles, HEIGHT, WIDTH)
    assert joined.boxes.shape == (0, 4) and joined.patches == [] and len(joined.scores) == 0


def test_each_pixel_of_a_label_map_is_that_of_the_tile_with_more_around_it():
    tiles = tiles_of(60, 150, 60, 0.5)
    parts = [found([], label_map=np.full((60, 60), i, np.uint8)) for i in range(len(tiles))]
    joined = join(parts, tiles, 60, 150)
    middles = np.array([(x1 + x2) / 2 for x1, _, x2, _ in tiles])
    nearest = np.abs(np.arange(150)[:, None] + 0.5 - middles).argmin(1)
    assert not joined.has_objects and (joined.label_map == nearest).all()


def test_a_label_map_in_rows_and_columns():
    truth = np.random.default_rng(0).integers(0, 9, (130, 170)).astype(np.uint8)
    tiles = tiles_of(130, 170, 64, 0.2)
    parts = [found([], label_map=truth[y1:y2, x1:x2]) for x1, y1, x2, y2 in tiles]
    assert (join(parts, tiles, 130, 170).label_map == truth).all()
