# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""A transform that loads label maps whose values or colours are not the ids of the classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmcv import imfrombytes
from mmcv.transforms import BaseTransform
from mmengine import fileio

from ..data.label_maps import flat
from ..data.label_values import IGNORE, LabelValues
from ..registry import TRANSFORMS

PILLOW = 'pillow'


@TRANSFORMS.register_module()
class LoadLabelMap(BaseTransform):
    """Load a label map as mmseg's LoadAnnotations does, and translate its values into labels.

    It also reads ids in R = G = B, with or without alpha, and .npy files of ids or colours. A value
    or a colour that is not listed is an error, so that none becomes a class by chance.

    Required keys: ``seg_map_path``, ``reduce_zero_label``, ``label_map``, ``seg_fields``. Added:
    ``gt_seg_map``, uint8 (height, width), which ``seg_fields`` names.

    Args:
        ids: the value in the files of each label. None: the values are the labels, up to 255.
        ignore_ids: values, or colours, that become 255, which is ignored. 255 itself always is,
            unless ``ids`` names it.
        colours: the colour (R, G, B) of each label, instead of ``ids``.
        reduce_zero_label: None for the setting of the dataset, with which any other must agree.
        backend_args: arguments of mmengine's file backend; None reads local files.
        imdecode_backend: of :func:`mmcv.imfrombytes`; Pillow reads palettes as ids.
    """

    def __init__(
        self,
        ids: Sequence[int] | None = None,
        ignore_ids: Sequence = (),
        colours: Sequence | None = None,
        reduce_zero_label: bool | None = None,
        backend_args: dict | None = None,
        imdecode_backend: str = PILLOW,
    ) -> None:
        self.ids, self.ignore_ids, self.colours = ids, ignore_ids, colours
        self.reduce_zero_label = reduce_zero_label
        self.backend_args = backend_args.copy() if backend_args else None
        self.imdecode_backend = imdecode_backend
        self._values = LabelValues(ids, ignore_ids, colours)

    def transform(self, results: dict) -> dict:
        """Add ``gt_seg_map``.

        Raises:
            ValueError: the file holds an unknown value, or cannot be decoded; or the dataset has
                another ``reduce_zero_label``.
        """
        file, reduces = results['seg_map_path'], results['reduce_zero_label']
        if self.reduce_zero_label not in (None, reduces):
            raise ValueError(
                f'reduce_zero_label={self.reduce_zero_label} of LoadLabelMap, but {reduces} of the '
                'dataset; leave it out here'
            )
        data = fileio.get(file, backend_args=self.backend_args)
        try:
            labels = self._labels(data)
        except Exception as error:  # a broken file can raise anything
            raise ValueError(f'{file} cannot be used as a label map: {error}') from error
        if reduces:  # 0 is ignored, and 255 stays
            labels = np.where(labels == IGNORE, IGNORE, labels - 1)
        names = results.get('label_map') or {}
        for old, label in [(labels == old, new) for old, new in names.items()]:
            labels[old] = label
        results['gt_seg_map'] = labels
        results['seg_fields'].append('gt_seg_map')
        return results

    def _labels(self, data: bytes) -> np.ndarray:
        if self.imdecode_backend == PILLOW:
            return self._values.read(data)
        array = imfrombytes(data, flag='unchanged', backend=self.imdecode_backend)
        if array.ndim == 3 and array.shape[2] > 2 and self.imdecode_backend != 'tifffile':
            array = array[..., 2::-1]  # BGR or BGRA
        return self._values.labels(flat(array, self._values.in_colour))

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(ids={self.ids}, ignore_ids={self.ignore_ids}, '
            f'colours={self.colours}, reduce_zero_label={self.reduce_zero_label}, '
            f'imdecode_backend={self.imdecode_backend!r}, backend_args={self.backend_args})'
        )
