# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Images of any kind, as the test pipeline of a config wants them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import cv2
import numpy as np

from ..data.header import Header, read_header
from ..data.undecoded import why_unloaded
from ..recipe.errors import RecipeError
from ..recipe.walk import dicts, type_name
from .arguments import cut
from .arrays import KINDS, as_array, wrong_type

# Transforms of mmdet, mmseg and this package that load what new images do not have.
LABELS = ('Annotations', 'LabelMap', 'Proposals')
_DRAWING = Lock()


class Pipeline:
    """The test pipeline of a config, without the transforms that load labels.

    Args:
        steps: the pipeline's configs. They are built, so the default scope must be set.
        any_bits: load images of more than 8 bits as mmcv does, whatever comes out.

    Raises:
        RecipeError: it does not begin with loading the image.
    """

    def __init__(self, steps: Sequence[dict], any_bits: bool = False) -> None:
        from mmengine.dataset import Compose

        steps = without_labels(steps)
        names = [type_name(step) for step in steps]
        if not names or not (names[0].startswith('Load') and 'Image' in names[0]):
            raise RecipeError(
                f'the test pipeline must begin with loading the image, but it is {names}: set '
                'test_dataloader.dataset.pipeline'
            )
        # Test-time augmentation draws whether to flip, with a probability of 0 or 1.
        self.random = any('Random' in type_name(node) for _, node in dicts(steps))
        scales = [node['scale'] for _, node in dicts(steps) if isinstance(node.get('scale'), tuple)]
        # The long and the short side; of several (test-time augmentation) those in the middle.
        scales = sorted(tuple(sorted(scale, reverse=True)) for scale in scales)
        self.scale = scales[(len(scales) - 1) // 2] if scales else None
        composed = Compose(steps).transforms  # TestTimeAug replaces the dicts in its lists
        self._any_bits = any_bits
        self._load, self._rest = composed[0], Compose(composed[1:])

    def load(self, image: object) -> dict:
        """The image as the beginning of the pipeline gives it: its 'img' is as cv2 loads it.

        Raises:
            ValueError: it is no image, or its type, values or channels are not the recipe's.
        """
        results = dict(img_id=0, img_path=None, seg_fields=[])
        if isinstance(image, (str, os.PathLike)):
            image = os.fspath(image)
            if not image.strip():
                raise ValueError(f'{image!r} is no path of an image')
            file = os.path.expanduser(image)  # Path's fails for ~nobody
            if not os.path.isfile(file):
                fault = 'it is a folder' if os.path.isdir(file) else 'there is no such file'
                raise ValueError(f'{cut(os.fsdecode(image))}: {fault}')
            place = Path(os.fsdecode(file))
            self._refuse(read_header(place), image)
            try:
                results = self._load({**results, 'img_path': file})
            except AssertionError as error:  # mmcv's, which does not say why
                raise ValueError(f'{image}: {why_unloaded(place) or error}') from error
            if results is None:
                raise ValueError(f'{image}: it cannot be loaded: {why_unloaded(place)}')
        else:
            array = self._as_loaded(as_array(image), image)
            shape = array.shape[:2]
            results.update(img=array, img_shape=shape, ori_shape=shape)
        pixels = results['img']
        if pixels.dtype.kind == 'f' and not np.isfinite(pixels).all():
            name = image if isinstance(image, str) else 'the array'
            raise ValueError(f'{name}: it has values that are no numbers (nan or infinite)')
        return results

    def pack(self, loaded: dict, tile: tuple[int, int, int, int] | None = None) -> dict:
        """What the model takes, of the whole image or of a tile (x1, y1, x2, y2) of it."""
        loaded = dict(loaded)
        if tile:
            x1, y1, x2, y2 = tile
            loaded['img'] = np.ascontiguousarray(loaded['img'][y1:y2, x1:x2])
            loaded['img_shape'] = loaded['ori_shape'] = (y2 - y1, x2 - x1)
        height, width = loaded['img'].shape[:2]
        try:
            if not self.random:
                return self._rest(loaded)
            with _same_random_numbers():
                return self._rest(loaded)
        except cv2.error as error:
            if not self.scale or min(height, width) * self.scale[0] >= max(height, width):
                raise
            raise ValueError(
                f'an image of {width} x {height} pixels is too thin: as large as the recipe makes '
                f'it, at most {self.scale[0]} pixels long, nothing is left of its shorter side'
            ) from error

    def _refuse(self, header: Header, image: object) -> None:
        """Refuse what is broken, and what mmcv's LoadImageFromFile would load black."""
        if header.error:
            raise ValueError(f'{image}: {header.error}')
        ours = hasattr(self._load, 'bits')
        reduced = not getattr(self._load, 'color_type', 'color').startswith('unchanged')
        floats = header.mode == 'F' or 'float' in header.mode
        stored = not reduced or (ours and self._load.channels)
        if (floats or header.bits > 16) and not (stored or self._any_bits):
            what = 'floating-point numbers' if floats else 'integers'
            raise ValueError(
                f'{image}: its values are {header.bits}-bit {what}, which this recipe does not '
                'load: scale them to 8 or 16 bits, or train with such files, with own_data.'
                f'channels={header.channels} and mean and std of their values'
            )
        if ours:
            return
        if header.format == 'NPY':
            raise ValueError(f'{image}: this recipe loads no .npy files; own_data.bits=8 does')
        if header.bits > 8 and reduced and not self._any_bits:
            raise ValueError(
                f'{image}: it has {header.bits} bits, but this recipe loads 8; own_data.bits='
                f'{header.bits}, 12 for a 12-bit camera, scales its values '
                '(checks.image_bits=False in the config lets this pass)'
            )

    def _as_loaded(self, image: np.ndarray, given: object) -> np.ndarray:
        """An array in RGB, made of ``given``, as the first transform would load it from a file."""
        color, bits = getattr(self._load, 'color_type', 'color'), hasattr(self._load, 'bits')
        if image.dtype != np.uint8:
            if not bits or image.dtype.kind not in 'iuf':
                raise ValueError(wrong_type(image, given, bits))
            image = self._load._scaled(image, 'the array')
        channels = 1 if image.ndim == 2 else image.shape[2]
        if channels > 4 and color.startswith(('color', 'grayscale')):
            raise ValueError(
                f'an array of {channels} channels (its shape is {image.shape} as height, width, '
                f'channels); an image is {KINDS}'
            )
        if color.startswith('grayscale'):
            if channels >= 3:  # the weights of ITU-R BT.601, which cv2 takes too
                image = (image[..., :3] @ np.float32([0.299, 0.587, 0.114])).round()
            image = image.reshape(image.shape[:2]).astype(np.uint8)
        elif color.startswith('color'):
            image = image.reshape(*image.shape[:2], channels)
            image = image[..., 2::-1] if channels >= 3 else np.repeat(image[..., :1], 3, axis=2)
        else:
            wanted = getattr(self._load, 'channels', None)
            if wanted not in (None, channels):
                raise ValueError(f'an array of {channels} channels, but this recipe takes {wanted}')
            if channels >= 3:
                image = np.concatenate([image[..., 2::-1], image[..., 3:]], axis=2)
        to_float = getattr(self._load, 'to_float32', False)
        return np.ascontiguousarray(image.astype(np.float32) if to_float else image)


def without_labels(steps: Sequence) -> list:
    """A pipeline without the transforms that load labels, also inside others."""
    found = []
    for step in steps:
        if isinstance(step, (list, tuple)):  # the choices of TestTimeAug
            step = without_labels(step)
            found += [step] if step else []
        elif not (type_name(step).startswith('Load') and type_name(step).endswith(LABELS)):
            step = dict(step)
            if isinstance(step.get('transforms'), (list, tuple)):
                step['transforms'] = without_labels(step['transforms'])
            found.append(step)
    return found


@contextmanager
def _same_random_numbers() -> Iterator[None]:
    """Leave numpy's random numbers as they were."""
    with _DRAWING:  # else two threads would restore each other's
        state = np.random.get_state()
        try:
            yield
        finally:
            np.random.set_state(state)


def as_rgb(image: np.ndarray) -> np.ndarray:
    """A loaded image with its first three channels in RGB."""
    if image.ndim == 3 and image.shape[2] >= 3:
        return np.concatenate([image[..., 2::-1], image[..., 3:]], axis=2)
    return image
