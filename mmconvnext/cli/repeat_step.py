# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Computes a step again whose numbers were not finite: what ``tools/repeat_step.py`` does."""

from __future__ import annotations

import sys
from pathlib import Path

from mmengine.device import get_device

from ..checkpoint.mmengine_io import install
from ..faults.dump import read_dump
from ..faults.repeat import Found, repeat
from ..recipe.errors import RecipeError
from ..recipe.load import load_config
from ..recipe.machine import fit_to_machine
from ..recipe.preflight.build import build_model, build_wrapper
from .check_report import quiet
from .options import repeat_parser
from .stack import require_stack


def main(argv: list[str] | None = None) -> Found:
    """Parse ``argv``, compute the step of the dump, print what is not finite.

    Raises:
        RecipeError: the dump or the config cannot be read, or the model is another.
        SystemExit: status 1, if all numbers are finite.
    """
    args = repeat_parser().parse_args(argv)
    require_stack()
    install()
    dump = read_dump(Path(args.dump))
    cfg = load_config(args.config or _config(Path(args.dump)), args.config_only_data)
    fit_to_machine(cfg)
    with quiet(print):
        model = build_model(cfg)
        wrapper = build_wrapper(cfg, model)
    try:
        model.load_state_dict(dump['state_dict'])
    except RuntimeError as error:
        text = ' '.join(str(error).split())[:500]
        raise RecipeError(f'the model of the config is not that of the dump: {text}') from error
    print(f'in the run (rank {dump["rank"]}):\n{dump["told"]}\nhere, on {get_device()}:')
    found = repeat(model, wrapper, dump['turns'], dump['buffers'], dump['scale'])
    for line in found.lines():
        print(f'  {line}')
    if not found.lines():
        print('  all numbers are finite')
        sys.exit(1)
    return found


def _config(dump: Path) -> str:
    """The config that the run wrote into its work dir, two folders above the dump."""
    folder = dump.resolve().parent.parent
    found = sorted(folder.glob('*.py'))
    if len(found) != 1:
        raise RecipeError(
            f'{folder} holds {len(found)} configs (*.py), where that of the run is expected: give '
            'it with --config'
        )
    return str(found[0])
