# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/split.py: images are divided by class, always in the same way; names choose images."""

import random
from collections import Counter

import pytest

from mmconvnext.data.split import choose, divide


def contents(count=100):
    """Every image has a cat, every second a dog, every tenth a rare bird."""
    found = {i: {'cat'} for i in range(count)}
    for i in range(0, count, 2):
        found[i].add('dog')
    for i in range(0, count, 10):
        found[i].add('bird')
    return found


@pytest.mark.parametrize('fraction', [0.2, 0.5])
def test_each_class_is_divided_like_the_images(fraction):
    images = contents()
    learnt, measured = divide(images, fraction)
    assert sorted(learnt + measured) == sorted(images)
    assert len(measured) == 100 * fraction
    counts = Counter(c for image in measured for c in images[image])
    assert counts == dict(cat=100 * fraction, dog=50 * fraction, bird=10 * fraction)


def test_the_same_in_every_order():
    images = contents()
    keys = list(images)
    random.Random(1).shuffle(keys)
    state = random.getstate()
    assert divide({k: images[k] for k in keys}, 0.2) == divide(images, 0.2)
    assert random.getstate() == state


def test_another_seed_gives_other_images():
    images = contents()
    assert divide(images, 0.2, seed=1) != divide(images, 0.2) == divide(images, 0.2, seed=0)


def test_groups_stay_together_and_are_weighed():
    """Of 100 images 40 are in one group, the others in groups of five."""
    images = contents()
    groups = {i: 0 if i < 40 else i // 5 for i in images}
    learnt, measured = divide(images, 0.25, groups=groups)
    assert sorted(learnt + measured) == sorted(images)
    assert not {groups[i] for i in learnt} & {groups[i] for i in measured}
    assert len(measured) == 25
    assert Counter(c for i in measured for c in images[i])['bird'] in (2, 3)


def test_one_group_cannot_be_divided():
    with pytest.raises(ValueError, match='two groups are needed'):
        divide(contents(), 0.2, groups=dict.fromkeys(range(100), 'a'))


def test_both_lists_get_an_image():
    assert [len(part) for part in divide(dict.fromkeys('ab', set()), 0.01)] == [1, 1]
    assert [len(part) for part in divide(dict.fromkeys('ab', set()), 0.99)] == [1, 1]


@pytest.mark.parametrize('fraction', [0, 1, -0.1, 1.5, float('nan')])
def test_the_fraction_lies_between(fraction):
    with pytest.raises(ValueError, match='is not between 0 and 1'):
        divide(contents(), fraction)


def test_one_image_cannot_be_divided():
    with pytest.raises(ValueError, match='two images are needed'):
        divide({1: {'cat'}}, 0.5)


def test_choose_by_name_stem_or_base():
    names = ['a/1.jpg', 'b/2.jpg', '3.v2.png']
    assert choose(names, ['1', 'b\\2.jpg', '3.v2', ' ', '2']) == (
        ['a/1.jpg', 'b/2.jpg', '3.v2.png'],
        [],
    )
    assert choose(names, ['4', ' a/1.jpg ']) == (['a/1.jpg'], ['4'])
    assert choose(names, ['./a/1.jpg', 'b/../b//2']) == (['a/1.jpg', 'b/2.jpg'], [])


def test_names_from_the_current_folder():
    names = ['./a/1.jpg', '2.jpg']
    assert choose(names, ['a/1.jpg', './2.jpg']) == (names, [])
    assert choose(names, ['./a//1', 'b/../2.jpg', '../2.jpg']) == (names, ['../2.jpg'])


def test_a_name_that_fits_two_files_is_unknown():
    assert choose(['a/1.jpg', 'b/1.jpg'], ['1', 'b/1']) == (['b/1.jpg'], ['1'])
