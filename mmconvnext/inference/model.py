# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""A trained model that takes images of any kind and gives results."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from torch import nn

from ..draw.colours import fill_up
from .arguments import score_of, shown, whole
from .detections import Detections, detections
from .images import Pipeline, as_rgb
from .result import Result
from .scope import in_scope
from .tiles import Tile, join, tiles_of

LARGE = 2  # tiles='auto' cuts images that would be shrunk more than so many times; our choice
LOADERS = 4  # most threads that load images; our choice


class Loaded(NamedTuple):
    """An image that is ready for the model, as a whole or in tiles."""

    path: str
    pixels: np.ndarray  # (H, W, C) or (H, W), as cv2 loads it
    inputs: list[dict]
    tiles: list[Tile] | None
    shrunk: float  # how many times longer its sides are than those that the model sees


class Model:
    """A trained model; :func:`mmconvnext.load` makes it.

    Attributes:
        classes: the names of the classes; a label is an index into them.
        colours: an (R, G, B) colour for each class.
        cfg: the config.
        pipeline: of its test data: `load` reads an image, `pack` makes the input of the model.
        net: the torch module.
        scope: 'mmdet' or 'mmseg'.
        score: objects with a lower score are left out.
    """

    def __init__(
        self,
        net: nn.Module,
        pipeline: Pipeline,
        *,
        scope: str,
        classes: Sequence[str],
        palette: Sequence | None,
        score: float,
        tiles: int | None,
        large_only: bool,
        overlap: float,
        cfg: Config,
        recipe: str = '',
    ) -> None:
        """See :func:`mmconvnext.load`.

        Args:
            tiles: side of a tile in pixels; None: no tiles.
            large_only: cut only images that would be shrunk much.
            recipe: a hash of the config's model and test pipeline.
        """
        self.net, self.cfg, self.scope = net, cfg, scope
        self.classes, self.colours = tuple(classes), fill_up(palette, len(classes))
        self.score, self.recipe = score, recipe
        self.pipeline = pipeline
        self._tiles, self._large_only, self._overlap = tiles, large_only, overlap

    def __call__(
        self, image: object, batch: int = 1, *, score: float | None = None
    ) -> Result | list[Result]:
        """The result of an image, or a list of results of a list of images.

        Args:
            image: a path, an array (H, W, 3) of uint8 in RGB, a PIL image, a torch tensor (C, H, W)
                of uint8, or a list of these. OpenCV's images are BGR: give ``image[..., ::-1]``.
                Recipes of other bits or channels (own_data) take arrays (H, W, C) of these.
            batch: how many images of a list the model sees at once.
            score: leave out objects with a lower score; None: those below the model's.

        Raises:
            ValueError: it is no image, or cannot be loaded; or ``score`` is below the model's.
        """
        score = self._threshold(score)
        if isinstance(image, (list, tuple)):
            results = self.predict(image, batch)
            return [self._forgetting(result.at_least(score)) for result in results]
        return next(self.predict([image], batch)).at_least(score)

    def predict(self, images: Iterable, batch: int = 1) -> Iterator[Result]:
        """The results of images, one after the other; the next ones are loaded meanwhile.

        The result of an image does not depend on the others in its batch.

        Raises:
            ValueError: see :meth:`__call__`.
        """
        for _, result, _ in self.attempts(images, batch):
            if isinstance(result, Exception):
                raise result
            yield result

    def attempts(
        self, images: Iterable, batch: int = 1
    ) -> Iterator[tuple[object, Result | Exception, float]]:
        """Like :meth:`predict`, but errors are results: of each image (image, result, shrunk)."""
        batch = whole('batch', batch, 1, 'a whole number from 1 on')  # 0 would give no results
        source = _several(images)
        threads = max(1, min(LOADERS, os.cpu_count() or 1, batch))
        waiting: deque[tuple[object, Future]] = deque()
        with ThreadPoolExecutor(threads) as pool:
            try:
                while True:
                    while len(waiting) < 2 * batch:  # those of the next batch load meanwhile
                        image = next(source, self)
                        if image is self:
                            break
                        waiting.append((image, self._loading(image, pool)))
                    if not waiting:
                        return
                    some = [waiting.popleft() for _ in range(min(batch, len(waiting)))]
                    yield from self._attempt(some, batch)
            finally:
                for _, future in waiting:
                    future.cancel()

    def _attempt(self, some: list[tuple[object, Future]], batch: int) -> Iterator[tuple]:
        loaded: dict[int, Loaded] = {}
        errors: dict[int, Exception] = {}
        for i, (_, future) in enumerate(some):
            try:
                loaded[i] = future.result()
            except Exception as error:  # a broken image can raise anything
                errors[i] = error
        results: dict[int, Result] = {}
        try:
            results = dict(zip(loaded, self._results([*loaded.values()], batch)))
        except Exception:  # such as too little memory: which of them is it?
            for i, one in loaded.items():
                try:
                    (results[i],) = self._results([one], 1)
                except Exception as error:
                    errors[i] = error
        for i, (image, _) in enumerate(some):
            shrunk = loaded[i].shrunk if i in results else 1
            yield image, results.get(i) or errors[i], shrunk

    def _loading(self, image: object, pool: ThreadPoolExecutor) -> Future:
        if not self.pipeline.random:
            return pool.submit(self._load, image)
        # At once: beside the caller's thread, which goes on, it would draw its random numbers.
        future: Future = Future()
        try:
            future.set_result(self._load(image))
        except Exception as error:
            future.set_exception(error)
        return future

    def _load(self, image: object) -> Loaded:
        loaded = self.pipeline.load(image)
        pixels, (height, width) = loaded['img'], loaded['img'].shape[:2]
        path = os.fsdecode(image) if isinstance(image, (str, os.PathLike)) else ''
        inputs, tiles = [], None
        if not self._tiles or self._large_only:
            inputs = [self.pipeline.pack(loaded)]
        shrunk = _shrunk(inputs[0]) if inputs else 1
        if self._tiles and (not self._large_only or shrunk > LARGE):
            tiles = tiles_of(height, width, self._tiles, self._overlap)
            inputs, shrunk = [self.pipeline.pack(loaded, tile) for tile in tiles], 1
        return Loaded(path, pixels, inputs, tiles, shrunk)

    def _results(self, images: list[Loaded], batch: int) -> list[Result]:
        found = self._detect([one for image in images for one in image.inputs], batch)
        results = []
        for image in images:
            parts, found = found[: len(image.inputs)], found[len(image.inputs) :]
            size = image.pixels.shape[:2]
            whole = join(parts, image.tiles, *size) if image.tiles else parts[0]
            pixels = as_rgb(image.pixels)
            results.append(Result(whole, pixels, size, self.classes, self.colours, image.path))
        return results

    def _detect(self, inputs: list[dict], batch: int) -> list[Detections]:
        """In batches of images that get the same padding, so that none depends on the others."""
        same: dict[tuple, list[int]] = {}
        for i, one in enumerate(inputs):
            same.setdefault(self._padded(one), []).append(i)
        found: dict[int, Detections] = {}
        with in_scope(self.scope), torch.no_grad():
            for members in same.values():
                for start in range(0, len(members), batch):
                    some = members[start : start + batch]
                    samples = self.net.test_step(pseudo_collate([inputs[i] for i in some]))
                    for i, sample in zip(some, samples):
                        found[i] = detections(sample, self.score, len(self.classes))
        return [found[i] for i in range(len(inputs))]

    def _padded(self, one: dict) -> tuple:
        images = one['inputs'] if isinstance(one['inputs'], list) else [one['inputs']]
        divisor = 1
        if self.scope == 'mmdet':
            divisor = getattr(self.net.data_preprocessor, 'pad_size_divisor', 1)
        return tuple(-(-side // divisor) for image in images for side in image.shape[-2:])

    def _threshold(self, score: float | None) -> float:
        if score is None:
            return self.score
        if score_of(score) < self.score:
            raise ValueError(
                f'score={score}: the model leaves out objects below {self.score:g}, which it was '
                f'loaded with; choose more, or load(..., score={score})'
            )
        return float(score)

    def _forgetting(self, result: Result) -> Result:
        """Without its pixels if a file has them, so that a list of results stays small."""
        if result.path:
            result._image = partial(_load_rgb, self.pipeline, result.path)
        return result


def _several(images: object) -> Iterator:
    """Over images; of one image these would be the letters of its path, or its rows."""
    one = isinstance(images, (str, bytes, os.PathLike)) or getattr(images, 'ndim', 0) in (2, 3)
    if one or not isinstance(images, Iterable):
        raise ValueError(
            f'images={shown(images)}: give a list of images; for one call the model, model(image)'
        )
    return iter(images)


def _load_rgb(pipeline: Pipeline, path: str) -> np.ndarray:
    return as_rgb(pipeline.load(path)['img'])


def _shrunk(one: dict) -> float:
    """How many times longer the sides of an image are than those that the model sees."""
    samples = one['data_samples']
    samples = samples if isinstance(samples, list) else [samples]
    factors = sorted(np.min(sample.metainfo.get('scale_factor', 1)) for sample in samples)
    return 1 / factors[(len(factors) - 1) // 2]  # as Pipeline.scale
