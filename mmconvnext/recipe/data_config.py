# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Reads a config as data: for a config from somebody whose code you do not want to run.

A config is a Python program, and the types in it are called: ``type='os.system'`` would run a
command, because mmengine imports a type that is in no registry by its name. Here the file is parsed
and never run, and every type must be registered by mmengine, mmcv, mmdet, mmseg or this package.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import mmengine.registry
import yaml
from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.utils import get_object_from_string, import_modules_from_strings

from .errors import RecipeError
from .walk import SCOPES, dicts

# Whose modules may be imported to find a type that is written with its module.
PACKAGES = ('mmengine', 'mmcv', 'mmconvnext', *SCOPES, 'torch')
NAMING = ('type', 'constructor', 'runner_type')  # keys whose value mmengine looks up and calls
PLAIN = re.compile(r'[\w -]*')  # mmcv evaluates some names, such as the type of an NMS
NUMBERS = {'inf': float('inf'), 'nan': float('nan')}  # a dumped config spells them so
# Files that mmengine runs, or reads with the ability to call what they name.
FILES = {
    '.pkl': 'a pickle, which can run code',
    '.pickle': 'a pickle, which can run code',
    '.py': 'a program',
    '.yaml': 'a YAML file, whose tags can call code where mmengine reads it',
    '.yml': 'a YAML file, whose tags can call code where mmengine reads it',
}
# Registered types that run what a plain value or a file says: all that a search for eval, pickle
# and Config.fromfile found in the packages of both lock files, besides the keys in RUN.
TYPES = {
    'CameraMotionCompensation': 'evaluates warp_mode',  # mmdet
    'OpenImagesChallengeDataset': 'unpickles meta_file and hierarchy_file',  # mmdet
    'OpenImagesDataset': 'unpickles meta_file',  # mmdet
    'RefCocoDataset': 'unpickles split_file',  # mmdet
}
RUN = {
    'teacher_config': lambda value: isinstance(value, str) and 'is a config, which mmdet runs',
    'decode_backend': lambda value: value == 'pickle' and 'unpickles the files',  # mmseg
}
MOST = 1_000_000  # values; our choice: the largest recipes have thousands
WAY = (
    'Only data is read (--config-only-data): values, lists, dicts and dict(...), as in the config '
    'that a run writes into its work dir. If you trust the file, leave the flag out'
)


def read_data(file: Path) -> Config:
    """The config in a .py, .json or .yaml file, of which nothing is executed.

    Raises:
        RecipeError: the file holds more than data, or names something that is not registered, or a
            pickle; with the line.
    """
    try:
        text = file.read_text(encoding='utf-8')
        content = _python(file, text) if file.suffix == '.py' else _other(file, text)
        if not isinstance(content, dict):
            raise RecipeError(f'{file}: a {type(content).__name__} where a dict is expected. {WAY}')
        cfg = Config(content, cfg_text=text, filename=str(file))
    except (SyntaxError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        if isinstance(error, RecipeError):
            raise
        why = ' '.join(str(error).split())
        raise RecipeError(f'{file} cannot be read as data: {why}') from error
    except (RecursionError, MemoryError) as error:  # Python's parser says so of too many brackets
        raise RecipeError(f'{file} cannot be read as data: it is nested too deeply') from error
    for fault, value in _faults(content):
        raise RecipeError(f'{file}{_line_of(value, text)}: {fault}. {WAY}')
    return cfg


def _python(file: Path, text: str) -> dict:
    found = {}
    for node in ast.parse(text, str(file)).body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue  # a docstring
        targets = node.targets if isinstance(node, ast.Assign) else []
        if len(targets) != 1 or not isinstance(targets[0], ast.Name):
            raise _refused(file, text, node)
        found[targets[0].id] = _value(file, text, node.value)
    return found


def _value(file: Path, text: str, node: ast.expr) -> object:
    def value(inner: ast.expr) -> object:
        return _value(file, text, inner)

    match node:
        case ast.Constant():
            return node.value
        case ast.Name(id='inf' | 'nan' as name):
            return NUMBERS[name]
        case ast.List(elts=items):
            return [value(item) for item in items]
        case ast.Tuple(elts=items):
            return tuple(value(item) for item in items)
        case ast.Set(elts=items):
            return {value(item) for item in items}
        case ast.Dict(keys=keys, values=values) if None not in keys:
            return {value(key): value(item) for key, item in zip(keys, values, strict=True)}
        case ast.Call(func=ast.Name(id='dict'), args=args, keywords=keywords) if (
            all(isinstance(arg, ast.Dict) for arg in args)
            and len(args) <= 1
            and all(keyword.arg for keyword in keywords)
        ):
            first = value(args[0]) if args else {}
            return {**first, **{keyword.arg: value(keyword.value) for keyword in keywords}}
        case ast.Call(func=ast.Name(id='float'), args=[ast.Constant(value=str(number))]):
            return float(number)
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=inner):
            number = value(inner)
            if isinstance(number, (int, float, complex)):
                return -number if isinstance(node.op, ast.USub) else number
    raise _refused(file, text, node)


def _refused(file: Path, text: str, node: ast.AST) -> RecipeError:
    line = text.splitlines()[node.lineno - 1].strip()
    return RecipeError(f'{file}, line {node.lineno}: this is code, not data:\n  {line}\n{WAY}')


def _other(file: Path, text: str) -> object:
    if file.suffix == '.json':
        return json.loads(text)
    content = yaml.safe_load(text)
    nodes = [content]
    for node in nodes:  # which grows; a list that many others refer to counts each time
        nodes += node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        if len(nodes) > MOST:
            raise ValueError(f'it holds more than {MOST:,} values')
    return content


def _faults(content: dict) -> Iterator[tuple[str, object]]:
    """What would run code when the config is used, and the value that says so."""
    if '_base_' in content:
        yield f'_base_={content["_base_"]!r} would run other files', '_base_'
    imports = content.get('custom_imports') or {}
    names = imports.get('imports') if isinstance(imports, dict) else imports
    names = [names] if isinstance(names, str) else names or []
    for name in names if isinstance(names, (list, tuple)) else [names]:
        if str(name).partition('.')[0] not in PACKAGES:
            yield f'custom_imports has {name!r}; choose from {", ".join(PACKAGES)}', name
    import_modules_from_strings([*names], allow_failed_imports=True)
    scope = content.get('default_scope')
    if scope is not None and scope not in SCOPES:
        yield f'default_scope={scope!r}: choose from {", ".join(SCOPES)}', scope
    known = _Registered()
    for where, node in dicts(content):
        for key, value in node.items():
            path = f'{where}.{key}' if where else str(key)
            if key == '_scope_' and value not in PACKAGES:
                yield f'{path}={value!r}: choose from {", ".join(PACKAGES)}', value
            elif key in NAMING and isinstance(value, str) and value not in known:
                yield f'{path}={value!r} is not registered and would be imported by name', value
            elif key in NAMING and not isinstance(value, (str, dict, type(None))):
                yield f'{path}={value!r}: a name is expected', value
            elif key in NAMING and isinstance(value, str) and value.split('.')[-1] in TYPES:
                yield f'{path}={value!r} {TYPES[value.split(".")[-1]]}', value
            elif key in RUN and RUN[key](value):
                yield f'{path}={value!r} {RUN[key](value)}', value
            for text in _texts(value):
                kind = FILES.get(Path(text).suffix.lower())
                if kind:
                    yield f'{path}={text!r} is {kind}', text


def _texts(value: object) -> Iterator[str]:
    """A text, or those in nested lists."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, tuple, set)):
        for one in value:
            yield from _texts(one)


class _Registered:
    """All that the registries hold: by name, by scope and name, and by module and name.

    A bare name that is in no registry does no harm unless there is a module of that name.
    """

    def __init__(self) -> None:
        for scope in (*SCOPES, 'mmconvnext'):
            if find_spec(scope):
                import_module(f'{scope}.registry')
        roots = [root for root in vars(mmengine.registry).values() if isinstance(root, Registry)]
        self.names: set[str] = set()
        self.objects: set[int] = set()
        for registry in roots:
            for one in (registry, *registry.children.values()):
                if one.scope in PACKAGES:
                    one.import_from_location()
                    self.names |= {*one.module_dict}
                    self.names |= {f'{one.scope}.{name}' for name in one.module_dict}
                    self.objects |= {id(found) for found in one.module_dict.values()}

    def __contains__(self, name: str) -> bool:
        if name in self.names:
            return True
        parts = name.split('.')
        if len(parts) == 1:  # such as RoIAlign, which mmdet takes from mmcv.ops
            return bool(PLAIN.fullmatch(name)) and find_spec(name) is None
        if parts[0] not in PACKAGES or not all(map(str.isidentifier, parts)):
            return False
        return id(get_object_from_string(name)) in self.objects


def _line_of(value: object, text: str) -> str:
    """', line 7' if one line shows the value."""
    lines = [i for i, line in enumerate(text.splitlines(), 1) if str(value) in line]
    return f', line {lines[0]}' if lines else ''
