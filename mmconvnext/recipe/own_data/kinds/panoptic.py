# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Things and stuff in COCO's panoptic format, a JSON file and a folder of PNGs, for mmdet."""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log

from .... import toy
from ...walk import pipelines, unimported_name
from .kind import DataKind, folder, image_folder, written

if TYPE_CHECKING:
    from ...checks.finding import Finding
    from ..given import OwnData

LOADS = 'LoadPanopticAnnotations'


class Panoptic(DataKind):
    """A folder of images, a panoptic JSON file and its folder of PNGs for each split.

    ``classes`` are the things and ``stuff_classes`` the stuff, as in the file, things first. Both
    are needed: PQ of no class is 0/0 in mmdet's metric. ``instances`` of ``val`` and ``test`` is
    COCO's instance file of the same images, for box and mask AP, which not all recipes report.
    """

    holds = 'things and stuff'
    scope = 'mmdet'
    class_lists = ('classes', 'stuff_classes')
    labels = ('annotations', 'segments')
    evaluated = ('instances',)
    loads = (LOADS,)

    def fits(self, cfg: Config | ConfigDict) -> bool:
        return any(unimported_name(transform) == LOADS for transform in pipelines(cfg))

    def num_stuff(self, own: OwnData) -> int:
        return len(own.class_lists['stuff_classes'])

    def metainfo(self, own: OwnData) -> dict:
        things, stuff = own.class_lists.values()
        return dict(super().metainfo(own), thing_classes=things, stuff_classes=stuff)

    def dataset(self, split: dict, own: OwnData) -> dict:
        if 'annotations' not in split:
            return image_folder(split)
        return dict(
            type='mmdet.CocoPanopticDataset',
            data_prefix=dict(img=folder(split['images']), seg=folder(split['segments'])),
            ann_file=split['annotations'],
        )

    def metric(self, cfg: Config, node: dict, split: dict, own: OwnData) -> dict | None:
        if unimported_name(node) == 'CocoPanopticMetric':
            node['ann_file'] = posixpath.join(own.root, split['annotations'])
            node['seg_prefix'] = posixpath.join(own.root, folder(split['segments']))
        elif 'ann_file' in node and 'instances' in split:
            node['ann_file'] = posixpath.join(own.root, split['instances'])
        elif 'ann_file' in node:
            print_log(
                f'{unimported_name(node)} is left out: a panoptic file has no instances for it. '
                "For box and mask AP add COCO's instance file of the same images to the split in "
                "own_data: val=dict(..., instances='instances_val.json')",
                logger='current',
                level=logging.WARNING,
            )
            return None
        return node

    def checks(self, cfg: Config, loaders: tuple) -> Iterator[Finding]:
        # Imported here because the package of checks imports the kinds.
        from ...checks.categories import check_categories
        from ...checks.segments import check_segments

        yield from check_categories(cfg, loaders)
        yield from check_segments(cfg, loaders)

    def toy(self, root: Path) -> dict:
        def split(name: str) -> dict:
            labels = f'annotations/panoptic_{name}'
            return dict(images=name, annotations=f'{labels}.json', segments=labels)

        return dict(
            root=written(toy.write_panoptic, Path(root) / 'panoptic'),
            classes=toy.CLASSES,
            stuff_classes=toy.STUFF_CLASSES,
            palette=toy.PANOPTIC_PALETTE,
            train=split('train2017'),
            val=dict(split('val2017'), instances='annotations/instances_val2017.json'),
        )
