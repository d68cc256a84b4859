# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Have label maps a form that can be read, and the size of their images?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ...data.label_maps import MOST, LabelMap
from ...data.label_values import read_palette
from ..label_files import LabelFiles
from .finding import Finding
from .label_pairs import first_of, named, relative

PALETTES = ('labelmap.txt', 'class_dict.csv')  # CVAT's and VOC's; of CamVid and its like


def check_forms(files: LabelFiles) -> Iterator[Finding]:
    """What is wrong with the label maps of a dataset, whatever their values are."""
    yield from _unreadable(files)
    yield from _sizes(files)


def _unreadable(files: LabelFiles) -> Iterator[Finding]:
    maps = files.contents
    bad = {file: c for file, c in maps.items() if c.error and file.is_file()}
    if bad:
        content = next(iter(bad.values()))
        yield Finding(
            f'{files.path}: {len(bad)} of {len(maps)} label maps cannot be read, '
            f'{first_of(files, list(bad))} ({content.error}); replace them, or remove their images',
            'label_maps',
        )
    lossy = [file for file, content in maps.items() if content.kind == 'JPEG']
    if lossy:
        values = sorted({i for file in lossy for i in maps[file].ids})
        between = f' ({len(values)} values from {values[0]} to {values[-1]})' if values else ''
        yield Finding(
            f'{files.path}: {len(lossy)} of {len(maps)} label maps are JPEG files, '
            f'{first_of(files, lossy)}; JPEG changes values near edges{between}, and so classes; '
            'export PNG files, or convert black and white ones with Pillow: Image.open(file).'
            'convert("L").point(lambda v: int(v > 127)).save("x.png"), which gives the ids 0 and '
            "1, and set own_data.label_suffix='.png'",
            'label_maps',
        )
    if not files.values.in_colour:
        yield from _coloured(files, {f: c for f, c in maps.items() if c.is_coloured})
        yield from _palettes(files)
        if files.values.is_default:
            yield from _misnamed(files)


def _coloured(files: LabelFiles, coloured: dict[Path, LabelMap]) -> Iterator[Finding]:
    if not coloured:
        return
    colours = Counter(c for content in files.contents.values() for c in content.in_colour)
    found = [colour for colour, _ in sorted(colours.items(), key=lambda item: (-item[1], item[0]))]
    number, count = len(files.names), len(found)
    ordered = found[: number + 8]  # our choice
    more = ', ...' if count > len(ordered) else ''
    others = ', and own_data.ignore_ids=[...] with the others' if count > number else ''
    # Not as a list to copy: nobody but the user knows which colour is which class.
    way = (
        f'own_data.colours=[...] with the colour of each of the {number} classes, in the order of '
        f'own_data.classes{others}; found are {str(ordered)[1:-1]}{more}'
    )
    if more:
        shown = f'over {MOST}' if count > MOST else count
        way += f' ({shown} colours: if edges are blurred, export the maps without smoothing)'
    files_there = _palette_files(files)
    table = (
        f'own_data.palette_file={files_there[0]!r}'
        if files_there
        else ("own_data.palette_file='labelmap.txt' (CVAT's or VOC's file)")
    )
    yield Finding(
        f'{files.path}: {next(iter(coloured))} has 3 channels with colours; a label map has one, '
        f'with a class id in each pixel ({len(coloured)} of {len(files.contents)} maps). Say which '
        f'class each colour is: {table}, or {way}',
        'label_maps',
    )


def _palette_files(files: LabelFiles) -> list[str]:
    """Colour tables in the folder of the label maps or above it, below the root of the data."""
    root = Path(files.dataset.get('data_root') or '')
    folder = Path(files.maps)
    folders = [folder, *(parent for parent in folder.parents if parent.is_relative_to(root))]
    there = (path / name for path in folders for name in PALETTES)
    return [f.relative_to(root).as_posix() for f in there if f.is_file() and f.is_relative_to(root)]


def _palettes(files: LabelFiles) -> Iterator[Finding]:
    """Each map may have a palette of its own, made for its colours: then ids mean nothing."""
    colour_of: dict[int, dict] = {}
    ids_of: dict[tuple, set[int]] = {}
    for file, content in files.contents.items():
        for i, colour in zip(content.ids, content.colours):
            colour_of.setdefault(i, {}).setdefault(colour, file)
            ids_of.setdefault(colour, set()).add(i)
    for i, first in colour_of.items():
        if len(first) > 1 and any(len(ids_of[colour]) > 1 for colour in first):
            (one, file), (two, other) = list(first.items())[:2]
            yield Finding(
                f'{files.path}: id {i} is the colour {one} in the palette of {file}, but {two} in '
                f'that of {other}, and a colour has several ids, so the ids are not classes; give '
                'own_data.palette_file or own_data.colours, which go by the colours',
                'label_maps',
            )
            return


def _misnamed(files: LabelFiles) -> Iterator[Finding]:
    """A colour table beside the maps may name another class for a palette's colour than its id."""
    first: dict[tuple, Path] = {}
    for file, content in files.contents.items():
        for pair in zip(content.ids, content.colours):
            first.setdefault(pair, file)
    name_of = dict(enumerate(files.names, int(files.reduces)))
    for table in _palette_files(files):
        try:
            named = read_palette(Path(files.dataset.get('data_root') or '', table))
        except (OSError, ValueError):
            continue
        name_of_colour = {colour: name for name, colour in named.items()}
        for (i, colour), file in first.items():
            name = name_of_colour.get(colour)
            if name in files.names and name_of.get(i, name) != name:
                yield Finding(
                    f'{files.path}: id {i} would be the class {name_of[i]!r}, but its colour '
                    f'{colour} in the palette of {file} is that of {name!r} in {table}; set '
                    f'own_data.palette_file={table!r}, which goes by the colours',
                    'label_maps',
                )
                return


def _sizes(files: LabelFiles) -> Iterator[Finding]:
    wrong, turned, unsure = [], [], []
    for image, file in files.pairs.items():
        header, content = files.headers.get(image), files.contents[file]
        if header is None or header.error or content.error:
            continue
        size, stored = (content.width, content.height), (header.width, header.height)
        loaded = header.loaded
        if size != loaded:
            # As the image would be if it were loaded the other way.
            other = stored if files.turns else stored[::-1]
            (turned if size == other else wrong).append((file, size, loaded))
        elif header.orientation > 1 and files.turns and stored == header.loaded:
            unsure.append(file)
    count = len(files.pairs)
    if turned:
        file, size, loaded = turned[0]
        way = 'set own_data.ignore_exif=True' if files.turns else 'remove own_data.ignore_exif'
        yield Finding(
            f'{files.path}: {len(turned)} of {count} images are '
            f'{"" if files.turns else "not "}turned by their EXIF orientation when loaded, '
            f'unlike their label maps: {file} has {_size(size)}, its image {_size(loaded)}'
            f'{_others(files, turned)}; {way} to load images '
            f'{"as they are stored" if files.turns else "turned"}',
            'label_sizes',
        )
    if wrong:
        file, size, loaded = wrong[0]
        yield Finding(
            f'{files.path}: {len(wrong)} of {count} label maps have another size than their '
            f'images, so labels would be misplaced: {file} has {_size(size)}, its image '
            f'{_size(loaded)}{_others(files, wrong)}; export them in the size of the images, or '
            'resize them without interpolation (Image.NEAREST)',
            'label_sizes',
        )
    if unsure and not turned:
        yield Finding(
            f'{files.images}: note: {len(unsure)} images are turned or mirrored by their EXIF '
            f'orientation, label maps are not ({named(relative(files, unsure))}); if these show '
            'the images as they are stored, set own_data.ignore_exif=True'
        )


def _others(files: LabelFiles, found: list[tuple]) -> str:
    names = relative(files, [file for file, *_ in found[1:]])
    return f' (also {named(names)})' if names else ''


def _size(size: tuple[int, int]) -> str:
    return f'{size[0]}x{size[1]}'
