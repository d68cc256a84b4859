# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The entries of "images": ids, files, sizes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ..files import Files
from ..images import TURNS, Header, ImageKind, image_kinds, read_headers
from ..ledger import Ledger, Tally
from ..values import LARGEST_ID, key, number
from .wanted import Wanted

# Kinds of the ledger.
IDS = 'ids of images that are no integers, made integers'
TWICE = 'images that are listed twice, listed once'
NAMES = 'names of image files that are spelt differently on disk, corrected'
SIZES = 'sizes of images that were missing or wrong, read from the files'
SEVERAL = 'files that hold several images, of which the first is loaded'
FLIPPED = (
    'images with an EXIF orientation that leaves their size, such as upside down: mmcv turns them; '
    'look whether their objects fit'
)

MISSING, BAD = 'images do not exist', 'images cannot be read'  # left out if passed
ENTRY, FILES, SIZE = 'images', 'image_files', 'image_sizes'  # names of the refusals
ROUNDING = 1  # pixels by which a listed size may differ, and boxes may leave the image; our choice


class Listed(NamedTuple):
    """An image that objects may refer to.

    ``width`` and ``height`` are those of the image that mmcv loads; ``turn`` is the EXIF orientation
    by which the objects have to be turned, 1 if not.
    """

    id: int
    name: str
    width: float
    height: float
    turn: int = 1


def sound_images(
    entries: list,
    files: Files,
    wanted: Wanted,
    ledger: Ledger,
    *,
    reach: Callable[[], dict] = dict,
    on_disk: bool = True,
) -> tuple[list[dict], dict[int | str, Listed], list[ImageKind]]:
    """Check all images.

    Returns:
        The sound entries; the images by the key of their listed id; and the kinds of the files.

    Args:
        files: those in the folder of the images.
        reach: gives, by the key of an image, how far (x, y) its objects reach.
        on_disk: whether the files can be looked at.
    """
    rows = _rows(entries, ledger)
    if ledger.refused:
        return [], {}, []
    if any(type(entry['id']) is not int for entry in rows.values()) or any(
        type(k) is str or abs(k) > LARGEST_ID for k in rows
    ):
        whole = all(type(k) is int and abs(k) <= LARGEST_ID for k in rows)
        for number_, (k, entry) in enumerate(list(rows.items()), 1):
            if type(entry['id']) is not int or not whole:
                ledger.mend(IDS, entry['id'])
            rows[k] = {**entry, 'id': k if whole else number_}
    headers = _headers(rows, files, wanted, ledger) if on_disk else {}
    sizes = _sizes(rows, headers, reach, ledger, wanted.apply_exif)
    listed = {}
    for k, entry in rows.items():
        (width, height), turn = sizes.get(k, ((entry.get('width'), entry.get('height')), 1))
        if (width, height) != (entry.get('width'), entry.get('height')):
            rows[k] = {**entry, 'width': width, 'height': height}
        listed[k] = Listed(entry['id'], rows[k]['file_name'], width, height, turn)
    kinds = image_kinds(
        {files.root / entry.name: headers[k] for k, entry in listed.items() if k in headers}
    )
    return list(rows.values()), listed, kinds


def _rows(entries: list, ledger: Ledger) -> dict[int | str, dict]:
    rows: dict[int | str, dict] = {}
    names: dict[str, int | str] = {}
    broken, doubles, twice = Tally(), Tally(), Tally()
    for position, entry in enumerate(entries):
        entry = entry if isinstance(entry, dict) else {}
        k, name = key(entry.get('id')), entry.get('file_name')
        if k is None or not isinstance(name, str) or not name.strip():
            broken.add(f'number {position} is {str(entries[position])[:80]}')
        elif k in rows:
            if {**rows[k], 'id': k} == {**entry, 'id': k}:
                ledger.mend(TWICE, name)
            else:
                doubles.add(f'{entry["id"]}: {rows[k]["file_name"]} and {name}')
        elif name in names:
            twice.add(f'{name}: {rows[names[name]]["id"]} and {entry["id"]}')
        else:
            rows[k], names[name] = entry, k
    if not entries:
        ledger.refuse(ENTRY, '"images" is empty')
    if broken.count:
        ledger.refuse(
            ENTRY,
            f'{broken.count} entries of "images" lack an "id" or a "file_name" ({broken}); remove '
            'or complete them',
        )
    if doubles.count:
        ledger.refuse(
            ENTRY,
            f'{doubles.count} images share their id with another one ({doubles}), so the objects '
            'of both would be drawn on one of them; give each image its own id',
        )
    if twice.count:
        ledger.refuse(
            ENTRY,
            f'{twice.count} files are listed under two ids ({twice}), so the objects of one would '
            'be background of the other; list each file once',
        )
    return rows


def _headers(
    rows: dict[int | str, dict], files: Files, wanted: Wanted, ledger: Ledger
) -> dict[int | str, Header]:
    """Headers by key of the image; its name becomes that on disk.

    Images that are missing or cannot be read are refused, or left out if that refusal is passed.
    """
    found: dict[int | str, Path] = {}
    lost: dict[str, Tally] = {MISSING: Tally(), BAD: Tally()}
    passes, hint = FILES in wanted.passed, ''

    def lose(k: int | str, kind: str, where: str) -> None:
        lost[kind].add(where)
        if passes:
            ledger.leave_out(kind, where)
            del rows[k]

    for k, entry in list(rows.items()):
        name = entry['file_name']
        on_disk = files.find(name)
        if on_disk is None:
            hint = hint or files.hint(name)
            lose(k, MISSING, name)
            continue
        if on_disk != name:
            ledger.mend(NAMES, name)
            rows[k] = {**entry, 'file_name': on_disk}
        found[k] = files.root / on_disk
    headers = read_headers(dict.fromkeys(found.values()), wanted.turns)
    for k, file in list(found.items()):
        header = headers[file]
        if header.several:
            ledger.note(SEVERAL, rows[k]['file_name'])
        if header.error:
            lose(k, BAD, f'{file}: {header.error}')
            del found[k]
    for kind, way in ((MISSING, f' in {files.root}; {hint}'), (BAD, '; replace or remove them')):
        if lost[kind].count:
            count = f'{lost[kind].count} of {len(rows) + passes * lost[kind].count}'
            ledger.refuse(FILES, f'{count} {kind} ({lost[kind]}){way}')
    return {k: headers[file] for k, file in found.items()}


def _sizes(
    rows: dict, headers: dict, reach: Callable[[], dict], ledger: Ledger, apply_exif: bool
) -> dict[int | str, tuple[tuple[int, int], int]]:
    """By key, the size of the loaded image, and the orientation by which its objects are turned."""
    sizes, reached = {}, None
    stored_size, other_size = Tally(), Tally()
    for k, header in headers.items():
        name, listed = rows[k]['file_name'], (rows[k].get('width'), rows[k].get('height'))
        loaded, turns = header.loaded, header.orientation
        sizes[k] = loaded, turns if apply_exif else 1
        if turns in (2, 3, 4) and not apply_exif:
            ledger.note(FLIPPED, name)
        if listed == loaded or (apply_exif and turns != 1):
            continue
        w, h = (number(value) or 0 for value in listed)
        near = abs(w - loaded[0]) <= ROUNDING and abs(h - loaded[1]) <= ROUNDING
        if not near and min(w, h) > 0 and turns >= 5 and (w, h) == loaded[::-1]:
            stored_size.add(name)
            continue
        if not near and (w, h) == loaded[::-1]:  # swapped, if the objects fit the file
            reached = reach() if reached is None else reached
            x, y = reached.get(k, (0, 0))
            near = x <= loaded[0] + ROUNDING and y <= loaded[1] + ROUNDING
        if near or min(w, h) <= 0:
            ledger.mend(SIZES, name)
        else:
            other_size.add(f'{name}: {w} x {h} listed, {loaded[0]} x {loaded[1]} in the file')
    if stored_size.count:
        ledger.refuse(
            SIZE,
            f'{stored_size.count} images have an EXIF orientation, by which mmcv turns them, but '
            f'their listed sizes are those before the turn ({stored_size}), so objects would be '
            'learnt at wrong places; set own_data.apply_exif=True to turn the objects too, or save '
            'the images turned',
        )
    if other_size.count:
        ledger.refuse(
            SIZE,
            f'the sizes of {other_size.count} images differ from their files ({other_size}), so '
            'objects would be learnt at wrong places; export the annotations again for these files',
        )
    return sizes


def extent(turn: int, width: float, height: float) -> tuple[float, float]:
    """(width, height) of the stored image of an image that is loaded turned."""
    return (height, width) if turn >= 5 else (width, height)


def turned_point(turn: int, width: float, height: float):
    """From (x, y) of a stored image of this size to the turned one."""
    move = TURNS[turn]
    return lambda x, y: move(x, y, width, height)
