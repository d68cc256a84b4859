# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""COCO files: one or several, with the images wherever they are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ..coco.read import read_coco
from .export import Export, Objects
from .folder import Folder, SourceError, head, split_in, split_of_file

KEYS = r'"(images|annotations|categories|info|licenses)"\s*:'
NOT = r'"(shapes|imagePath|segments_info)"\s*:'
PANOPTIC = 'panoptic'  # COCO's own files of other tasks, which begin alike
NO_IMAGES = 'files without images'
OTHERS = re.compile(r'(person_keypoints|captions|image_info|stuff)_')


def looks(folder: Folder) -> str:
    """Why the folder seems to hold COCO files; '' if it does not."""
    found = files_in(folder)
    names = ', '.join(map(folder.below, found[:3])) + ', ...' * (len(found) > 3)
    return f'{names}: JSON with "images" and "annotations"' if found else ''


def files_in(folder: Folder) -> list[Path]:
    return [f for f in folder.of('.json') if _is_coco(f) and not OTHERS.match(f.name)]


def _is_coco(file: Path) -> bool:
    start = head(file)
    begins = re.match(r'\s*\{', start) and PANOPTIC not in file.name
    return bool(begins and re.search(KEYS, start) and not re.search(NOT, start))


def read(folder: Folder, classes: Sequence[str] = ()) -> Export:
    """Read the files; which images they mean is found by their names.

    Raises:
        SourceError: a file is not COCO's, or no image of it is below the folder.
    """
    export = Export()
    files = files_in(folder) or folder.of('.json')
    for file in files:
        content = read_coco(file, export.ledger)
        if content is None:
            raise SourceError(export.ledger.refused[-1].text)
        name_of_file = folder.below(file)
        if not content['images'] and not content['annotations']:
            export.ledger.leave_out(NO_IMAGES, name_of_file)
            continue
        entries = [entry for entry in content['images'] if isinstance(entry, dict)]
        names = [str(entry.get('file_name')) for entry in entries]
        # A file for train or val; else the folders of its images tell.
        split = split_of_file(name_of_file) if len(files) > 1 else ''
        root = folder.root_of(names, file.parent, split)
        if root is None and names:
            where = _renamed(entries, folder, file.parent)
            if not where:
                raise SourceError(
                    f'none of the {len(names)} images that {file} lists is below {folder.root} '
                    f'({", ".join(names[:3])}, ...); there are {len(folder.images)} images; give '
                    'the folder that holds both'
                )
            export.notes.append(f'{name_of_file}: images were found by their names alone')
        splits = {}
        for entry in entries:
            name = str(entry.get('file_name'))
            if not isinstance(entry.get('id'), (list, dict)):  # refused later
                splits[entry.get('id')] = split or split_in(name) or split_in(name_of_file)
        export.parts.append(Objects(content, str(root or ''), splits, name_of_file))
    if not export.parts:
        raise SourceError(
            f'{folder.root}: none of the COCO files lists an image ({export.ledger.causes()}); '
            'export them again, with the images'
        )
    return export


def _renamed(entries: list[dict], folder: Folder, near: Path) -> int:
    """Write whole paths where names begin with folders of another machine; how many were found."""
    count = 0
    for entry in entries:
        found = folder.find(str(entry.get('file_name')), near)
        if found is not None:
            entry['file_name'] = str(found)
            count += 1
    return count
