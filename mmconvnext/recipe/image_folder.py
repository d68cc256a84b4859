# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""A test set of images without annotations for mmdet; in mmseg, BaseSegDataset does the same."""

from __future__ import annotations

import posixpath

from mmengine.dataset import BaseDataset
from mmengine.fileio import list_dir_or_file

from ..data.listing import listed
from ..registry import DATASETS

SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')  # in any case; our choice


@DATASETS.register_module()
class ImageFolder(BaseDataset):
    """The images of a folder and its subfolders, sorted by name.

    Args:
        backend_args: arguments of mmengine's file backend; None reads local files.
        kwargs: arguments of mmengine's BaseDataset; ``data_prefix=dict(img=...)`` is the folder,
            below ``data_root``.

    Raises:
        ValueError: the folder has no images.
    """

    def __init__(self, backend_args: dict | None = None, **kwargs) -> None:
        self.backend_args = backend_args
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict]:
        """``img_path`` and ``img_id`` (its index in the list) of every image."""
        folder = self.data_prefix['img']
        local = self.backend_args in (None, dict(backend='local')) and '://' not in folder
        if local:  # mmengine would never end at a link to a folder above
            files = listed(folder)
        else:
            files = list_dir_or_file(
                folder, list_dir=False, recursive=True, backend_args=self.backend_args
            )
        names = sorted(name for name in files if name.lower().endswith(SUFFIXES))
        if not names:
            raise ValueError(f'{folder} has no images; their names end in {", ".join(SUFFIXES)}')
        paths = [posixpath.join(folder, name) for name in names]
        return [dict(img_path=path, img_id=i) for i, path in enumerate(paths)]
