# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The interface of a kind of data; each kind is a subclass in its own file."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.config import Config, ConfigDict

from ...errors import RecipeError
from ...walk import LOADERS, dicts, pipelines, unimported_name

if TYPE_CHECKING:
    from ...checks.finding import Finding
    from ..given import OwnData


class DataKind:
    """A kind of data: how it is written in ``own_data``, and what it changes in a config.

    Attributes:
        holds: what it is, for messages.
        scope: the project whose recipes train on it, 'mmdet' or 'mmseg'.
        class_lists: keys of ``own_data`` with names of classes, in the order of the labels.
        labels: keys of a split that hold its labels. ``train`` and ``val`` need them all; a
            ``test`` split without labels gives predictions without metrics.
        evaluated: optional keys of ``val`` and ``test``, for metrics that need more files.
        options: further keys of ``own_data``, and their defaults.
        loads: the transforms that load the labels.
        others: transforms and datasets of ``scope`` that load data which this kind does not
            provide, and a description of it.
    """

    holds = ''
    scope = ''
    class_lists: tuple[str, ...] = ('classes',)
    labels: tuple[str, ...] = ('annotations',)
    evaluated: tuple[str, ...] = ()
    options: dict[str, object] = {}
    loads: tuple[str, ...] = ('LoadAnnotations',)
    others: dict[str, str] = {}

    def fits(self, cfg: Config | ConfigDict) -> bool:
        """Whether a recipe of the kind's ``scope`` trains on it."""
        raise NotImplementedError

    def lacks(self, cfg: Config | ConfigDict) -> str:
        """What a recipe loads that this kind does not provide; '' if nothing."""
        for loader in LOADERS:
            for _, node in dicts(cfg.get(loader)):
                name = unimported_name(node)
                if name in self.others:
                    return f'{self.others[name]} ({name})'
        return ''

    def num_stuff(self, own: OwnData) -> int:
        """How many of the classes, the last ones, are stuff, which has no instances."""
        return 0

    def metainfo(self, own: OwnData) -> dict:
        """``metainfo`` of every dataset."""
        return dict(classes=own.classes, palette=own.palette)

    def dataset(self, split: dict, own: OwnData) -> dict:
        """The ``type`` of a split's dataset, and the settings that locate its files."""
        raise NotImplementedError

    def divide(self, root: str, train: dict, fraction: float, options: dict) -> tuple[dict, dict]:
        """``train`` and ``val`` for ``val=fraction``: a part of the training images.

        Raises:
            ValueError: the data cannot be divided so.
        """
        raise ValueError(f'{self.holds} cannot be divided; write val=dict(...)')

    def choose(self, root: str, split: dict, names: list[str], options: dict) -> dict:
        """A split with the images of these ``names`` only.

        Raises:
            ValueError: a name is unknown.
        """
        raise ValueError(f'{self.holds} cannot be chosen by name; write a file for each split')

    def complete(self, root: str, split: dict, options: dict) -> dict:
        """A split with what only its files tell."""
        return split

    def metric(self, cfg: Config, node: dict, split: dict, own: OwnData) -> dict | None:
        """A metric of the recipe for the labels of a split; None if they do not allow it.

        Args:
            node: the recipe's metric, a copy that may be changed.
        """
        raise NotImplementedError

    def unlabelled(self, evaluator: object) -> list | dict:
        """The evaluator of a test set without labels, instead of the recipe's ``evaluator``."""
        return []

    def set_transform(self, transform: dict, own: OwnData) -> None:
        """Change a transform of the pipelines where it depends on the data."""

    def checks(self, cfg: Config, loaders: tuple) -> Iterator[Finding]:
        """What is wrong with the files that the ``loaders`` and their evaluators read."""
        raise NotImplementedError

    def toy(self, root: Path) -> dict:
        """Write the toy data of this kind below ``root`` if missing; return its ``own_data``.

        Raises:
            RecipeError: the folder holds something else.
        """
        raise NotImplementedError


def image_folder(split: dict) -> dict:
    """The dataset of a detector's test set without labels."""
    return dict(type='mmconvnext.ImageFolder', data_prefix=dict(img=split['images']))


def folder(path: str) -> str:
    """``path`` with a trailing slash, as in the prefixes of mmdet's own configs."""
    return posixpath.join(path, '')


def loads(cfg: Config, key: str) -> bool:
    """Whether a ``LoadAnnotations`` in the pipelines sets ``key``, such as ``with_mask``."""
    found = (node for node in pipelines(cfg) if unimported_name(node) == 'LoadAnnotations')
    return any(node.get(key) for node in found)


def written(write: Callable[[Path], Path], root: Path) -> str:
    """Write the toy data with ``write`` and return their folder.

    Raises:
        RecipeError: ``root`` holds something else.
    """
    try:
        return str(write(root))
    except FileExistsError as error:
        raise RecipeError(str(error)) from error
