# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Writes toy scenes in COCO's format for instances."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from .shapes import CLASSES, VERSION, Scene, make_scene

MARKER = 'toy.json'


def write_once(root: str | Path, params: dict, fill: Callable[[Path], None]) -> Path:
    """Lets `fill` write a dataset into a new folder `root`, all of it or nothing.

    `fill` gets a temporary folder beside `root`, renamed to `root` once it also holds the marker
    file ``toy.json`` with `params`. If `root` holds a marker with equal `params`, nothing is
    written. Returns `root`.

    Raises:
        ValueError: fewer than one image in a split, images below 64 pixels, a negative seed.
        FileExistsError: `root` holds anything else; it is left as it is.
    """
    for name, least in (('num_train', 1), ('num_val', 1), ('size', 64), ('seed', 0)):
        if params[name] < least:
            raise ValueError(f'{name} must be at least {least}, got {params[name]}')
    params = dict(params, version=VERSION)
    target = Path(root).resolve()  # so that a link to an empty folder works too
    if _holds(target, params):
        return Path(root)
    partial = target.with_name(f'.{target.name}.{uuid.uuid4().hex}.partial')
    try:
        partial.mkdir(parents=True)
        fill(partial)
        write_json(partial / MARKER, params)
        if target.exists():
            target.rmdir()  # empty, or another process was faster
        partial.rename(target)
    except OSError:
        if not _holds(target, params):
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Path(root)


def _holds(root: Path, params: dict) -> bool:
    """Whether `root` is the dataset of `params`; False if it is missing or empty."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    try:
        found = dict(json.loads((root / MARKER).read_text()))
    except (OSError, ValueError, TypeError):
        reason = f'it holds no readable {MARKER}, so it is not a toy dataset'
    else:
        names = sorted(found.keys() | params.keys())
        reason = ', '.join(
            f'its {name} is {found.get(name)!r} instead of {params.get(name)!r}'
            for name in names
            if found.get(name) != params.get(name)
        )
        if not reason:
            return True
    raise FileExistsError(
        f'{root} is in the way: {reason}. Nothing was changed there; choose '
        'another folder, or delete this one and try again'
    )


def write_json(path: Path, content: dict) -> None:
    """Writes equal bytes for equal content."""
    path.write_text(json.dumps(content, sort_keys=True) + '\n')


def mask_to_box(mask: np.ndarray) -> list[int]:
    """COCO's box [x, y, width, height] in pixels of a nonempty (H, W) bool mask."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x, y = int(cols[0]), int(rows[0])
    return [x, y, int(cols[-1]) + 1 - x, int(rows[-1]) + 1 - y]


def mask_to_rle(mask: np.ndarray) -> dict:
    """COCO's uncompressed RLE of an (H, W) bool mask: column-major runs, zeros first."""
    flat = np.concatenate(([False], mask.ravel(order='F')))
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(np.concatenate(([0], changes, [mask.size])))
    return dict(size=list(mask.shape), counts=counts.tolist())


def mask_to_polygons(mask: np.ndarray) -> list:
    """Traces an (H, W) bool mask along its pixel edges.

    Returns a list of polygons [x1, y1, x2, y2, ...] in pixels, with corners on the integer grid
    around the pixels, one for each 4-connected part; an empty list if a part has a hole, which
    COCO's polygons cannot express.
    """
    padded, edges = np.pad(mask, 1), set()  # of (corner, heading), with the mask to the right
    for heading, (right, down), neighbour in (
        ((1, 0), (0, 0), padded[:-2, 1:-1]),  # upper edges of pixels are walked rightwards
        ((0, 1), (1, 0), padded[1:-1, 2:]),
        ((-1, 0), (1, 1), padded[2:, 1:-1]),
        ((0, -1), (0, 1), padded[1:-1, :-2]),
    ):
        for y, x in np.argwhere(mask & ~neighbour).tolist():
            edges.add(((x + right, y + down), heading))
    polygons = []
    while edges:
        (x, y), (dx, dy) = min(edges)  # the upper left corner of a part
        polygon, twice_area = [], 0
        while ((x, y), (dx, dy)) in edges:
            edges.remove(((x, y), (dx, dy)))
            twice_area += x * dy - y * dx
            x, y = x + dx, y + dy
            # Right, then straight on, then left, so that pixels touching at a corner stay apart.
            for turn in ((-dy, dx), (dx, dy), (dy, -dx)):
                if ((x, y), turn) in edges:
                    break
            if turn != (dx, dy):
                polygon += [x, y]
            dx, dy = turn
        if twice_area < 0:  # walked the other way round: a hole
            return []
        polygons.append(polygon)
    return polygons


def _annotations(scene: Scene) -> list:
    """COCO's annotations of a scene, without ids."""
    annotations = []
    for mask, label, crowd in zip(scene.instance_masks, scene.labels, scene.crowd):
        polygons = [] if crowd else mask_to_polygons(mask)
        annotations.append(
            dict(
                category_id=int(label) + 1,
                bbox=mask_to_box(mask),
                area=int(mask.sum()),
                iscrowd=int(crowd),
                segmentation=polygons or mask_to_rle(mask),
            )
        )
    return annotations


def write_coco(
    root: str | Path, num_train: int = 440, num_val: int = 40, size: int = 192, seed: int = 0
) -> Path:
    """Writes a toy dataset in COCO's layout and returns `root`.

    The folder gets ``{train,val}2017/*.png`` of `size` x `size` pixels and
    ``annotations/instances_{train,val}2017.json`` with category ids 1 to 4 named as in
    ``CLASSES``. Masks without holes are polygons, the others uncompressed RLE; the first image of
    each split has the only crowd region. Equal arguments write equal bytes with equal versions
    of NumPy and Pillow; see :func:`write_once` for what is raised and when nothing is written.
    """

    params = dict(task='coco', num_train=num_train, num_val=num_val, size=size, seed=seed)
    return write_once(root, params, lambda folder: list(write_instances(folder, params)))


def write_instances(folder: Path, params: dict) -> Iterator[tuple[str, dict, Scene]]:
    """Writes the images and the COCO files of :func:`write_coco`.

    Yields the name of the split, COCO's entry and the scene of each image once it is written, so
    that other annotations of it can be written too.
    """
    (folder / 'annotations').mkdir()
    image_id = annotation_id = 0  # continue from train to val; 1 is the first, as in COCO
    size, splits = params['size'], (('train2017', 'num_train'), ('val2017', 'num_val'))
    for split, (name, count) in enumerate(splits):
        (folder / name).mkdir()
        images, annotations = [], []
        for index in range(params[count]):
            image_id += 1
            scene = make_scene((params['seed'], split, index), size, crowd=index == 0)
            file_name = f'{image_id:012d}.png'
            Image.fromarray(scene.image).save(folder / name / file_name)
            images.append(dict(id=image_id, file_name=file_name, height=size, width=size))
            for annotation in _annotations(scene):
                annotation_id += 1
                annotations.append(dict(annotation, id=annotation_id, image_id=image_id))
            yield name, images[-1], scene
        content = dict(
            coco_head(
                [dict(id=i, name=c, supercategory='shape') for i, c in enumerate(CLASSES, 1)]
            ),
            images=images,
            annotations=annotations,
        )
        write_json(folder / 'annotations' / f'instances_{name}.json', content)


def coco_head(categories: list[dict]) -> dict:
    """What every annotation file in COCO's format begins with."""
    return dict(
        info=dict(description='mmconvnext toy shapes', version=str(VERSION)),
        licenses=[dict(id=1, name='Apache-2.0', url='')],
        categories=categories,
    )
