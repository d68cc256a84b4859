# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Samples as they are loaded, and as the model gets them after its pipeline and preprocessor."""

from __future__ import annotations

import copy
import random
from typing import NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import MODELS

from ...draw import Objects, as_picture, brightened, brightness
from .listing import Listing
from .split import Split
from .view import View, resized_objects

# In the names of transforms.
LOADS, OF_LABELS, RESIZES = 'Load', ('Annotations', 'LabelMap'), 'Resize'
CHECKS = (180, 200)  # grey values of the squares that stand for padding; our choice
SQUARE = 8  # their side in pixels; our choice


class Fed(NamedTuple):
    """What the model gets.

    Attributes:
        file: of the image; another one than the sample's if its own was refused by the pipeline.
        scale: by which the image was resized, width and height.
    """

    view: View
    file: str
    scale: tuple[float, float]


def as_loaded(listing: Listing, index: int, labels: bool = True) -> View:
    """An image and its labels after the transforms that load them, and no others.

    Args:
        labels: False for the image alone.

    Raises:
        Exception: whatever the transforms raise for a bad file.
    """
    split, results = listing.split, copy.deepcopy(listing.info(index))
    for transform in split.parts[listing.places[index, 0]].pipeline.transforms:
        name = type(transform).__name__
        if LOADS in name and (labels or not loads_labels(transform)):
            results = transform(results)
            if results is None:
                raise ValueError(f'{name} gives nothing')
    image = results['img']
    boxes, masks = results.get('gt_bboxes'), results.get('gt_masks')
    objects = None
    if boxes is not None:
        labels = np.array(results.get('gt_bboxes_labels', np.zeros(len(boxes))), int)
        ignored = np.asarray(results.get('gt_ignore_flags', np.zeros(len(boxes))), bool)
        labels = np.where(ignored, len(split.classes), labels)
        objects = Objects(_boxes(boxes), labels, masks=_masks(masks))
    picture = as_picture(_rgb(image))
    times = brightness(picture)
    height, width = image.shape[:2]
    about = f'in the file: {width} x {height}{_says(times)}'
    return View(brightened(picture, times), objects, results.get('gt_seg_map'), about)


class Unusable(Exception):
    """The preprocessor cannot take the samples; the argument is its exception."""


class Feeder:
    """Gives samples as the model gets them: with random augmentation, normalized, in batches.

    Pictures show them with the normalization undone and checks where a batch is padded.

    Args:
        seed: of the random numbers, the same for each call.
    """

    def __init__(self, cfg: Config, split: Split, seed: int):
        self.split, self.seed = split, seed
        self.learns = split.name == 'train'
        loader = cfg[f'{split.name}_dataloader']
        # Other batches than those of the training are never padded to a common size.
        self.batch = int(loader.get('batch_size') or 1) if self.learns else 1
        node = cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor')
        self.preprocessor = MODELS.build(node) if node else None
        # mmcv loads BGR.
        self.is_rgb = bool(node and node.get('bgr_to_rgb'))

    def feed(self, indices: list[int], turn: int = 0) -> list[Fed | Exception]:
        """Samples of the split's dataset; an exception in the place of one that fails.

        Args:
            turn: another number gives other augmentation.
        """
        found: list[Fed | Exception] = []
        for start in range(0, len(indices), self.batch):
            items = [self._item(index, turn) for index in indices[start : start + self.batch]]
            good = [item for item in items if not isinstance(item, Exception)]
            try:
                views = iter(self._views(good) if good else [])
            except Unusable as error:
                found += [error.args[0]] * len(items)
                continue
            found += [item if isinstance(item, Exception) else next(views) for item in items]
        return found

    def _item(self, index: int, turn: int) -> dict | Exception:
        # A seed for each sample: numpy takes 32 bits.
        seed = (self.seed * 1_000_003 + index * 101 + turn) % 2**32
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        try:
            return self.split.dataset[index]
        except Exception as error:  # a broken file can raise anything
            return error

    def _views(self, items: list[dict]) -> list[Fed]:
        try:
            scales = [_scale(item['data_samples'].metainfo) for item in items]
            data = pseudo_collate(items)
            if self.preprocessor is not None:
                with torch.no_grad():
                    data = self.preprocessor(data, training=self.learns)
            inputs, samples = data['inputs'], data['data_samples']
        except Exception as error:  # of a preprocessor that wants other data
            raise Unusable(error) from error
        return [self._fed(*one) for one in zip(inputs, samples, scales)]

    def _fed(self, tensor: torch.Tensor, sample, scale: tuple) -> Fed:
        image, meta = self._picture(tensor), sample.metainfo
        shape = meta.get('img_shape') or image.shape[:2]
        objects = _objects(sample, len(self.split.classes))
        labels = sample.get('gt_sem_seg')
        if labels is not None:  # its name is mmseg's, or mmdet's
            labels = labels.get('data', labels.get('sem_seg')).numpy().squeeze(0)
        if _labels_come_late(self.split):  # in the image's own pixels
            if objects is not None:
                objects = resized_objects(objects, meta['ori_shape'][::-1], shape[::-1])
                objects = _padded(objects, image.shape)
            if labels is not None:
                own = View(np.zeros((*labels.shape, 3), np.uint8), labels=labels)
                labels = _extended(own.resized(tuple(shape[1::-1])).labels, image.shape, 255)
        times = brightness(image[: shape[0], : shape[1]])
        image, about = brightened(image, times), _about(meta, image) + _says(times)
        _show_padding(image, shape)
        return Fed(View(image, objects, labels, about), meta.get('img_path', ''), scale)

    def _picture(self, tensor: torch.Tensor) -> np.ndarray:
        values = tensor.detach().cpu().float()
        if getattr(self.preprocessor, '_enable_normalize', False):
            values = values * self.preprocessor.std + self.preprocessor.mean
        image = values.permute(1, 2, 0).numpy()
        image = image if self.is_rgb else _rgb(image)
        if -1 < image.min() and image.max() < 256:
            return as_picture(image.round().clip(0, 255).astype(np.uint8))
        return as_picture(image)  # a range that is not known is stretched


def choose(count: int, number: int, seed: int) -> list[int]:
    """``number`` of ``count`` indices, in their order, the same for a seed."""
    chosen = np.random.default_rng(seed).permutation(count)[:number]
    return sorted(int(index) for index in chosen)


def loads_labels(transform: object) -> bool:
    """Whether a transform loads labels, rather than an image."""
    name = type(transform).__name__
    return LOADS in name and any(part in name for part in OF_LABELS)


def _rgb(image: np.ndarray) -> np.ndarray:
    """mmcv's BGR as RGB, without further channels."""
    return image[..., 2::-1] if image.ndim == 3 and image.shape[2] >= 3 else image


def _boxes(boxes: object) -> np.ndarray:
    tensor = getattr(boxes, 'tensor', boxes)
    return np.asarray(tensor, np.float32).reshape(-1, 4)


def _masks(masks: object) -> np.ndarray | None:
    return None if masks is None else masks.to_ndarray().astype(bool)


def _objects(sample, count: int) -> Objects | None:
    """The objects of a data sample, then its regions to ignore."""
    if 'gt_instances' not in sample:
        return None
    parts = [sample.gt_instances]
    if 'ignored_instances' in sample:
        parts.append(sample.ignored_instances)
    boxes = [_boxes(part.bboxes) for part in parts if 'bboxes' in part]
    labels = [part.labels.numpy() for part in parts if 'bboxes' in part]
    if not boxes:
        return None
    if len(labels) > 1:
        labels[1] = np.full_like(labels[1], count)
    masks = [_masks(part.masks) for part in parts if 'masks' in part and len(part.masks)]
    total = sum(map(len, boxes))
    if masks:  # mmdet pads those of the regions to ignore less
        shape = tuple(max(mask.shape[side] for mask in masks) for side in (1, 2))
        masks = [_extended(mask, shape, 0) for mask in masks]
    return Objects(
        np.concatenate(boxes),
        np.concatenate(labels),
        masks=np.concatenate(masks) if sum(map(len, masks)) == total and total else None,
    )


def _scale(meta: dict) -> tuple[float, float]:
    width, height = (meta.get('scale_factor') or (1.0, 1.0))[:2]
    return float(width), float(height)


def _labels_come_late(split: Split) -> bool:
    """Whether test pipelines load the labels after they resized the image."""
    if split.name == 'train':
        return False
    steps = split.parts[0].pipeline.transforms
    loads = [i for i, step in enumerate(steps) if loads_labels(step)]
    before = steps[: loads[-1]] if loads else []
    return any(RESIZES in type(step).__name__ for step in before)


def _extended(array: np.ndarray, shape: tuple, value: int) -> np.ndarray:
    """(..., h, w) to the height and width of a padded image."""
    rows, columns = shape[0] - array.shape[-2], shape[1] - array.shape[-1]
    around = [(0, 0)] * (array.ndim - 2) + [(0, rows), (0, columns)]
    return np.pad(array, around, constant_values=value)


def _padded(objects: Objects, shape: tuple) -> Objects:
    if objects.masks is None:
        return objects
    return objects._replace(masks=_extended(objects.masks, shape, 0))


def _show_padding(image: np.ndarray, shape: tuple) -> None:
    """Paint checks where a batch is padded, in place."""
    rows, columns = np.indices(image.shape[:2]) // SQUARE
    grey = np.where((rows + columns) % 2, *CHECKS).astype(np.uint8)
    outside = np.ones(image.shape[:2], bool)
    outside[: shape[0], : shape[1]] = False
    image[outside] = grey[outside, None]


def _says(times: float) -> str:
    return f', brightness x {times:.2g}' if times > 1 else ''


def _about(meta: dict, image: np.ndarray) -> str:
    about = f'as the model gets it: {image.shape[1]} x {image.shape[0]}'
    if meta.get('flip'):
        about += f', flipped: {meta.get("flip_direction")}'
    return about
