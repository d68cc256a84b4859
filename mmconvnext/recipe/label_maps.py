# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Lets pipelines read ids in forms that mmseg does not know, and tells it; rows for the table."""

from __future__ import annotations

import os
from collections.abc import Iterator

from mmengine.config import Config

from ..data.label_maps import GREY_WITH_ALPHA, LabelMap
from ..data.ledger import Ledger
from ..registry import TRANSFORMS
from .checks.finding import Finding
from .checks.label_pairs import unused_maps
from .checks.labels import labels_in
from .data_table import Split
from .label_files import MMSEGS, OURS, LabelFiles, label_files, used_maps
from .walk import dicts, task, type_name

TYPE = f'{TRANSFORMS.scope}.{OURS}'


def mend_label_maps(cfg: Config, loaders: tuple, table: list[Split]) -> Iterator[Finding]:
    """Let ``cfg`` load label maps whose ids are in R = G = B, beside alpha, or in .npy files.

    Maps in mmseg's own form leave it as it is. All processes of a run do the same.

    Args:
        table: gets a row for each dataset with label maps.
    """
    if task(cfg) != 'mmseg':  # mmdet has a transform of the same name
        return
    told = set()
    used = used_maps(cfg)
    for files in label_files(cfg, loaders):
        ledger = _noticed(files)
        if ledger.mended:
            _load_by_ours(files.dataset)
            _load_by_ours(cfg.get('tta_pipeline'))
        for kind, tally in ledger.mended.items():
            text = f'{files.maps}: mended: {tally.count} {kind} ({tally})'
            if text not in told:
                told.add(text)
                yield Finding(text)
        for name in unused_maps(files, used):
            ledger.leave_out('label maps without an image', name)
        table.append(_row(files, ledger))


def _noticed(files: LabelFiles) -> Ledger:
    ledger = Ledger()
    contents = files.contents
    if files.transforms and not any(content.is_coloured for content in contents.values()):
        for file, content in contents.items():
            if content.is_reducible:
                ledger.mend(_form(content), os.path.relpath(file, files.maps))
    return ledger


def _form(content: LabelMap) -> str:
    if content.kind == 'NPY':
        return 'label maps are .npy files'
    if content.mode in GREY_WITH_ALPHA:
        return 'label maps have an alpha channel, which is left out'
    alpha = ', and alpha, which is left out' if content.mode != 'RGB' else ''
    return f'label maps hold the id in R = G = B{alpha}'


def _load_by_ours(node: object) -> None:
    for _, transform in dicts(node):
        if type_name(transform) == MMSEGS:
            transform['type'] = TYPE


def _row(files: LabelFiles, ledger: Ledger) -> Split:
    contents, labels = files.contents, labels_in(files)
    label_of = {name: i for i, name in enumerate(files.names, int(files.reduces))}
    return Split(
        name=files.loader.partition('_')[0],
        file=files.maps,
        images=len(files.pairs) + len(files.skipped),
        images_used=sum(not contents[file].error for file in files.pairs.values())
        + len(files.skipped),
        classes={name: labels[label_of[name]] for name in files.classes if name in label_of},
        mended={kind: tally.count for kind, tally in ledger.mended.items()},
        left_out={kind: tally.count for kind, tally in ledger.left_out.items()},
    )
