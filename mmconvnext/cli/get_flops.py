# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""FLOPs and parameters: what ``tools/get_flops.py`` does."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import mmengine

from ..analysis.flops import Counted, count_flops
from ..recipe.errors import RecipeError
from ..recipe.load import load_config, shipped_configs
from ..recipe.own_data import apply_own_data
from .options import flops_parser
from .stack import require_stack

NAME = 78  # characters of the longest recipe's name
TOLERANCE = 0.01  # of the published figures, which are rounded
MEANING = (
    'FLOPs are multiply-adds of one image, as published; norms, activations and RoIAlign are not '
    'counted'
)


def main(argv: list[str] | None = None) -> None:
    """Parse ``argv``, count, print; exit with status 1 if a published figure is missed."""
    args = flops_parser().parse_args(argv)
    if bool(args.config) == args.published:
        raise RecipeError(
            'name a config to count, such as configs/mask_rcnn/....py, or give --published alone '
            'to compare our recipes with the published figures'
        )
    require_stack()
    if args.published:
        _compare(args.json)
        return
    cfg = load_config(args.config, args.config_only_data)
    apply_own_data(cfg)
    counted = count_flops(cfg, _shape(args.shape), lambda line: print(line, file=sys.stderr))
    if args.json:
        print(json.dumps(dict(config=args.config, **_as_dict(counted)), indent=1))
    else:
        print('\n'.join(_table(counted)))


def _shape(sides: list[int] | None) -> tuple[int, int] | None:
    if sides is None or len(sides) <= 2:
        return sides and (sides[0], sides[-1])
    raise RecipeError(f'--shape {" ".join(map(str, sides))}: give HEIGHT WIDTH, or one side')


def _table(counted: Counted) -> list[str]:
    rows = [*counted.parts, ('total', counted.parameters, counted.flops)]
    width = max(len(row[0]) for row in rows)
    lines = [f'one image of {counted.shape[0]} x {counted.shape[1]} pixels (height x width)']
    lines.append(f'{"part":<{width}}  {"parameters":>12}  {"FLOPs":>9}')
    for name, parameters, flops in rows:
        lines.append(f'{name:<{width}}  {parameters:>12,}  {flops / 1e9:>8.1f}G')
    return [*lines, MEANING, *counted.notes]


def _as_dict(counted: Counted) -> dict:
    return dict(
        shape=list(counted.shape),
        unit='multiply-adds',
        parameters=counted.parameters,
        flops=counted.flops,
        parts=[part._asdict() for part in counted.parts],
        notes=counted.notes,
    )


def published_rows() -> list[tuple[Path, dict]]:
    """Config and metafile row of each recipe with published weights.

    Raises:
        RecipeError: this installation has no configs.
    """
    leaves = {leaf.name: leaf for leaf in shipped_configs()}
    files = sorted({leaf.with_name('metafile.yml') for leaf in leaves.values()})
    rows = [row for file in files if file.is_file() for row in mmengine.load(file)['Models']]
    found = [(leaves[Path(row['Config']).name], row) for row in rows if 'Weights' in row]
    if not found:
        raise RecipeError('--published: there are no configs beside this package')
    return found


def _compare(as_json: bool) -> None:
    """Print the published figures beside ours; exit with status 1 if one differs by over 1 %."""
    results = []
    for file, row in published_rows():
        counted = count_flops(load_config(str(file)))
        # Published with no more digits: parameters in M, FLOPs in G.
        published = dict(
            parameters=round(row['Metadata']['Parameters'], -6), flops=row['Metadata']['FLOPs']
        )
        ours = dict(parameters=counted.parameters, flops=counted.flops)
        apart = {key: ours[key] / published[key] - 1 for key in ours}
        results.append(
            dict(
                config=file.stem,
                shape=list(counted.shape),
                published=published,
                counted=ours,
                difference=apart,
                agrees=all(abs(value) <= TOLERANCE for value in apart.values()),
            )
        )
        if not as_json:
            print(_line(results[-1]) if len(results) > 1 else f'{_head()}\n{_line(results[-1])}')
    agree = all(result['agrees'] for result in results)
    if as_json:
        print(json.dumps(dict(unit='multiply-adds', recipes=results), indent=1))
    else:
        print(f'{MEANING}\n{_verdict(results)}')
    if not agree:
        sys.exit(1)


def _head() -> str:
    return (
        f'{"recipe":<{NAME}} {"parameters: published, ours":>33}   {"FLOPs: published, ours":>29}'
    )


def _line(result: dict) -> str:
    cells = [f'{result["config"]:<{NAME}}']
    for key, size, letter, form in (('parameters', 1e6, 'M', '.1f'), ('flops', 1e9, 'G', '.1f')):
        published, ours = result['published'][key] / size, result['counted'][key] / size
        cells.append(
            f'{published:>9.0f}{letter} {ours:>8{form}}{letter} {result["difference"][key]:>+8.2%}'
        )
    return '  '.join(cells) + ('' if result['agrees'] else '  DIFFERS')


def _verdict(results: list[dict]) -> str:
    wrong = [result['config'] for result in results if not result['agrees']]
    if wrong:
        return f'{len(wrong)} of {len(results)} recipes differ by more than {TOLERANCE:.0%}'
    return f'all {len(results)} recipes agree within {TOLERANCE:.0%}'
