# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Reading config files; for a wrong path, the error lists the nearest shipped configs."""

from __future__ import annotations

import difflib
import logging
import os
from importlib.util import find_spec
from pathlib import Path

import yaml
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.utils import import_modules_from_strings

from .config_faults import SUFFIXES, circle, config_fault, leads_back
from .data_config import read_data
from .errors import RecipeError
from .walk import dicts, scope_of_model, type_of

LONGEST = 1000  # characters of a path that is told whole; our choice
# Packages whose ConvNeXt ours replaces: a ported config does not need to import them.
REPLACED = ('mmpretrain', 'mmcls')


def load_config(path: str, only_data: bool = False) -> Config:
    """Read a config file; with ``only_data`` without running it, see :mod:`.data_config`.

    A lazy config without a default scope gets the scope of its model's class, so that types written
    as strings are looked up in that project.

    Raises:
        RecipeError: there is no such file, or it is none; or it, or a base of it, is missing or
            faulty, with file and line; or ``custom_imports`` names a package
            that is not installed (mmengine's own message blames PYTHONPATH). An unused import of
            mmpretrain, as in configs written for its ConvNeXt, is skipped with a warning.
    """
    file = Path(path)
    if os.path.isdir(path):
        found = sorted(file.glob('*.py'))
        its = f'; it holds {", ".join(map(str, found[:3]))}' if found else ''
        raise RecipeError(f'{path} is a folder, where a config file is expected{its}')
    if not os.path.isfile(path):  # Path's fails for a name that is too long
        raise RecipeError(f'there is no config {_named(path)}')
    if file.suffix not in SUFFIXES:
        raise RecipeError(
            f'{path} is no config ({", ".join(SUFFIXES)}); the config comes first, then the '
            'checkpoint'
        )
    try:
        cfg = read_data(file) if only_data else _read(file)
    except ImportError as error:
        if only_data:
            raise
        try:
            cfg = _read(file, import_custom_modules=False)
        except ImportError as problem:
            raise RecipeError(f'{path} cannot be read: {problem}') from problem
        missing, fault = _missing_package(path, cfg)
        if not fault:
            raise
        if not all(name.partition('.')[0] in REPLACED for name in missing):
            raise RecipeError(fault) from error
        print_log(fault, logger='current', level=logging.WARNING)
        rest = [name for name in _imports(cfg) if name not in missing]
        cfg.custom_imports = dict(imports=rest, allow_failed_imports=False) if rest else None
        import_modules_from_strings(rest)
    # Its argument format_python_code is passed on only for lazy configs in mmengine 0.10.
    object.__setattr__(cfg, '_format_python_code', False)
    try:
        if cfg.get('default_scope') is None and scope_of_model(cfg):
            cfg.default_scope = scope_of_model(cfg)
    except ImportError as error:  # a lazy config imports its classes now
        raise RecipeError(f'{path} cannot be read: {error}') from error
    return cfg


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


def _read(file: Path, import_custom_modules: bool = True) -> Config:
    """Read the file; its text in logs and work dirs is not formatted with yapf.

    The runner writes this text four times, and yapf would take up to a second each time.
    """
    if file.suffix in ('.yml', '.yaml'):
        _refuse_tags(file)
    if back := circle(file):
        raise RecipeError(f'the config cannot be read: {leads_back(file, back)}')
    try:
        cfg = Config.fromfile(str(file), import_custom_modules=import_custom_modules)
    except (ImportError, RecipeError):
        raise
    except SystemExit as error:
        raise RecipeError(f'{file} ends the program (SystemExit: {error})') from error
    except Exception as error:  # a config is a program, which can raise anything
        fault = config_fault(file, error)
        if fault is None:
            raise
        raise RecipeError(f'the config cannot be read: {fault}') from error
    return cfg


def _refuse_tags(file: Path) -> None:
    """Refuse tags such as !!python/object/apply, with which a YAML file calls what it likes."""
    try:
        yaml.safe_load(file.read_bytes())
    except yaml.constructor.ConstructorError as error:
        raise RecipeError(
            f'{file} is more than data, which is not read from YAML: {error}'
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError):
        pass  # told when it is read


def _missing_package(path: str, cfg: Config) -> tuple[list[str], str]:
    """The imports that are not installed, and a warning with the line to write.

    Raises:
        RecipeError: the config uses one of them.
    """
    names = _imports(cfg)
    missing = [name for name in names if find_spec(name.partition('.')[0]) is None]
    if not missing:
        return [], ''
    packages = {name.partition('.')[0] for name in missing}
    head = f'{path}: custom_imports has {missing}, which is not installed'
    used = [
        f'{where}.type={type_of(node)!r}'
        for where, node in dicts(cfg._cfg_dict)
        if str(type_of(node)).partition('.')[0] in packages or node.get('_scope_') in packages
    ]
    if used:
        ours = any(use.endswith(".ConvNeXt'") for use in used)
        way = "; for its ConvNeXt write type='mmconvnext.ConvNeXt'" if ours else ''
        raise RecipeError(f'{head}, but the config uses {", ".join(used)}{way}, or install it')
    rest = [name for name in names if name not in missing]
    line = f'dict(imports={rest}, allow_failed_imports=False)' if rest else 'None'
    return missing, f'{head}, but the config does not use it; write\n  custom_imports = {line}'


def _imports(cfg: Config) -> list[str]:
    names = (cfg.get('custom_imports') or {}).get('imports') or []
    return [names] if isinstance(names, str) else list(names)


def _named(path: str) -> str:
    """A path that is no config, with configs that it may mean; cut if no file can be called so."""
    return f'{path[:60]!r}...' if len(path) > LONGEST else f'{path!r}{_suggest(Path(path))}'


def _suggest(file: Path) -> str:
    by_name = {p.name: p for p in shipped_configs()}
    if not by_name:
        return ''
    near = difflib.get_close_matches(f'{file.stem}.py', by_name, n=3, cutoff=0.4)
    listed = [by_name[name] for name in near] or list(by_name.values())
    return '; did you mean\n' + '\n'.join(f'  {p}' for p in listed)
