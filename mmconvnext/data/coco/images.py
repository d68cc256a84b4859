# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The entries of "images": ids, files, sizes."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ..files import Files
from ..header import SIDE
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
    'images that mmcv turns by their EXIF orientation, while the listed sizes do not tell whether '
    'their objects were turned: look whether they fit, or set own_data.apply_exif=True'
)

MISSING, BAD = 'images do not exist', 'images cannot be read'  # left out if passed
KEPT = ': other samples take their place in the training (--on-bad-data skip)'
ENTRY, FILES, SIZE = 'images', 'image_files', 'image_sizes'  # names of the refusals
ROUNDING = 1  # pixels by which a listed size may differ, and boxes may leave the image; our choice


class Listed(NamedTuple):
    """An image that objects may refer to.

    ``width`` and ``height`` are those of the image that mmcv loads, 0 if unknown; ``turn`` is the
    EXIF orientation by which the objects have to be turned, 1 if not.
    """

    id: int
    name: str
    width: float
    height: float
    turn: int


def sound_images(
    entries: list,
    files: Files,
    wanted: Wanted,
    ledger: Ledger,
    *,
    reach: Callable[[], dict] = dict,
) -> tuple[list[dict], dict[int | str, Listed], list[ImageKind]]:
    """Check all images.

    Returns:
        The sound entries; the images by the key of their listed id; and the kinds of the files.

    Args:
        files: those in the folder of the images.
        reach: gives, by the key of an image, how far (x, y) its objects reach.
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
    headers = _headers(rows, files, wanted, ledger)
    sizes = Sizes(rows, wanted.apply_exif, ledger)
    for k, header in headers.items():
        sizes.compare(k, header)
    sizes.judge(reach)
    listed = {}
    for k, entry in rows.items():
        given = entry.get('width'), entry.get('height')
        (width, height), turn = sizes.found.get(k, (tuple(map(_side, given)), 1))
        if k in sizes.found and ((width, height) != given or {*map(type, given)} != {int}):
            rows[k] = {**entry, 'width': width, 'height': height}
        listed[k] = Listed(entry['id'], rows[k]['file_name'], width, height, turn)
    kinds = image_kinds(
        {files.root / entry.name: headers[k] for k, entry in listed.items() if k in headers}
    )
    return list(rows.values()), listed, kinds


def _side(listed: object) -> float:
    """The width or height of an entry; 0 if it is none that an image can have."""
    value = number(listed) or 0
    return value if 0 < value <= SIDE else 0


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
            if all(rows[k].get(f) == entry.get(f) for f in ('file_name', 'width', 'height')):
                ledger.mend(TWICE, name)
            else:
                doubles.add(f'{entry["id"]}: {rows[k]["file_name"]} and {name}')
        else:
            rows[k] = entry
            first = names.setdefault(posixpath.normpath(name), k)
            if first != k:
                twice.add(f'{name}: {rows[first]["id"]} and {entry["id"]}')
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
    _refuse_twice(twice, ledger)
    return rows


def _refuse_twice(twice: Tally, ledger: Ledger) -> None:
    if twice.count:
        ledger.refuse(
            ENTRY,
            f'{twice.count} files are listed under two ids ({twice}), so the objects of one would '
            'be background of the other; list each file once',
        )


def _headers(
    rows: dict[int | str, dict], files: Files, wanted: Wanted, ledger: Ledger
) -> dict[int | str, Header]:
    """Headers by key of the image; its name becomes that on disk.

    Images that are missing or cannot be read are refused, or left out if that refusal is passed.
    """
    found: dict[int | str, Path] = {}
    names, twice = {}, Tally()
    lost: dict[str, Tally] = {MISSING: Tally(), BAD: Tally()}
    total, passes, hint = len(rows), FILES in wanted.passed, ''
    known_bad = set(wanted.known_bad)

    def lose(k: int | str, kind: str, where: str) -> None:
        if wanted.keep_bad:
            ledger.note(f'{kind}{KEPT}', where)
            return
        lost[kind].add(where)
        if passes:
            ledger.leave_out(kind, where)
            del rows[k]

    for k, entry in list(rows.items()):
        name = entry['file_name']
        if known_bad and os.path.abspath(files.root / name) in known_bad:
            continue
        on_disk = files.find(name)
        if on_disk is None:
            hint = hint or files.hint(name)
            lose(k, MISSING, name)
            continue
        if on_disk != name:
            ledger.mend(NAMES, name)
            rows[k] = {**entry, 'file_name': on_disk}
        found[k] = files.root / on_disk
        first = names.setdefault(posixpath.normpath(on_disk), k)
        if first != k:
            twice.add(f'{name}: {rows[first]["id"]} and {entry["id"]}')
    _refuse_twice(twice, ledger)
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
            count = f'{lost[kind].count} of {total}'
            ledger.refuse(FILES, f'{count} {kind} ({lost[kind]}){way}')
    return {k: headers[file] for k, file in found.items()}


class Sizes:
    """Compares the listed sizes with those of the files.

    Attributes:
        found: by the key of an image, the size of the loaded image, and the orientation by which
            its objects are turned, 1 if not.
    """

    def __init__(self, rows: dict, apply_exif: bool, ledger: Ledger):
        self.rows, self.apply_exif, self.ledger = rows, apply_exif, ledger
        self.found: dict[int | str, tuple[tuple[int, int], int]] = {}
        self.swapped: dict[int | str, tuple[int, int]] = {}  # and the right size
        self.unsure: dict[int | str, Header] = {}  # turned, without a listed size
        self.before_turn, self.other = Tally(), Tally()

    def compare(self, k: int | str, header: Header) -> None:
        """Compare the listed size of an image with that of its file."""
        entry, stored, loaded = self.rows[k], (header.width, header.height), header.loaded
        listed = entry.get('width'), entry.get('height')
        w, h = (number(value) or 0 for value in listed)
        turn = header.orientation
        if turn != 1 and not self.apply_exif and stored == loaded:
            self.ledger.note(FLIPPED, entry['file_name'])
        if not self.apply_exif or ((w, h) == loaded != stored):  # objects were turned already
            turn = 1
        self.found[k] = loaded, turn
        right = loaded if turn == 1 else stored
        if (w, h) == right and type(listed[0]) is type(listed[1]) is int:
            return
        if min(w, h) <= 0 and stored != loaded and turn == 1:
            self.unsure[k] = header
        if min(w, h) <= 0 or max(abs(w - right[0]), abs(h - right[1])) <= ROUNDING:
            self.ledger.mend(SIZES, entry['file_name'])
        elif (w, h) == stored and header.orientation >= 5:
            self.before_turn.add(entry['file_name'])
        elif (w, h) == right[::-1]:
            self.swapped[k] = right
        else:
            self._differs(k, right)

    def judge(self, reach: Callable[[], dict]) -> None:
        """Mend sizes that are swapped, if the objects show it; refuse sizes of other images."""
        reached = reach() if self.swapped or self.unsure else {}
        for k, header in self.unsure.items():
            far, name = reached.get(k, (0, 0)), self.rows[k]['file_name']
            if not _fits(far, header.loaded) and _fits(far, (header.width, header.height)):
                self.before_turn.add(name)
            elif any(far):
                self.ledger.note(FLIPPED, name)
        fits = [
            [_fits(reached[k], of) for of in (right, right[::-1])]
            for k, right in self.swapped.items()
            if k in reached
        ]
        # Objects that fit both ways prove nothing: the image may be stored turned.
        proven = all(right for right, _ in fits) and (not fits or not all(w for _, w in fits))
        for k, right in self.swapped.items():
            if proven:
                self.ledger.mend(SIZES, self.rows[k]['file_name'])
            else:
                self._differs(k, right)
        if self.before_turn.count:
            self.ledger.refuse(
                SIZE,
                f'{self.before_turn.count} images have an EXIF orientation, by which mmcv turns '
                'them, but their listed sizes or objects are those before the turn '
                f'({self.before_turn}), so objects would be learnt at wrong places; set '
                'own_data.apply_exif=True to turn the objects too, or save the images turned',
            )
        if self.other.count:
            self.ledger.refuse(
                SIZE,
                f'the sizes of {self.other.count} images differ from their files ({self.other}), '
                'so objects would be learnt at wrong places; export the annotations again for '
                'these files',
            )

    def _differs(self, k: int | str, right: tuple[int, int]) -> None:
        name, w, h = (self.rows[k].get(field) for field in ('file_name', 'width', 'height'))
        self.other.add(f'{name}: {w} x {h} listed, {right[0]} x {right[1]} in the file')


def _fits(far: tuple, size: tuple) -> bool:
    """Whether objects that reach so far lie in an image of this size."""
    return all(v <= side + ROUNDING for v, side in zip(far, size))


def extent(turn: int, width: float, height: float) -> tuple[float, float]:
    """(width, height) of the stored image of an image that is loaded turned."""
    return (height, width) if turn >= 5 else (width, height)


def turned_point(turn: int, width: float, height: float):
    """From (x, y) of a stored image of this size to the turned one."""
    move = TURNS[turn]
    return lambda x, y: move(x, y, width, height)
