# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The parts of the page: suspicious things, samples, charts, contact sheets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ...draw import beside
from ...draw.charts import chart_picture
from ...draw.page import Page
from .contact_sheets import crops, sheets
from .listing import Listing
from .regions import Regions
from .samples import Fed, as_loaded
from .statistics import Chart
from .suspects import Suspicion
from .view import View

# Our choices: pixels of a sample's long side, of a picture of something suspicious, and how many
# of these are shown of each kind, the first ones of a random order where none is the worst.
SIDE, CELL, SHOWN = 640, 224, 12


def add_suspicions(page: Page, listing: Listing, found: Sequence[Suspicion], seed: int) -> None:
    """A table of what was found, then pictures of each kind."""
    page.section('Suspicious things')
    if not found:
        page.text('Nothing: no boxes on top of each other, no images that are there twice, ...')
        return
    page.text('Not all of them are mistakes; figures.json lists the files.')
    page.table(['what', 'count', 'of'], [[one.what, one.count, one.total] for one in found])
    for number, one in enumerate(found, 1):
        page.text(f'{one.what[0].upper()}{one.what[1:]} ({one.count}): {one.why}')
        chosen = _shown(one, seed)
        if one.objects:
            pictures = crops(listing, listing, chosen, CELL)
            page.gallery(
                (f'suspicious_{number}', pictures[i], _about_object(listing, one, i))
                for i in chosen
            )
        else:
            page.gallery(
                (f'suspicious_{number}', _thumbnail(listing, i), _about_image(listing, one, i))
                for i in chosen
            )


def add_samples(
    page: Page, listing: Listing, drawn: Sequence[int], turns: Sequence[Sequence[Fed | Exception]]
) -> None:
    """Each sample as in the file, and beside it as the model gets it, once for each turn."""
    split = listing.split
    page.section('Samples')
    about = 'Each image as it is in the file'
    if turns:
        about += '; beside it as the model gets it, after the pipeline and the preprocessor'
    page.text(
        f'{about}. Grey checks are padding; grey boxes are regions to ignore. Dark images are '
        'brightened by the factor in the title.'
    )
    for number, index in enumerate(drawn):
        image = place_of(listing, index)
        fed = [turn[number] for turn in turns]
        pictures, notes = [], [listing.name(image)]
        try:
            view = as_loaded(listing, image)
            pictures.append(view.fitted(SIDE).draw_titled(split.classes, split.colours))
        except Exception as error:  # a broken file can raise anything
            notes.append(f'cannot be loaded: {type(error).__name__}: {error}')
        for one in fed:
            if isinstance(one, Exception):
                notes.append(f'the pipeline fails: {type(one).__name__}: {one}')
                continue
            pictures.append(one.view.fitted(SIDE).draw_titled(split.classes, split.colours))
            if one.file and one.file != listing.files[image]:
                notes.append(
                    f'the pipeline refused it (no object was left?), and mmengine took another '
                    f'image, {one.file.rpartition("/")[2]}'
                )
        caption = '; '.join(dict.fromkeys(notes))
        if pictures:
            page.picture(f'sample_{number + 1:03}', beside(*pictures), caption)
        else:
            page.text(caption)


def add_charts(page: Page, charts: Iterable[Chart]) -> None:
    page.section('Figures')
    for name, figure, caption in charts:
        page.picture(name, chart_picture(figure), caption)


def add_sheets(page: Page, listing: Listing, of: Listing | Regions, seed: int) -> dict:
    """A contact sheet of each class; returns what they show, in their order, for the JSON."""
    rows: dict[str, list] = {}
    page.section('Contact sheets')
    what = 'regions' if isinstance(of, Regions) else 'objects'
    page.text(f'Crops of {what} of one class, so that a wrong label is seen at a glance.')
    for label, strips, sheet in sheets(listing, of, seed):
        name = listing.split.classes[label]
        where = 'in {} label maps' if isinstance(of, Regions) else '{} objects'
        page.picture(f'class_{label}_{name}', sheet, f'{name}: {where.format(of.by_class[label])}')
        rows[name] = [
            dict(
                row=strip.about,
                file=listing.files[of.images[index]],
                box=np.round(of.boxes[index], 1).tolist(),
            )
            for strip in strips
            for index in strip.objects
        ]
    missing = [n for n, count in zip(listing.split.classes, of.by_class) if not count]
    if missing:
        page.text(f'Classes without {what}: {", ".join(missing)}')
    return rows


def place_of(listing: Listing, index: int) -> int:
    """The image in the listing of a sample of the split's dataset."""
    part, inner = listing.split.place(index)
    is_it = (listing.places[:, 0] == part) & (listing.places[:, 1] == inner) & ~listing.left_out
    return int(np.flatnonzero(is_it)[0])


def _shown(one: Suspicion, seed: int) -> list[int]:
    every = one.objects or one.images
    if one.is_sorted or len(every) <= SHOWN:
        return every[:SHOWN]
    return np.random.default_rng(seed).permutation(every)[:SHOWN].tolist()


def _thumbnail(listing: Listing, image: int) -> np.ndarray:
    try:
        view = as_loaded(listing, image)
    except Exception:  # a broken file can raise anything
        return View(np.full((CELL, CELL, 3), 128, np.uint8)).image
    return view.fitted(CELL).draw(listing.split.classes, listing.split.colours, texts=False)


def _about_object(listing: Listing, one: Suspicion, index: int) -> str:
    width, height = listing.extents[index]
    name = listing.split.classes[listing.labels[index]]
    about = one.notes.get(index) or name
    return f'{listing.name(listing.images[index])}: {about}, {width:.0f} x {height:.0f}'


def _about_image(listing: Listing, one: Suspicion, index: int) -> str:
    note = one.notes.get(index)
    return listing.name(index) + (f': {note}' if note else '')
