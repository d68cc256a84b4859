# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""inference/records.py: an interrupted run continues, and only with the same settings."""

import json

import pytest

from mmconvnext.inference.records import Records
from mmconvnext.recipe.errors import RecipeError

SETTINGS = dict(score=0.3, tiles=None, weights='abc')


def test_what_was_finished_is_known_again(tmp_path):
    out = tmp_path / 'deep/out'
    with Records(out, SETTINGS) as records:
        records.add(dict(source='a', stamp=[1, 2], key='a', counts=dict(cat=2), objects=[1, 2]))
        records.add(dict(source='b', stamp=[1, 2], error='it is cut off'))
        assert records.is_done('a', [1, 2]) and not records.is_done('b', [1, 2])
    with Records(out, SETTINGS) as records:
        assert records.done['a'] == dict(source='a', stamp=[1, 2], key='a', counts=dict(cat=2))
        assert records.is_done('a', [1, 2]) and not records.is_done('a', [1, 3])
        assert not records.is_done('b', [1, 2]) and not records.is_done('c', [])
        records.add(dict(source='b', stamp=[1, 2], key='b', counts={}, objects=[]))
        assert [row['source'] for row in records.pictures()] == ['a', 'b']
        records.add(dict(source='a', stamp=[1, 3], key='a', counts={}, objects=[3]))
        assert [row['objects'] for row in records.pictures()] == [[], [3]]


@pytest.mark.parametrize('kept', [0, 5, -1])
def test_a_line_that_was_not_finished_is_removed(tmp_path, kept):
    with Records(tmp_path, SETTINGS) as records:
        records.add(dict(source='a', stamp=[], key='a', counts={}, objects=[]))
    file = tmp_path / 'records.jsonl'
    (tmp_path / 'a.png.12-34.part').write_text('')  # a picture that was not finished either
    (tmp_path / 'mine.part').write_text('')
    whole = file.read_bytes()
    first = whole.index(b'\n') + 1
    file.write_bytes(whole + whole[first:][:kept] if kept else whole[: first - 3])
    with Records(tmp_path, SETTINGS) as records:
        assert list(records.done) == ['a'] * bool(kept)
        records.add(dict(source='c', stamp=[], key='c', counts={}, objects=[]))
        assert [row['source'] for row in records.pictures()] == ['a'] * bool(kept) + ['c']
    assert file.read_text().startswith('{"settings"')
    assert {one.name for one in tmp_path.iterdir()} == {'records.jsonl', 'mine.part'}


@pytest.mark.parametrize('row', [dict(key='a'), dict(key='a', counts=7)])
def test_an_image_without_its_counts_is_predicted_again(tmp_path, row):
    with Records(tmp_path, SETTINGS) as records:
        records.add(dict(source='a', stamp=[1], key='a', counts={}))
        records.add(dict(source='b', stamp=[1], error='it is cut off'))
    with (tmp_path / 'records.jsonl').open('a') as file:
        file.write(json.dumps(dict(source='a', stamp=[1], **row)) + '\n')
    with Records(tmp_path, SETTINGS) as records:
        assert list(records.done) == ['b'] and not records.is_done('a', [1])


@pytest.mark.parametrize('line', [b'{"sou\n', b'\0\0\xff\n', b'[1]\n', b'{}\n', b'\n'])
def test_a_damaged_line_is_named(tmp_path, line):
    with Records(tmp_path, SETTINGS) as records:
        records.add(dict(source='a', stamp=[], key='a', counts={}, objects=[]))
    file = tmp_path / 'records.jsonl'
    file.write_bytes(file.read_bytes() + line + b'{"source": "b", "stamp": []}\n')
    with pytest.raises(RecipeError, match='--out: line 3 of .* is damaged; remove this line'):
        Records(tmp_path, SETTINGS)


def test_frames_count_from_the_last_beginning_of_a_finished_video(tmp_path):
    def add(source, *frames, begin=True, end=True):
        if begin:
            records.add(dict(source=source, begin=True))
        for number in frames:
            records.add(dict(source=source, frame=number, objects=[number]))
        if end:
            records.add(dict(source=source, stamp=[], key=source, counts={}, frames=len(frames)))

    def shown():
        return [(row['source'], row['frame']) for row in records.pictures()]

    with Records(tmp_path, SETTINGS) as records:
        add('v', 1, 2, end=False)  # was interrupted
        assert shown() == []
        add('w', 1)
        add('v', 1, 2, 3)
        assert shown() == [('w', 1), ('v', 1), ('v', 2), ('v', 3)]
        add('u', 1, end=False)
        records.add(dict(source='u', stamp=[], error='it is cut off'))
        assert len(shown()) == 4


def test_other_settings_are_refused(tmp_path):
    Records(tmp_path, SETTINGS).__exit__()
    other = dict(SETTINGS, score=0.5, tiles=640)
    with pytest.raises(RecipeError, match=r'(?s)score: 0\.3 there, 0\.5 here.*tiles: None there'):
        Records(tmp_path, other)
    assert len((tmp_path / 'records.jsonl').read_text().splitlines()) == 1


def test_other_folders_are_refused(tmp_path):
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full/a.txt').write_text('mine')
    with pytest.raises(RecipeError, match='--out: .*full holds other files; choose a new folder'):
        Records(tmp_path / 'full', SETTINGS)
    with pytest.raises(RecipeError, match=r'a\.txt is a file; give a folder'):
        Records(tmp_path / 'full/a.txt', SETTINGS)
    with pytest.raises(RecipeError, match='cannot be written'):
        Records(tmp_path / 'full/a.txt/b', SETTINGS)
    for line in ('{"x": 1}', '{"settings": [1]}'):
        (tmp_path / 'records.jsonl').write_text(f'{line}\n')
        with pytest.raises(RecipeError, match='none of our files'):
            Records(tmp_path, SETTINGS)
    assert (tmp_path / 'full/a.txt').read_text() == 'mine'
