# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The dataset of a loader, built as mmengine's Runner does, and the datasets inside of it."""

from __future__ import annotations

import contextlib
import copy
import inspect
import io
from collections.abc import Iterator

from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from ...draw import fill_up
from ...recipe.checks.loading import turns_images
from ...recipe.errors import RecipeError
from ...recipe.walk import datasets, dicts, registered, task


class Split:
    """The data of a loader.

    Args:
        cfg: a config that is ready to run.
        loader: 'train_dataloader', ...

    Attributes:
        dataset: what the model is fed from, with its pipeline.
        parts: the innermost datasets, which list the images.
        left_out: for each part, the infos of images that its ``filter_cfg`` leaves out.
        classes, colours: of the first part.
        turns: whether images are turned by their EXIF orientation when they are loaded.

    Raises:
        RecipeError: the dataset cannot be built, or has no images.
    """

    def __init__(self, cfg: Config, loader: str):
        self.name = loader.partition('_')[0]
        self.turns = all(turns_images(node) for _, node in datasets(cfg, (loader,)))
        init_default_scope(task(cfg))
        node = copy.deepcopy(cfg[loader]['dataset'])
        for _, part in dicts(node):
            kind = registered(cfg, DATASETS, part) if 'type' in part else None
            known = _parameters(kind) if kind else ()
            if 'lazy_init' in known:
                part['lazy_init'] = True  # until filter_data is watched
            if 'serialize_data' in known:
                part['serialize_data'] = False  # which helps workers, and takes time
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # pycocotools talks
                self._build(node)
        except RecipeError:
            raise
        except Exception as error:  # a dataset can fail in any way
            raise RecipeError(
                f'{loader}.dataset cannot be built: {type(error).__name__}: {error}'
            ) from error
        info = self.parts[0].metainfo
        self.classes: list[str] = [str(name) for name in info.get('classes') or ()]
        palette = info.get('palette')
        is_list = isinstance(palette, (list, tuple))  # mmdet also knows names, such as 'random'
        self.colours = fill_up(palette if is_list else None, len(self.classes))

    def _build(self, node: dict) -> None:
        self.dataset = DATASETS.build(node)
        self.parts = list(_innermost(self.dataset))
        self.left_out = [_watch_filter(part, self.name) for part in self.parts]
        for part in (*self.parts, self.dataset):
            if hasattr(part, 'full_init'):
                part.full_init()

    def infos(self, part: int) -> Iterator[dict]:
        """What a part knows of each of its images, not to be changed."""
        dataset = self.parts[part]
        if getattr(dataset, 'data_list', None):
            yield from dataset.data_list  # get_data_info would copy it
        else:
            yield from (dataset.get_data_info(index) for index in range(len(dataset)))

    def place(self, index: int) -> tuple[int, int]:
        """The part, and the index in it, of an image of ``dataset``."""
        dataset = self.dataset
        while True:
            inner = _members(dataset)
            if not inner:
                return next(i for i, part in enumerate(self.parts) if part is dataset), index
            found = index
            if hasattr(dataset, '_get_ori_dataset_idx'):  # of mmengine's wrappers
                found = dataset._get_ori_dataset_idx(index)
            number, index = found if isinstance(found, tuple) else (0, found)
            dataset = inner[number]


def _parameters(kind: type) -> set[str]:
    """Those of a type, and those that it passes on to the types that it inherits from."""
    names: set[str] = set()
    for base in kind.__mro__:
        parameters = inspect.signature(base.__init__).parameters if base is not object else {}
        names |= set(parameters)
        if not any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
            break
    return names


def _members(dataset: object) -> list:
    several = getattr(dataset, 'datasets', None)
    if several:
        return list(several)
    return [dataset.dataset] if hasattr(dataset, 'dataset') else []


def _innermost(dataset: object) -> Iterator[object]:
    inner = _members(dataset)
    if not inner:
        yield dataset
    for member in inner:
        yield from _innermost(member)


def _watch_filter(dataset: object, name: str) -> list[dict]:
    """The list that will get what ``filter_data`` leaves out, when the dataset is read.

    Raises, at that time:
        RecipeError: nothing is left.
    """
    left_out: list[dict] = []
    if getattr(dataset, '_fully_initialized', True):  # too late
        return left_out
    filter_data = dataset.filter_data

    def watched() -> list[dict]:
        listed = list(dataset.data_list)
        kept = filter_data()
        known = {id(info) for info in kept}
        left_out.extend(info for info in listed if id(info) not in known)
        if not kept:
            raise RecipeError(
                f'the dataset of {name}_dataloader has no images: {len(listed)} are listed, of '
                f'which filter_cfg leaves out {len(left_out)}; correct its files, or filter_cfg'
            )
        return kept

    dataset.filter_data = watched
    return left_out
