# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Looks at a split from all sides and puts it on one page, with the figures as JSON beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmengine.config import Config

from ...checkpoint.atomic import atomic_path
from ...draw.page import Page
from ...recipe.walk import LOADERS
from .listing import Listing, list_split
from .regions import Regions, read_regions
from .samples import Fed, Feeder, choose
from .sections import add_charts, add_samples, add_sheets, add_suspicions
from .split import Split
from .statistics import charts_of, count, figures_of
from .suspects import Suspicion, same_images, suspicions, suspicious_maps

FIGURES = 'figures.json'
MEASURED = 100  # images that go through the pipeline for the figures; our choice
LISTED = 1000  # entries of each suspicious thing in the JSON; our choice


class Browsed(NamedTuple):
    """What was found; ``page`` is the path of the HTML page, ``about`` one line."""

    page: Path
    about: str
    figures: dict
    suspicions: list[Suspicion]


def browse(
    cfg: Config,
    folder: Path,
    *,
    title: str,
    split: str = 'train',
    num: int = 24,
    augmented: int = 1,
    seed: int = 0,
    tell: Callable[[str], None] = lambda line: None,
) -> Browsed:
    """Write the page, its pictures and `figures.json` into an existing folder.

    Args:
        cfg: a config that is ready to run.
        title: the heading of the page.
        split: 'train', 'val' or 'test'.
        num: samples that are drawn.
        augmented: how often each of them is drawn as the model gets it.
        seed: chooses samples, crops and augmentation.
        tell: gets a line before each step.

    Raises:
        RecipeError: the dataset cannot be built, or has no images.
    """
    tell(f'reading the annotations of {split}')
    data = Split(cfg, f'{split}_dataloader')
    listing = list_split(data)
    tell('feeding samples through the pipeline')
    feeder = Feeder(cfg, data, seed)
    drawn = choose(len(data.dataset), num, seed)
    turns = [feeder.feed(drawn, turn) for turn in range(augmented)]
    measured = list(turns[0]) if turns else []
    rest = [i for i in choose(len(data.dataset), MEASURED, seed) if not turns or i not in drawn]
    measured += [one for i in range(0, len(rest), 10) for one in feeder.feed(rest[i : i + 10])]
    fed = [one for one in measured if isinstance(one, Fed)]
    regions = None
    if listing.has_maps and not listing.has_objects:
        tell('reading label maps')
        regions = read_regions(listing, seed)
    tell('looking for suspicious things')
    figures = figures_of(cfg, listing, regions, fed)
    others = _other_files(cfg, listing)
    found = _suspicions(listing, regions, figures, others)
    page = Page(folder, title)
    about = _summary(listing, figures, split)
    page.text(about)
    add_suspicions(page, listing, found, seed)
    tell('drawing samples')
    add_samples(page, listing, drawn, turns)
    tell('drawing charts')
    add_charts(page, charts_of(listing, regions, figures, fed))
    tell('drawing contact sheets')
    rows = add_sheets(page, listing, listing if regions is None else regions, seed)
    figures |= dict(suspicious=[_as_json(listing, one) for one in found], contact_sheets=rows)
    with atomic_path(folder / FIGURES) as part:
        text = json.dumps(figures, indent=1, ensure_ascii=False)
        part.write_text(text, encoding='utf-8', errors='backslashreplace')
    return Browsed(page.write(), about, figures, found)


def _other_files(cfg: Config, listing: Listing) -> dict[str, list[str]]:
    """The files of the other splits, by name; test is left out where it is val."""
    files = {listing.split.name: listing.files}
    if listing.split.name == 'test':  # the others were not checked, and may not be there
        return {}
    for loader in LOADERS:
        name = loader.partition('_')[0]
        if name not in files and cfg.get(loader):
            files[name] = list_split(Split(cfg, loader)).files
    if {*files.get('test', ())} == {*files.get('val', ())}:
        files.pop('test', None)
    return {name: files[name] for name in files if name != listing.split.name}


def _suspicions(
    listing: Listing, regions: Regions | None, figures: dict, others: dict[str, list[str]]
) -> list[Suspicion]:
    scale = (figures['scale_of_pipeline'] or {}).get('median', 1.0)
    same, groups = same_images(listing, others)
    figures['same_content'] = groups[:LISTED]
    found = [*same, *suspicions(listing, scale)]
    if regions is not None:
        found += suspicious_maps(listing, regions)
    return found


def _summary(listing: Listing, figures: dict, split: str) -> str:
    images, left_out = figures['images'], figures['images_left_out']
    text = f'{split}: {count(images, "image")}'
    if left_out:
        text += f' ({left_out} of them are left out by filter_cfg)'
    if 'objects' in figures:
        text += f', {count(figures["objects"], "object")}'
        if figures['regions_to_ignore']:
            text += f', {count(figures["regions_to_ignore"], "region")} to ignore'
    return f'{text}, {count(len(listing.split.classes), "class")}'


def _as_json(listing: Listing, one: Suspicion) -> dict:
    entries = []
    for index in [*one.objects, *one.images][:LISTED]:
        image = int(listing.images[index]) if one.objects else index
        entry: dict = dict(file=listing.files[image])
        if one.objects:
            entry['class'] = listing.split.classes[listing.labels[index]]
            entry['box'] = np.round(listing.boxes[index], 1).tolist()
        if index in one.notes:
            entry['note'] = one.notes[index]
        entries.append(entry)
    return dict(what=one.what, count=one.count, of=one.total, why=one.why, entries=entries)
