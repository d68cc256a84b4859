# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""project/label_classes.py: what the values of label maps are, and what they are called."""

import pytest

from mmconvnext.data.label_maps import LabelMap
from mmconvnext.project.label_classes import label_classes
from mmconvnext.recipe.errors import RecipeError

BLACK, RED, BLUE = (0, 0, 0), (255, 0, 0), (0, 0, 255)


def classes(root, *ids, names=None, colours=()):
    maps = [LabelMap(tuple(one)) for one in ids] + [LabelMap(colours=tuple(c)) for c in colours]
    (root / 'labels').mkdir(exist_ok=True)
    return label_classes(root, root / 'labels', maps, names)


@pytest.mark.parametrize(
    ('ids', 'names', 'options'),
    [
        ((0, 1), ['background', 'object'], {}),
        ((0, 255), ['background', 'object'], dict(ids=[0, 255])),
        ((0, 7), ['background', 'object'], dict(ids=[0, 7])),
        ((0, 1, 255), ['background', 'object'], {}),
        ((0, 1, 2), ['class_0', 'class_1', 'class_2'], {}),
        ((1, 4, 255), ['class_1', 'class_4'], dict(ids=[1, 4])),
    ],
)
def test_values_without_names(tmp_path, ids, names, options):
    found = classes(tmp_path, ids[:1], ids[1:])
    assert (found.classes, found.options) == (names, options) and not found.in_colour
    assert 'nothing names the classes' in found.notes[0]
    assert any('id 0 is a class' in note for note in found.notes) is (ids == (0, 1, 2))


@pytest.mark.parametrize(
    ('ids', 'names', 'options', 'values'),
    [
        ((0, 1), ['a', 'b'], {}, [0, 1]),
        ((0, 1), ['a', 'b', 'c'], {}, [0, 1, 2]),
        ((0, 1, 2), ['a', 'b'], dict(reduce_zero_label=True), [1, 2]),
        ((0, 255), ['a', 'b'], dict(ids=[0, 255]), [0, 255]),
        ((0, 9, 255), ['a', 'b'], dict(ids=[0, 9]), [0, 9]),
    ],
)
def test_values_with_names(tmp_path, ids, names, options, values):
    found = classes(tmp_path, ids, names=names)
    assert (found.classes, found.options, found.values) == (names, options, values)


def test_names_are_read_from_a_file_beside_the_maps(tmp_path):
    (tmp_path / 'classes.txt').write_text('soil\n\u00c4pfel "rot"\n', encoding='utf-8')
    found = classes(tmp_path, (0, 1))
    assert found.classes == ['soil', '\u00c4pfel "rot"'] and found.options == {}
    assert found.notes == ['names of classes: classes.txt']
    assert classes(tmp_path, (0, 1), names=['x', 'y']).classes == ['x', 'y']


def test_ade20ks_list_means_that_0_has_no_class(tmp_path):
    lines = [f'{i}\t0.1\t1\t1\t0\tname {i}, other' for i in range(1, 4)]
    (tmp_path / 'objectInfo150.txt').write_text(
        '\n'.join(['Idx\tRatio\tTrain\tVal\tStuff\tName', *lines])
    )
    found = classes(tmp_path, (0, 1))
    assert found.classes == ['name 1', 'name 2', 'name 3']
    assert found.options == dict(reduce_zero_label=True)


def test_names_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(RecipeError, match=r"2 names.*\['a', 'b'\]\) do not fit .*\[0, 3, 5, 9\]"):
        classes(tmp_path, (0, 3, 5, 9), names=['a', 'b'])
    with pytest.raises(RecipeError, match=r"have 'a' twice"):
        classes(tmp_path, (0, 1), names=['a', 'a'])


def test_photos_and_empty_maps_are_refused(tmp_path):
    with pytest.raises(RecipeError, match='256 values, so they look like photos'):
        classes(tmp_path, range(256))
    with pytest.raises(RecipeError, match=r'hold \[255\] alone: there is nothing to learn'):
        classes(tmp_path, (255,))


def test_a_palette_names_colours(tmp_path):
    (tmp_path / 'labelmap.txt').write_text('# label\nsky:0,0,255::\nroad:0,0,0::\ncar:9,9,9::\n')
    found = classes(tmp_path, colours=[(BLUE,), (BLACK, BLUE)])
    assert found.classes == ['sky', 'road'] and found.values == [BLUE, BLACK]
    assert found.options == dict(palette_file='labelmap.txt') and found.in_colour
    assert found.notes == ['no class, for they are in no label map: car']
    border = (224, 224, 192)
    found = classes(tmp_path, colours=[(BLUE, BLACK, border)])
    assert found.options['ignore_ids'] == [border]
    with pytest.raises(RecipeError, match=r'no class for 1 colours .*\(255, 0, 0\)'):
        classes(tmp_path, colours=[(BLUE, RED)])
    (tmp_path / 'labelmap.txt').write_text('sky:0,0,999')
    with pytest.raises(RecipeError, match='numbers from 0 to 255'):
        classes(tmp_path, colours=[(BLUE,)])


def test_colours_without_a_palette_are_refused_with_the_lines_to_write(tmp_path):
    with pytest.raises(RecipeError, match=r'(?s)labelmap.txt.*  name:0,0,255\n  name:255,0,0'):
        classes(tmp_path, colours=[(RED, BLUE)])
