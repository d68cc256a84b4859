# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Read a config of any generation, without importing what it imports.

A missing ``_base_`` is searched for by the end of its path, in the given folders and among the
configs that the installed MM projects ship.
"""

from __future__ import annotations

import ast
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from mmengine.config import Config

from ..recipe.errors import RecipeError
from .notes import Notes

# Projects whose shipped configs are bases of others.
PROJECTS = ('mmdet', 'mmseg', 'mmrotate', 'mmyolo', 'mmpose', 'mmdet3d', 'mmpretrain')
# Top-level keys of the old generation (mmcv 1) and of the new one (mmengine).
OLD_KEYS = ('data', 'optimizer', 'optimizer_config', 'lr_config', 'runner', 'total_epochs')
NEW_KEYS = ('optim_wrapper', 'train_dataloader', 'param_scheduler', 'train_cfg', 'default_scope')


@dataclass
class Source:
    """A config as a plain dict; ``bases`` are the absolute paths of its ``_base_``, in order."""

    path: Path
    cfg: dict
    bases: list[Path]

    @property
    def old(self) -> bool:
        """Whether it is written for mmdet 2, mmseg 0.x or mmcls 0.x, that is for mmcv 1."""
        return any(key in self.cfg for key in OLD_KEYS) and not any(
            key in self.cfg for key in NEW_KEYS
        )


def read(path: str | Path, folders: Sequence[str] = (), notes: Notes | None = None) -> Source:
    """Read ``path``, a file or 'mmdet::...' for a shipped one.

    Missing bases are searched for in ``folders`` and among the shipped configs.

    Raises:
        RecipeError: there is no such file, a base cannot be found, or the file is not a config.
    """
    notes = notes or Notes()
    named = str(path)
    path = _find(named, Path(named), (), notes) if '::' in named else Path(named)
    if not path.is_file():
        raise RecipeError(
            f'{named!r} is not a config file; for a config that a project ships, write '
            "'mmdet::convnext/FILE.py'"
        )
    for folder in folders:
        if not Path(folder).is_dir():
            raise RecipeError(f'--bases {folder}: there is no such folder')
    with tempfile.TemporaryDirectory() as scratch:
        try:
            bases = [_find(base, path, folders, notes) for base in bases_of(path)]
            readable = _readable(path, folders, Path(scratch), notes)
            cfg = Config.fromfile(str(readable), import_custom_modules=False)
        except RecipeError:
            raise
        except Exception as error:  # a config is a program and can raise anything
            raise RecipeError(
                f'{path} cannot be read as a config: {type(error).__name__}: {error}'
            ) from error
    return Source(path, plain(cfg.to_dict()), bases)


def plain(value: object) -> object:
    """The value as nested dicts, lists and tuples; classes and functions as dotted names."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(plain(item) for item in value)
    if isinstance(value, type) or callable(value):
        return f'{value.__module__}.{value.__qualname__}'
    return value


def bases_of(path: Path) -> list[str]:
    """The ``_base_`` of a text config as written; [] for a lazy config."""
    node = _base_node(path)
    if node is None:
        return []
    # The expression may compute a path. mmengine evaluates it too, as it does the whole config.
    bases = eval(compile(ast.Expression(node.value), str(path), 'eval'), {})
    return [bases] if isinstance(bases, str) else list(bases)


def _base_node(path: Path) -> ast.Assign | None:
    if path.suffix != '.py':
        return None
    for node in ast.parse(path.read_text(encoding='utf-8')).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', '') == '_base_':
            return node
    return None


def _find(base: str, path: Path, folders: Sequence[str], notes: Notes) -> Path:
    """The file of a ``_base_`` of the config ``path``."""
    project, colons, inside = base.partition('::')
    if colons:
        root = shipped().get(project)
        if root is None:
            raise RecipeError(f'{path}: {base!r} needs {project}, which is not installed')
        if (root / inside).is_file():
            return root / inside
        raise RecipeError(f'{path}: {project} ships no config {inside!r}')
    file = (path.parent / base).resolve()
    if file.is_file():
        return file
    roots = [Path(folder) for folder in folders] + list(shipped().values())
    for root in roots:
        found = _by_ending(root, file)
        if len(found) == 1:
            notes.name(f'_base_ {base!r} of {path.name} is missing; used {told(found[0])} instead')
            return found[0]
    raise RecipeError(
        f'{path}: its _base_ {base!r} is missing, and was not found among the configs of '
        f'{[*map(str, folders), *shipped()]}; give its folder with --bases FOLDER (for a config '
        "of mmdet 2 or mmseg 0.x, the 'configs' of that version)"
    )


def _by_ending(root: Path, file: Path) -> list[Path]:
    """The configs below ``root`` whose paths share the longest ending with ``file``."""
    alike = {path: _shared(path, file) for path in _listed(root) if path.name == file.name}
    return [path for path, length in alike.items() if length == max(alike.values())]


def _shared(path: Path, other: Path) -> int:
    count = 0
    for one, two in zip(reversed(path.parts), reversed(other.parts)):
        if one != two:
            break
        count += 1
    return count


@cache
def _listed(root: Path) -> tuple[Path, ...]:
    return tuple(sorted(root.rglob('*.py')))


@cache
def shipped() -> dict[str, Path]:
    """The config folders that the installed projects ship, found without importing them."""
    roots = {}
    for project in PROJECTS:
        spec = find_spec(project)
        for folder in spec.submodule_search_locations or () if spec else ():
            root = Path(folder).resolve() / '.mim' / 'configs'
            if root.is_dir():
                roots[project] = root
    return roots


def told(path: Path) -> str:
    """'mmdet::...' of a shipped config, else its path."""
    path = path.resolve()
    for project, root in shipped().items():
        if path.is_relative_to(root):
            return f'{project}::{path.relative_to(root).as_posix()}'
    return str(path)


def _readable(path: Path, folders: Sequence[str], scratch: Path, notes: Notes) -> Path:
    """``path`` itself, or a copy with absolute bases if one of them is missing."""
    bases = bases_of(path)
    if not bases:
        return path
    found = [_find(base, path, folders, Notes()) for base in bases]
    readable = [_readable(file, folders, scratch, notes) for file in found]
    in_place = [file if '::' in b else (path.parent / b).resolve() for b, file in zip(bases, found)]
    if readable == in_place:
        return path
    node = _base_node(path)
    lines = path.read_text(encoding='utf-8').splitlines()
    lines[node.lineno - 1 : node.end_lineno] = [f'_base_ = {[str(file) for file in readable]!r}']
    copy = scratch / f'{len(list(scratch.iterdir()))}_{path.name}'
    copy.write_text('\n'.join(lines) + '\n', encoding='utf-8')
    return copy
