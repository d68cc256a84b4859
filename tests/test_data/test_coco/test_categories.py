# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/coco/categories.py: ids and names of categories, and their order."""

import coco_files as files
import pytest
from coco_files import told

from mmconvnext.data.coco.categories import (
    BLANKS,
    BREAKS,
    IDS,
    NAMES,
    TWICE,
    sound_categories,
)
from mmconvnext.data.ledger import Ledger


def sound(*rows, classes=('cat', 'dog')):
    """Sound entries as (id, name), ids by key, and the ledger."""
    ledger = Ledger()
    rows = [dict(id=row[0], name=row[1]) if isinstance(row, tuple) else row for row in rows]
    entries, ids = sound_categories(rows, classes, ledger)
    return [(entry['id'], entry['name']) for entry in entries], ids, ledger


def test_sound_ones_stay():
    rows = [dict(id=1, name='cat'), dict(id=2, name='dog', supercategory='x')]
    entries, ids = sound_categories(rows, ('cat', 'dog'), Ledger())
    assert [a is b for a, b in zip(entries, rows)] == [True, True] and ids == {1: 1, 2: 2}


@pytest.mark.parametrize('ids', [('1', '2'), (1.0, 2.0), (' 1', 2)])
def test_ids_become_integers(ids):
    entries, by_key, ledger = sound((ids[0], 'cat'), (ids[1], 'dog'))
    assert entries == [(1, 'cat'), (2, 'dog')] and by_key == {1: 1, 2: 2}
    assert told(ledger.mended) == {IDS: sum(type(i) is not int for i in ids)}
    assert all(type(i) is int for i, _ in entries)


@pytest.mark.parametrize('odd', ['c', 2**60])
def test_ids_that_are_names_or_too_large_are_numbered(odd):
    entries, by_key, ledger = sound((odd, 'cat'), (7, 'dog'))
    assert entries == [(1, 'cat'), (2, 'dog')] and by_key == {odd: 1, 7: 2}
    assert told(ledger.mended) == {IDS: 2}


def test_names_that_are_numbers():
    entries, _, ledger = sound((1, 7), (2, 'dog'), classes=('7', 'dog'))
    assert entries == [(1, '7'), (2, 'dog')] and told(ledger.mended) == {NAMES: 1}


def test_blanks_around_names_are_left_out():
    entries, by_key, ledger = sound((1, ' cat'), (2, 'dog\t'), (3, 'dog'), (4, 'a b'))
    assert entries == [(1, 'cat'), (2, 'dog'), (4, 'a b')] and by_key == {1: 1, 2: 2, 3: 2, 4: 4}
    assert told(ledger.mended) == {BLANKS: 2, TWICE: 1}
    assert ledger.mended[BLANKS].first == ["' cat'", r"'dog\t'"]


def test_blanks_that_the_classes_have_too_stay():
    entries, _, ledger = sound((1, ' cat'), (2, 'cat'), classes=(' cat', 'cat'))
    assert entries == [(1, ' cat'), (2, 'cat')] and not ledger.mended


def test_a_file_with_blanks_is_read_anew(tmp_path):
    found = files.content()
    found['categories'][0]['name'] = 'cat '
    kept = files.keep(tmp_path, found)
    assert files.score(kept.file, files.content()) == {'cat': (1, 3), 'dog': (1, 4)}


def test_one_name_under_two_ids():
    entries, by_key, ledger = sound((1, 'cat'), (2, 'dog'), (3, 'cat'), (1, 'cat'))
    assert entries == [(1, 'cat'), (2, 'dog')] and by_key == {1: 1, 2: 2, 3: 1}
    assert told(ledger.mended) == {TWICE: 2}


def test_objects_under_both_ids_are_learnt(tmp_path):
    found = files.content()
    found['categories'].append(dict(id=3, name='cat'))
    found['annotations'][0]['category_id'] = 3
    kept = files.keep(tmp_path, found)
    assert files.score(kept.file, files.content()) == {'cat': (1, 3), 'dog': (1, 4)}


@pytest.mark.parametrize(
    ('rows', 'message'),
    [
        ([], r'"categories" is empty: label the objects'),
        (
            [(1, 'cat'), {}],
            r'1 entries of "categories" lack an "id" or a "name" \(number 1 is \{\}',
        ),
        ([(1, 'cat'), 'dog'], r'number 1 is dog'),
        ([(None, 'cat')], r'1 entries'),
        ([(True, 'cat')], r'1 entries'),
        ([(1, '')], r'1 entries'),
        ([(1, '  ')], r'1 entries'),
        ([(1, 'cat'), ('1', 'dog')], r"1 ids of categories have two names \(1: 'cat' and 'dog'\)"),
    ],
)
def test_refused(rows, message):
    import re

    _, _, ledger = sound(*rows)
    assert [r.check for r in ledger.refused] == ['categories']
    assert re.search(message, ledger.refused[0].text)


def test_the_order_is_that_of_the_classes():
    entries, by_key, ledger = sound((1, 'dog'), (2, 'bird'), (3, 'cat'))
    assert entries == [(1, 'cat'), (2, 'dog'), (3, 'bird')] and by_key == {1: 2, 2: 3, 3: 1}
    assert ledger == Ledger()


def test_the_order_stays_where_it_is_right_or_a_class_is_missing():
    between = sound((1, 'x'), (2, 'cat'), (3, 'y'), (4, 'dog'))
    assert [name for _, name in between[0]] == ['x', 'cat', 'y', 'dog']
    assert [name for _, name in sound((1, 'dog'), (2, 'x'))[0]] == ['dog', 'x']


def test_labels_in_another_order(tmp_path):
    found = files.content()
    found['categories'].reverse()
    kept = files.keep(tmp_path, found)
    assert kept.file != tmp_path / 'a.json' and kept.ledger.mended == {}
    assert files.score(kept.file, files.content()) == {'cat': (1, 3), 'dog': (1, 4)}


@pytest.mark.parametrize('odd', [2**53 + 1, -(2**53) - 1])
def test_ids_up_to_those_that_floats_hold_stay(odd):
    near = odd - 1 if odd > 0 else odd + 1
    assert sound((near, 'cat'), (7, 'dog'))[0] == [(near, 'cat'), (7, 'dog')]
    entries, by_key, ledger = sound((odd, 'cat'), (7, 'dog'))
    assert entries == [(1, 'cat'), (2, 'dog')] and by_key == {odd: 1, 7: 2}
    assert ledger.mended[IDS].first == [odd, 7]


def test_names_that_are_floats_and_other_keys_stay():
    rows = [dict(id='1', name=7.5, color='red'), dict(id=2, name='dog', color='blue')]
    ledger = Ledger()
    entries, _ = sound_categories(rows, ('dog', '7.5'), ledger)
    assert entries == [
        dict(id=1, name='dog', color='blue'),
        dict(id=2, name='7.5', color='red'),
    ]
    assert ledger.mended[NAMES].first == [7.5] and ledger.mended[IDS].first == ['1']
    assert rows[0] == dict(id='1', name=7.5, color='red')


@pytest.mark.parametrize('name', [None, True, ['cat']])
def test_what_is_no_name(name):
    assert sound((1, name))[2].refused


def test_each_refusal_counts_its_entries():
    _, _, ledger = sound((1, 'a'), ('1', 'b'), (1.0, 'c'), {}, 7, (None, 'x'))
    broken, doubles = ledger.refused
    assert broken.text.startswith('3 entries of "categories" lack an "id" or a "name" (number 3 ')
    assert 'number 4 is 7, number 5 is ' in broken.text
    assert doubles.text.startswith('2 ids of categories have two names (1: ')
    assert "1.0: 'a' and 'c'" in doubles.text


def test_long_entries_are_named_by_their_beginning():
    _, _, ledger = sound(dict(name='', note='x' * 500))
    assert 'x' * 50 in ledger.refused[0].text and len(ledger.refused[0].text) < 300


def test_classes_that_are_only_some_of_the_names_keep_the_order():
    assert sound((5, 'a'), (3, 'cat'), (4, 'dog'))[0] == [(5, 'a'), (3, 'cat'), (4, 'dog')]
    assert sound((5, 'a'), (3, 'b'), classes=())[0] == [(5, 'a'), (3, 'b')]


@pytest.mark.parametrize('name', ['red\ncat', 'red\0cat', '\tred\r\ncat\n', 'red\u2028cat'])
def test_control_characters_become_blanks(name):
    entries, _, ledger = sound((1, name), classes=('red cat',))
    assert entries == [(1, 'red cat')] and ledger.mended[BREAKS].first == [repr(name)]
    entries, _, ledger = sound((1, name), classes=(name,))
    assert entries == [(1, name)] and not ledger.mended
