# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/options/results.py: the flags of the tools that look at results."""

import inspect

import pytest

from mmconvnext import load
from mmconvnext.cli import options
from mmconvnext.inference.load import SCORE


def parse(text):
    return options.predict_parser().parse_args(text.split())


def test_predict_defaults():
    assert vars(parse('a.py x.pth b.jpg --out o')) == dict(
        paths=['a.py', 'x.pth', 'b.jpg'],
        out='o',
        score=0.3,
        json=False,
        crops=False,
        label_pngs=False,
        pictures=True,
        outline=False,
        ids_of=None,
        tiles=None,
        overlap=0.2,
        tta=False,
        batch=None,
        device=None,
        config_only_data=False,
    )


def test_predict_flags():
    args = parse(
        'w a b --out o --score 0.5 --json --crops --label-pngs --no-pictures --ids-of g.json '
        '--tiles 640 --overlap 0.1 --tta --batch 8 --device cpu'
    )
    assert (args.score, args.json, args.crops, args.label_pngs) == (0.5, True, True, True)
    assert (args.pictures, args.ids_of, args.tiles, args.overlap) == (False, 'g.json', 640, 0.1)
    assert (args.tta, args.batch, args.device) == (True, 8, 'cpu')
    assert parse('w a --out o --tiles auto').tiles == 'auto'
    assert parse('w a --out o --outline').outline


def test_one_threshold_for_all():
    assert (
        parse('w a --out o').score == SCORE == inspect.signature(load).parameters['score'].default
    )
    assert options.analyze_parser().parse_args(['w', '--out', 'o']).score == SCORE
    for parser in (options.predict_parser(), options.analyze_parser()):
        assert f'(default: {SCORE})' in ' '.join(parser.format_help().split())


@pytest.mark.parametrize(
    ('text', 'fault'),
    [
        ('w a', 'required: --out'),
        ('w a --out o --batch 0', "'0' is not a whole number above 0"),
        ('w a --out o --tiles some', "'some' is not a whole number"),
        ('w a --out o --score high', 'invalid float value'),
    ],
)
def test_wrong_predict_flags(text, fault, capsys):
    with pytest.raises(SystemExit):
        parse(text)
    assert fault in capsys.readouterr().err
