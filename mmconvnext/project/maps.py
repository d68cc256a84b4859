# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Surveys label maps: which folders belong together, and what their values mean."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..data.images import read_headers
from ..data.label_maps import read_label_maps
from ..data.listing import listed
from ..data.pairs import find_pattern, suffix_of
from ..recipe.errors import RecipeError
from .label_classes import label_classes
from .look import Seen, prepare_command, split_of
from .survey import Survey

# Words in the names of folders of label maps; those of single objects are no classes.
WORDS = {'label', 'labels', 'mask', 'masks', 'annotation', 'annotations', 'ann', 'anns', 'annot'}
WORDS |= {'gt', 'groundtruth', 'segmentation', 'segmentationclass', 'seg', 'semantic', 'target'}
WORDS |= {'targets', 'labelids'}
OBJECTS = {'segmentationobject', 'instance', 'instances'}
MAP_SUFFIXES = ('.png', '.npy', '.tif', '.tiff', '.bmp')
PART = 0.2  # of the images, to measure with if no folder is for that; our choice


class Pair(NamedTuple):
    """Folders of images and of their label maps, with what follows the part both names share."""

    images: Path
    maps: Path
    image_suffix: str
    map_suffix: str
    stems: list[str]  # of the images that have a label map
    names: str = ''  # a file that lists the images to take; '' for all


def survey_maps(
    seen: Seen,
    annotations: list[str] | None,
    images: list[str] | None,
    classes: list[str] | None,
) -> Survey:
    """Find and read the label maps to train and to measure with.

    Args:
        annotations, images: the folders for training and validation, instead of those found.
        classes: their names, instead of those in a file beside the label maps.

    Raises:
        RecipeError: it cannot be told which folders belong together or what the values mean, or
            files cannot be read.
    """
    pairs = _given(seen, annotations, images) if annotations or images else _found(seen)
    used, notes = _splits(seen, pairs)
    train = used['train']
    for pair in used.values():
        _refuse_unlabelled(seen.root, pair)
    styles = {(pair.image_suffix, pair.map_suffix) for pair in used.values()}
    if len(styles) > 1:
        raise RecipeError(
            f'the names of files end differently in the splits, {sorted(styles)}; '
            f'{_convert(seen.root)}'
        )
    files = {split: _files(seen.root, pair) for split, pair in used.items()}
    contents = read_label_maps([file for one in files.values() for file in one])
    bad = {file: content.error for file, content in contents.items() if content.error}
    if bad:
        file, error = next(iter(bad.items()))
        raise RecipeError(f'{len(bad)} label maps cannot be read, such as {file} ({error})')
    values = label_classes(seen.root, seen.root / train.maps, list(contents.values()), classes)
    own_data = dict(root=str(seen.root), classes=values.classes)
    for split, pair in used.items():
        own_data[split] = dict(images=pair.images.as_posix(), annotations=pair.maps.as_posix())
        own_data[split].update(dict(names=pair.names) if pair.names else {})
    own_data.setdefault('val', PART)
    own_data.update(
        image_suffix=train.image_suffix, label_suffix=train.map_suffix, **values.options
    )
    total = len(train.stems)
    val = len(used['val'].stems) if 'val' in used else max(1, round(PART * total))
    survey = Survey(
        own_data=own_data,
        images=total if 'val' in used else max(1, total - val),
        val_images=val,
        sizes=_sizes(seen.root, train),
        counts=_counts(values, [contents[file] for file in files['train']]),
        notes=[*values.notes, *notes],
    )
    unseen = [name for name, count in survey.counts.items() if not count]
    if unseen:
        survey.notes.append(f'in no label map for training, so not learnt: {", ".join(unseen)}')
    return survey


def _convert(root: Path) -> str:
    return f'bring them into one form:\n  {prepare_command(root, "--task semantic")}'


def _refuse_unlabelled(root: Path, pair: Pair) -> None:
    if pair.names:
        return
    names = [name for name in listed(root / pair.images) if suffix_of(name)]
    maps = {f'{stem}{pair.map_suffix}' for stem in pair.stems} if pair.images == pair.maps else ()
    stems = {f'{stem}{pair.image_suffix}' for stem in pair.stems}
    left = [name for name in names if name not in stems and name not in maps]
    others = [name for name in left if not name.endswith(pair.image_suffix)]
    if others:
        raise RecipeError(
            f'{root / pair.images}: {len(pair.stems)} images end in {pair.image_suffix}, but '
            f'{len(others)} do not, such as {others[0]}; {_convert(root)}'
        )
    if left:
        raise RecipeError(
            f'{root / pair.images}: {len(left)} of {len(names)} images have no label map in '
            f'{root / pair.maps}, such as {left[0]}; add them, or move these images away'
        )


def _files(root: Path, pair: Pair) -> list[Path]:
    return [root / pair.maps / f'{stem}{pair.map_suffix}' for stem in pair.stems]


def _words(path: Path) -> set[str]:
    return {word for part in path.parts for word in re.split(r'[^a-z]+', part.lower())}


def _found(seen: Seen) -> list[Pair]:
    """Each folder of label maps with the folder of images that fits it best."""
    folders = {*seen.folders, *seen.arrays}
    maps = sorted(f for f in folders if _words(f) & WORDS and not _words(f) & OBJECTS)
    others = sorted(folder for folder in seen.folders if folder not in maps)
    pairs = []
    for folder in maps:
        fitting = [pair for pair in (pair_of(seen.root, i, folder) for i in others) if pair]
        if fitting:
            pairs.append(max(fitting, key=lambda pair: _nearness(pair, folder)))
    if not pairs:  # images and label maps in one folder, as Roboflow writes them
        same = (pair_of(seen.root, folder, folder) for folder in sorted(seen.folders))
        pairs = [pair for pair in same if pair]
    if not pairs:
        raise RecipeError(
            f'{seen.root}: it cannot be told which images and label maps belong together; found '
            f'are\n{seen.told()}\nname both folders, --images FOLDER --annotations FOLDER, with '
            f'label maps called as their images. Other forms:\n  {prepare_command(seen.root)}'
        )
    return pairs


def _nearness(pair: Pair, maps: Path) -> tuple:
    common = len(os.path.commonprefix([pair.images.parts, maps.parts]))
    return split_of(pair.images) == split_of(maps), len(pair.stems), common


def _given(seen: Seen, maps: list[str] | None, images: list[str] | None) -> list[Pair]:
    if not maps or not images or len(maps) != len(images) or len(maps) > 2:
        raise RecipeError(
            'label maps need --images TRAIN [VAL] and --annotations TRAIN [VAL], both with as many '
            f'folders; got {images} and {maps}'
        )
    pairs = []
    for pair in zip(images, maps):
        places = [_below(seen, name) for name in pair]
        found = pair_of(seen.root, *places)
        if not found:
            raise RecipeError(
                f'{pair[1]} has no label map that is called as an image in {pair[0]}; rename them'
            )
        pairs.append(found)
    return pairs


def _below(seen: Seen, name: str) -> Path:
    for path in (seen.root / name, Path(name)):
        if path.is_dir():
            return Path(os.path.relpath(path, seen.root))
    raise RecipeError(
        f'{name} is no folder, neither in {seen.root} nor here; found are\n{seen.told()}'
    )


def pair_of(root: Path, images: Path, maps: Path) -> Pair | None:
    """How the names in two folders belong together; None if they do not."""
    names = [name for name in listed(root / images) if suffix_of(name)]
    files = [name for name in listed(root / maps) if name.lower().endswith(MAP_SUFFIXES)]
    suffixes = Counter(suffix_of(name) for name in names).most_common()
    for suffix, _ in suffixes:
        stems = [name[: -len(suffix)] for name in names if name.endswith(suffix)]
        if images != maps:
            there = {*files}
            for ending in dict.fromkeys(os.path.splitext(name)[1] for name in files):
                both = [stem for stem in stems if f'{stem}{ending}' in there]
                if 2 * len(both) > len(there):
                    return Pair(images, maps, suffix, ending, both)
        pattern = find_pattern(stems, files)
        if pattern and not pattern.image_prefix and not pattern.map_prefix:
            ending = pattern.image_ending + suffix
            if images == maps and pattern.map_suffix == ending:
                continue
            cut = [name[: -len(ending)] for name in names if name.endswith(ending)]
            both = [stem for stem in cut if f'{stem}{pattern.map_suffix}' in {*files}]
            return Pair(images, maps, ending, pattern.map_suffix, both)
    return None


def _splits(seen: Seen, pairs: list[Pair]) -> tuple[dict[str, Pair], list[str]]:
    """The pair for training and, if there is one, that for validation; and what is not used."""
    if len(pairs) == 1:
        return _by_lists(seen.root, pairs[0]) or dict(train=pairs[0]), []
    by_split: dict[str, list[Pair]] = {}
    for pair in pairs:
        split = split_of(pair.maps) or split_of(pair.images)
        by_split.setdefault(split, []).append(pair)
    train = by_split.get('train', []) or by_split.get('', [])[:1]
    val = by_split.get('val', []) or by_split.get('test', [])
    if len(train) != 1 or len(val) > 1:
        shown = '\n'.join(f'  {pair.images} and {pair.maps}' for pair in pairs)
        raise RecipeError(
            f'{seen.root} has several folders of label maps, and their names do not tell which one '
            f'to train and which one to validate with:\n{shown}\nname them: --images TRAIN VAL '
            '--annotations TRAIN VAL'
        )
    used = dict(zip(('train', 'val'), [*train, *val]))
    rest = [pair.maps.as_posix() for pair in pairs if pair not in used.values()]
    return used, [f'not used: {", ".join(rest)}'] if rest else []


def _by_lists(root: Path, pair: Pair) -> dict[str, Pair]:
    """The splits of Pascal VOC, which lists the images of each; {} without such lists."""
    found = {}
    for split in ('train', 'val'):
        for file in sorted(root.glob(f'**/ImageSets/Segmentation/{split}.txt'))[:1]:
            stems = [line.strip() for line in file.read_text(encoding='utf-8-sig').splitlines()]
            wanted = [stem for stem in pair.stems if stem in {*stems}]
            names = file.relative_to(root).as_posix()
            found[split] = pair._replace(stems=wanted, names=names)
    return found if 'train' in found and all(one.stems for one in found.values()) else {}


def _sizes(root: Path, pair: Pair) -> np.ndarray:
    files = [root / pair.images / f'{stem}{pair.image_suffix}' for stem in pair.stems]
    headers = read_headers(files)
    bad = {file: header.error for file, header in headers.items() if header.error}
    if bad:
        file, error = next(iter(bad.items()))
        raise RecipeError(f'{len(bad)} images cannot be read, such as {file} ({error})')
    return np.array([header.loaded for header in headers.values()], int).reshape(-1, 2)


def _counts(values: object, maps: list) -> dict[str, int]:
    holding: Counter = Counter()
    for content in maps:
        holding.update({*(content.in_colour if values.in_colour else content.ids)})
    return {name: holding[value] for name, value in zip(values.classes, values.values)}
