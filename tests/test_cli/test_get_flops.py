# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/get_flops.py: tables, JSON, and the comparison with the published figures."""

import json
from pathlib import Path

import pytest
from fixtures import MASK_RCNN, ROOT
from recipe_table import PUBLISHED

from mmconvnext.analysis.flops import Counted, Part
from mmconvnext.cli import get_flops
from mmconvnext.cli.get_flops import main, published_rows
from mmconvnext.recipe.errors import RecipeError

COUNTED = Counted(
    [Part('backbone', 1500, 3 * 10**9), Part('neck', 20, 10**8)], (64, 96), ['a note']
)


@pytest.fixture
def asked(monkeypatch):
    """The shapes that are asked for; the answer is COUNTED."""
    shapes = []

    def count(cfg, shape=None, tell=None):
        shapes.append(shape)
        return COUNTED

    monkeypatch.setattr(get_flops, 'count_flops', count)
    return shapes


def test_the_table(asked, capsys):
    main([MASK_RCNN])
    assert capsys.readouterr().out.splitlines() == [
        'one image of 64 x 96 pixels (height x width)',
        'part        parameters      FLOPs',
        'backbone         1,500       3.0G',
        'neck                20       0.1G',
        'total            1,520       3.1G',
        get_flops.MEANING,
        'a note',
    ]
    assert asked == [None]


def test_json(asked, capsys):
    main([MASK_RCNN, '--json', '--shape', '64', '96'])
    assert json.loads(capsys.readouterr().out) == dict(
        config=MASK_RCNN,
        shape=[64, 96],
        unit='multiply-adds',
        parameters=1520,
        flops=31 * 10**8,
        parts=[
            dict(name='backbone', parameters=1500, flops=3 * 10**9),
            dict(name='neck', parameters=20, flops=10**8),
        ],
        notes=['a note'],
    )
    assert asked == [(64, 96)]


def test_one_side_is_a_square(asked):
    main([MASK_RCNN, '--shape', '64'])
    assert asked == [(64, 64)]


@pytest.mark.parametrize(
    ('argv', 'message'),
    [
        ([], 'name a config to count'),
        ([MASK_RCNN, '--published'], 'give --published alone'),
        ([MASK_RCNN, '--shape', '1', '2', '3'], '--shape 1 2 3: give HEIGHT WIDTH, or one side'),
        (['nowhere.py'], "there is no config 'nowhere.py'"),
    ],
)
def test_mistakes(asked, argv, message):
    with pytest.raises(RecipeError, match=message):
        main(argv)


def test_the_published_rows_are_those_of_the_table_of_results():
    rows = {
        str(file.resolve().relative_to(ROOT / 'configs')): row for file, row in published_rows()
    }
    assert set(rows) == set(PUBLISHED)
    for name, row in rows.items():
        assert row['Metadata']['FLOPs'] == PUBLISHED[name]['results']['flops'] * 10**9


@pytest.fixture
def one_row(monkeypatch):
    row = dict(Metadata=dict(Parameters=48095376, FLOPs=262 * 10**9))
    monkeypatch.setattr(get_flops, 'published_rows', lambda: [(Path(MASK_RCNN), row)] * 2)

    monkeypatch.setattr(get_flops, 'load_config', lambda path: {})

    def count(flops, parameters=48 * 10**6):
        counted = Counted([Part('all', parameters, flops)], (800, 1280), [])
        monkeypatch.setattr(get_flops, 'count_flops', lambda cfg: counted)

    return count


@pytest.mark.parametrize(
    ('part', 'agrees'), [(1.0099, True), (0.9901, True), (1.011, False), (0.989, False)]
)
@pytest.mark.parametrize('key', ['flops', 'parameters'])
def test_a_difference_of_1_percent_is_the_limit(one_row, capsys, part, agrees, key):
    figures = dict(flops=262 * 10**9, parameters=48 * 10**6)
    one_row(**figures | {key: round(figures[key] * part)})
    if agrees:
        main(['--published'])
    else:
        with pytest.raises(SystemExit, match='^1$'):
            main(['--published'])
    head, *rows, meaning, verdict = capsys.readouterr().out.splitlines()
    assert head.startswith('recipe') and len(rows) == 2 and meaning == get_flops.MEANING
    assert f'{part - 1:+.2%}' in rows[0] and rows[0].endswith('DIFFERS') != agrees
    assert verdict == (
        'all 2 recipes agree within 1%' if agrees else '2 of 2 recipes differ by more than 1%'
    )


def test_published_figures_as_json(one_row, capsys):
    one_row(262 * 10**9)
    main(['--published', '--json'])
    recipes = json.loads(capsys.readouterr().out)['recipes']
    assert len(recipes) == 2 and recipes[0] == dict(
        config=Path(MASK_RCNN).stem,
        shape=[800, 1280],
        published=dict(parameters=48 * 10**6, flops=262 * 10**9),
        counted=dict(parameters=48 * 10**6, flops=262 * 10**9),
        difference=dict(parameters=0, flops=0),
        agrees=True,
    )


def test_no_configs(monkeypatch):
    monkeypatch.setattr(get_flops, 'shipped_configs', list)
    with pytest.raises(RecipeError, match='there are no configs beside this package'):
        published_rows()
