# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Reads the options of ``own_data`` that say what the values in label maps mean."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from ...data.label_values import IGNORE, read_palette
from ..errors import RecipeError

if TYPE_CHECKING:
    from .given import OwnData

TABLES = ('ids', 'colours', 'palette_file')  # at most one of them
OPTIONS = dict.fromkeys((*TABLES, 'ignore_ids'))


def loader_arguments(own: OwnData) -> dict:
    """Arguments of LoadLabelMap; {} if the values in the files are those that mmseg expects.

    Raises:
        RecipeError: an option has another form, or they contradict each other or the classes.
    """
    given = [key for key in TABLES if own.options[key] is not None]
    if given and len(own.classes) > IGNORE:
        raise RecipeError(
            f'own_data.{given[0]} cannot give {len(own.classes)} classes a label: mmseg keeps '
            f'labels in 8 bits and ignores {IGNORE}, so there can be {IGNORE} classes'
        )
    if len(given) > 1:
        raise RecipeError(f'own_data.{given[0]} and own_data.{given[1]}: set one of them')
    if given and own.options['reduce_zero_label']:
        raise RecipeError(
            f'own_data.{given[0]} gives each class its value, so reduce_zero_label=True has no '
            'meaning; leave it out, and put the value 0 into own_data.ignore_ids if it means '
            'unlabelled'
        )
    found: dict[str, list] = {}
    if given == ['palette_file']:
        found['colours'] = _of_palette(own)
    elif given == ['ids']:
        found['ids'] = _one_for_each_class(own, 'ids', _is_id, 'a whole number')
    elif given == ['colours']:
        colours = _one_for_each_class(own, 'colours', is_colour, 'a colour (R, G, B)')
        found['colours'] = [tuple(colour) for colour in colours]
    if own.options['ignore_ids'] is not None:
        found['ignore_ids'] = _ignored(own, found)
    return found


def _is_id(value: object) -> bool:
    return type(value) is int


def is_colour(value: object) -> bool:
    """Whether a value is (R, G, B), whole numbers from 0 to 255."""
    ordered = isinstance(value, (list, tuple)) and len(value) == 3
    return ordered and all(_is_id(part) and 0 <= part <= 255 for part in value)


def _listed(own: OwnData, key: str) -> list:
    value = own.options[key]
    if not isinstance(value, (list, tuple)):
        raise RecipeError(f'own_data.{key} must be a list, got {value!r}')
    return [tuple(v) if isinstance(v, list) else v for v in value]


def _one_for_each_class(own: OwnData, key: str, fits: object, what: str) -> list:
    values = _listed(own, key)
    wrong = [value for value in values if not fits(value)]
    if wrong:
        raise RecipeError(f'own_data.{key} has {wrong[0]!r}, which is not {what}')
    if len(values) != len(own.classes):
        raise RecipeError(
            f'own_data.{key} has {len(values)} entries for {len(own.classes)} classes; it needs '
            f'{what} for each class, in the order of own_data.classes'
        )
    _refuse_double(key, dict(zip(own.classes, values)))
    return values


def _refuse_double(key: str, values: dict[str, object]) -> None:
    value, count = Counter(values.values()).most_common(1)[0]
    if count > 1:
        names = [name for name in values if values[name] == value][:2]
        raise RecipeError(f'own_data.{key} gives {value} to both {names[0]!r} and {names[1]!r}')


def _of_palette(own: OwnData) -> list:
    file = Path(own.root, str(own.options['palette_file']))
    if not file.is_file():
        raise RecipeError(f'own_data.palette_file: {file} does not exist')
    try:
        colours = read_palette(file)
    except (OSError, ValueError) as error:
        raise RecipeError(f'own_data.palette_file: {file}: {error}') from error
    missing = [name for name in own.classes if name not in colours]
    if missing:
        raise RecipeError(
            f'own_data.palette_file: {file} has no colour for {missing[0]!r}; it names '
            f'{list(colours)}; spell own_data.classes as in the file'
        )
    found = {name: colours[name] for name in own.classes}
    _refuse_double('palette_file', found)
    return list(found.values())


def _ignored(own: OwnData, found: dict) -> list:
    values = _listed(own, 'ignore_ids')
    in_colour = 'colours' in found
    for value in values:
        if not (_is_id(value) or (in_colour and is_colour(value))):
            form = 'whole numbers or colours (R, G, B)' if in_colour else 'whole numbers'
            raise RecipeError(f'own_data.ignore_ids has {value!r}; it holds {form}')
    values = [(value,) * 3 if in_colour and _is_id(value) else value for value in values]
    classes = found.get('colours') or found.get('ids') or []
    both = [value for value in values if value in classes]
    if both:
        name = own.classes[classes.index(both[0])]
        raise RecipeError(f'own_data.ignore_ids has {both[0]}, which is the class {name!r}')
    return values
