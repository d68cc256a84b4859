# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Label maps beside images: files with a class id or a colour in each pixel, or with 0 and 255.

As CVAT ("Segmentation mask 1.1"), Roboflow ("Semantic Segmentation Masks") and scripts write them,
and as in VOC, ADE20K or Cityscapes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..label_maps import LabelMap, read_label_maps
from ..label_values import IGNORE, LabelValues, read_palette
from ..ledger import Tally
from .export import Export, Maps
from .folder import Folder, SourceError, lines_of, split_in

# Names of folders, and endings of stems, that tell label maps from images; ours, of public data.
FOLDERS = {
    'annotation', 'annotations', 'gt', 'ground_truth', 'groundtruth', 'gtfine', 'label', 'labels',
    'labelids', 'mask', 'masks', 'segmentation', 'segmentationclass', 'segmentations',
}  # fmt: skip
OBJECTS = 'segmentationobject'
ENDING = re.compile(
    r'[_\-. ](mask|masks|label|labels|gt|seg|segmentation|gtfine_labelids|labelids|color_mask)$',
    re.I,
)
OTHER = re.compile(r'_(instanceids|color|labelcolors?|polygons?|instance)$', re.I)  # Cityscapes'
IMAGE_ENDING = re.compile(r'_(leftimg8bit|image|img)$', re.I)
NO_MAP = 'images without a label map'
NO_IMAGE = 'label maps without an image'
BROKEN = 'label maps that cannot be read, with their images'
TABLES = ('labelmap.txt', '_classes.csv', 'classes.txt', 'objectinfo150.txt')
NAMED = '; --classes background nucleus, for example, names them'
MANY = 50  # values from which on they hardly are classes; our choice


def looks(folder: Folder) -> str:
    """Why the folder seems to hold label maps; '' if it does not."""
    if folder.only:
        return ''
    found = [f for f in folder.images if _is_map(f, folder) and not OTHER.search(f.stem)]
    if not found or len(found) == len(folder.images):
        return ''
    return f'{len(found)} label maps such as {folder.below(found[0])}'


def read(folder: Folder, classes: Sequence[str] = ()) -> Export:
    """Read which label map belongs to which image, and what the values mean.

    Raises:
        SourceError: no image has a label map, or the values do not tell the classes.
    """
    export = Export()
    pairs = _pairs(folder, export)
    contents = read_label_maps([label for _, label in pairs])
    sound, sets = [], folder.image_sets
    for image, label in pairs:
        if contents[label].error:
            export.ledger.leave_out(BROKEN, f'{folder.below(label)}: {contents[label].error}')
        else:
            split = split_in(folder.below(image)) or sets.get(image.stem, '')
            sound.append((image, label, split))
    if not sound:
        raise SourceError(
            f'{folder.root}: no image has a label map that can be read ({export.ledger.causes()}); '
            'name them alike, as images/a.jpg and labels/a.png, or a.jpg and a_mask.png'
        )
    names, values = _meaning(folder, {m: contents[m] for _, m, _ in sound}, classes, export)
    by_stem = {f.stem: f for f in folder.images if OBJECTS in map(str.lower, f.parts)}
    objects = {image: by_stem[image.stem] for image, _, _ in sound if image.stem in by_stem}
    export.maps = Maps(sound, names, values, objects)
    return export


def _is_map(image: Path, folder: Folder) -> bool:
    parts = {part.lower() for part in image.relative_to(folder.root).parts[:-1]}
    return bool(parts & FOLDERS or ENDING.search(image.stem)) and OBJECTS not in parts


def _pairs(folder: Folder, export: Export) -> list[tuple[Path, Path]]:
    maps: dict[str, list[Path]] = {}
    images = []
    for file in [*folder.images, *folder.of('.npy')]:
        if _is_map(file, folder):
            if not OTHER.search(file.stem):
                maps.setdefault(ENDING.sub('', file.stem).lower(), []).append(file)
        elif OBJECTS not in map(str.lower, file.parts) and file.suffix != '.npy':
            images.append(file)
    found, used = [], set()
    for image in images:
        near = maps.get(IMAGE_ENDING.sub('', image.stem).lower()) or maps.get(
            image.stem.lower(), ()
        )
        label = _nearest(image, near)
        if label is None:
            export.ledger.leave_out(NO_MAP, folder.below(image))
        else:
            found.append((image, label))
            used.add(label)
    for label in sorted({m for group in maps.values() for m in group} - used):
        export.ledger.leave_out(NO_IMAGE, folder.below(label))
    doubled = [label for label, count in Counter(label for _, label in found).items() if count > 1]
    if doubled:
        twins = [folder.below(image) for image, label in found if label == doubled[0]]
        raise SourceError(
            f'{len(doubled)} label maps fit several images, such as {folder.below(doubled[0])}: '
            f'{", ".join(twins)}; give each image a label map in a folder of its own'
        )
    return found


def _nearest(image: Path, maps: Iterable[Path]) -> Path | None:
    """The label map with the most folders in common with an image, but not if two have."""

    def shared(label: Path) -> int:
        return sum((Counter(label.parts[:-1]) & Counter(image.parts[:-1])).values())

    ranked = sorted(maps, key=shared)
    if not ranked or (len(ranked) > 1 and shared(ranked[-1]) == shared(ranked[-2])):
        return None
    return ranked[-1]


def _meaning(
    folder: Folder, contents: dict[Path, LabelMap], classes: Sequence[str], export: Export
) -> tuple[list[str], LabelValues]:
    """The classes, and what stands for them in the files."""
    tables = {file.name: file for file in folder.files if file.name in TABLES}
    coloured = [content for content in contents.values() if content.is_coloured]
    if 'labelmap.txt' in tables:
        palette = _palette(tables['labelmap.txt'])
        if coloured or any(content.mode == 'P' for content in contents.values()):
            return _of_palette(palette, contents, classes, export)
        classes = classes or list(palette)
    if coloured:
        raise SourceError(_colours(coloured, contents, folder))
    found = sorted({value for content in contents.values() for value in content.ids})
    lossy = [file for file, content in contents.items() if content.kind == 'JPEG']
    if lossy and len(found) > 2:
        raise SourceError(
            f'{len(lossy)} label maps are JPEG files such as {folder.below(lossy[0])}, whose '
            f'compression changes values at edges: they hold {len(found)} values; export them as '
            'PNG, or round the values to those of the classes'
        )
    listed = list(classes) or _listed(tables)
    if set(found) <= {0, 255} and 255 in found:
        names = listed or ['background', 'foreground']
        _count(names, [0, 255], folder)
        export.notes.append(
            f'binary masks: 0 is {names[0]!r}, 255 is {names[1]!r}' + NAMED * (not listed)
        )
        return names, LabelValues(ids=[0, 255])
    ids = [value for value in found if value != IGNORE]
    if listed and ids and max(ids) < len(listed):
        ids = list(range(len(listed)))  # also classes that no map shows
    if set(ids) == {0, 1} and not listed:
        listed = ['background', 'foreground']
        export.notes.append(f"0 is 'background', 1 is 'foreground'{NAMED}")
    if not listed:
        values = ', '.join(map(str, ids[:MANY]))
        raise SourceError(
            f'the label maps hold the values {values}, but nothing names them; give a name for '
            'each, in this order, as --classes ' + ' '.join(f'class_{i}' for i in ids[:MANY])
        )
    _count(listed, ids, folder)
    if IGNORE in found:
        export.notes.append(f'the value {IGNORE} is taken as "to be ignored"')
    return list(listed), LabelValues(ids=ids)


def _count(names: Sequence[str], values: list[int], folder: Folder) -> None:
    doubles = [name for name, count in Counter(names).items() if count > 1]
    if doubles:
        raise SourceError(
            f'{doubles} name several classes of {folder.root}: give each value a name of its own, '
            'in the order of the values, with --classes'
        )
    if len(names) != len(values):
        raise SourceError(
            f'the label maps of {folder.root} hold the {len(values)} values {values[:MANY]}, but '
            f'there are {len(names)} names of classes, {list(names)[:10]}: give one for each, in '
            'the order of the values, with --classes'
        )


def _listed(tables: dict[str, Path]) -> list[str]:
    """The names in Roboflow's _classes.csv, or the lines of classes.txt."""
    if '_classes.csv' in tables:
        rows = lines_of(tables['_classes.csv'])
        cells = [[cell.strip() for cell in row.split(',')] for row in rows]
        named = {int(c[0]): c[1] for c in cells if len(c) > 1 and c[0].isdigit()}
        return [named[i] for i in sorted(named)] if sorted(named) == list(range(len(named))) else []
    if 'classes.txt' in tables:
        return [line.strip() for line in lines_of(tables['classes.txt']) if line.strip()]
    return []


def _palette(file: Path) -> dict:
    """The colour of each name; VOC's for lines of names alone, as Datumaro writes them."""
    lines = [line.strip() for line in lines_of(file)]
    names = [line for line in lines if line and not line.startswith('#')]
    if any(re.search(r'\d', line) for line in names):
        try:
            return read_palette(file)
        except ValueError as error:
            raise SourceError(f'{file}: {error}') from error
    return {line.partition(':')[0].strip(): _voc_colour(i) for i, line in enumerate(names)}


def _voc_colour(number: int) -> tuple[int, int, int]:
    """The colour of a class in VOC's palette (VOClabelcolormap.m of the devkit)."""
    channels = [0, 0, 0]
    for bit in range(8):
        for channel in range(3):
            channels[channel] |= (number >> (3 * bit + channel) & 1) << (7 - bit)
    return (channels[0], channels[1], channels[2])


def _of_palette(
    palette: dict, contents: dict[Path, LabelMap], classes: Sequence[str], export: Export
) -> tuple[list[str], LabelValues]:
    unknown = [name for name in classes if name not in palette]
    if unknown:
        raise SourceError(f'labelmap.txt has no colour for {unknown}; it names {list(palette)}')
    names = list(classes) or list(palette)
    colours = [palette[name] for name in names]
    ignored = [colour for name, colour in palette.items() if name not in names]
    seen = Tally()
    values = LabelValues(colours=colours, ignore_ids=ignored)
    for file, content in contents.items():
        for colour in values.of(content)[1]:
            seen.add(f'{colour} in {file.name}')
    if seen.count and all((224, 224, 192) == c for f in contents.values() for c in values.of(f)[1]):
        export.notes.append('VOC\'s border colour (224, 224, 192) is taken as "to be ignored"')
        return names, LabelValues(colours=colours, ignore_ids=[*ignored, (224, 224, 192)])
    if seen.count:
        raise SourceError(
            f'{seen.count} times a label map has a colour that labelmap.txt does not name '
            f'({seen}); add lines of the form name:red,green,blue'
        )
    return names, values


def _colours(coloured: list[LabelMap], contents: dict, folder: Folder) -> str:
    found = Counter(colour for content in coloured for colour in content.in_colour)
    colours = [colour for colour, _ in found.most_common()]
    if len(colours) > MANY:
        return (
            f'{len(coloured)} of {len(contents)} label maps hold {len(colours)} colours: they are '
            'photographs or drawings over one, or were saved as JPEG; export them as PNG'
        )
    lines = '\n'.join(f'class_{i}:{r},{g},{b}' for i, (r, g, b) in enumerate(sorted(colours)))
    return (
        f'{len(coloured)} of {len(contents)} label maps hold colours, but nothing names them; '
        f'write {folder.root / "labelmap.txt"} with these lines, and your names:\n{lines}'
    )
