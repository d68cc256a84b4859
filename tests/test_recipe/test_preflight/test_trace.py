# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/preflight/trace.py: what transforms do to a sample is seen, and nothing is changed."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmconvnext.recipe.preflight.trace import (
    MOST_DISCARDED,
    Discarded,
    levels,
    listed_objects,
    usable_objects,
    watching,
)

from .conftest import image


class Keeps:
    """Keeps the images that it has seen, as CachedMosaic does, and draws a number."""

    def __init__(self):
        self.seen = []

    def __call__(self, results):
        self.seen.append(results['img_path'])
        results['drawn'] = random.random(), np.random.rand(), float(torch.rand(()))
        return results


def test_transforms_and_random_numbers_are_left_as_they_were(dataset):
    found = dataset([image(1), image(2)], Keeps())
    before = found.pipeline.transforms
    expected = random.random(), np.random.rand(), torch.rand(())
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    with watching(found):
        assert found.pipeline.transforms is not before
        found[0], found[1]
    assert found.pipeline.transforms is before
    assert before[1].seen == []
    assert (random.random(), np.random.rand(), torch.rand(())) == expected


def test_they_are_put_back_after_an_error(dataset):
    found = dataset([image(1)])
    before = found.pipeline.transforms
    with pytest.raises(ZeroDivisionError), watching(found):
        raise ZeroDivisionError
    assert found.pipeline.transforms is before


def test_objects_are_counted_after_each_transform(dataset):
    class LoseOne:
        def __call__(self, results):
            results['gt_ignore_flags'][0] = True
            return results

    found = dataset([image(7, objects=3, crowds=2)], LoseOne())
    with watching(found) as trace:
        found[0]
    assert (trace.file, trace.listed, trace.transform) == ('7.png', 3, 'Pack')
    assert trace.objects == dict(Load=3, LoseOne=2, Pack=2)
    assert trace.lost_by() == ''


def test_the_transform_that_lost_the_last_object():
    from mmconvnext.recipe.preflight.trace import Trace

    trace = Trace(listed=3, objects=dict(Load=3, Crop=0, Flip=0, Pack=0))
    assert trace.lost_by() == 'Crop'
    assert Trace(listed=3, objects=dict(Load=0, Pack=0)).lost_by() == 'Load'
    assert Trace(listed=0, objects=dict(Load=0, Pack=0)).lost_by() == ''
    assert Trace(listed=3, objects=dict(Load=0, Paste=2)).lost_by() == ''
    trace.begin()
    assert (trace.listed, trace.objects) == (0, {})


def test_none_is_counted_and_too_many_in_a_row_end_it(dataset):
    class Refuse:
        def __init__(self, often):
            self.often = often

        def __call__(self, results):
            self.often -= 1
            return results if self.often < 0 else None

    with watching(found := dataset([image(1)], Refuse(MOST_DISCARDED - 1))) as trace:
        found[0]
    assert trace.discarded == dict(Refuse=MOST_DISCARDED - 1)
    with watching(found := dataset([image(1)], Refuse(MOST_DISCARDED))):
        with pytest.raises(Discarded, match='^Refuse$'):
            found[0]


def test_datasets_inside_of_others_and_their_lists_of_transforms(dataset):
    inner = dataset([image(1, objects=4)])

    class Mix(Keeps):
        def get_indexes(self, dataset):
            return [0]

    mix = Mix()
    wrapper = SimpleNamespace(dataset=inner, pipeline=[mix])
    both = SimpleNamespace(datasets=[wrapper, inner])
    assert list(levels(both)) == [both, wrapper, inner, inner]
    with watching(wrapper) as trace:
        assert wrapper.pipeline[0].get_indexes(inner) == [0]  # it is found through the watched one
        wrapper.pipeline[0](dict(img_path='x', instances=[dict(ignore_flag=0)]))
        assert trace.listed == 0  # counted where it is read
        inner[0]
    assert trace.listed == 4 and wrapper.pipeline == [mix] and mix.seen == []


def test_one_that_cannot_be_copied_is_used_itself(dataset):
    class Open(Keeps):
        def __deepcopy__(self, memo):
            raise TypeError('an open file')

    found = dataset([image(1)], Open())
    with watching(found):
        found[0]
    assert found.pipeline.transforms[1].seen == ['1.png']


@pytest.mark.parametrize(
    ('results', 'count'),
    [
        (dict(gt_ignore_flags=[False, True, False]), 2),
        (dict(gt_seg_map=np.array([[0, 255, 3]])), 2),
        (dict(gt_seg_map=np.array([[0, 255]]), gt_bboxes=[]), None),  # boxes count, once known
        (dict(data_samples=SimpleNamespace(gt_instances=[1, 2, 3])), 3),
        (
            dict(
                data_samples=SimpleNamespace(gt_sem_seg=SimpleNamespace(data=torch.tensor([255])))
            ),
            0,
        ),
        (dict(data_samples=SimpleNamespace()), None),
        (dict(img=0), None),
        ([], None),
    ],
)
def test_usable_objects(results, count):
    assert usable_objects(results) == count


def test_listed_objects():
    assert listed_objects(image(1, objects=2, crowds=3)) == 2
    assert listed_objects({}) == listed_objects(dict(instances={})) == 0
