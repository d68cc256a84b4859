# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Which images are learnt, and which are measured with: as the export says, else by division."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import PurePosixPath

from ..split import divide
from .folder import SourceError
from .gather import Data, Item

FRAMES = 5  # images in a group from which on they may be frames of one video; our choice
UNSPLIT = 'images that no split of the export names, which are learnt'


def assign(
    data: Data, contents: dict[str, set], fraction: float, seed: int, group: str, again: bool
) -> None:
    """Set the split of each image: 'train', 'val' or 'test'.

    Args:
        contents: by the name of an image, its classes.
        fraction: of the images for validation, unless the export has a split.
        group: 'none', 'folder', or a regular expression with one group: images for which it gives
            the same text stay together.
        again: divide also what the export divides; its test images stay.

    Raises:
        SourceError: the images cannot be divided so.
    """
    given = {item.split for item in data.items}
    if not again and {'train', 'val'} <= given:
        data.notes.append('the split of the export is kept')
        for item in data.items:
            if not item.split:
                data.ledger.note(UNSPLIT, item.name)
                item.split = 'train'
        return
    todo = [item for item in data.items if again or item.split in ('train', '')]
    todo = [item for item in todo if item.split != 'test'] or data.items
    if not again and 'val' in given:  # the others have no name: all that is left is for learning
        for item in todo:
            item.split = 'train'
        if len(todo) < len(data.items):
            return
    groups = None if group == 'none' else {item.name: _group(item, group) for item in todo}
    try:
        learnt, measured = divide(
            {item.name: contents[item.name] for item in todo}, fraction, seed, groups
        )
    except ValueError as error:
        of = '' if groups is None else f' with --group {group}'
        text = f'the images cannot be divided into train and val{of}: {error}'
        causes = data.ledger.causes()
        raise SourceError(f'{text}; left out were {causes}' if causes else text) from error
    labelled = [name for name in learnt if contents[name]]
    if groups is None and len(labelled) > 1 and not any(contents[name] for name in measured):
        learnt.remove(labelled[-1])  # of few images, empty ones alone might measure
    learnt = set(learnt)
    for item in todo:
        item.split = 'train' if item.name in learnt else 'val'
    number = f' in {len(set(groups.values()))} groups' if groups else ''
    data.notes.append(
        f'{len(todo)} images{number} were divided with --val {fraction:g} --seed {seed}, so that '
        'each class is divided alike'
    )
    if groups is None:
        _warn_of_frames(data, todo)


def _group(item: Item, group: str) -> str:
    if group == 'folder':
        return str(PurePosixPath(item.name).parent)
    found = re.search(group, item.name)
    if found is None:
        raise SourceError(
            f'--group {group!r} does not match {item.name!r}; it must match every name, and what '
            'stands in its parentheses is the group'
        )
    return found.group(1)


def _warn_of_frames(data: Data, items: list[Item]) -> None:
    stems = [re.sub(r'\d+$', '', PurePosixPath(item.name).stem) for item in items]
    counts = Counter(stem for stem in stems if stem)
    if len(counts) > 1 and len(items) >= FRAMES * len(counts):
        first = ', '.join(sorted(counts)[:3])
        data.notes.append(
            f'the names look like frames of {len(counts)} series ({first}, ...): if neighbours are '
            "alike, keep each series together with --group '([^/]*?)[0-9]+[.]', else the figures "
            'of the validation are too good'
        )
