# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Can the images be read that are found by listing a folder?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config
from mmengine.fileio import list_from_file

from ...data.images import image_kinds, read_headers
from ...data.ledger import Tally
from ...data.listing import endless, listed
from ..image_folder import SUFFIXES
from ..known_bad import known_bad, skips_bad
from ..label_files import setting
from ..ranks import rank
from ..walk import LOADERS, datasets
from .classes import dataset_type
from .files import is_remote
from .finding import Finding
from .loading import check_loading, turns_images
from .readers import defining
from .thin import check_thin


def check_images(cfg: Config, loaders: tuple) -> Iterator[Finding]:
    """Check the images that are found by listing a folder: those of mmseg, and of ImageFolder.

    For COCO files :func:`..annotations.mend_annotations` does the same, with what it has read.
    """
    if rank() != 0 and cfg.get('launcher', 'none') != 'none':
        return
    for path, dataset in datasets(cfg, loaders):
        folder, files = (None, []) if is_remote(dataset) else _files(cfg, dataset)
        loops = endless(folder) if folder else []
        if loops:
            yield Finding(
                f'{path}: mmseg lists {folder}, and fails at links that lead to themselves or to a '
                f'folder above ({", ".join(loops[:3])}): remove them, or give it a list of the '
                'images as ann_file, which own_data does',
                'image_files',
            )
        known = known_bad(cfg)
        files = [file for file in files if os.path.abspath(file) not in known]
        headers = read_headers(files, turns_images(dataset))
        bad = Tally()
        for file, header in headers.items():
            if header.error:
                bad.add(f'{file}: {header.error}')
        if bad.count:
            what = f'{path}: {bad.count} of {len(headers)} images cannot be read ({bad})'
            if skips_bad(cfg) and path.startswith(LOADERS[0]):
                yield Finding(f'{what}: other samples take their place (--on-bad-data skip)')
            else:
                yield Finding(f'{what}; replace or remove them', 'image_files')
        sound = [(file, header.loaded) for file, header in headers.items() if not header.error]
        if sound:
            file, sides = max(sound, key=lambda one: max(one[1]) / min(one[1]))
            yield from check_thin(path, dataset, (max(sides), min(sides)), str(file))
        several = [str(file) for file, header in headers.items() if header.several]
        if several:
            yield Finding(
                f'{path}: {len(several)} files hold several images, of which the first is loaded, '
                f'such as {several[0]}'
            )
        yield from check_loading(cfg, path, dataset, image_kinds(headers))


def _files(cfg: Config, dataset: dict) -> tuple[str | None, list[Path]]:
    """The images of a dataset that lists a folder, [] for others; the folder if mmseg lists it."""
    root, prefix = dataset.get('data_root') or '', dataset.get('data_prefix') or {}
    kinds = getattr(dataset_type(cfg, dataset), '__mro__', ())
    name = defining(kinds, 'load_data_list')
    if name == 'ImageFolder' and prefix.get('img'):
        folder = os.path.join(root, prefix['img'])
        names = (name for name in listed(folder) if name.lower().endswith(SUFFIXES))
        return None, [Path(folder, name) for name in names]
    if name == 'BaseSegDataset' and prefix.get('img_path'):
        folder = os.path.join(root, prefix['img_path'])
        suffix = str(setting(cfg, dataset, 'img_suffix', '.jpg'))
        names_file = os.path.join(root, dataset.get('ann_file') or '')
        if os.path.isfile(names_file):
            stems = [line.strip() for line in list_from_file(names_file)]
            return None, [Path(folder, f'{stem}{suffix}') for stem in stems if stem]
        return folder, [Path(folder, name) for name in listed(folder, suffix)]
    return None, []
