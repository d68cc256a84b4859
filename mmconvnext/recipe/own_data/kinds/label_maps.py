# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Label maps for mmseg: PNG files with a class id in each pixel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.config import Config, ConfigDict

from .... import toy
from ...walk import unimported_name
from .kind import DataKind, written

if TYPE_CHECKING:
    from ...checks.finding import Finding
    from ..given import OwnData

OTHER_METRICS = {'CityscapesMetric'}  # for the files of one dataset; they become IoUMetric
OUTPUT = 'work_dirs/label_maps'  # our choice; mmseg's configs for unlabelled test sets have one too


class LabelMaps(DataKind):
    """A folder of images and one of label maps for each split; class i has id i.

    With ``reduce_zero_label`` id 0 is ignored, and class i has id i + 1.
    """

    holds = 'a class for every pixel'
    scope = 'mmseg'
    options = dict(reduce_zero_label=False, image_suffix='.jpg', label_suffix='.png')
    others = dict(
        LoadDepthAnnotation='depth maps',
        LoadMultipleRSImageFromFile='pairs of images between which something changed',
    )

    def fits(self, cfg: Config | ConfigDict) -> bool:
        return True

    def dataset(self, split: dict, own: OwnData) -> dict:
        prefix = dict(img_path=split['images'], seg_map_path=split.get('annotations'))
        return dict(
            type='mmseg.BaseSegDataset',
            data_prefix={key: folder for key, folder in prefix.items() if folder},
            reduce_zero_label=bool(own.options['reduce_zero_label']),
            img_suffix=own.options['image_suffix'],
            seg_map_suffix=own.options['label_suffix'],
        )

    def set_transform(self, transform: dict, own: OwnData) -> None:
        if 'reduce_zero_label' in transform:
            transform['reduce_zero_label'] = bool(own.options['reduce_zero_label'])

    def metric(self, cfg: Config, node: dict, split: dict, own: OwnData) -> dict:
        if unimported_name(node) in OTHER_METRICS:
            return _iou_metric()
        return node

    def unlabelled(self, evaluator: object) -> dict:
        """IoUMetric that writes the predictions; ``--out`` of every tool sets its folder."""
        first = evaluator[0] if isinstance(evaluator, (list, tuple)) and evaluator else evaluator
        if not isinstance(first, dict) or unimported_name(first) != 'IoUMetric':
            first = _iou_metric()
        return ConfigDict({'output_dir': OUTPUT, **first, 'format_only': True})

    def checks(self, cfg: Config, loaders: tuple) -> Iterator[Finding]:
        # Imported here because the package of checks imports the kinds.
        from ...checks.labels import check_labels

        yield from check_labels(cfg, loaders)

    def toy(self, root: Path) -> dict:
        return dict(
            root=written(toy.write_ade, Path(root) / 'ade'),
            classes=toy.ADE_CLASSES,
            palette=toy.ADE_PALETTE,
            train=dict(images='images/training', annotations='annotations/training'),
            val=dict(images='images/validation', annotations='annotations/validation'),
            reduce_zero_label=True,
        )


def _iou_metric() -> ConfigDict:
    return ConfigDict(type='mmseg.IoUMetric', iou_metrics=['mIoU'])
