# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Boxes and masks of instances in COCO's JSON format, for mmdet."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.config import Config, ConfigDict

from .... import toy
from ...walk import unimported_name
from .kind import DataKind, folder, image_folder, loads, written

if TYPE_CHECKING:
    from ...checks.finding import Finding
    from ..given import OwnData

# Metrics for the files of one dataset; they become CocoMetric.
OTHER_METRICS = {
    'CityScapesMetric',
    'CrowdHumanMetric',
    'LVISFixedAPMetric',
    'LVISMetric',
    'OpenImagesMetric',
    'VOCMetric',
}
# Transforms and datasets that load more than boxes and masks, and what.
TRACKS, TEXTS = 'objects tracked through videos', 'texts that describe the objects'
OTHERS = dict(
    LoadTrackAnnotations=TRACKS,
    PackReIDInputs='identities of persons',
    RandomSamplingNegPos=TEXTS,
    LoadTextAnnotations=TEXTS,
    DODDataset=TEXTS,
    Flickr30kDataset=TEXTS,
    MDETRStyleRefCocoDataset=TEXTS,
)


class Instances(DataKind):
    """A folder of images and a COCO file for each split; ``classes`` as in the files."""

    holds = 'boxes and masks of instances'
    scope = 'mmdet'
    options = dict(
        crowd_as_object=False, apply_exif=False, masks_from_boxes=False, strip_folders=False
    )
    others = OTHERS

    def fits(self, cfg: Config | ConfigDict) -> bool:
        return True

    def lacks(self, cfg: Config | ConfigDict) -> str:
        if loads(cfg, 'with_seg'):
            return "label maps (LoadAnnotations with_seg=True, as for HTC's semantic head)"
        return super().lacks(cfg)

    def dataset(self, split: dict, own: OwnData) -> dict:
        if 'annotations' not in split:
            return image_folder(split)
        return dict(
            type='mmdet.CocoDataset',
            data_prefix=dict(img=folder(split['images'])),
            ann_file=split['annotations'],
        )

    def divide(self, root: str, train: dict, fraction: float, options: dict) -> tuple[dict, dict]:
        from ....data.coco.parts import divided  # needs pycocotools, which a segmentor does not

        parts = divided(Path(root, train['annotations']), fraction)
        learnt, measured = (dict(train, annotations=str(part)) for part in parts)
        return learnt, measured

    def choose(self, root: str, split: dict, names: list[str], options: dict) -> dict:
        from ....data.coco.parts import chosen

        return dict(split, annotations=str(chosen(Path(root, split['annotations']), names)))

    def metric(self, cfg: Config, node: dict, split: dict, own: OwnData) -> dict:
        if unimported_name(node) in OTHER_METRICS:
            what = ['bbox', 'segm'] if loads(cfg, 'with_mask') else 'bbox'
            node = ConfigDict(type='mmdet.CocoMetric', metric=what, ann_file='')
        if 'ann_file' in node:
            node['ann_file'] = posixpath.join(own.root, split['annotations'])
        return node

    def checks(self, cfg: Config, loaders: tuple) -> Iterator[Finding]:
        # Imported here because the package of checks imports the kinds.
        from ...checks.categories import check_categories
        from ...checks.masks import check_masks

        yield from check_categories(cfg, loaders)
        yield from check_masks(cfg, loaders)

    def toy(self, root: Path) -> dict:
        return dict(
            root=written(toy.write_coco, Path(root) / 'coco'),
            classes=toy.CLASSES,
            palette=toy.PALETTE,
            train=dict(images='train2017', annotations='annotations/instances_train2017.json'),
            val=dict(images='val2017', annotations='annotations/instances_val2017.json'),
        )
