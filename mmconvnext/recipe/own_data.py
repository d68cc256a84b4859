# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""``own_data``: one dict in a config that points a recipe at other data."""

from __future__ import annotations

import colorsys
import inspect
import posixpath

from mmengine.config import Config

from .checks.classes import dataset_type, metric_type
from .errors import RecipeError
from .walk import LOADERS, datasets, dicts, evaluators, pipelines, task

REQUIRED = {'root', 'classes', 'train', 'val'}
OPTIONAL = {
    'mmdet': {'test', 'palette'},
    'mmseg': {'test', 'palette', 'reduce_zero_label', 'image_suffix', 'label_suffix'},
}
SPLIT = {'images', 'annotations'}
# Metrics of mmdet for the files of one dataset; they become CocoMetric.
OTHER_METRICS = {
    'CityScapesMetric',
    'CrowdHumanMetric',
    'LVISFixedAPMetric',
    'LVISMetric',
    'OpenImagesMetric',
    'VOCMetric',
}
COCO_COLOURS = 80  # mmdet's CocoDataset draws other classes in those of COCO, and dies at the 81st


def apply_own_data(cfg: Config) -> None:
    """Expand ``cfg.own_data`` in place and remove it; nothing happens if the config has none.

    It sets, everywhere at once, what users otherwise forget in one of the places: the data of all
    three loaders, ``metainfo``, the evaluators' annotation file, the number of classes of every
    head (the three of a cascade too, Mask2Former's things, its weights of classes) and, for
    segmentation, ``reduce_zero_label`` in every pipeline. Metrics for the files of another
    dataset (VOC, LVIS, OpenImages, ...) become CocoMetric.
    ``own_data`` holds ``root``, ``classes``, ``train`` and ``val``; optionally ``test`` (else it is
    ``val``), ``palette`` (RGB a class) and for segmentation ``reduce_zero_label`` (False),
    ``image_suffix`` ('.jpg'), ``label_suffix`` ('.png'). A split is dict(images=, annotations=),
    below the root: a folder and a COCO file for detection, two folders for segmentation.
    ``classes`` are the names in the COCO files, in the order of the files (checks.categories);
    for segmentation name i is id i, or i + 1 with ``reduce_zero_label``.

    Raises:
        RecipeError: a missing or unknown key, no classes, too few colours, or a recipe that trains
            on label maps beside the boxes (panoptic, HTC).
    """
    given = cfg.get('own_data')
    if given is None:
        return
    scope = task(cfg)
    _check_keys('own_data', set(given), REQUIRED, OPTIONAL[scope])
    classes = given.classes
    ordered = isinstance(classes, (list, tuple))  # a set has another order in every process
    if not ordered or not classes or any(not isinstance(c, str) for c in classes):
        raise RecipeError(
            f'own_data.classes must be a list with the name of every class, got {classes!r}'
        )
    if scope == 'mmdet':
        _refuse_label_maps(cfg)
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
        before = dataset_type(cfg, dataset)
        for key in ('metainfo', 'data_prefix'):  # update would keep the base's keys in them
            dataset.pop(key, None)
        dataset.update(data_root=given.root, metainfo=metainfo)
        (_set_detection if scope == 'mmdet' else _set_segmentation)(dataset, split, given)
        for key in _parameters(before) - _parameters(dataset_type(cfg, dataset)):
            dataset.pop(key, None)  # as OpenImages' label_file
    for _, node in dicts(cfg.model):
        _set_num_classes(node, len(classes))
    if scope == 'mmdet':
        for key, loader in (('val_evaluator', LOADERS[1]), ('test_evaluator', LOADERS[2])):
            for metric in evaluators({key: cfg.get(key)}):
                if getattr(metric_type(cfg, metric), '__name__', '') in OTHER_METRICS:
                    what = ['bbox', 'segm'] if _loads(cfg, 'with_mask') else 'bbox'
                    metric.clear()
                    metric.update(type='CocoMetric', metric=what, ann_file='')
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


def _refuse_label_maps(cfg: Config) -> None:
    panoptic = any('LoadPanoptic' in str(node.get('type')) for node in pipelines(cfg))
    if panoptic or _loads(cfg, 'with_seg'):
        raise RecipeError(
            'own_data has boxes and masks of instances, but this recipe trains on label maps too '
            '(panoptic segmentation, or HTC with its semantic head); take a recipe for instances, '
            'as mask2former_r50_8xb2-lsj-50e_coco.py, or set its datasets yourself'
        )


def _loads(cfg: Config, what: str) -> bool:
    return any(node.get(what) for node in pipelines(cfg) if node.type == 'LoadAnnotations')


def _parameters(kind: type | None) -> set[str]:
    """What a type and its bases can be given, beside ``type``."""
    found = getattr(kind, '__mro__', ())
    return {name for k in found for name in inspect.signature(k.__init__).parameters}


def _set_num_classes(node: dict, count: int) -> None:
    """Tell a part of the model how many classes, all of them things, there are."""
    before = node.get('num_classes')
    if 'num_things_classes' in node:
        before = node['num_things_classes'] + node.get('num_stuff_classes', 0)
    if before is None:
        return
    new = dict(num_classes=count, num_things_classes=count, num_stuff_classes=0)
    node.update({key: value for key, value in new.items() if key in node})
    for _, inner in dicts(node):  # Mask2Former weighs "no object" apart, after the classes
        weight = inner.get('class_weight')
        if isinstance(weight, (list, tuple)) and len(weight) == before + 1 != count + 1:
            inner['class_weight'] = [weight[0]] * count + [weight[-1]]


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
