# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/data_table.py: what is listed and what is used, as text and as JSON."""

import json
from pathlib import Path

from mmconvnext.data.coco.kept import Kept
from mmconvnext.data.coco.objects import NO_MASK
from mmconvnext.data.coco.sound import Facts
from mmconvnext.data.ledger import Ledger
from mmconvnext.recipe.data_table import MOST, Split, changed_data, format_table, write_table


def kept(**facts) -> Kept:
    ledger = Ledger()
    for where in (1, 2):
        ledger.mend('odd ids', where)
    ledger.leave_out('lost things', 3)
    default = dict(images=5, objects=40, crowds=3, classes=dict(cat=20, dog=11))
    default.update(images_learnt=4, objects_learnt=30)
    return Kept(Path('sound.json'), Facts(**(default | facts)), ledger)


def test_a_row_of_training_is_without_what_the_filters_leave_out():
    row = Split.of('train', 'a.json', kept())
    assert (row.images, row.images_used, row.objects, row.objects_used) == (5, 4, 40, 30)
    assert (row.name, row.file, row.regions_to_ignore) == ('train', 'a.json', 3)
    assert row.mended == {'odd ids': 2} and row.left_out == {'lost things': 1}
    row = Split.of('val', 'a.json', kept())
    assert (row.images_used, row.objects_used) == (5, 31)


def test_the_table():
    rows = [Split.of('train', 'a.json', kept()), Split.of('val', 'b.json', kept(classes={}))]
    lines = format_table(rows).splitlines()
    assert lines[0].split() == 'data images objects ignored mended left out'.split()
    assert lines[1].split() == 'train 4 of 5 30 of 40 3 2 1'.split()
    assert lines[2].strip() == 'cat 20, dog 11'
    assert lines[3].split() == 'val 5 of 5 0 of 40 3 2 1'.split()


def test_a_word_on_regions_to_ignore():
    word = 'own_data.crowd_as_object=True'
    assert format_table([Split.of('train', 'a.json', kept())]).splitlines()[-1].endswith(word)
    assert word not in format_table([Split.of('train', 'a.json', kept(crowds=0))])
    # Objects without a mask are none that the option could bring back.
    lost = kept(crowds=1)
    lost.ledger.leave_out(NO_MASK, 7)
    assert word not in format_table([Split.of('train', 'a.json', lost)])
    lost = lost._replace(facts=Facts(crowds=2))
    assert word in format_table([Split.of('train', 'a.json', lost)])


def test_of_many_classes_the_most_frequent_are_shown():
    classes = {f'c{i}': i for i in range(MOST + 3)}
    text = format_table([Split.of('train', 'a.json', kept(classes=classes))])
    assert f'       c{MOST + 2} {MOST + 2}, c{MOST + 1}' in text and 'c2 2' not in text
    assert ', c3 3, and 3 more\n' in text


def test_the_file_in_the_work_dir(tmp_path):
    write_table(
        [Split.of('train', 'a.json', kept(classes={'Gr\u00f6\u00dfe': 1}))], str(tmp_path / 'w')
    )
    text = (tmp_path / 'w/used_data.json').read_text(encoding='utf-8')
    (row,) = json.loads(text)
    assert row['classes'] == {'Gr\u00f6\u00dfe': 1} and row['images_used'] == 4
    assert 'Gr\u00f6\u00dfe' in text


def test_data_that_changed_since_the_run_began(tmp_path):
    rows = [Split.of('train', '/a/train-1.json', kept()), Split.of('val', '/a/val-1.json', kept())]
    assert changed_data(rows, str(tmp_path)) == ''  # nothing is known
    write_table(rows, str(tmp_path))
    assert changed_data(rows, str(tmp_path)) == ''
    moved = [Split.of('train', 'b/train-1.json', kept()), rows[1]]
    assert changed_data(moved, str(tmp_path)) == ''
    for other in (
        Split.of('val', '/a/val-2.json', kept()),
        Split.of('val', '/a/val-1.json', kept(images=6)),
    ):
        text = changed_data([rows[0], other], str(tmp_path))
        assert text.startswith(f'the data of val are not those with which the run in {tmp_path}')
    fewer = kept(classes=dict(cat=19, dog=12))
    assert changed_data([Split.of('train', 'train-1.json', fewer), rows[1]], str(tmp_path))
    assert changed_data(rows[:1], str(tmp_path)).startswith('the data of val are')
    (tmp_path / 'used_data.json').write_text('[{}]')
    assert changed_data(rows, str(tmp_path)) == ''
