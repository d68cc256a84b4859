# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""COCO 2017 and ADE20K as they are downloaded: is all there, and where the recipes look?

Nothing is downloaded. Archives are extracted, or folders linked, into the layout of mmdet's and
mmseg's recipes.
"""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .cache import Progress

DEPTH = 3  # of the folders in which archives and folders are searched; our choice
PIECE = 1 << 24  # bytes that are read at once; our choice


class Member(NamedTuple):
    """A folder or file of a layout.

    Attributes:
        path: where the recipes look for it.
        archive: the name of the file that holds it.
        inside: its path in that archive.
        names: of its files, a pattern.
        count: of these files; of a JSON file, that of its images.
        objects: that of a JSON file.
    """

    path: str
    archive: str
    inside: str
    names: str = ''
    count: int = 0
    objects: int = 0


class Layout(NamedTuple):
    """What is expected, with the sizes of the archives in bytes, and where they are."""

    title: str
    members: tuple[Member, ...]
    sizes: dict[str, int]
    source: str


_JPG = r'\d{12}\.jpg'
_ADE = 'ADEChallengeData2016'


def _ade(kind: str, part: str, count: int) -> Member:
    names = rf'ADE_{part[:5] if part == "training" else "val"}_\d{{8}}'
    names += r'\.jpg' if kind == 'images' else r'\.png'
    path = f'{_ADE}/{kind}/{part}'
    return Member(path, f'{_ADE}.zip', path, names, count)


# Counts: cocodataset.org and the paper of ADE20K (Zhou et al., CVPR 2017); sizes: the servers'.
LAYOUTS = {
    'coco': Layout(
        'COCO 2017',
        (
            Member('train2017', 'train2017.zip', 'train2017', _JPG, 118_287),
            Member('val2017', 'val2017.zip', 'val2017', _JPG, 5000),
            *(
                Member(
                    f'annotations/instances_{split}2017.json',
                    'annotations_trainval2017.zip',
                    f'annotations/instances_{split}2017.json',
                    count=images,
                    objects=objects,
                )
                for split, images, objects in (('train', 118_287, 860_001), ('val', 5000, 36_781))
            ),
        ),
        {
            'train2017.zip': 19_336_861_798,
            'val2017.zip': 815_585_330,
            'annotations_trainval2017.zip': 252_907_541,
        },
        'https://cocodataset.org/#download',
    ),
    'ade': Layout(
        'ADE20K (SceneParsing 2016)',
        tuple(
            _ade(kind, part, count)
            for kind in ('images', 'annotations')
            for part, count in (('training', 20_210), ('validation', 2000))
        ),
        {f'{_ADE}.zip': 967_382_037},
        'http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip',
    ),
}


class Row(NamedTuple):
    """A member of a layout, what was found of it, and the way out; '' if it is as expected."""

    path: str
    what: str
    way: str = ''


def check(kind: str, root: Path) -> list[Row]:
    """Compare a folder with the layout: names and counts of its files."""
    layout = LAYOUTS[kind]
    return [_check_member(member, layout, root) for member in layout.members]


def _check_member(member: Member, layout: Layout, root: Path) -> Row:
    place = root / member.path
    if place.exists():
        what, sound = _content(member, place)
        return Row(member.path, what, '' if sound else f'extract {member.archive} again')
    found = _find(member, root)
    if found is None:
        way = f'download {member.archive} from {layout.source}'
        return Row(member.path, f'not below {root}', way)
    fault = _archive_fault(found, member, layout) if _is_zip(found) else ''
    if fault:
        return Row(member.path, fault, 'download it again')
    return Row(member.path, f'in {found}', 'add --lay-out FOLDER, which puts it in its place')


def _content(member: Member, place: Path) -> tuple[str, bool]:
    """What a folder or a JSON file holds, and whether that is as expected."""
    if not place.is_dir():
        counts = tuple(_occurrences(place, mark) for mark in (b'"coco_url"', b'"iscrowd"'))
        what = f'{counts[0]} of {member.count} images, {counts[1]} of {member.objects} objects'
        return what, counts == (member.count, member.objects)
    names = os.listdir(place)
    right = [name for name in names if re.fullmatch(member.names, name)]
    empty = [name for name in right if not (place / name).stat().st_size]
    what = f'{len(right)} of {member.count} files'
    if len(names) > len(right):
        others = sorted({*names} - {*right})
        what += f'; {len(others)} of other names, such as {others[0]}'
    if empty:
        what += f'; {len(empty)} are empty, such as {empty[0]}'
    return what, len(right) == member.count and not empty


def _occurrences(file: Path, mark: bytes) -> int:
    """How often a mark stands in a large file, without parsing it."""
    count, rest = 0, b''
    with file.open('rb') as stream:
        while piece := stream.read(PIECE):
            text = rest + piece
            count += text.count(mark)
            rest = text[-(len(mark) - 1) :]
    return count


def _find(member: Member, root: Path) -> Path | None:
    """The folder, file or archive with a member, below another folder."""
    wanted = Path(member.inside).parts
    archive = None
    for folder, folders, files in os.walk(root):
        here = Path(folder)
        if len(here.relative_to(root).parts) >= DEPTH:
            folders.clear()
        # The images are many: a folder of them has no folders below it.
        ends = here.parts[-len(wanted) + 1 :] if len(wanted) > 1 else ()
        if ends == wanted[:-1] and (wanted[-1] in folders or wanted[-1] in files):
            return here / wanted[-1]
        if archive is None and member.archive in files:
            archive = here / member.archive
    return archive


def _is_zip(file: Path) -> bool:
    return file.suffix == '.zip'


def _archive_fault(file: Path, member: Member, layout: Layout) -> str:
    """Why an archive is not whole; '' if it is: its table of contents is at its end."""
    if not zipfile.is_zipfile(file):
        size, expected = file.stat().st_size, layout.sizes[file.name]
        return f'{file} has {size} of {expected} bytes: its download was cut off'
    with zipfile.ZipFile(file) as content:
        count = len(_entries(content, member))
    expected = member.count if member.names else 1
    return '' if count == expected else f'{file} holds {count} of {expected} files'


def _entries(content: zipfile.ZipFile, member: Member) -> list[zipfile.ZipInfo]:
    if not member.names:
        return [entry for entry in content.infolist() if entry.filename == member.inside]
    pattern = re.compile(f'{re.escape(member.inside)}/{member.names}')
    return [entry for entry in content.infolist() if pattern.fullmatch(entry.filename)]


def hint(root: Path) -> str:
    """What to run if a folder holds archives of one of the layouts; '' if it does not."""
    for kind, layout in LAYOUTS.items():
        there = [name for name in layout.sizes if (root / name).is_file()]
        if there:
            return (
                f'{", ".join(there)} belongs to {layout.title}: '
                f'tools/prepare_data.py --check-{kind} {root} --lay-out data/{kind}'
            )
    return ''


def lay_out(kind: str, source: Path, out: Path, say: Callable[[str], None]) -> None:
    """Link the folders below ``source`` into the layout, and extract what is in archives.

    What is there already stays as it is.

    Raises:
        ValueError: an archive is cut off, or there is too little room.
        OSError: something cannot be written.
    """
    layout = LAYOUTS[kind]
    todo: dict[Path, list[Member]] = {}
    for member in layout.members:
        place = out / member.path
        found = None if place.exists() else _find(member, source)
        if found is None:
            continue
        if _is_zip(found):
            todo.setdefault(found, []).append(member)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(found.resolve())
            say(f'linked {place} -> {found.resolve()}')
    for archive, members in todo.items():
        for member in members:
            fault = _archive_fault(archive, member, layout)
            if fault:
                raise ValueError(f'{fault}; download it again from {layout.source}')
            _extract(archive, member, out)
            say(f'extracted {out / member.path} from {archive}')


def _extract(archive: Path, member: Member, out: Path) -> None:
    """Extract the files of a member, and give its folder its name when it is whole."""
    place = out / member.path
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(f'{place.name}.part')
    with zipfile.ZipFile(archive) as content:
        entries = _entries(content, member)
        needed, free = sum(e.file_size for e in entries), shutil.disk_usage(place.parent).free
        if needed > free:
            raise ValueError(
                f'{place} needs {needed / 2**30:.1f} GiB, but there are {free / 2**30:.1f} left'
            )
        shutil.rmtree(part, ignore_errors=True)  # of a run that was stopped
        progress = Progress(f'files of {archive.name}', len(entries))
        for done, entry in enumerate(entries):
            progress.show(done)
            target = part / entry.filename.rpartition('/')[2] if member.names else part
            target.parent.mkdir(parents=True, exist_ok=True)
            with content.open(entry) as source, target.open('wb') as file:
                shutil.copyfileobj(source, file, PIECE)
    part.rename(place)
