# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Data preprocessors of mmdet and mmseg for images of any number of channels.

mmdet's takes 1 or 3 means, and its ``bgr_to_rgb`` drops all channels but three; mmseg's leaves the
order of more than three channels. mmdet and mmseg are imported when a config asks for theirs.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..registry import MODELS


@MODELS.register_module(name='DetDataPreprocessor')
def det_data_preprocessor(**settings) -> nn.Module:
    """mmdet's DetDataPreprocessor for any number of channels; see :class:`AnyChannels`."""
    from mmdet.models.data_preprocessors import DetDataPreprocessor

    return _with_any_channels(DetDataPreprocessor)(**settings)


@MODELS.register_module(name='SegDataPreProcessor')
def seg_data_preprocessor(**settings) -> nn.Module:
    """mmseg's SegDataPreProcessor for any number of channels; see :class:`AnyChannels`."""
    from mmseg.models.data_preprocessor import SegDataPreProcessor

    return _with_any_channels(SegDataPreProcessor)(**settings)


@functools.cache
def _with_any_channels(base: type) -> type:
    return type(base.__name__, (AnyChannels, base), {'__module__': __name__})


class AnyChannels:
    """A base in front of a data preprocessor, for images (C, H, W) of any C.

    Args:
        mean, std: a value for each channel, or one for all, in the order after the conversion.
        bgr_to_rgb, rgb_to_bgr: reverse the first three channels; further ones stay behind them.
        settings: those of the preprocessor.

    Raises:
        ValueError: ``mean`` and ``std`` have different lengths, or only one is given; or both
            conversions are set.
    """

    def __init__(
        self,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        bgr_to_rgb: bool = False,
        rgb_to_bgr: bool = False,
        **settings,
    ) -> None:
        super().__init__(**settings)
        if len(mean or ()) != len(std or ()):
            raise ValueError(f'mean={mean} and std={std} must have the same length')
        if bgr_to_rgb and rgb_to_bgr:
            raise ValueError('bgr_to_rgb and rgb_to_bgr cannot both be True')
        self.reverses = bool(bgr_to_rgb or rgb_to_bgr)
        if mean:
            self._enable_normalize = True
            for name, values in (('mean', mean), ('std', std)):
                values = torch.tensor(values, dtype=torch.float32).view(-1, 1, 1)
                self.register_buffer(name, values, persistent=False)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Reverse, normalize, pad and stack ``data['inputs']``.

        Raises:
            ValueError: an image has other channels than ``mean``.
        """
        inputs = data['inputs']
        for image in inputs:
            if self._enable_normalize and len(self.mean) not in (1, image.shape[-3]):
                raise ValueError(
                    f'an image has {image.shape[-3]} channels, but mean has {len(self.mean)} '
                    'values; correct mean and std, or color_type of the transform that loads images'
                )
        if self.reverses:
            several = not isinstance(inputs, Tensor)
            inputs = [_reversed(image) for image in inputs] if several else _reversed(inputs)
        return super().forward({**data, 'inputs': inputs}, training)


def _reversed(images: Tensor) -> Tensor:
    """Images (..., C, H, W) with the first three channels in reverse order."""
    channels = images.shape[-3]
    if channels < 3:
        return images
    return images[..., [2, 1, 0, *range(3, channels)], :, :]
