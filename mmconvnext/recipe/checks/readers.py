# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Which datasets and metrics read an annotation file, and how each numbers its categories."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from mmengine.config import Config

from ..walk import datasets, dicts
from .classes import class_names, dataset_type, metric_type, thing_classes
from .coco_file import Category, read_categories
from .files import is_remote

# How mmdet's datasets (named by the class that defines load_data_list) and metrics number the
# categories: in the order of the 'file', by 'id', or 'all' of the file whatever the classes are.
DATASETS = dict(
    CocoDataset='file',
    Objects365V2Dataset='file',
    BaseVideoDataset='file',
    Objects365V1Dataset='id',
    LVISV05Dataset='all',
    LVISV1Dataset='all',
)
LISTED = 'listed_annotations'  # key of a config: by path, the file that is read and the listed one
METRICS = dict(LVISMetric='all', CocoMetric='file', CocoPanopticMetric='file')


@dataclass(frozen=True)
class Reader:
    """A dataset or a metric that reads an annotation file, and the labels that it assigns.

    ``listed`` is the user's file, if ``file`` is its sound form in the cache.
    """

    path: str
    file: str
    classes: tuple[str, ...]
    order: str
    named: bool = True  # False: the classes come from the dataset's type, not from the config
    classwise: bool = False
    listed: str = ''

    @property
    def shown(self) -> str:
        """The file that the user knows."""
        return self.listed or self.file

    @cached_property
    def categories(self) -> list[Category]:
        """The categories of the file, in the order in which they are numbered."""
        found = read_categories(self.file)
        return sorted(found) if self.order == 'id' else found

    @cached_property
    def taken(self) -> list[Category]:
        """The categories that get a label: the first is label 0."""
        if self.order == 'all':
            return self.categories
        return [category for category in self.categories if category.name in self.classes]

    @property
    def names(self) -> list[str]:
        return [category.name for category in self.taken]

    @property
    def fits(self) -> bool:
        if self.order == 'all' and not self.named:
            return len(self.taken) == len(self.classes)
        return self.names == list(self.classes)


def annotation_readers(cfg: Config, loaders: tuple) -> Iterator[Reader]:
    """The datasets and metrics of the loaders whose numbering is known."""
    sound = cfg.get(LISTED) or {}

    def listed(path: str, root: str = '') -> str:
        return os.path.join(root, sound[path][1]) if path in sound else ''

    for loader in loaders:
        # Those of the loader's first dataset, which mmengine passes to the metrics.
        classes, things, of_config = (), None, True
        for path, dataset in datasets(cfg, (loader,)):
            names = class_names(cfg, dataset)
            named = bool((dataset.get('metainfo') or {}).get('classes'))
            if not classes:
                classes, of_config = names, named
                things = thing_classes(cfg, dataset)
            order = _order_of_dataset(dataset_type(cfg, dataset))
            root, name = dataset.get('data_root') or '', dataset.get('ann_file') or ''
            file = os.path.join(root, name)
            known = order and names and name and not is_remote(dataset)
            if known and os.path.exists(file):
                yield Reader(path, file, names, order, named, listed=listed(path, root))
        evaluator = loader.replace('dataloader', 'evaluator')
        for path, metric in dicts(cfg.get(evaluator), evaluator):
            file = metric.get('ann_file') or ''
            kinds = getattr(metric_type(cfg, metric), '__mro__', ()) if file else ()
            order = next((METRICS[k.__name__] for k in kinds if k.__name__ in METRICS), None)
            if order and classes and os.path.isfile(file):
                order = 'id' if metric.get('sort_categories') and order == 'file' else order
                panoptic = any(kind.__name__ == 'CocoPanopticMetric' for kind in kinds)
                names = classes if panoptic or things is None else things  # stuff has no instances
                classwise = bool(metric.get('classwise'))
                yield Reader(path, file, names, order, of_config, classwise, listed(path))


def reads_coco(cfg: Config, dataset: dict) -> bool:
    """Whether mmdet's CocoDataset reads the file, so that its sound form can be read instead.

    Panoptic, LVIS' and Objects365's datasets inherit from it, and read the entries in another way.
    """
    kinds = getattr(dataset_type(cfg, dataset), '__mro__', ())
    readers = {defining(kinds, method) for method in ('load_data_list', 'parse_data_info')}
    return readers == {'CocoDataset'}


def defining(kinds: tuple, method: str) -> str:
    """The name of the first of the classes that defines a method; '' if none does."""
    return next((kind.__name__ for kind in kinds if method in vars(kind)), '')


def _order_of_dataset(kind: type | None) -> str | None:
    return DATASETS.get(defining(getattr(kind, '__mro__', ()), 'load_data_list'))
