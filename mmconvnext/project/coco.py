# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Surveys COCO files: which are for training, where their images are, what they hold."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np

from ..data.coco.categories import sound_categories
from ..data.coco.read import read_coco
from ..data.coco.sound import Sound, make_sound
from ..data.coco.wanted import Wanted
from ..data.files import Files
from ..data.ledger import Ledger
from ..data.values import key
from ..recipe.errors import RecipeError
from .look import Seen, split_of
from .survey import Survey

PROBES = 30  # names of images that are looked for in each folder; our choice
MOST_MASKS = 0.5  # share of objects with a mask, from which on masks are learnt; our choice
NAMED = 5  # categories without objects that are named; our choice
PART = 0.2  # of the images, to measure with if no file is for that; our choice


def survey_coco(
    seen: Seen, task: str, annotations: list[str] | None, images: list[str] | None
) -> Survey:
    """Find and read the files to train and to measure with.

    Args:
        task: 'det', 'instance', or '' for what the files have.
        annotations: one or two files, for training and validation, instead of those found.
        images: the folder of each, or one for both.

    Raises:
        RecipeError: it cannot be told which file is for what, or where the images are, or a file is
            refused by :func:`..data.coco.sound.make_sound`.
    """
    files = [_below(seen, name) for name in annotations or []] or _chosen(seen)
    contents = [_content(seen.root / file) for file in files]
    given = [_below(seen, name) for name in images or []]
    if len(given) not in (0, 1, len(files)):
        raise RecipeError(f'--images has {len(given)} folders for {len(files)} annotation files')
    folders = [
        (given * len(files))[i] if given else _folder(seen, file, content)
        for i, (file, content) in enumerate(zip(files, contents))
    ]
    strip = not any(_hits(seen, folders[0], _names(contents[0])))
    share = _share_of_masks(contents[0])
    if task == 'instance' and not share:
        raise RecipeError(
            f'no object of {seen.root / files[0]} has a mask: take --task det, which learns boxes'
        )
    task = task or ('instance' if share > MOST_MASKS else 'det')
    try:
        classes, absent = _classes(contents)
    except ValueError as error:
        raise RecipeError(f'{seen.root / files[0]}: {error}') from error
    sounds = [
        _sound(seen, file, folder, classes, task, strip) for file, folder in zip(files, folders)
    ]
    own_data = dict(root=str(seen.root), classes=classes)
    for split, file, folder in zip(('train', 'val'), files, folders):
        own_data[split] = dict(images=folder.as_posix(), annotations=file.as_posix())
    own_data.setdefault('val', PART)
    own_data.update(dict(strip_folders=True) if strip else {})
    survey = _facts(sounds, own_data, task)
    if absent:
        more = f' and {len(absent) - NAMED} more' * (len(absent) > NAMED)
        survey.notes.append(f'no class, for want of objects: {", ".join(absent[:NAMED])}{more}')
    unseen = [name for name, count in survey.counts.items() if not count]
    if unseen:
        survey.notes.append(f'only in validation, so not learnt: {", ".join(unseen)}')
    survey.notes += _unused(seen, files)
    return survey


def _below(seen: Seen, name: str) -> Path:
    """A path that the user gave, from the root or from the working folder, as one from the root."""
    for path in (seen.root / name, Path(name)):
        if path.exists():
            return Path(os.path.relpath(path, seen.root))
    raise RecipeError(
        f'{name} is neither in {seen.root} nor in this folder; found are\n{seen.told()}'
    )


def _chosen(seen: Seen) -> list[Path]:
    """The file for training and, if there is one, that for validation."""
    if len(seen.coco) == 1:
        return seen.coco
    by_split: dict[str, list[Path]] = {}
    for file in seen.coco:
        by_split.setdefault(split_of(file), []).append(file)
    train = by_split.get('train', []) or by_split.get('', [])
    val = by_split.get('val', []) or by_split.get('test', [])
    if len(train) != 1 or len(val) > 1:
        raise RecipeError(
            f'{seen.root} has {len(seen.coco)} COCO files, and their names do not tell which one '
            f'to train and which one to validate with:\n{seen.told()}\nname them: --annotations '
            'TRAIN.json VAL.json, or TRAIN.json alone to validate with a part of its images'
        )
    return [*train, *val]


def _unused(seen: Seen, files: list[Path]) -> list[str]:
    rest = [file.as_posix() for file in seen.coco if file not in files]
    return [f'not used: {", ".join(rest)}'] if rest else []


def _content(file: Path) -> dict:
    ledger = Ledger()
    content = read_coco(file, ledger)
    if content is None:
        raise RecipeError(ledger.refused[0].text)
    return content


def _names(content: dict) -> list[str]:
    """Some of the listed names of images, from all parts of the list."""
    names = [e['file_name'] for e in content['images'] if isinstance(e, dict) and 'file_name' in e]
    names = [name for name in names if isinstance(name, str)]
    return names[:: max(1, len(names) // PROBES)][:PROBES]


def _hits(seen: Seen, folder: Path, names: list[str], strip: bool = False) -> list[bool]:
    files = Files(seen.root / folder, strip)
    return [files.find(name) is not None for name in names]


def _folder(seen: Seen, file: Path, content: dict) -> Path:
    """The folder in which most of the listed images are; names may begin with folders."""
    places = {place for folder in seen.folders for place in (folder, *folder.parents)}
    names, split = _names(content), split_of(file)

    def rank(folder: Path, strip: bool) -> tuple:
        hits = sum(_hits(seen, folder, names, strip))
        of = split_of(folder)
        # Both splits may have images of the same names, and one of them may lack a few.
        ours = (of == split, not of) if 2 * hits >= len(names) else (False, False)
        return bool(hits), *ours, hits, folder == file.parent, -len(folder.parts), str(folder)

    for strip in (False, True):
        best = max((rank(folder, strip), folder) for folder in places) if places else None
        if best and best[0][0]:
            return best[1]
    raise RecipeError(
        f'{seen.root / file} lists images such as {names[0] if names else "none"!r}, which no '
        f'folder below {seen.root} has; found are\n{seen.told()}\nput the images there, or name '
        'their folder: --images FOLDER'
    )


def _share_of_masks(content: dict) -> float:
    has = [bool(a.get('segmentation')) for a in content['annotations'] if isinstance(a, dict)]
    return sum(has) / max(len(has), 1)


def _classes(contents: list[dict]) -> tuple[list[str], list[str]]:
    """Names of the categories that have objects, in the order of the file, and the others.

    Raises:
        ValueError: the categories are wrong, or none has an object.
    """
    names, used, ledger = {}, set(), Ledger()
    for content in contents:
        categories, ids = sound_categories(content['categories'], (), ledger)
        if ledger.refused:
            raise ValueError(ledger.refused[0].text)
        name_of = {category['id']: category['name'] for category in categories}
        names.update(dict.fromkeys(name_of.values()))
        found = {key(a.get('category_id')) for a in content['annotations'] if isinstance(a, dict)}
        used |= {name_of[ids[k]] for k in found & ids.keys()}
    absent = [name for name in names if name not in used]
    if not used:
        raise ValueError('no object has a category of the file, so nothing can be learnt')
    return [name for name in names if name in used], absent


def _sound(
    seen: Seen, file: Path, folder: Path, classes: list[str], task: str, strip: bool
) -> Sound:
    wanted = Wanted(
        str(seen.root / folder),
        tuple(classes),
        masks=task == 'instance',
        learnt=True,
        measured=True,
        drop_empty=True,
        strip_folders=strip,
    )
    sound = make_sound(seen.root / file, wanted)
    if sound.ledger.refused:
        texts = '\n'.join(f'- {refusal.text}' for refusal in sound.ledger.refused)
        raise RecipeError(f'{seen.root / file} cannot be trained on as it is:\n{texts}')
    return sound


def _facts(sounds: list[Sound], own_data: dict, task: str) -> Survey:
    train = sounds[0]
    sizes = {e['id']: (e['width'], e['height']) for e in train.content['images']}
    learnt = [a for a in train.content['annotations'] if not a['iscrowd']]
    known = set(own_data['classes'])
    kept = {c['id'] for c in train.content['categories'] if c['name'] in known}
    learnt = [a for a in learnt if a['category_id'] in kept]
    crowding = Counter(a['image_id'] for a in learnt)
    parts = [
        (a['bbox'][2] / max(sizes[a['image_id']]), a['bbox'][3] / max(sizes[a['image_id']]))
        for a in learnt
    ]
    total = len(train.content['images'])
    val = len(sounds[1].content['images']) if len(sounds) > 1 else max(1, round(PART * total))
    notes = []
    for split, sound in zip(('train', 'val'), sounds):
        for word, tallies in (('mended', sound.ledger.mended), ('left out', sound.ledger.left_out)):
            notes += [f'{split}: {word}: {t.count} {kind}' for kind, t in tallies.items()]
    return Survey(
        own_data=own_data,
        images=total if len(sounds) > 1 else max(1, total - val),
        val_images=val,
        sizes=np.array(list(sizes.values()), int).reshape(-1, 2),
        objects=np.array(parts, float).reshape(-1, 2),
        crowding=np.array([crowding[i] for i in sizes]),
        masks=task == 'instance',
        counts={name: train.facts.classes.get(name, 0) for name in own_data['classes']},
        notes=notes,
    )
