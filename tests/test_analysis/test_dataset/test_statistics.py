# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""analysis/dataset/statistics.py: figures that were counted by hand, and which charts there are."""

import numpy as np
import pytest
from dataset_files import HEIGHT, WIDTH, listing
from mmengine.config import Config

from mmconvnext.analysis.dataset import statistics
from mmconvnext.analysis.dataset.regions import Regions
from mmconvnext.analysis.dataset.samples import Fed
from mmconvnext.analysis.dataset.statistics import anchors, charts_of, count, figures_of
from mmconvnext.analysis.dataset.view import View
from mmconvnext.draw import Objects

NONE = Config(dict(default_scope='mmdet', model=dict()))
BOXES = [[0, 0, 10, 20], [0, 0, 40, 40], [0, 0, 90, 60], [5, 5, 25, 25], [0, 0, 1, 1]]
IGNORED = np.array([False] * 4 + [True])


def found():
    images, sizes = [0, 0, 2, 2, 2], [(WIDTH, HEIGHT)] * 2 + [(50, 80)]
    return listing(BOXES, [0, 1, 1, 1, 0], images, sizes=sizes, ignored=IGNORED)


def fed(boxes, labels, scale=(0.5, 0.5)) -> Fed:
    view = View(np.zeros((9, 9, 3), np.uint8), Objects(np.array(boxes, float), np.array(labels)))
    return Fed(view, 'a.png', scale)


def with_anchors(**generator) -> Config:
    node = dict(type='AnchorGenerator', strides=[4, 8], **generator)
    model = dict(rpn_head=dict(anchor_generator=node))
    return Config(dict(default_scope='mmdet', model=model))


def charts(listing, regions=None, samples=(), cfg=NONE) -> dict:
    figures = figures_of(cfg, listing, regions, samples)
    return {
        name: (figure, about)
        for name, figure, about in charts_of(listing, regions, figures, samples)
    }


def test_figures():
    samples = [fed([[0, 0, 8, 8], [0, 0, 90, 90]], [0, 2], scale=(0.25, 1.0))]
    figures = figures_of(with_anchors(scales=[8], ratios=[1.0]), found(), None, samples)
    assert figures['images'] == 3 and figures['images_left_out'] == 0
    assert figures['objects'] == 4 and figures['regions_to_ignore'] == 1
    assert figures['objects_of_class'] == dict(cat=1, dog=3)
    assert figures['images_without_objects'] == 1
    assert figures['objects_per_image']['most'] == 2
    assert figures['object_width'] == dict(
        least=10, quarter=17.5, median=30, three_quarters=52.5, most=90
    )
    assert figures['object_height']['most'] == 60
    assert figures['image_width']['least'] == 50 and figures['image_height']['most'] == 80
    assert figures['objects_small_medium_large'] == [2, 2, 0]
    assert figures['scale_of_pipeline']['median'] == 0.5
    assert figures['anchors'] == [32, 64]
    assert figures['object_side_of_input']['most'] == 8  # without the region to ignore


@pytest.mark.parametrize(
    ('side', 'counts'), [(31.9, [1, 0, 0]), (32, [0, 1, 0]), (95.9, [0, 1, 0]), (96, [0, 0, 1])]
)
def test_the_limits_of_coco(side, counts):
    figures = figures_of(NONE, listing([[0, 0, side, side]], sizes=[(99, 99)]), None, [])
    assert figures['objects_small_medium_large'] == counts


def test_anchors():
    assert anchors(NONE) == []
    assert anchors(with_anchors(scales=[4], ratios=[0.5, 1.0, 2.0])) == [16, 32]
    sides = anchors(with_anchors(octave_base_scale=4, scales_per_octave=2, ratios=[1.0]))
    assert sides == [16, 22.6, 32, 45.3]


@pytest.mark.parametrize(
    ('box', 'at_border'),
    [
        ([1, 15, 30, 30], True),
        ([1.5, 15, 30, 30], False),
        ([20, 0.5, 40, 30], True),
        ([20, 15, WIDTH - 1, 30], True),
        ([20, 15, WIDTH - 1.5, 30], False),
        ([20, 15, 40, HEIGHT], True),
    ],
)
def test_objects_at_the_border(box, at_border):
    figures = figures_of(NONE, listing([box, [20, 15, 40, 30]]), None, [])
    assert figures['objects_at_border'] == int(at_border)


def test_the_border_of_an_image_of_unknown_size_is_unknown():
    figures = figures_of(NONE, listing([[0, 0, 9, 9]], sizes=[(0, 0)]), None, [])
    assert figures['objects_at_border'] == 0


def test_charts_of_objects():
    made = charts(found())
    assert {*made} == {
        'objects_of_classes',
        'object_sizes',
        'shapes',
        'objects_per_image',
        'image_sizes',
    }
    assert '2 are small, 2 medium, 0 large' in made['object_sizes'][1]
    for name in ('object_sizes', 'shapes'):
        assert made[name][0].axes[0].get_ylabel() == 'objects'
    assert made['objects_per_image'][1] == '1.3 on average, at most 2; 1 image without objects'
    figure, about = made['image_sizes']
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == [
        f'{WIDTH} x {HEIGHT}',
        '50 x 80',
    ]
    assert about == '2 sizes, width x height in pixels'
    assert figure.axes[0].get_xlabel() == 'images'
    assert figure.axes[0].get_title() == 'Image sizes'


def test_sizes_of_the_input_with_the_anchors():
    samples = [fed([[0, 0, 15, 15], [0, 0, 40, 40], [0, 0, 129, 129], [0, 0, 9, 9]], [0, 1, 1, 1])]
    cfg = with_anchors(scales=[8], ratios=[1.0])
    figure, about = charts(found(), None, samples, cfg)['object_sizes_of_input']
    assert about == (
        "4 objects of 1 random image after the pipeline; the model's anchors have 32 to 64 "
        'pixels: 50% of the objects have less than half of the smallest, 25% more than twice the '
        'largest'
    )
    texts = {text.get_text() for text in figure.axes[0].texts}
    assert {'anchor 32', 'anchor 64'} <= texts


def test_classes_without_objects_are_named():
    figure, about = charts(listing([[0, 0, 9, 9]]))['objects_of_classes']
    assert about == 'Not found: dog.'
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ['cat']


def test_many_classes_take_several_charts(monkeypatch):
    monkeypatch.setattr(statistics, 'MOST_BARS', 1)
    assert {'objects_of_classes_1', 'objects_of_classes_2'} <= {*charts(found())}


def test_label_maps():
    pixels = np.array([[60, 20, 20], [100, 0, 0]])
    empty = np.zeros(0, int)
    regions = Regions(np.array([0, 2]), pixels, empty, np.zeros((0, 4)), empty, {})
    one = listing([], sizes=[(10, 10)] * 3)
    figures = figures_of(NONE, one, regions, [])
    assert figures['share_of_pixels'] == dict(cat=0.8, dog=0.1)
    assert figures['share_of_pixels_ignored'] == 0.1 and figures['maps_read'] == 2
    assert figures['maps_of_class'] == dict(cat=2, dog=1) and 'objects' not in figures
    made = charts(one, regions)
    assert {*made} == {'pixels_of_classes', 'maps_of_classes', 'image_sizes'}
    figure, about = made['pixels_of_classes']
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert names == ['cat', 'dog', 'ignored'] and about == 'Every class is found.'
    title = figure.axes[0].get_title()
    assert title == 'Percent of the pixels of 2 label maps, chosen at random of 3'


def test_nothing_is_said_of_ignored_pixels_if_there_are_none():
    empty = np.zeros(0, int)
    regions = Regions(np.array([0]), np.array([[60, 40, 0]]), empty, np.zeros((0, 4)), empty, {})
    figure, about = charts(listing([]), regions)['pixels_of_classes']
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert names == ['cat', 'dog'] and about == 'Every class is found.'


@pytest.mark.parametrize(
    ('number', 'what', 'text'),
    [(0, 'image', '0 images'), (1, 'class', '1 class'), (2, 'class', '2 classes')],
)
def test_counts(number, what, text):
    assert count(number, what) == text


def test_no_objects_at_all():
    empty = listing([], sizes=[(0, 0)])
    assert figures_of(NONE, empty, None, [])['object_width'] is None
    assert charts(empty) == {}
