# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Sets the loaders, pipelines and evaluators of a config for own data of any kind."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path

from mmengine.config import Config, ConfigDict
from mmengine.dataset import BaseDataset

from ...data.cache import cache_root
from ..errors import RecipeError
from ..walk import LOADERS, dicts, pipelines, unimported_name
from .given import OwnData

# Settings that a dataset keeps when its type changes: mmengine's, and those that most types share.
KEPT = set(inspect.signature(BaseDataset.__init__).parameters) - {'ann_file'}
KEPT |= {'_scope_', 'backend_args', 'caption_prompt', 'ignore_index', 'return_classes'}
# Samplers for any dataset; those made for a ConcatDataset depend on its parts.
SAMPLERS = {'DefaultSampler', 'InfiniteSampler', 'ClassAwareSampler', 'None'}


def set_datasets(cfg: Config | ConfigDict, own: OwnData) -> None:
    """Point every dataset of the loaders at the own data, and fit the pipelines to it.

    Raises:
        RecipeError: a loader joins datasets that differ in more than their data.
    """
    for loader in LOADERS:
        if not cfg.get(loader):
            continue
        node, make = cfg[loader], partial(_dataset, split=own.splits[loader], own=own)
        new = _replaced(f'{loader}.dataset', node['dataset'], make)
        sampler = unimported_name(node.get('sampler') or {})
        if _joins(node['dataset']) and sampler not in SAMPLERS:
            raise RecipeError(
                f'{loader}.sampler is {sampler}, which depends on the datasets that the base '
                'joins, but own_data is a single one; write sampler=dict(_delete_=True, '
                "type='DefaultSampler', shuffle=True) there"
            )
        node['dataset'] = new
    _set_test_pipelines(cfg, own)
    for transform in pipelines(cfg):
        own.kind.set_transform(transform, own)


def set_evaluators(cfg: Config | ConfigDict, own: OwnData) -> None:
    """Point every metric at the labels of its loader; a test set without labels has no metrics."""
    for loader in LOADERS[1:]:
        key, split = loader.replace('dataloader', 'evaluator'), own.splits[loader]
        given = cfg.get(key)
        if given is None:
            continue
        if not _labelled(split, own):
            cfg[key] = own.kind.unlabelled(given)
            continue
        if given == []:  # an earlier own_data had no labels here
            given = copy.deepcopy(cfg.get('val_evaluator') or [])
        nodes = given.get('metrics', given) if isinstance(given, dict) else given
        metrics = []
        for node in nodes if isinstance(nodes, (list, tuple)) else [nodes]:
            node = copy.copy(node)
            if node.pop('format_only', False):  # of a base for a test set without labels
                node.pop('output_dir', None)
            metric = own.kind.metric(cfg, node, split, own)
            if metric is not None and metric not in metrics:  # joined datasets had one each
                metrics.append(metric)
        cfg[key] = metrics[0] if nodes is given and isinstance(given, dict) else metrics


def set_cached_files(cfg: Config, own: OwnData) -> None:
    """Where a saved config names files of another cache, name those of this one."""
    values = (value for split in own.splits.values() for value in split.values())
    here = {Path(value).name: value for value in values if cache_root() in Path(value).parents}
    for loader in LOADERS:
        for key in (loader, loader.replace('dataloader', 'evaluator')):
            for _, node in dicts(cfg.get(key)):
                name = node.get('ann_file')
                if isinstance(name, str) and not Path(name).exists():
                    node['ann_file'] = here.get(Path(name).name, name)


def _labelled(split: dict, own: OwnData) -> bool:
    return own.kind.labels[0] in split


def _joins(node: dict) -> bool:
    return 'datasets' in node or (isinstance(node.get('dataset'), dict) and _joins(node['dataset']))


def _replaced(path: str, node: dict, make: Callable[[dict], dict]) -> dict:
    """``node`` with new innermost datasets; datasets that are joined become one."""
    parts = node.get('datasets')
    if isinstance(parts, (list, tuple)):
        new = [_replaced(f'{path}.datasets.{i}', part, make) for i, part in enumerate(parts)]
        other = next((i for i, part in enumerate(new) if part != new[0]), None)
        if other is not None:
            keys = sorted(k for k in {*new[0], *new[other]} if new[0].get(k) != new[other].get(k))
            raise RecipeError(
                f'{path} joins {len(parts)} datasets, which own_data would replace with one, but 0 '
                f'and {other} differ in {keys}; write the one that you want, dataset=dict('
                '_delete_=True, pipeline=...), in your config'
            )
        return new[0]
    if isinstance(node.get('dataset'), dict):
        node = copy.copy(node)
        node['dataset'] = _replaced(f'{path}.dataset', node['dataset'], make)
        return node
    return make(node)


def _dataset(node: dict, split: dict, own: OwnData) -> ConfigDict:
    new = dict(data_root=own.root, metainfo=own.kind.metainfo(own), **own.kind.dataset(split, own))
    same = unimported_name(node) == unimported_name(new)
    kept = {key: node[key] for key in node if same or key in KEPT}
    if str(kept.get('ann_file', '')).startswith(str(cache_root())):
        del kept['ann_file']  # of the own_data of a base
    return ConfigDict({**kept, **new})


def _set_test_pipelines(cfg: Config, own: OwnData) -> None:
    """The test pipeline loads labels if, and only if, the test set has them."""
    without = partial(_without, own.kind.loads)
    test = _innermost(cfg, LOADERS[2])
    if not _labelled(own.splits[LOADERS[2]], own):
        if test:
            test['pipeline'] = without(test['pipeline'])
        if cfg.get('tta_pipeline'):
            cfg['tta_pipeline'] = without(cfg['tta_pipeline'])
        return
    val = _innermost(cfg, LOADERS[1])
    loading = [without(node['pipeline']) != node['pipeline'] for node in (val, test) if node]
    if loading == [True, False]:
        test['pipeline'] = copy.deepcopy(val['pipeline'])


def _innermost(cfg: Config, loader: str) -> dict | None:
    node = cfg.get(loader) and cfg[loader]['dataset']
    while node and isinstance(node.get('dataset'), dict):
        node = node['dataset']
    return node if node and 'pipeline' in node else None


def _without(names: tuple[str, ...], steps: list) -> list:
    """A pipeline without the transforms of these names, including those inside others."""
    found = []
    for step in steps:
        if isinstance(step, (list, tuple)):  # the choices of TestTimeAug
            step = _without(names, step)
            found += [step] if step else []
        elif unimported_name(step) not in names:
            step = copy.copy(step)
            if isinstance(step.get('transforms'), (list, tuple)):
                step['transforms'] = _without(names, step['transforms'])
            found.append(step)
    return found
