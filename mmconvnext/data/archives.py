# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""COCO 2017 and ADE20K as they are downloaded: is everything there, and where the recipes look?

Nothing is downloaded. Archives are extracted, or folders linked, into the layout of mmdet's and
mmseg's recipes.
"""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
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
    """What is expected, with the sizes of the archives in bytes."""

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
    """A member of a layout, what is wrong with it ('' if nothing), and the way out."""

    path: str
    what: str
    fault: str = ''
    way: str = ''


def check(kind: str, root: Path) -> list[Row]:
    """Compare a folder with the layout: names and counts of its files, sizes of its archives."""
    layout = LAYOUTS[kind]
    return [_check_member(member, layout, root) for member in layout.members]


def _check_member(member: Member, layout: Layout, root: Path) -> Row:
    place = root / member.path
    if not place.exists():
        found = _find(member, root)
        if found is None:
            way = f'download {member.archive} from {layout.source}'
            return Row(member.path, 'missing', f'it is not below {root}', way)
        fault = _archive_fault(found, layout) if found.is_file() and _is_zip(found) else ''
        way = 'download it again' if fault else '--lay-out FOLDER puts it where recipes look'
        return Row(member.path, f'in {found}', fault or 'not where the recipes look', way)
    again = f'extract {member.archive} again'
    if place.is_dir():
        names = os.listdir(place)
        sound = [name for name in names if re.fullmatch(member.names, name)]
        empty = [n for n in sound[: member.count] if not (place / n).stat().st_size]
        what = f'{len(sound)} of {member.count} files'
        fault = f'{len(empty)} files are empty, such as {empty[0]}' if empty else ''
        if len(sound) != member.count:
            others = [name for name in names if not re.fullmatch(member.names, name)]
            other = f'; other names, such as {others[0]}' if others else ''
            fault = f'{len(sound)} files are there, not {member.count}{other}'
        return Row(member.path, what, fault, again * bool(fault))
    images, objects = (_occurrences(place, mark) for mark in (b'"coco_url"', b'"iscrowd"'))
    what, right = f'{images} images, {objects} objects', (member.count, member.objects)
    fault = '' if (images, objects) == right else f'{what}; {right[0]} and {right[1]} are expected'
    return Row(member.path, what, fault, again * bool(fault))


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


def _archive_fault(file: Path, layout: Layout) -> str:
    size, expected = file.stat().st_size, layout.sizes[file.name]
    if size < expected:
        return f'{file.name} has {size} of {expected} bytes: its download was cut off'
    if not zipfile.is_zipfile(file):
        return f'{file.name} is no zip file'
    return ''


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
        fault = _archive_fault(archive, layout)
        if fault:
            raise ValueError(f'{fault}; download it again from {layout.source}')
        for member, place in _extract(archive, members, out):
            say(f'extracted {place} from {archive} ({member.inside})')


def _extract(archive: Path, members: list[Member], out: Path) -> Iterator[tuple[Member, Path]]:
    with zipfile.ZipFile(archive) as content:
        for member in members:
            entries = [
                entry
                for entry in content.infolist()
                if not entry.is_dir()
                and (entry.filename == member.inside or _inside(entry.filename, member))
            ]
            room = sum(entry.file_size for entry in entries)
            out.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(out).free
            if room > free:
                raise ValueError(
                    f'{member.path} needs {room / 2**30:.1f} GiB, but {out} has '
                    f'{free / 2**30:.1f} GiB left'
                )
            place = out / member.path
            part = place.with_name(f'{place.name}.part')  # renamed when it is whole
            shutil.rmtree(part, ignore_errors=True)
            part.unlink(missing_ok=True)
            progress = Progress(f'files of {archive.name}', len(entries))
            for done, entry in enumerate(entries):
                progress.show(done)
                target = part if entry.filename == member.inside else part / _base(entry)
                target.parent.mkdir(parents=True, exist_ok=True)
                with content.open(entry) as source, target.open('wb') as file:
                    shutil.copyfileobj(source, file, PIECE)
            part.rename(place)
            yield member, place


def _inside(name: str, member: Member) -> bool:
    return name.startswith(f'{member.inside}/') and '/' not in name[len(member.inside) + 1 :]


def _base(entry: zipfile.ZipInfo) -> str:
    return entry.filename.rpartition('/')[2]
