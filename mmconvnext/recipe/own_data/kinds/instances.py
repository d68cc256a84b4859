# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Boxes and masks of instances in COCO's JSON format, for mmdet."""

from __future__ import annotations

import posixpath
from pathlib import Path

from mmengine.config import Config, ConfigDict

from .... import toy
from ...walk import unimported_name
from ..given import OwnData
from .kind import DataKind, folder, image_folder, loads, written

# Metrics for the files of one dataset; they become CocoMetric.
OTHER_METRICS = {
    'CityScapesMetric',
    'CrowdHumanMetric',
    'LVISFixedAPMetric',
    'LVISMetric',
    'OpenImagesMetric',
    'VOCMetric',
}


class Instances(DataKind):
    """A folder of images and a COCO file for each split; ``classes`` as in the files."""

    scope = 'mmdet'

    def fits(self, cfg: Config | ConfigDict) -> bool:
        return True

    def dataset(self, split: dict, own: OwnData) -> dict:
        if split.get('annotations') is None:
            return image_folder(split)
        return dict(
            type='mmdet.CocoDataset',
            data_prefix=dict(img=folder(split['images'])),
            ann_file=split['annotations'],
        )

    def metric(self, cfg: Config, node: dict, split: dict, own: OwnData) -> dict:
        if unimported_name(node) in OTHER_METRICS:
            what = ['bbox', 'segm'] if loads(cfg, 'with_mask') else 'bbox'
            node = ConfigDict(type='mmdet.CocoMetric', metric=what, ann_file='')
        if 'ann_file' in node:
            node['ann_file'] = posixpath.join(own.root, split['annotations'])
        return node

    def toy(self, root: Path) -> dict:
        return dict(
            root=written(toy.write_coco, Path(root) / 'coco'),
            classes=toy.CLASSES,
            palette=toy.PALETTE,
            train=dict(images='train2017', annotations='annotations/instances_train2017.json'),
            val=dict(images='val2017', annotations='annotations/instances_val2017.json'),
        )
