# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Do the data folders and annotation files of a config exist?"""

from __future__ import annotations

import os
from pathlib import Path

from mmengine.config import Config

from ..errors import RecipeError
from ..walk import datasets, evaluators, type_name

PARTS = '/mmconvnext/splits/'  # of every cache folder; parts of files and lists of images


def check_files(cfg: Config, loaders: tuple) -> None:
    """Check that every local folder and annotation file of loaders and evaluators exists.

    Raises:
        RecipeError: one is missing; the message shows the layout that the config expects.
    """
    for path, dataset in datasets(cfg, loaders):
        if is_remote(dataset):
            continue
        if not isinstance(dataset.get('ann_file') or '', str):
            raise RecipeError(
                f'{path}.ann_file={dataset.ann_file!r} must be the name of one file; to join '
                "several, write dict(type='ConcatDataset', datasets=[...]) with a dataset for each"
            )
        expected = local_paths(dataset)
        missing = [p for p in expected if not os.path.exists(p)]
        elsewhere = [p for p in missing if PARTS in p]
        if elsewhere:
            raise RecipeError(
                f'{path}: {elsewhere[0]} does not exist; own_data made it in the cache folder of '
                'another user or machine: use the config that you wrote, not the one that was '
                'saved in the work dir'
            )
        if missing:
            layout = '\n'.join(f'  {p}{"   <- missing" * (p in missing)}' for p in expected)
            raise RecipeError(
                f'{path}: {missing[0]} does not exist. Expected layout:\n{layout}\n'
                'Put or link the data there, set own_data in your config (docs/own_data.md), or '
                'rehearse with --toy'
            )
    for metric in evaluators(cfg):
        file = metric.get('ann_file')
        if file and '://' not in file and not os.path.exists(file):
            raise RecipeError(
                f'the {type_name(metric)} of an evaluator reads {file}, which does not exist; '
                "it is usually the annotation file of that loader's dataset"
            )


def is_remote(dataset: dict) -> bool:
    """Whether the data is read through one of mmengine's file backends."""
    backend = dataset.get('backend_args') or dict(backend='local')
    return '://' in str(dataset.get('data_root', '')) or backend != dict(backend='local')


def local_paths(dataset: dict) -> list[str]:
    """The root, the annotation file and the folders of a dataset, in this order."""
    root = dataset.get('data_root') or ''
    below = [dataset.get('ann_file') or '', *(dataset.get('data_prefix') or {}).values()]
    paths = [os.path.join(root, p) for p in below if p]
    return [str(Path(p)) for p in ([root] if root else []) + paths]
