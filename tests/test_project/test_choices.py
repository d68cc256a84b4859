# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""project/choices.py: facts to settings, with the figure that led to each."""

import numpy as np
import pytest

from mmconvnext.arch import ARCHS
from mmconvnext.checkpoint import zoo
from mmconvnext.project import choices
from mmconvnext.project.choices import Choice, mean_overlap, plan
from mmconvnext.project.survey import Survey

RANDOM = choices.random()


def survey(images=100, size=(256, 192), objects=(20, 30), crowd=7, **changes):
    """All objects have the same size in pixels; None for label maps."""
    facts = dict(
        own_data=dict(classes=['a', 'b']),
        images=images,
        val_images=20,
        sizes=np.array([size] * images),
        counts=dict(a=1, b=2),
    )
    if objects:
        facts['objects'] = np.array([objects] * crowd) / max(size)
        facts['crowding'] = np.array([crowd, 1])
    return Survey(**{**facts, **changes})


# --- image sizes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('size', 'cpu', 'gpu'),
    [
        ((100, 64), 256, 512),
        ((256, 192), 256, 512),
        ((300, 410), 416, 512),
        ((640, 480), 512, 640),
        ((1000, 4000), 512, 1344),
    ],
)
def test_longer_sides_have_bounds(size, cpu, gpu):
    data = survey(size=size, objects=(40, 40))
    assert choices.long_side(data, 'cpu').value == cpu
    assert choices.long_side(data, 'gpu').value == gpu


def test_a_gpu_enlarges_images_of_small_objects():
    assert choices.long_side(survey(size=(600, 400), objects=(16, 16)), 'gpu').value == 608
    assert choices.long_side(survey(size=(600, 400), objects=(12, 12)), 'gpu').value == 800
    assert choices.long_side(survey(size=(600, 400), objects=(3, 3)), 'gpu').value == 1216
    assert choices.long_side(survey(size=(480, 400), objects=(3, 3)), 'cpu').value == 480


def test_the_reason_of_a_size_has_its_figures():
    why = choices.long_side(survey(size=(256, 192), objects=(20, 45)), 'cpu').why
    assert why == (
        'the longer side is 256 pixels (median), kept; 90 % of the objects are then over 30 pixels'
    )
    why = choices.long_side(survey(size=(2048, 999), objects=(20, 20)), 'cpu').why
    assert '2048 pixels (median), reduced to 512, because' in why
    assert 'over 5 pixels, which is tiny: cut the images into tiles' in why
    assert 'enlarged to 256' in choices.long_side(survey(size=(99, 80)), 'cpu').why
    assert 'rounded to 416' in choices.long_side(survey(size=(410, 80)), 'cpu').why


@pytest.mark.parametrize(
    ('size', 'cpu', 'gpu'),
    [
        ((300, 64), 256, 512),
        ((800, 410), 416, 512),
        ((640, 600), 512, 608),
        ((4000, 3000), 512, 1024),
    ],
)
def test_shorter_sides_have_bounds(size, cpu, gpu):
    data = survey(size=size, objects=None)
    assert choices.short_side(data, 'cpu').value == cpu
    assert choices.short_side(data, 'gpu').value == gpu
    assert 'crops of 512 pixels' in choices.short_side(data, 'gpu').why


# --- anchors and detections -----------------------------------------------------------------------


@pytest.mark.parametrize('scale', [2, 4, 8])
def test_overlap_of_an_object_with_its_own_anchor_is_1(scale):
    shapes = np.array([[4 * scale, 4 * scale], [32 * scale, 32 * scale]], float)
    assert mean_overlap(shapes, scale, (0.5, 1.0, 2.0)) == pytest.approx(1)
    tall = np.array([[16 / np.sqrt(2), 16 * np.sqrt(2)]])
    assert mean_overlap(tall, 4, (0.5, 1.0, 2.0)) == pytest.approx(1)
    assert mean_overlap(tall, 4, (0.5, 1.0)) < 0.8
    assert mean_overlap(np.array([[8.0, 8.0]]), 4, (1.0,)) == pytest.approx(0.25)


@pytest.mark.parametrize(('side', 'scale'), [(6, 2), (9, 2), (17, 4), (30, 8), (100, 8)])
def test_anchors_begin_where_objects_do(side, scale):
    data = survey(objects=(side, side))
    (found, ratios), why = choices.anchors(data, 256)
    assert (found, ratios) == (scale, (0.5, 1.0, 2.0))
    assert (
        f'objects measure {side} to {side} pixels' in why and f'begin at {4 * scale} pixels' in why
    )
    assert ("mmdet's own anchors by" in why) is (scale != 8)


def test_anchors_are_at_the_scale_of_training():
    assert choices.anchors(survey(objects=(17, 17)), 512).value[0] == 8


@pytest.mark.parametrize('objects', [(80, 16), (16, 80)])
def test_long_objects_get_long_anchors(objects):
    (_, ratios), why = choices.anchors(survey(objects=objects), 256)
    assert ratios == (0.25, 0.5, 1.0, 2.0, 4.0) and 'up to four times as long as wide' in why


@pytest.mark.parametrize(
    ('crowd', 'kept'), [(1, 100), (80, 100), (81, 200), (160, 200), (161, 300), (5000, 1000)]
)
def test_detections(crowd, kept):
    found = choices.detections(survey(crowd=crowd))
    assert found.value == kept and f'up to {crowd} objects' in found.why


# --- batch, learning rate, schedule ---------------------------------------------------------------


@pytest.mark.parametrize(
    ('task', 'device', 'size', 'side', 'batch'),
    [
        ('det', 'cpu', 'atto', 512, 2),
        ('semantic', 'cpu', 'atto', 512, 4),
        ('instance', 'gpu', 'tiny', 672, 8),
        ('instance', 'gpu', 'tiny', 704, 4),
        ('instance', 'gpu', 'tiny', 992, 4),
        ('instance', 'gpu', 'tiny', 1024, 2),
        ('instance', 'gpu', 'base', 1024, 1),
        ('semantic', 'gpu', 'tiny', 1024, 8),
        ('semantic', 'gpu', 'small', 512, 4),
    ],
)
def test_batches(task, device, size, side, batch):
    assert choices.batch_size(survey(), task, device, size, side).value == batch


def test_a_batch_has_no_more_than_all_images():
    assert choices.batch_size(survey(images=3), 'det', 'gpu', 'tiny', 512) == (3, 'all images')


@pytest.mark.parametrize(
    ('task', 'device', 'batch', 'is_random', 'value'),
    [
        ('det', 'cpu', 2, True, (6e-4, 1.0)),
        ('instance', 'cpu', 2, False, (3e-4, 0.8)),
        ('semantic', 'cpu', 4, True, (1e-3, 1.0)),
        ('semantic', 'cpu', 4, False, (5e-4, 0.9)),
        ('det', 'gpu', 16, False, (1e-4, 0.8)),
        ('det', 'gpu', 4, False, (5e-5, 0.8)),
        ('semantic', 'gpu', 8, True, (7.1e-5, 1.0)),
    ],
)
def test_learning_rates(task, device, batch, is_random, value):
    found = choices.learning_rate(task, device, batch, is_random)
    assert found.value == value
    assert ('all layers are new' in found.why) is is_random


@pytest.mark.parametrize(
    ('images', 'task', 'device', 'batch', 'iterations', 'epochs'),
    [
        (22, 'instance', 'cpu', 2, 1804, 164),
        (120, 'instance', 'cpu', 2, 1800, 30),
        (301, 'instance', 'cpu', 2, 1812, 12),
        (118287, 'det', 'gpu', 2, 709728, 12),
        (118287, 'det', 'gpu', 8, 177432, 12),
        (22, 'semantic', 'cpu', 4, 1000, 167),
        (1000, 'semantic', 'gpu', 8, 7500, 60),
        (20210, 'semantic', 'gpu', 4, 160_000, 32),
    ],
)
def test_schedules(images, task, device, batch, iterations, epochs):
    found, (count, why) = choices.schedule(survey(images=images), task, device, batch)
    assert (found, count) == (iterations, epochs)
    assert why.startswith(f'{images} images are ')


# --- weights and the whole plan -------------------------------------------------------------------


@pytest.mark.parametrize('size', choices.WEIGHTS)
def test_weights_are_published_for_the_size_and_may_be_sold(size):
    row = zoo.find(choices.WEIGHTS[size])
    assert (row.arch, row.version) == (size, 'v1') and size in ARCHS
    assert row.licence in ('MIT', 'Apache-2.0')
    found = choices.pretrained(size)
    assert found.value == row.name and f'licence {row.licence}' in found.why


@pytest.mark.parametrize('task', ['det', 'instance', 'semantic'])
def test_a_plan_has_everything(task):
    data = survey(objects=None if task == 'semantic' else (20, 30))
    found = plan(data, task, 'cpu', 'atto', RANDOM)
    assert found.is_random and (found.anchors is None) is (task == 'semantic')
    assert 0 < found.minutes < 15  # what the whole schedule for 100 images may take


def test_larger_sizes_and_images_take_longer_and_a_gpu_was_not_measured():
    first = plan(survey(), 'det', 'cpu', 'atto', RANDOM).minutes
    assert plan(survey(), 'det', 'cpu', 'nano', RANDOM).minutes > 1.5 * first
    larger = plan(survey(size=(512, 512)), 'det', 'cpu', 'atto', RANDOM)
    assert larger.minutes == pytest.approx(4 * first)
    assert plan(survey(), 'det', 'gpu', 'tiny', Choice('convnext-tiny_in1k', '')).minutes is None
