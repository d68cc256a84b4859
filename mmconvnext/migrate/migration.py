# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The steps of a migration in order: read, update, replace, write, prove."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..recipe.errors import RecipeError
from ..recipe.walk import dicts
from .backbone import Renewed, depths_of, refuse_classifier, renew_backbones
from .mm2.compose import modernize
from .mm2.model import task_of
from .mm2.schedule import optim_wrapper
from .notes import Notes
from .optimizer import renew_constructor
from .proof import built, prove, shares_parameters
from .recipes import recipe_line
from .source import Source, read, shipped
from .write import text_over

# Modules that configs imported only to register the backbone or the optimizer's constructor.
PEERS = ('mmpretrain', 'mmcls', 'mmcv_custom', 'mmdet_custom', 'mmseg_custom', 'backbone')
# Settings of mmcv 1's runner, which mmengine ignores.
UNREAD = ('lr_config', 'optimizer_config', 'runner', 'evaluation', 'checkpoint_config', 'fp16')


@dataclass
class Migration:
    """The new config, its notes and its proof."""

    source: Source
    text: str
    target: dict
    renewed: list[Renewed]
    notes: Notes
    proof: list[str]


def migrate(config: str | Path, out: str | Path | None = None, folders: Sequence = ()) -> Migration:
    """Migrate the file ``config``; nothing is written.

    Args:
        config: a config of mmdet 2 or 3, mmseg 0.x or 1.x, with the ConvNeXt of mmpretrain, mmcls,
            Meta or timm's wrapper.
        out: the path of the new config; bases are written relative to its folder. None means the
            folder of the old config.
        folders: where to search for missing bases.

    Raises:
        RecipeError: the config cannot be read, has no ConvNeXt of another package, or needs what
            this package does not have.
    """
    notes = Notes()
    source = read(config, folders, notes)
    place = Path(out).resolve().parent if out else source.path.resolve().parent
    try:
        return _migrated(source, place, notes)
    except RecipeError as error:
        raise RecipeError(f'{source.path}: {error}') from error


def _migrated(source: Source, place: Path, notes: Notes) -> Migration:
    cfg = copy.deepcopy(source.cfg)
    refuse_classifier(cfg)
    if source.old:
        task = task_of(cfg)
        renewed = renew_backbones(cfg, notes)
        before = optim_wrapper(cfg, Notes()) if cfg.get('optimizer') else None
        target, bases = modernize(cfg, task, notes)
    else:
        renewed = renew_backbones(cfg, notes)
        before = copy.deepcopy(cfg.get('optim_wrapper'))
        target = cfg
        if left := [key for key in UNREAD if cfg.get(key)]:
            notes.name(f'{left} are settings of mmcv 1, which mmengine ignores')
        is_shipped = any(source.path.resolve().is_relative_to(r) for r in shipped().values())
        bases = [source.path.resolve()] if is_shipped else source.bases
    renew_imports(target, source.old, notes)
    model = built(target)
    renew_constructor(target, depths_of(renewed[0].after), shares_parameters(model), notes)
    text = text_over(bases, target, place, _head(source))
    if line := recipe_line(target):
        notes.name(line)
    return Migration(source, text, target, renewed, notes, prove(model, target, before, renewed))


def renew_imports(cfg: dict, old: bool, notes: Notes) -> None:
    """Remove the other packages' modules from ``custom_imports`` if nothing else needs them."""
    asked = cfg.get('custom_imports')
    if not asked:
        return
    modules = asked['imports']
    modules = [modules] if isinstance(modules, str) else list(modules)
    users = [
        path
        for path, node in dicts(cfg)
        if str(node.get('type')).startswith(('mmpretrain.', 'mmcls.'))
        or node.get('_scope_') in ('mmpretrain', 'mmcls')
    ]
    gone = [name for name in modules if name.partition('.')[0] in PEERS]
    if users and gone:
        notes.name(f'custom_imports still has {gone}, because {users[0]} needs it')
        return
    kept = [name for name in modules if name not in gone]
    if old and kept:
        notes.name(f'modules {kept} in custom_imports were written for mmdet 2 or mmseg 0.x')
    # The scope would import mmconvnext by itself; the list is needed to replace that of a base.
    cfg['custom_imports'] = dict(imports=[*kept, 'mmconvnext'], allow_failed_imports=False)
    if gone:
        notes.change(f'custom_imports: {gone} removed, nothing else needs them')


def _head(source: Source) -> str:
    return f'# From {source.path.name}, by tools/migrate_config.py of mmconvnext.\n'


def refuse_existing(out: str | Path) -> Path:
    """The path to write to.

    Raises:
        RecipeError: it exists, is not a .py file, or its folder is a file.
    """
    path = Path(out)
    if path.suffix != '.py':
        raise RecipeError(f'{out}: a config must be a .py file')
    if path.exists():
        raise RecipeError(f'{out} exists and would be overwritten; choose another name')
    nearest = next(folder for folder in path.absolute().parents if folder.exists())
    if not nearest.is_dir():
        raise RecipeError(f'{out}: {nearest} is a file, not a folder; choose another place')
    return path
