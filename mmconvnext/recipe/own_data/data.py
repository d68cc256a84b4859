# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Loaders, pipelines and evaluators of a config for other data."""

from __future__ import annotations

import copy
import inspect
import posixpath
from collections.abc import Callable
from functools import partial

from mmengine.config import Config, ConfigDict
from mmengine.dataset import BaseDataset

from ..errors import RecipeError
from ..walk import LOADERS, pipelines, unimported_name
from .given import OwnData, Split

# Metrics for the files of one dataset; they become CocoMetric and IoUMetric.
OTHER_METRICS = {
    'mmdet': {
        'CityScapesMetric',
        'CrowdHumanMetric',
        'LVISFixedAPMetric',
        'LVISMetric',
        'OpenImagesMetric',
        'VOCMetric',
    },
    'mmseg': {'CityscapesMetric'},
}
# What a dataset keeps of one of another type: mmengine's own settings, and those that most share.
KEPT = set(inspect.signature(BaseDataset.__init__).parameters) - {'ann_file'}
KEPT |= {'_scope_', 'backend_args', 'caption_prompt', 'ignore_index', 'return_classes'}
# Samplers of mmengine that take any dataset; those of a ConcatDataset count its parts.
SAMPLERS = {'DefaultSampler', 'InfiniteSampler', 'ClassAwareSampler', 'None'}
LABEL_MAPS = 'work_dirs/label_maps'  # our choice, as mmseg's configs of unlabelled test sets do


def set_datasets(cfg: Config | ConfigDict, own: OwnData) -> None:
    """Point every dataset of the loaders at the own data, and the pipelines with them.

    Raises:
        RecipeError: label maps beside boxes, or datasets that cannot be one.
    """
    if own.scope == 'mmdet':
        _refuse_label_maps(cfg)
    for loader in LOADERS:
        if not cfg.get(loader):
            continue
        node, make = cfg[loader], partial(_dataset, split=own.splits[loader], own=own)
        new = _replaced(f'{loader}.dataset', node['dataset'], make)
        sampler = unimported_name(node.get('sampler') or {})
        if _joins(node['dataset']) and sampler not in SAMPLERS:
            raise RecipeError(
                f'{loader}.sampler is {sampler}, which counts the datasets that the base joins, '
                "and own_data is one; write sampler=dict(_delete_=True, type='DefaultSampler', "
                'shuffle=True) there'
            )
        node['dataset'] = new
    _set_test_pipelines(cfg, own.splits[LOADERS[2]])
    if own.scope == 'mmseg':
        for transform in pipelines(cfg):
            if 'reduce_zero_label' in transform:
                transform['reduce_zero_label'] = own.reduce_zero_label


def set_evaluators(cfg: Config | ConfigDict, own: OwnData) -> None:
    """Let every metric read the annotations of its loader; without annotations there is none."""
    for loader in LOADERS[1:]:
        key, split = loader.replace('dataloader', 'evaluator'), own.splits[loader]
        given = cfg.get(key)
        if given is None:
            continue
        if split.annotations is None:
            cfg[key] = [] if own.scope == 'mmdet' else _writes_label_maps(given)
            continue
        if given == []:  # an own_data before this one had no annotations here
            given = copy.deepcopy(cfg.get('val_evaluator') or [])
        nodes = given.get('metrics', given) if isinstance(given, dict) else given
        metrics = []
        for node in nodes if isinstance(nodes, (list, tuple)) else [nodes]:
            metric = _metric(cfg, node, split, own)
            if metric not in metrics:  # of joined datasets each had one
                metrics.append(metric)
        cfg[key] = metrics[0] if nodes is given and isinstance(given, dict) else metrics


def _refuse_label_maps(cfg: Config) -> None:
    panoptic = any(unimported_name(node).startswith('LoadPanoptic') for node in pipelines(cfg))
    if panoptic or _loads(cfg, 'with_seg'):
        raise RecipeError(
            'own_data has boxes and masks of instances, but this recipe trains on label maps too '
            '(panoptic segmentation, or HTC with its semantic head); take a recipe for instances, '
            'as mask2former_r50_8xb2-lsj-50e_coco.py, or set its datasets yourself'
        )


def _loads(cfg: Config, what: str) -> bool:
    return any(
        node.get(what) for node in pipelines(cfg) if unimported_name(node) == 'LoadAnnotations'
    )


def _joins(node: dict) -> bool:
    return 'datasets' in node or (isinstance(node.get('dataset'), dict) and _joins(node['dataset']))


def _replaced(path: str, node: dict, make: Callable[[dict], dict]) -> dict:
    """``node`` with its innermost datasets made anew; datasets that are joined become one."""
    parts = node.get('datasets')
    if isinstance(parts, (list, tuple)):
        new = [_replaced(f'{path}.datasets.{i}', part, make) for i, part in enumerate(parts)]
        other = next((i for i, part in enumerate(new) if part != new[0]), None)
        if other is not None:
            keys = sorted(k for k in {*new[0], *new[other]} if new[0].get(k) != new[other].get(k))
            raise RecipeError(
                f'{path} joins {len(parts)} datasets, which own_data would make one, but 0 and '
                f'{other} differ in {keys}; write the one that you want, dataset=dict('
                '_delete_=True, pipeline=...), in your config'
            )
        return new[0]
    if isinstance(node.get('dataset'), dict):
        node = copy.copy(node)
        node['dataset'] = _replaced(f'{path}.dataset', node['dataset'], make)
        return node
    return make(node)


def _dataset(node: dict, split: Split, own: OwnData) -> ConfigDict:
    new = dict(data_root=own.root, metainfo=dict(classes=own.classes, palette=own.palette))
    if own.scope == 'mmseg':
        prefix = dict(img_path=split.images, seg_map_path=split.annotations)
        new.update(
            type='mmseg.BaseSegDataset',
            data_prefix={key: folder for key, folder in prefix.items() if folder},
            reduce_zero_label=own.reduce_zero_label,
            img_suffix=own.image_suffix,
            seg_map_suffix=own.label_suffix,
        )
    elif split.annotations is None:
        new.update(type='mmconvnext.ImageFolder', data_prefix=dict(img=split.images))
    else:
        new.update(
            type='mmdet.CocoDataset',
            data_prefix=dict(img=posixpath.join(split.images, '')),
            ann_file=split.annotations,
        )
    same = unimported_name(node) == unimported_name(new)
    kept = {key: node[key] for key in node if same or key in KEPT}
    return ConfigDict({**kept, **new})


def _set_test_pipelines(cfg: Config, split: Split) -> None:
    """Nothing loads annotations that the test set has not; if it has, as validation does."""
    test = _innermost(cfg, LOADERS[2])
    if split.annotations is None:
        if test:
            test['pipeline'] = _without_annotations(test['pipeline'])
        if cfg.get('tta_pipeline'):
            cfg['tta_pipeline'] = _without_annotations(cfg['tta_pipeline'])
        return
    val = _innermost(cfg, LOADERS[1])
    loading = [_without_annotations(n['pipeline']) != n['pipeline'] for n in (val, test) if n]
    if loading == [True, False]:
        test['pipeline'] = copy.deepcopy(val['pipeline'])


def _innermost(cfg: Config, loader: str) -> dict | None:
    node = cfg.get(loader) and cfg[loader]['dataset']
    while node and isinstance(node.get('dataset'), dict):
        node = node['dataset']
    return node if node and 'pipeline' in node else None


def _without_annotations(steps: list) -> list:
    found = []
    for step in steps:
        if isinstance(step, (list, tuple)):  # the choices of TestTimeAug
            step = _without_annotations(step)
            found += [step] if step else []
        elif unimported_name(step) != 'LoadAnnotations':
            step = copy.copy(step)
            if isinstance(step.get('transforms'), (list, tuple)):
                step['transforms'] = _without_annotations(step['transforms'])
            found.append(step)
    return found


def _writes_label_maps(given: object) -> ConfigDict:
    """mmseg's metric for a test set without labels; ``--out`` of every tool sets its folder."""
    given = given[0] if isinstance(given, (list, tuple)) and given else given
    if not isinstance(given, dict) or unimported_name(given) != 'IoUMetric':
        given = dict(type='mmseg.IoUMetric', iou_metrics=['mIoU'])
    return ConfigDict({'output_dir': LABEL_MAPS, **given, 'format_only': True})


def _metric(cfg: Config, node: dict, split: Split, own: OwnData) -> ConfigDict:
    node = copy.copy(node)
    if unimported_name(node) in OTHER_METRICS[own.scope]:
        node = ConfigDict(type='mmseg.IoUMetric', iou_metrics=['mIoU'])
        if own.scope == 'mmdet':
            what = ['bbox', 'segm'] if _loads(cfg, 'with_mask') else 'bbox'
            node = ConfigDict(type='mmdet.CocoMetric', metric=what, ann_file='')
    if node.pop('format_only', False):  # of a base for a test set without annotations
        node.pop('output_dir', None)
    if own.scope == 'mmdet' and 'ann_file' in node:
        node['ann_file'] = posixpath.join(own.root, split.annotations)
    return node
