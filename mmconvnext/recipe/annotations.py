# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Lets datasets and evaluators read the sound form of their COCO files, and tells what was mended.

The config then names files in the user's cache. It keeps the listed names too, so that a saved
config works after the cache was cleared.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config, ConfigDict

from ..data.coco.kept import Kept, sound_file
from ..data.coco.wanted import Wanted
from .checks.classes import class_names, dataset_type, metric_type, thing_classes
from .checks.files import is_remote
from .checks.finding import Finding, passed
from .checks.loading import check_loading, turns_images
from .data_table import Split
from .errors import RecipeError
from .walk import LOADERS, datasets, dicts

LISTED = 'listed_annotations'  # key of a config: the listed file by that which is read instead
OPTIONS = ('crowd_as_object', 'apply_exif', 'masks_from_boxes')  # of own_data


class Use(NamedTuple):
    """A place in a config that reads a COCO file, and what it wants of it."""

    path: str
    node: ConfigDict
    file: str
    wanted: Wanted
    on_disk: bool = True  # whether the images are files here


def mend_annotations(cfg: Config, loaders: tuple, table: list[Split]) -> Iterator[Finding]:
    """Make all COCO files sound; let ``cfg`` read the sound form where it differs.

    Args:
        table: gets a row for each loader whose file was read.

    Raises:
        RecipeError: an option of own_data is neither True nor False.
    """
    _restore(cfg)
    uses = [use for loader in loaders for use in _uses(cfg, loader)]
    by_file: dict[str, list[Use]] = {}
    for use in uses:
        by_file.setdefault(os.path.realpath(use.file), []).append(use)
    for members in by_file.values():
        first = members[0]
        kept = sound_file(Path(first.file), _joined(cfg, members), first.on_disk)
        yield from _findings(first, kept)
        if str(kept.file) != first.file:
            cfg.setdefault(LISTED, {})[str(kept.file)] = first.file
            for use in members:
                use.node['ann_file'] = str(kept.file)
        for use in members:
            if use.on_disk:
                yield from check_loading(cfg, use.path, use.node, kept.facts.kinds)
            if '_dataloader' in use.path:
                table.append(Split.of(use.path.partition('_')[0], use.file, use.node, kept))


def _restore(cfg: Config) -> None:
    """Undo what an earlier run did to a config that it saved."""
    listed = cfg.get(LISTED) or {}
    for loader in LOADERS:
        nodes = [node for _, node in datasets(cfg, (loader,))]
        nodes += [node for _, node in dicts(cfg.get(loader.replace('dataloader', 'evaluator')))]
        for node in nodes:
            if node.get('ann_file') in listed:
                node['ann_file'] = listed[node['ann_file']]
    if listed:
        cfg.pop(LISTED)


def _uses(cfg: Config, loader: str) -> Iterator[Use]:
    """The COCO files of a loader's datasets, then those of its evaluators."""
    options = _options(cfg)
    transforms = [node for _, node in dicts(cfg.get(loader))]
    masks = any(node.get('with_mask') for node in transforms)
    classes: tuple[str, ...] = ()
    for path, dataset in datasets(cfg, (loader,)):
        names = class_names(cfg, dataset)
        classes = classes or thing_classes(cfg, dataset) or names
        root, file = dataset.get('data_root') or '', dataset.get('ann_file') or ''
        if is_remote(dataset) or not file or not names or not _reads_coco(cfg, dataset):
            continue
        learns, filters = loader == LOADERS[0], dataset.get('filter_cfg') or {}
        wanted = Wanted(
            folder=os.path.join(root, (dataset.get('data_prefix') or {}).get('img') or ''),
            classes=names,
            masks=masks,
            learnt=learns,
            min_size=filters.get('min_size', 0) if learns else 0,
            turns=turns_images(dataset),
            **options,
        )
        yield Use(path, dataset, os.path.join(root, file), wanted)
    evaluator = loader.replace('dataloader', 'evaluator')
    for path, metric in dicts(cfg.get(evaluator), evaluator):
        file = metric.get('ann_file') or ''
        kinds = {kind.__name__ for kind in getattr(metric_type(cfg, metric), '__mro__', ())}
        if 'CocoMetric' in kinds and os.path.isfile(file) and classes:
            metrics = metric.get('metric', 'bbox')
            segm = 'segm' in ([metrics] if isinstance(metrics, str) else metrics)
            wanted = Wanted('', classes, segm, measured=not metric.get('format_only'), **options)
            yield Use(path, metric, file, wanted, on_disk=False)


def _reads_coco(cfg: Config, dataset: dict) -> bool:
    """Whether mmdet's CocoDataset reads the file, not a dataset with its own format."""
    kinds = getattr(dataset_type(cfg, dataset), '__mro__', ())
    loading = next((kind for kind in kinds if 'load_data_list' in vars(kind)), None)
    return getattr(loading, '__name__', '') == 'CocoDataset'


def _options(cfg: Config) -> dict[str, bool]:
    own = cfg.get('own_data') or {}
    options = {name: own.get(name) or False for name in OPTIONS}
    for name, value in options.items():
        if not isinstance(value, bool):
            raise RecipeError(f'own_data.{name}={value!r}: choose True or False')
    return options


def _joined(cfg: Config, members: list[Use]) -> Wanted:
    """What all uses of a file want together; a dataset, which comes first, knows the images."""
    wanted = [use.wanted for use in members]
    return wanted[0]._replace(
        masks=any(one.masks for one in wanted),
        learnt=any(one.learnt for one in wanted),
        measured=any(one.measured for one in wanted),
        min_size=max(one.min_size for one in wanted),
        passed=passed(cfg),
    )


def _findings(use: Use, kept: Kept) -> Iterator[Finding]:
    for refusal in kept.ledger.refused:
        yield Finding(f'{use.path}: {use.file}: {refusal.text}', refusal.check)
    for what, tallies in (
        ('mended', kept.ledger.mended),
        ('left out', kept.ledger.left_out),
        ('note', kept.ledger.noted),
    ):
        for kind, tally in tallies.items():
            yield Finding(f'{use.file}: {what}: {tally.count} {kind} ({tally})')
