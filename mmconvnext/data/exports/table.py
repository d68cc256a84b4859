# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The formats that are read, and which of them a folder holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from .. import archives
from ..formats import of_binary, of_text
from . import coco, cvat, labelme, masks, voc, yolo
from .export import Export
from .folder import Folder, SourceError, head


class Format(NamedTuple):
    """How a format is recognised and read."""

    looks: Callable[[Folder], str]
    read: Callable[[Folder, Sequence[str]], Export]
    title: str


FORMATS = {
    'coco': Format(coco.looks, coco.read, 'COCO'),
    'yolo': Format(yolo.looks, yolo.read, 'YOLO'),
    'voc': Format(voc.looks, voc.read, 'Pascal VOC'),
    'labelme': Format(labelme.looks, labelme.read, 'LabelMe'),
    'cvat': Format(cvat.looks, cvat.read, 'CVAT for images'),
    'masks': Format(masks.looks, masks.read, 'label maps'),
}


def recognise(folder: Folder, task: str = '') -> tuple[str, str]:
    """The format of a folder, and why it seems so.

    Label maps beside another format, as in VOC, count only for semantic segmentation.

    Raises:
        SourceError: no format fits, or several do.
    """
    reasons = {name: format_.looks(folder) for name, format_ in FORMATS.items()}
    found = {name: reason for name, reason in reasons.items() if reason}
    if len(found) > 1 and 'masks' in found:
        found = {n: r for n, r in found.items() if (n == 'masks') == (task == 'semantic')}
    if len(found) == 1:
        return next(iter(found.items()))
    if found:
        raise SourceError(
            f'{folder.root} could be read in {len(found)} ways: '
            + '; '.join(f'--format {name} ({reason})' for name, reason in found.items())
            + '; choose one, or give the folder or file of one of them'
        )
    raise SourceError(_nothing(folder))


def _nothing(folder: Folder) -> str:
    """What is there instead of a format."""
    if folder.only:
        with folder.only.open('rb') as stream:
            known = of_binary(stream.read(16)) or of_text(head(folder.only))
        what = f'it seems to be {known[0]}; {known[1]}' if known else 'it has none of their marks'
        return f'{folder.only} is in none of the formats {", ".join(FORMATS)}: {what}'
    kinds: dict[str, int] = {}
    for file in folder.files:
        kinds[file.suffix.lower() or 'no suffix'] = kinds.get(file.suffix.lower(), 0) + 1
    if not kinds:
        return f'{folder.root} is empty: give the folder that holds images and annotations'
    counts = ', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items()))
    archive = archives.hint(folder.root)
    return (
        f'{folder.root} holds {counts}, but no annotations in one of the formats '
        f'{", ".join(FORMATS)}; give the folder that holds images and annotations'
        + (f'. {archive}' if archive else '')
    )
