# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Figures and charts of a split: classes, sizes, shapes, pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.figure import Figure
from mmengine.config import Config
from mmengine.registry import TASK_UTILS, init_default_scope

from ...draw.charts import bars, histogram
from ...recipe.walk import dicts, task
from .listing import Listing
from .regions import Regions
from .samples import Fed

SMALL, MEDIUM = 32, 96  # sides of the areas that COCO's evaluation calls small and medium
MOST_BARS, MOST_MARKS = 60, 12  # classes and anchors in one chart; our choice
EDGE = 1.0  # pixels from the border of an image; our choice
LEAST = 1e-3  # pixels of a side, so that quotients and logarithms exist

Chart = tuple[str, Figure, str]  # a name for the file, the chart, a caption


def figures_of(cfg: Config, listing: Listing, regions: Regions | None, fed: Sequence[Fed]) -> dict:
    """The figures, as JSON can hold them."""
    widths, heights = listing.sizes.T
    classes = listing.split.classes
    found: dict = dict(
        images=len(listing.files),
        images_left_out=int(listing.left_out.sum()),
        image_width=_spread(widths),
        image_height=_spread(heights),
        scale_of_pipeline=_spread([np.sqrt(w * h) for w, h in (one.scale for one in fed)]),
    )
    if regions is None:
        width, height = listing.extents[listing.objects].T
        found |= dict(
            objects=len(listing.objects),
            regions_to_ignore=int(listing.ignored.sum()),
            images_without_objects=int((listing.counts == 0).sum()),
            objects_at_border=_at_border(listing),
            objects_per_image=_spread(listing.counts),
            objects_of_class=dict(zip(classes, listing.by_class.tolist())),
            object_width=_spread(width),
            object_height=_spread(height),
            object_side=_spread(np.sqrt(width * height)),
            objects_small_medium_large=_thirds(np.sqrt(width * height)),
            object_side_of_input=_spread(_sides_of_input(listing, fed)),
            anchors=anchors(cfg),
        )
    if regions is not None:
        shares = regions.pixels.sum(axis=0) / max(1, regions.pixels.sum())
        found |= dict(
            maps_read=len(regions.maps),
            share_of_pixels=dict(zip(classes, shares[:-1].round(6).tolist())),
            share_of_pixels_ignored=float(shares[-1].round(6)),
            maps_of_class=dict(zip(classes, regions.by_class.tolist())),
        )
    return found


def charts_of(
    listing: Listing, regions: Regions | None, figures: dict, fed: Sequence[Fed]
) -> Iterator[Chart]:
    """The charts of what a split has: objects, label maps, or both."""
    if listing.has_objects:
        yield from _of_objects(listing, figures, fed)
    if regions is not None:
        yield from _of_maps(listing, regions)
    sizes, counts = np.unique(listing.sizes[listing.sizes.all(axis=1)], axis=0, return_counts=True)
    if len(sizes):
        names = [f'{width} x {height}' for width, height in sizes]
        title = 'Image sizes' + ', the most frequent ones' * (len(sizes) > MOST_BARS)
        name, figure, _ = next(_bars('image_sizes', title, names, counts, 'images'))
        yield name, figure, f'{count(len(sizes), "size")}, width x height in pixels'


def anchors(cfg: Config) -> list[float]:
    """The sides of the anchors of the model's dense head, in pixels of the input; [] without."""
    init_default_scope(task(cfg))
    for _, node in dicts(cfg.model):
        generator = node.get('anchor_generator')
        if isinstance(generator, dict):
            levels = getattr(TASK_UTILS.build(generator), 'base_anchors', [])
            sides = {
                round(float(((box[2] - box[0]) * (box[3] - box[1])) ** 0.5), 1)
                for level in levels
                for box in level
            }
            return sorted(sides)
    return []


def _of_objects(listing: Listing, figures: dict, fed: Sequence[Fed]) -> Iterator[Chart]:
    classes, counts = listing.split.classes, listing.by_class
    yield from _bars(
        'objects_of_classes', 'Objects of each class', classes, counts, 'objects', log=True
    )
    width, height = np.maximum(listing.extents[listing.objects], LEAST).T
    small, medium, large = figures['objects_small_medium_large']
    figure = histogram(
        {'objects': np.sqrt(width * height)},
        title='Object sizes in the images',
        xlabel='square root of the area of the box, pixels',
        ylabel='objects',
        marks={'small | medium': SMALL, 'medium | large': MEDIUM},
        log_x=True,
    )
    about = f"By the limits of COCO's evaluation {small} are small, {medium} medium, "
    yield 'object_sizes', figure, f'{about}{large} large.'
    sides, lines = _sides_of_input(listing, fed), figures['anchors']
    if len(sides):
        figure = histogram(
            {'objects': sides},
            title='Object sizes as the model gets them',
            xlabel='square root of the area of the box, pixels of the input',
            ylabel='objects',
            marks={f'anchor {side:g}': side for side in lines[:MOST_MARKS]},
            log_x=True,
        )
        yield 'object_sizes_of_input', figure, _about_sides(sides, lines, len(fed))
    shape = width / height
    figure = histogram(
        {'objects': shape},
        title='Shapes of the boxes',
        xlabel='width / height of the box',
        ylabel='objects',
        marks={'square': 1},
        log_x=True,
    )
    yield 'shapes', figure, f'The median is {np.median(shape):.2f}.'
    each = listing.counts
    most, empty = int(each.max()), int((each == 0).sum())
    figure = histogram(
        {'images': each},
        np.arange(-0.5, most + 1) if most < 60 else 40,
        title='Objects in an image',
        xlabel='objects',
        ylabel='images',
    )
    about = f'{each.mean():.1f} on average, at most {most}; '
    about += f'{count(empty, "image")} without objects'
    yield 'objects_per_image', figure, about


def _sides_of_input(listing: Listing, fed: Sequence[Fed]) -> np.ndarray:
    """The square root of the area of each object that the model gets, in pixels."""
    found = [one.view.objects for one in fed if one.view.objects is not None]
    boxes = [one.boxes[one.labels < len(listing.split.classes)] for one in found]
    boxes = np.concatenate([*boxes, np.zeros((0, 4))])
    return np.sqrt(np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], LEAST), axis=1))


def _about_sides(sides: np.ndarray, anchors: Sequence[float], images: int) -> str:
    about = f'{count(len(sides), "object")} of {count(images, "random image")} after the pipeline'
    if anchors:
        below, above = (sides < anchors[0] / 2).mean(), (sides > anchors[-1] * 2).mean()
        about += (
            f"; the model's anchors have {anchors[0]:g} to {anchors[-1]:g} pixels: {below:.0%} of "
            f'the objects have less than half of the smallest, {above:.0%} more than twice the '
            'largest'
        )
    return about


def _of_maps(listing: Listing, regions: Regions) -> Iterator[Chart]:
    total = regions.pixels.sum(axis=0)
    names = [*listing.split.classes, *['ignored'] * bool(total[-1])]
    percent = 100 * total[: len(names)] / max(1, total.sum())
    about = f'of {len(regions.maps)} label maps' + (
        f', chosen at random of {len(listing.files)}'
        if len(regions.maps) < len(listing.files)
        else ''
    )
    title = f'Percent of the pixels {about}'
    yield from _bars('pixels_of_classes', title, names, percent, 'percent')
    yield from _bars(
        'maps_of_classes',
        f'Maps that hold the class, {about}',
        listing.split.classes,
        regions.by_class,
        'label maps',
    )


def _bars(
    name: str,
    title: str,
    names: Sequence[str],
    values: np.ndarray,
    xlabel: str,
    log: bool = False,
) -> Iterator[Chart]:
    """Charts of sorted bars, as many as there is room for in each; zeros are only named."""
    order = [int(i) for i in np.argsort(-values, kind='stable') if values[i]]
    missing = ', '.join(names[i] for i in np.flatnonzero(values == 0))
    about = f'Not found: {missing}.' if missing else 'Every class is found.'
    for start in range(0, len(order), MOST_BARS):
        part = order[start : start + MOST_BARS]
        number = f'_{start // MOST_BARS + 1}' if len(order) > MOST_BARS else ''
        chosen = [float(values[i]) for i in part]
        figure = bars(
            [names[i] for i in part], {title: chosen}, title=title, xlabel=xlabel, log=log
        )
        yield name + number, figure, about


def _at_border(listing: Listing) -> int:
    """Objects that touch the border of their image, which often cuts them off."""
    boxes = listing.boxes[listing.objects]
    sizes = listing.sizes[listing.images[listing.objects]]
    edge = (boxes[:, :2] <= EDGE).any(axis=1) | (boxes[:, 2:] >= sizes - EDGE).any(axis=1)
    return int((edge & sizes.all(axis=1)).sum())


def count(number: int, what: str) -> str:
    """'1 class', '2 classes'."""
    ending = 'es' if what.endswith('s') else 's'
    return f'{number} {what}{ending * (number != 1)}'


def _thirds(side: np.ndarray) -> list[int]:
    counts = np.histogram(side, [0, SMALL, MEDIUM, np.inf])[0]
    return [int(count) for count in counts]


def _spread(values: Sequence[float] | np.ndarray) -> dict[str, float] | None:
    """Least, quartiles and greatest of values; None of none."""
    if not len(values):
        return None
    names = ('least', 'quarter', 'median', 'three_quarters', 'most')
    found = np.quantile(np.asarray(values, float), [0, 0.25, 0.5, 0.75, 1])
    return {name: round(float(value), 3) for name, value in zip(names, found)}
