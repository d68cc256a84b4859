# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The table of the data that a run uses: images, objects and classes of each split."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..checkpoint.atomic import atomic_path
from ..data.coco.kept import Kept
from ..data.coco.objects import NO_MASK
from ..data.listed_name import with_listed_names

FILE = 'used_data.json'  # in the work dir
MOST = 12  # classes that are shown in one line; our choice
CROWDS = (
    'ignored: regions with iscrowd=1, neither learnt nor measured; if they are objects, set '
    'own_data.crowd_as_object=True'
)


@dataclass
class Split:
    """A row: what is listed in a file, and what is used of it.

    ``classes`` counts the objects of each class; for label maps, which have no objects, the maps
    that hold it.
    """

    name: str
    file: str
    images: int
    images_used: int
    objects: int | None = None
    objects_used: int | None = None
    regions_to_ignore: int = 0
    classes: dict[str, int] = field(default_factory=dict)
    mended: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, file: str, kept: Kept) -> Split:
        """The row of a dataset of the loader ``name``; training may leave out images."""
        facts, ledger, learnt = kept.facts, kept.ledger, name == 'train'
        return cls(
            name=name,
            file=with_listed_names(file),
            images=facts.images,
            images_used=facts.images_learnt if learnt else facts.images,
            objects=facts.objects,
            objects_used=facts.objects_learnt if learnt else facts.usable,
            regions_to_ignore=facts.crowds,
            classes=facts.classes,
            mended={kind: tally.count for kind, tally in ledger.mended.items()},
            left_out={kind: tally.count for kind, tally in ledger.left_out.items()},
        )


def format_table(rows: Iterable[Split]) -> str:
    """The table, with a line of classes below each row, and a word on regions to ignore."""
    columns = '{:6} {:>17} {:>17} {:>8} {:>8} {:>8}'.format
    lines = [columns('data', 'images', 'objects', 'ignored', 'mended', 'left out')]
    listed_crowds = 0
    for row in rows:
        listed_crowds += row.regions_to_ignore - row.left_out.get(NO_MASK, 0)
        images, objects = f'{row.images_used} of {row.images}', 'label maps'
        if row.objects is not None:
            objects = f'{row.objects_used} of {row.objects}'
        mended, left_out = sum(row.mended.values()), sum(row.left_out.values())
        ignored = row.regions_to_ignore
        lines.append(columns(row.name, images, objects, ignored, mended, left_out))
        ranked = sorted(row.classes.items(), key=lambda item: -item[1])
        shown = ', '.join(f'{name} {count}' for name, count in ranked[:MOST])
        lines.append(
            f'       {shown}' + (f', and {len(ranked) - MOST} more' if ranked[MOST:] else '')
        )
    if listed_crowds > 0:
        lines.append(CROWDS)
    return '\n'.join(lines)


def write_table(rows: Iterable[Split], work_dir: str) -> None:
    """Write the rows to `used_data.json` in the work dir."""
    with atomic_path(Path(work_dir) / FILE) as part:
        text = json.dumps([asdict(row) for row in rows], indent=1, ensure_ascii=False)
        part.write_text(text, encoding='utf-8', errors='backslashreplace')


def changed_data(rows: Iterable[Split], work_dir: str) -> str:
    """How the data differ from those of an earlier start in the work dir; '' if they do not."""
    try:
        text = (Path(work_dir) / FILE).read_text(encoding='utf-8')
        before = [_identity(row) for row in json.loads(text)]
    except (OSError, ValueError, LookupError, TypeError):
        return ''  # of another version, or none
    now = [_identity(asdict(row)) for row in rows]
    names = list(
        dict.fromkeys(row[0] for row in [*before, *now] if row not in before or row not in now)
    )
    if not names:
        return ''
    return (
        f'the data of {", ".join(names)} are not those with which the run in {work_dir} began '
        f'({FILE} there): results before and after cannot be compared, and if own_data.val is a '
        'part of the training data, images that were learnt may now be measured'
    )


def _identity(row: dict) -> tuple:
    counts = (row[name] for name in ('images', 'images_used', 'objects', 'objects_used', 'classes'))
    return row['name'], Path(row['file']).name, *counts
