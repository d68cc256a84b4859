# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The classes of label maps: what their values are, and what they are called."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ..data.label_maps import LabelMap
from ..data.label_values import IGNORE, read_palette
from ..data.texts import text_of
from ..recipe.errors import RecipeError

PALETTES = ('labelmap.txt', 'class_dict.csv')  # CVAT's and VOC's; of CamVid and its like
NAMES = ('classes.txt', 'labels.txt', 'names.txt', 'class_names.txt', 'obj.names')
ADE = 'objectInfo150.txt'  # of the archive ADEChallengeData2016; id 0 is "other objects"
BINARY = [0, IGNORE]  # black and white, not a class and ignored pixels
SHOWN = 8  # values that a message names; our choice


class Values(NamedTuple):
    """Classes in the order of their labels.

    ``values`` has the id or the colour of each; ``options`` are keys of own_data.
    """

    classes: list[str]
    values: list
    options: dict
    notes: list[str]
    in_colour: bool = False


def label_classes(
    root: Path, folder: Path, maps: list[LabelMap], given: list[str] | None
) -> Values:
    """What the values in label maps mean.

    Args:
        folder: of label maps; files with names are looked for there and above it, up to ``root``.
        given: names of the classes, in the order of their values.

    Raises:
        RecipeError: the names and the values do not fit, or colours have no table.
    """
    folders = [folder, *(above for above in folder.parents if above.is_relative_to(root))]
    palette = _first(folders, PALETTES)
    if palette and not given:
        return _of_palette(root, palette, maps)
    if any(content.is_coloured for content in maps):
        raise RecipeError(_colours(folder, maps))
    ids = sorted({i for content in maps for i in content.ids})
    if len(ids) > IGNORE:
        raise RecipeError(
            f'{folder}: the files hold {len(ids)} values, so they look like photos, not label maps'
        )
    names, source = given, 'given'
    if not names:
        file = _first(folders, (*NAMES, ADE))
        names, source = (_names(file), file.name) if file else (None, '')
    return _named(ids, names, source) if names else _unnamed(ids)


def _first(folders: list[Path], names: tuple[str, ...]) -> Path | None:
    files = (folder / name for folder in folders for name in names)
    return next((file for file in files if file.is_file()), None)


def _of_palette(root: Path, palette: Path, maps: list[LabelMap]) -> Values:
    try:
        table = read_palette(palette)
    except (OSError, ValueError) as error:
        raise RecipeError(f'{palette}: {error}') from error
    seen = {colour for content in maps for colour in content.in_colour}
    unknown = sorted(seen - set(table.values()))
    options: dict = dict(palette_file=palette.relative_to(root).as_posix())
    if unknown == [(224, 224, 192)] or unknown == [(255, 255, 255)]:  # VOC's border, and ours
        options['ignore_ids'] = unknown
    elif unknown:
        raise RecipeError(
            f'{palette} has no class for {len(unknown)} colours of the label maps, such as '
            f'{unknown[:SHOWN]}; add a line for each, name:red,green,blue'
        )
    present = {name: colour for name, colour in table.items() if colour in seen}
    absent = [name for name in table if name not in present]
    notes = [f'no class, for they are in no label map: {", ".join(absent)}'] * bool(absent)
    return Values(list(present), list(present.values()), options, notes, in_colour=True)


def _colours(folder: Path, maps: list[LabelMap]) -> str:
    seen = sorted({colour for content in maps for colour in content.in_colour})
    lines = '\n'.join(f'  name:{",".join(map(str, colour))}' for colour in seen[:SHOWN])
    more = f'\n  and {len(seen) - SHOWN} more' * (len(seen) > SHOWN)
    return (
        f'{folder}: the label maps hold colours, and nothing says which class each colour is; '
        f'write {PALETTES[0]} beside or above that folder, with a line for each class:\n'
        f'{lines}{more}'
    )


def _names(file: Path) -> list[str]:
    try:
        lines = text_of(file).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f'{file} cannot be read: {error}; save it as UTF-8') from error
    if file.name == ADE:  # a heading, then Idx, Ratio, Train, Val, Stuff, Name
        return [
            line.split('\t')[-1].partition(',')[0].strip() for line in lines[1:] if line.strip()
        ]
    return [line.strip() for line in lines if line.strip()]


def _named(ids: list[int], names: list[str], source: str) -> Values:
    """Names of all classes, in the order of their ids."""
    doubles = sorted({name for name in names if names.count(name) > 1})
    if doubles:
        raise RecipeError(f'the names of classes ({source}) have {doubles[0]!r} twice')
    count = len(names)
    own = [i for i in ids if i != IGNORE]
    notes = [f'names of classes: {source}'] * (source != 'given')
    if source == ADE or (own and max(own) == count):
        notes.append(f'label maps hold ids up to {count} for {count} names, so 0 has no class')
        if max(own) <= count:
            return Values(names, list(range(1, count + 1)), dict(reduce_zero_label=True), notes)
    if ids != BINARY and (not own or max(own) < count):
        return Values(names, list(range(count)), {}, notes)
    for every in (own, ids):  # 255 may be a class, as in masks of 0 and 255
        if len(every) == count:
            return Values(names, every, dict(ids=every), notes)
    raise RecipeError(
        f'{count} names of classes ({source}: {names[:SHOWN]}) do not fit the values in the label '
        f'maps, {ids[:SHOWN]}{" and more" * (len(ids) > SHOWN)}; give a name for each value, in '
        'their order: --classes NAME NAME ...'
    )


def _unnamed(ids: list[int]) -> Values:
    rename = 'nothing names the classes: rename them in the config, or give --classes NAME NAME ...'
    own = [i for i in ids if i != IGNORE]
    if ids == BINARY or len(own) == 2 and own[0] == 0 and own[1] > 1:
        ids = ids if ids == BINARY else own
        options = dict(ids=ids)
        return Values(['background', 'object'], ids, options, [rename])
    if own == list(range(len(own))) and own:
        names = ['background', 'object'] if len(own) == 2 else [f'class_{i}' for i in own]
        zero = (
            'id 0 is a class; if it means "no label", set reduce_zero_label=True and drop its name'
        )
        return Values(names, own, {}, [rename, *[zero] * (len(own) > 2)])
    if not own:
        raise RecipeError(f'the label maps hold {ids} alone: there is nothing to learn')
    return Values([f'class_{i}' for i in own], own, dict(ids=own), [rename])
