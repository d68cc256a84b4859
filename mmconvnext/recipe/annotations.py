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
from .checks.classes import class_names, metric_type, thing_classes
from .checks.files import is_remote
from .checks.finding import Finding, passed
from .checks.loading import check_loading, turns_images
from .checks.readers import LISTED, defining, reads_coco
from .checks.thin import check_thin
from .data_table import Split
from .errors import RecipeError
from .known_bad import known_bad, skips_bad
from .walk import LOADERS, datasets, dicts

OPTIONS = ('crowd_as_object', 'apply_exif', 'masks_from_boxes', 'strip_folders')  # of own_data
OTHER_PICTURES = 'evaluated_images'  # name of a refusal


class Use(NamedTuple):
    """A place in a config that reads a COCO file, and what it wants of it."""

    path: str
    node: ConfigDict
    file: str
    wanted: Wanted

    @property
    def loader(self) -> str:
        return self.path.partition('_')[0]


def mend_annotations(cfg: Config, loaders: tuple, table: list[Split]) -> Iterator[Finding]:
    """Make all COCO files sound; let ``cfg`` read the sound form where it differs.

    Args:
        table: gets a row for each dataset whose file was read.

    Raises:
        RecipeError: the sound form of a file cannot be written.
    """
    found: list[tuple[Use, Kept]] = []
    for members in _by_file(use for loader in loaders for use in _uses(cfg, loader)):
        first = members[0]
        try:
            kept = sound_file(Path(first.file), _joined(cfg, members))
        except OSError as error:
            raise RecipeError(
                f'{first.file} was mended, but the result cannot be written to the cache: {error}; '
                'set the variable XDG_CACHE_HOME to a folder that has room'
            ) from error
        yield from _findings(first, kept)
        for use in members:
            if '_dataloader' in use.path:
                yield from check_loading(cfg, use.path, use.node, kept.facts.kinds)
                yield from _thin(use, kept)
            found.append((use, kept))
            if str(kept.file) != first.file:
                listed = use.node['ann_file']
                use.node['ann_file'] = str(kept.file)
                # Not setdefault: ConfigDict's returns a copy of the default.
                cfg[LISTED] = {**(cfg.get(LISTED) or {}), use.path: [str(kept.file), listed]}
    for loader in loaders:
        name = loader.partition('_')[0]
        own = [(use, kept) for use, kept in found if use.loader == name]
        rows = [(use, kept) for use, kept in own if '_dataloader' in use.path]
        table += [Split.of(name, use.file, kept) for use, kept in rows]
        if len(rows) == len(list(datasets(cfg, (loader,)))):
            yield from _other_pictures({kept.file: kept for _, kept in rows}, own[len(rows) :])


def restore_listed(cfg: Config) -> None:
    """Let a config that was saved after :func:`mend_annotations` read the listed files again."""
    listed = cfg.pop(LISTED, None) or {}
    for key in [key for loader in LOADERS for key in (loader, _evaluator(loader))]:
        for path, node in dicts(cfg.get(key), key):
            read, name = listed.get(path, (None, None))
            if read and node.get('ann_file') == read:
                node['ann_file'] = name


def _uses(cfg: Config, loader: str) -> Iterator[Use]:
    """The COCO files of a loader's datasets, then those of its evaluators."""
    options = _options(cfg)
    transforms = [node for _, node in dicts(cfg.get(loader))]
    loading = [node for node in transforms if node.get('with_mask')]
    learns, evaluator = loader == LOADERS[0], _evaluator(loader)
    metrics = [(path, node) for path, node in dicts(cfg.get(evaluator), evaluator)]
    options['turns'] = all(turns_images(dataset) for _, dataset in datasets(cfg, (loader,)))
    classes, images = (), ''  # of the first dataset, which the metrics get
    folders: dict[str, str] = {}  # of images, by annotation file
    for path, dataset in datasets(cfg, (loader,)):
        names = class_names(cfg, dataset)
        root, file = dataset.get('data_root') or '', dataset.get('ann_file') or ''
        folder = os.path.join(root, (dataset.get('data_prefix') or {}).get('img') or '')
        if not classes:
            classes = thing_classes(cfg, dataset) or names
            images = folder
        if is_remote(dataset) or not file or not names or not reads_coco(cfg, dataset):
            continue
        filters = (dataset.get('filter_cfg') or {}) if learns else {}
        wanted = Wanted(
            folder=folder,
            classes=names,
            masks=bool(loading),
            learnt=learns,
            measured=any(_measures(node) for _, node in metrics),
            polygons=learns and any(node.get('poly2mask') is False for node in loading),
            drop_empty=bool(filters.get('filter_empty_gt')),
            min_size=filters.get('min_size', 0),
            **options,
        )
        folders[os.path.realpath(os.path.join(root, file))] = folder
        yield Use(path, dataset, os.path.join(root, file), wanted)
    if any(is_remote(dataset) for _, dataset in datasets(cfg, (loader,))):
        return  # it is read as it is, so the metrics must read the same
    for path, metric in metrics:
        file = metric.get('ann_file') or ''
        if os.path.isfile(file) and classes and _evaluates_coco(cfg, metric):
            what = metric.get('metric', 'bbox')
            segm = 'segm' in ([what] if isinstance(what, str) else what)
            folder = folders.get(os.path.realpath(file), images)
            wanted = Wanted(folder, classes, segm, measured=_measures(metric), **options)
            yield Use(path, metric, file, wanted)


def _evaluator(loader: str) -> str:
    return loader.replace('dataloader', 'evaluator')


def _measures(node: dict) -> bool:
    """Whether a dict of an evaluator is a metric that compares predictions with the truth."""
    return 'type' in node and node['type'] != 'Evaluator' and not node.get('format_only')


def _evaluates_coco(cfg: Config, metric: dict) -> bool:
    """Whether mmdet's CocoMetric reads the file, not a metric such as LVIS', which inherits."""
    kinds = getattr(metric_type(cfg, metric), '__mro__', ())
    return defining(kinds, 'compute_metrics') == 'CocoMetric'


def _options(cfg: Config) -> dict[str, bool]:
    own = cfg.get('own_data') or {}
    return {name: bool(own.get(name)) for name in OPTIONS}


def _by_file(uses: Iterator[Use]) -> list[list[Use]]:
    """Uses of the same file for the same images; an evaluator's is with that of its dataset."""
    groups: dict[tuple[str, str], list[Use]] = {}
    for use in uses:
        where = os.path.realpath(use.file), os.path.realpath(use.wanted.folder)
        groups.setdefault(where, []).append(use)
    return list(groups.values())


def _joined(cfg: Config, members: list[Use]) -> Wanted:
    """What all uses of a file want together."""
    wanted = [use.wanted for use in members]
    return wanted[0]._replace(
        passed=passed(cfg),
        known_bad=known_bad(cfg),
        keep_bad=skips_bad(cfg) and all(one.learnt and not one.measured for one in wanted),
        min_size=max(one.min_size for one in wanted),
        **{
            name: any(getattr(one, name) for one in wanted)
            for name in ('masks', 'learnt', 'measured', 'polygons', 'drop_empty')
        },
    )


def _findings(use: Use, kept: Kept) -> Iterator[Finding]:
    for refusal in kept.ledger.refused:
        text = refusal.text if use.file in refusal.text else f'{use.file}: {refusal.text}'
        yield Finding(f'{use.path}: {text}', refusal.check)
    for what, tallies in (
        ('mended', kept.ledger.mended),
        ('left out', kept.ledger.left_out),
        ('note', kept.ledger.noted),
    ):
        for kind, tally in tallies.items():
            yield Finding(f'{use.file}: {what}: {tally.count} {kind} ({tally})')


def _thin(use: Use, kept: Kept) -> Iterator[Finding]:
    """Images of which nothing is left, unless the dataset's filter leaves them out."""
    long, short, name = kept.facts.thinnest or (1, 1, '')
    if not (use.wanted.learnt and short < use.wanted.min_size):
        yield from check_thin(use.path, use.node, (long, short), name)


def _other_pictures(read: dict[Path, Kept], metrics: list[tuple[Use, Kept]]) -> Iterator[Finding]:
    """An evaluator with the file of another split: its ids would mean other images."""
    pictures = sum(kept.facts.pictures for kept in read.values())
    for use, kept in metrics:
        if read and kept.file not in read and kept.facts.pictures != pictures:
            yield Finding(
                f'{use.path}.ann_file: {use.file} lists other images, or other ids of them, than '
                f'the dataset of {use.loader}_dataloader; give it the file of that dataset',
                OTHER_PICTURES,
            )
