# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Config files: found by path, or answered with the nearest names there are."""

from __future__ import annotations

import difflib
from pathlib import Path

from mmengine.config import Config

from .errors import RecipeError


def load_config(path: str) -> Config:
    """Read a config file.

    Raises:
        RecipeError: there is no such file; the message lists the shipped configs nearest in name.
    """
    file = Path(path)
    if not file.is_file():
        raise RecipeError(f'there is no config {path!r}{_suggest(file)}')
    return Config.fromfile(str(file))


def shipped_configs() -> list[Path]:
    """The leaf configs of this checkout or installation, as paths from the working folder."""
    package = Path(__file__).resolve().parents[1]
    roots = [package.parent / 'configs', package / '.mim' / 'configs']
    root = next((root for root in roots if root.is_dir()), None)
    if root is None:
        return []
    leaves = sorted(p for p in root.rglob('*.py') if '_base_' not in p.parts)
    here = Path.cwd()
    return [p.relative_to(here) if p.is_relative_to(here) else p for p in leaves]


def _suggest(file: Path) -> str:
    by_name = {p.name: p for p in shipped_configs()}
    if not by_name:
        return ''
    near = difflib.get_close_matches(f'{file.stem}.py', by_name, n=3, cutoff=0.4)
    listed = [by_name[name] for name in near] or list(by_name.values())
    return '; did you mean\n' + '\n'.join(f'  {p}' for p in listed)
