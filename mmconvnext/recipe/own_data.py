# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""``own_data``: one dict in a config that points a recipe at other data."""

from __future__ import annotations

import colorsys
import posixpath

from mmengine.config import Config

from .errors import RecipeError
from .walk import LOADERS, datasets, dicts, evaluators, pipelines, task

REQUIRED = {'root', 'classes', 'train', 'val'}
OPTIONAL = {
    'mmdet': {'test', 'palette'},
    'mmseg': {'test', 'palette', 'reduce_zero_label', 'image_suffix', 'label_suffix'},
}
SPLIT = {'images', 'annotations'}
COCO_COLOURS = 80  # mmdet's CocoDataset draws other classes in those of COCO, and dies at the 81st


def apply_own_data(cfg: Config) -> None:
    """Expand ``cfg.own_data`` in place and remove it; nothing happens if the config has none.

    It sets, everywhere at once, what users otherwise forget in one of the places: the data of all
    three loaders, ``metainfo``, the evaluators' annotation file, ``num_classes`` of every head
    (the three of a cascade too) and, for segmentation, ``reduce_zero_label`` in every pipeline.
    ``own_data`` holds ``root``, ``classes``, ``train`` and ``val``; optionally ``test`` (else it is
    ``val``), ``palette`` (RGB a class) and for segmentation ``reduce_zero_label`` (False),
    ``image_suffix`` ('.jpg'), ``label_suffix`` ('.png'). A split is dict(images=, annotations=),
    below the root: a folder and a COCO file for detection, two folders for segmentation.
    ``classes`` are the names in the COCO files, in the order of the files (checks.categories);
    for segmentation name i is id i, or i + 1 with ``reduce_zero_label``.

    Raises:
        RecipeError: a missing or unknown key, no classes, or too few colours.
    """
    given = cfg.get('own_data')
    if given is None:
        return
    scope = task(cfg)
    _check_keys('own_data', set(given), REQUIRED, OPTIONAL[scope])
    classes = given.classes
    if isinstance(classes, str) or not classes or any(not isinstance(c, str) for c in classes):
        raise RecipeError(
            f'own_data.classes must be a list with the name of every class, got {classes!r}'
        )
    splits = dict(zip(LOADERS, (given.train, given.val, given.get('test', given.val))))
    for loader, split in splits.items():
        name = f'own_data.{loader.split("_")[0]}'
        if not isinstance(split, dict):
            raise RecipeError(f'{name} must be dict(images=..., annotations=...), got {split!r}')
        _check_keys(name, set(split), SPLIT, set())
    metainfo = dict(classes=tuple(classes))
    palette = given.get('palette')
    if palette is not None and len(palette) != len(classes):
        raise RecipeError(f'own_data.palette has {len(palette)} colours for {len(classes)} classes')
    if palette is None and scope == 'mmdet' and len(classes) > COCO_COLOURS:
        palette = _hues(len(classes))
    if palette is not None:
        metainfo['palette'] = [tuple(color) for color in palette]

    for path, dataset in datasets(cfg):
        split = splits[path.split('.')[0]]
        dataset.update(data_root=given.root, metainfo=metainfo)
        (_set_detection if scope == 'mmdet' else _set_segmentation)(dataset, split, given)
    for _, node in dicts(cfg.model):
        if 'num_classes' in node:
            node.num_classes = len(classes)
    if scope == 'mmdet':
        for key, loader in (('val_evaluator', LOADERS[1]), ('test_evaluator', LOADERS[2])):
            for metric in evaluators({key: cfg.get(key)}):
                if 'ann_file' in metric:
                    metric.ann_file = posixpath.join(given.root, splits[loader].annotations)
    else:
        for transform in pipelines(cfg):
            if 'reduce_zero_label' in transform:
                transform.reduce_zero_label = bool(given.get('reduce_zero_label', False))
    cfg.pop('own_data')


def _hues(count: int) -> list[tuple[int, ...]]:
    rgb = [colorsys.hsv_to_rgb(i / count, 1 - i % 3 / 4, 1 - i % 2 / 3) for i in range(count)]
    return [tuple(round(255 * part) for part in color) for color in rgb]


def _set_detection(dataset: dict, split: dict, given: dict) -> None:
    dataset.update(
        type='CocoDataset',
        ann_file=split['annotations'],
        data_prefix=dict(img=posixpath.join(split['images'], '')),
    )


def _set_segmentation(dataset: dict, split: dict, given: dict) -> None:
    dataset.update(
        type='BaseSegDataset',
        data_prefix=dict(img_path=split['images'], seg_map_path=split['annotations']),
        reduce_zero_label=bool(given.get('reduce_zero_label', False)),
        img_suffix=given.get('image_suffix', '.jpg'),
        seg_map_suffix=given.get('label_suffix', '.png'),
    )


def _check_keys(name: str, keys: set, required: set, optional: set) -> None:
    missing, unknown = sorted(required - keys), sorted(keys - required - optional)
    if missing or unknown:
        problem = f'lacks {missing}' if missing else f'has unknown keys {unknown}'
        raise RecipeError(
            f'{name} {problem}; it needs {sorted(required)}'
            + (f' and may have {sorted(optional)}' if optional else '')
        )
