# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Has each image a label map, and each label map an image?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from ...data.files import folded
from ...data.formats import of_folder
from ...data.listing import listed
from ...data.pairs import Pattern, find_pattern, suffix_of
from ..label_files import LabelFiles
from .finding import Finding

FIRST = 5  # files that are named besides the first; our choice


def check_pairs(files: LabelFiles, used: set[Path]) -> Iterator[Finding]:
    """What is missing, and what would be left out.

    Args:
        used: the label maps of all datasets.
    """
    other = _other_format(Path(files.maps))
    if other:
        yield Finding(f'{files.path}: {other}', 'label_maps')
    if not files.pairs:
        yield Finding(f'{files.path}: {_no_pairs(files)}', 'label_maps')
    same = [image for image, file in files.pairs.items() if image == file]
    if files.images and same:
        yield Finding(
            f'{files.path}: {len(same)} images would be their own label maps, the first is '
            f'{same[0]}; set own_data.label_suffix to the end of the names of the label maps, or '
            'annotations to their folder',
            'label_maps',
        )
    if files.images and not files.is_listed:
        yield from _left_out(files)
    yield from _missing(files)
    unused = unused_maps(files, used)
    if unused:
        yield Finding(
            f'{files.maps}: left out: {len(unused)} label map{"s" * (len(unused) > 1)} without an '
            f'image ({named(unused)})'
        )


def _other_format(folder: Path) -> str:
    """What the label maps are if they are none."""
    way = 'export masks from the tool that wrote it, or use a recipe for boxes or instances'
    if folder.is_file():
        return f'{folder} is a file, not a folder of label maps; {way}'
    if not folder.is_dir() or any(map(_may_be_map, listed(folder))):
        return ''
    found = of_folder(folder)
    return f'{folder} holds {found[0]}, not label maps; {way}' if found else ''


def _may_be_map(name: str) -> bool:
    return bool(suffix_of(name)) or name.endswith('.npy')


def _no_pairs(files: LabelFiles) -> str:
    suffixes = Counter(map(suffix_of, listed(files.images or files.maps)))
    suffixes.pop('', None)
    if files.images and suffixes:
        suffix, count = suffixes.most_common(1)[0]
        return (
            f'no image in {files.images} ends in {files.image_suffix!r}, but {count} end in '
            f'{suffix!r}; set own_data.image_suffix={suffix!r} (img_suffix of the dataset)'
        )
    return (
        f'no pair of image (*{files.image_suffix}) and label map (*{files.map_suffix}) in '
        f'{files.images or files.maps}; correct image_suffix (img_suffix) and label_suffix '
        '(seg_map_suffix)'
    )


def _left_out(files: LabelFiles) -> Iterator[Finding]:
    """Images that are not read because their suffix is another, though they have label maps."""
    suffix, core = files.image_suffix, Path(f'x{files.image_suffix}').stem[1:]
    names = listed(files.images)
    used = {folded(_stem(name, suffix)) for name in names if name.endswith(suffix)}
    maps = {
        folded(_stem(name, files.map_suffix)) for name in listed(files.maps) if _is_map(name, files)
    }
    if Path(files.maps) == Path(files.images):  # a label map is not an image that has one
        names = [name for name in names if not _is_map(name, files)]
    lost = []
    for name in names:
        own = suffix_of(name)
        stem = folded(_stem(name, core + own))
        if own and not name.endswith(suffix) and stem in maps and stem not in used:
            lost.append(name)
    if not lost or not files.pairs:
        return
    others = ', '.join(f'{s!r} {n}' for s, n in Counter(map(suffix_of, lost)).most_common())
    wrong, right = suffix_of(lost[0]), suffix_of('x' + suffix)
    yield Finding(
        f'{files.path}: {len(lost)} images with a label map in {files.images} would be left out, '
        f'because they do not end in {suffix!r} like {len(files.pairs)} others ({others}: '
        f'{named(lost)}); give all of them one suffix, and set own_data.image_suffix to it, for '
        f'example in that folder: for f in *{wrong}; do mv "$f" "${{f%{wrong}}}{right}"; done '
        '(images are read by their content, not by their suffix)',
        'image_suffix',
    )


def _stem(name: str, suffix: str) -> str:
    return name[: len(name) - len(suffix)] if folded(name).endswith(folded(suffix)) else name


def _is_map(name: str, files: LabelFiles) -> bool:
    return folded(name).endswith(folded(files.map_suffix))


def _missing(files: LabelFiles) -> Iterator[Finding]:
    maps = files.contents
    missing = [file for file, content in maps.items() if content.error and not file.is_file()]
    if not missing:
        return
    if len(missing) == len(maps):
        text = f'no image has a label map: {missing[0]} does not exist'
    else:
        text = f'{len(missing)} of {len(maps)} images have no label map, {first_of(files, missing)}'
    yield Finding(f'{files.path}: {text}; {_where(files, missing)}', 'label_maps')


def _where(files: LabelFiles, missing: list[Path]) -> str:
    """Where the missing label maps may be."""
    mistaken = {Path(files.maps, stem + files.map_suffix) for stem in files.mistaken}
    if mistaken and set(missing) <= mistaken:
        return (
            'label maps are mistaken for images; move them to another folder, or write the names '
            'of the images into ann_file (own_data does)'
        )
    names = listed(files.maps)
    folds = {folded(name): name for name in names}
    wanted = relative(files, missing)
    near = [folds[folded(name)] for name in wanted if folded(name) in folds]
    if near:
        spelt = {name[-len(files.map_suffix) :] for name in near}
        suffix = spelt.pop() if len(spelt) == 1 else files.map_suffix
        if len(missing) == len(files.pairs) == len(near) and suffix != files.map_suffix:
            return f'set own_data.label_suffix={suffix!r} (seg_map_suffix)'
        return f'{named(near)} differ in upper and lower case or Unicode form; rename them'
    stems = [name[: len(name) - len(files.map_suffix)] for name in wanted]
    others = list(filter(_may_be_map, names))
    if Path(files.maps) == Path(files.images):
        others = [name for name in others if Path(files.images, name) not in files.pairs]
    pattern = find_pattern(stems, others)
    if pattern:
        return _rename(pattern, files, len(stems))
    elsewhere = {name.rpartition('/')[2] for name in others}
    moved = [name for name in wanted if name.rpartition('/')[2] in elsewhere]
    if moved:
        base = moved[0].rpartition('/')[2]
        place = next(name for name in others if name.rpartition('/')[2] == base)
        return (
            f'{len(moved)} of them are in other folders than their images, such as {place}; '
            'arrange label maps and images in the same subfolders'
        )
    if len(missing) == len(files.pairs):
        return 'correct the folder or label_suffix (seg_map_suffix)'
    return 'add them, remove the images, or list the others in names=[...] of the split'


def _rename(pattern: Pattern, files: LabelFiles, count: int) -> str:
    a, b, c, d, found = pattern
    called = f'{found} label maps are called {c}*{d}, their images {a}*{b}{files.image_suffix}'
    if not a and not c:
        settings = f'label_suffix={d!r}'
        if b:
            settings = f'image_suffix={b + files.image_suffix!r} and own_data.{settings}'
        if found == count == len(files.pairs):
            return f'{called}: set own_data.{settings}'
        return f'{called}; give all of them one suffix'
    suffix = '' if d == files.map_suffix else f', and set own_data.label_suffix={d!r}'
    return (
        f'{called}: rename them like the images{suffix}, for example in {files.maps}: '
        f'for f in {c}*; do mv "$f" "{a}${{f#{c}}}"; done'
    )


def unused_maps(files: LabelFiles, used: set[Path]) -> list[str]:
    """Names of label maps without an image; ``used`` are those of all datasets."""
    if not files.images or files.is_listed:
        return []
    there = (Path(files.maps, name) for name in listed(files.maps, files.map_suffix))
    return relative(files, [file for file in there if file not in used])


def first_of(files: LabelFiles, found: list[Path]) -> str:
    """Label maps of a dataset, for a message."""
    more = f' (also {named(relative(files, found[1:]))})' if found[1:] else ''
    return f'the first is {found[0]}{more}'


def relative(files: LabelFiles, found: list[Path]) -> list[str]:
    return [file.relative_to(files.maps).as_posix() for file in found]


def named(names: Iterable[object]) -> str:
    shown = [str(name) for name in names]
    return ', '.join(shown[:FIRST]) + ', ...' * (len(shown) > FIRST)
