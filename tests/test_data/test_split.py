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


@pytest.mark.parametrize('name', ['cat', 'dog'])
def test_images_without_classes_fill_what_is_left(name):
    images = {i: {name} if i < 4 else set() for i in range(10)}
    learnt, measured = divide(images, 0.5)
    assert len(learnt) == len(measured) == 5
    assert sum(bool(images[i]) for i in measured) == 2


def test_the_rarest_class_is_divided_first():
    """Its images hold others too, which must not use up the room."""
    images = {i: {'cat'} for i in range(16)} | {i: {'cat', 'owl'} for i in range(16, 20)}
    for fraction, owls in ((0.25, 1), (0.5, 2), (0.75, 3)):
        learnt, measured = divide(images, fraction)
        assert sum('owl' in images[i] for i in measured) == owls
        assert len(measured) == 20 * fraction


def test_a_class_of_one_image_is_learnt():
    images = {i: {'cat'} for i in range(10)} | {10: {'cat', 'owl'}}
    assert 10 in divide(images, 0.2)[0]
    assert 10 in divide(images, 0.8)[1]


def test_a_split_stays_the_same_in_later_versions():
    """Results are only compared on the same images; the lists were made by the first version."""
    images = {i: {'cat', 'owl' if i % 2 else 'dog'} for i in range(12)} | {7: set()}
    learnt, measured = divide(images, 0.25)
    assert (sorted(learnt), sorted(measured)) == ([1, 2, 3, 4, 6, 8, 9, 10, 11], [0, 5, 7])
    learnt, measured = divide(dict.fromkeys('abcdefgh', set()), 0.25)
    assert (sorted(learnt), sorted(measured)) == ([*'abcefh'], [*'dg'])


def test_classes_and_images_may_be_of_any_kind():
    images = {('a', 1): {1, 'cat'}, 2: {None}, 'x': {1}, 3.5: {'cat'}}
    learnt, measured = divide(images, 0.5)
    assert {*learnt, *measured} == {*images} and len(learnt) + len(measured) == 4


def test_choices_are_in_the_order_of_the_list_and_once():
    names = ['a/1.jpg', 'b/2.jpg', 'b/3.jpg']
    assert choose(names, ['3', '1', 'b/3', '1.jpg']) == (['b/3.jpg', 'a/1.jpg'], [])
    assert choose(names, ['', ' \n']) == ([], []) == choose(names, [])
    assert choose(names, ['x', '2', 'y', 'x']) == (['b/2.jpg'], ['x', 'y', 'x'])


def test_a_whole_name_is_preferred_to_a_part_of_another():
    names = ['1', 'a/1.jpg', '1.jpg.png', 'b/1.jpg/2.png']
    assert choose(names, ['1', 'a/1', '1.jpg', 'b/1.jpg/2']) == (
        ['1', 'a/1.jpg', 'b/1.jpg/2.png'],
        ['1.jpg'],
    )
    assert choose(['a\\1.jpg'], ['a/1']) == (['a\\1.jpg'], [])


def test_the_same_in_every_order_of_the_classes():
    """Sets of words have another order in each process."""
    images = {0: ['cat', 'dog'], 1: ['cat', 'owl'], 2: ['dog']}
    for order in (1, -1):
        contents = {i: dict.fromkeys(names[::order]).keys() for i, names in images.items()}
        assert divide(contents, 0.3) == ([1, 2], [0])
