# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""From a person's folder to data that own_data reads: the steps, in their order."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..header import read_header
from ..label_maps import read_label_maps
from .contours import fill_contours
from .divide import assign
from .draw_maps import separate
from .export import Export
from .folder import Folder, SourceError
from .gather import Data, gather
from .report import add_pixels, facts_of, lines
from .table import FORMATS, recognise
from .write import write_instances, write_maps

REPORT = 'report.json'


class Settings(NamedTuple):
    """The options of ``tools/prepare_data.py``; its help describes them."""

    format: str = 'auto'
    task: str = ''
    val: float = 0.2  # our choice
    seed: int = 0
    group: str = 'none'
    classes: Sequence[str] = ()
    copy: bool = False
    again: bool = False
    apply_exif: bool = False
    crowd_as_object: bool = False
    polygons: str = 'auto'


@np.errstate(over='ignore', invalid='ignore')  # of coordinates such as 1e308, judged later
def prepare(source: Path, out: Path, settings: Settings) -> tuple[dict, list[str]]:
    """Read, check, divide and write; ``out`` appears at the end, whole or not at all.

    Returns:
        The report, and the same as lines.

    Raises:
        SourceError: the data cannot be used, or ``out`` exists.
        OSError: something cannot be read or written.
    """
    _refuse(source, out)
    folder = Folder(source)
    if settings.format == 'auto':
        found = recognise(folder, settings.task)
    else:
        reason = FORMATS[settings.format].looks(folder)
        if not reason:
            title = FORMATS[settings.format].title
            raise SourceError(f'{source} holds no {title} that can be recognised')
        found = (settings.format, reason)
    task = settings.task or ('semantic' if found[0] == 'masks' else 'instance')
    export = FORMATS[found[0]].read(folder, settings.classes)
    if found[0] != 'coco':  # whose polygons go from point to point, by definition
        fill_contours(export, settings.polygons)
    with _stage(out) as stage:
        real = _write_embedded(export, stage)
        options = dict(apply_exif=settings.apply_exif, crowd_as_object=settings.crowd_as_object)
        data = gather(export, settings.classes, **options)
        _tell_outside(data, folder.root, real)
        for item in data.items:
            item.name = real.get(item.file, item.name)
        if data.maps and task == 'instance':
            separate(data)
        assign(data, _contents(data), settings.val, settings.seed, settings.group, settings.again)
        copy = settings.copy or bool(real)
        pixels: dict = {}
        if task == 'semantic':
            own, pixels = write_maps(data, stage, copy)
        else:
            own = write_instances(data, stage, copy)
        shutil.rmtree(stage / EMBEDDED, ignore_errors=True)
        facts = facts_of(data, source, found, task, not copy)
        if pixels:
            add_pixels(facts, data, own, pixels)
        facts['own_data'] = dict(root=str(out), **own)
        text = json.dumps(facts, indent=1, ensure_ascii=False)
        # Names of files that are no UTF-8, and half a pair of surrogates, are escapes, as in JSON.
        (stage / REPORT).write_text(text + '\n', encoding='utf-8', errors='backslashreplace')
    return facts, lines(facts, out)


OUTSIDE = 'images that lie outside the given folder; the annotations name them'


def _tell_outside(data: Data, root: Path, embedded: dict[Path, str]) -> None:
    inside = os.path.abspath(root) + os.sep
    for item in data.items:
        if item.file not in embedded and not os.path.abspath(item.file).startswith(inside):
            data.ledger.note(OUTSIDE, str(item.file))


EMBEDDED = 'embedded'


def _write_embedded(export: Export, stage: Path) -> dict[Path, str]:
    """Write images that are only in annotation files; their names by these new files."""
    names: dict[Path, str] = {}
    if export.embedded:
        root = os.path.commonpath([file.parent for file in export.embedded])
        for file, content in export.embedded.items():
            name = file.relative_to(root).as_posix()
            written = stage / EMBEDDED / name
            written.parent.mkdir(parents=True, exist_ok=True)
            written.write_bytes(content)
            names[written] = name
        new = {str(f): str(w) for f, w in zip(export.embedded, names)}
        for part in export.parts:
            for entry in part.content['images']:
                entry['file_name'] = new.get(entry['file_name'], entry['file_name'])
                if not entry['width']:
                    header = read_header(Path(entry['file_name']))
                    entry['width'], entry['height'] = header.loaded
    return names


def _contents(data: Data) -> dict[str, set]:
    """The classes in each image; of label maps, their values."""
    if data.maps is None:
        return {item.name: {entry['class'] for entry in item.objects} for item in data.items}
    known = read_label_maps([item.label_map for item in data.items])
    return {item.name: data.maps.values.of(known[item.label_map])[0] for item in data.items}


def _refuse(source: Path, out: Path) -> None:
    if not source.exists():
        raise SourceError(f'{source} does not exist')
    if out.name in ('', '..'):  # it is made beside its place, then gets its name
        raise SourceError(f'{out} is no name for a new folder: choose one, such as data/mine')
    if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        raise SourceError(f'{out} exists already: choose another folder, or remove it')
    inside = source.resolve() if source.is_dir() else source.resolve().parent
    if out.resolve().is_relative_to(inside):
        raise SourceError(
            f'{out} lies in {inside}, so that it would be read as data the next time: choose a '
            'folder beside it'
        )


@contextmanager
def _stage(out: Path) -> Iterator[Path]:
    """A folder beside ``out`` that gets its name in the end, and is removed if that fails."""
    stage = out.with_name(f'{out.name}.{os.getpid()}.part')
    try:
        stage.mkdir(parents=True)
    except OSError as error:
        raise SourceError(f'{out} cannot be written: {error.strerror}; choose another') from error
    try:
        yield stage
        if out.exists():
            out.rmdir()  # it is empty
        stage.rename(out)
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        raise
