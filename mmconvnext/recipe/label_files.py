# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The images and label maps that the datasets of a config read, and what the values mean."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from mmengine.config import Config, ConfigDict
from mmengine.fileio import list_from_file

from ..data.images import Header, read_headers
from ..data.label_maps import LabelMap, read_label_maps
from ..data.label_values import LabelValues
from ..data.pairs import stems_of
from .checks.classes import class_names, dataset_type
from .checks.files import is_remote
from .checks.loading import turns_images
from .checks.readers import defining
from .known_bad import known_bad, skips_bad
from .walk import LOADERS, datasets, dicts, type_name

OURS, MMSEGS = 'LoadLabelMap', 'LoadAnnotations'  # transforms that load label maps


@dataclass
class LabelFiles:
    """What a dataset reads.

    Attributes:
        path: of the dataset in the config.
        names: the class of each id in the files, which mmseg maps to the config's by name.
        classes: the config's.
        reduces: ``reduce_zero_label``.
        images, maps: the folders; '' for images if the pairing of images and maps is unknown.
        pairs: the label map of each image; for an unknown pairing, of the map itself.
        skipped: pairs of which the run to resume has found one to be bad.
        mistaken: images that are label maps of others.
        is_listed: whether the images come from a list of names.
    """

    path: str
    dataset: ConfigDict
    names: tuple[str, ...]
    classes: tuple[str, ...]
    reduces: bool
    image_suffix: str
    map_suffix: str
    images: str
    maps: str
    pairs: dict[Path, Path] = field(default_factory=dict)
    skipped: dict[Path, Path] = field(default_factory=dict)
    mistaken: list[str] = field(default_factory=list)
    is_listed: bool = False
    known: dict[Path, LabelMap] = field(default_factory=dict)  # of all datasets

    @property
    def loader(self) -> str:
        return self.path.partition('.')[0]

    @cached_property
    def contents(self) -> dict[Path, LabelMap]:
        """Of every label map."""
        files = list(dict.fromkeys(self.pairs.values()))
        self.known.update(read_label_maps([file for file in files if file not in self.known]))
        return {file: self.known[file] for file in files}

    def skip_bad(self) -> None:
        """Leave the pairs out whose label map is missing or cannot be read."""
        bad = [image for image, file in self.pairs.items() if self.contents[file].error]
        self.skipped.update({image: self.pairs.pop(image) for image in bad})
        self.__dict__.pop('contents', None)  # that of all pairs

    @cached_property
    def headers(self) -> dict[Path, Header]:
        """Of every image, if the images are known."""
        return read_headers(self.pairs, self.turns) if self.images else {}

    @property
    def transforms(self) -> list[ConfigDict]:
        """The transforms of the pipeline that load label maps."""
        return [n for _, n in dicts(self.dataset) if type_name(n) in (OURS, MMSEGS)]

    @cached_property
    def values(self) -> LabelValues:
        """What the values in the files mean."""
        node = next((n for n in self.transforms if type_name(n) == OURS), {})
        return LabelValues(node.get('ids'), node.get('ignore_ids') or (), node.get('colours'))

    @property
    def turns(self) -> bool:
        """Whether images are turned by their EXIF orientation when they are loaded."""
        return turns_images(self.dataset)


def label_files(cfg: Config, loaders: tuple) -> Iterator[LabelFiles]:
    """Of every local dataset with label maps."""
    known: dict[Path, LabelMap] = {}
    bad = set(known_bad(cfg))
    for path, dataset in datasets(cfg, loaders):
        root, prefix = dataset.get('data_root') or '', dataset.get('data_prefix') or {}
        if is_remote(dataset) or not prefix.get('seg_map_path'):
            continue
        of_type = getattr(dataset_type(cfg, dataset), 'METAINFO', {}).get('classes')
        classes = class_names(cfg, dataset)
        found = LabelFiles(
            path=path,
            dataset=dataset,
            names=tuple(of_type) if of_type else classes,
            classes=classes,
            reduces=reduces_zero_label(cfg, dataset),
            image_suffix=str(setting(cfg, dataset, 'img_suffix', '.jpg')),
            map_suffix=str(setting(cfg, dataset, 'seg_map_suffix', '.png')),
            images=os.path.join(root, prefix.get('img_path') or ''),
            maps=os.path.join(root, prefix['seg_map_path']),
            known=known,
        )
        if prefix.get('img_path') and _pairs_by_name(cfg, dataset):
            _pair(found, os.path.join(root, dataset.get('ann_file') or ''))
        else:
            found.images = ''
            maps = sorted(Path(found.maps).rglob(f'*{found.map_suffix}'))
            found.pairs = {file: file for file in maps}
        if bad:
            for image, file in list(found.pairs.items()):
                if os.path.abspath(image) in bad or os.path.abspath(file) in bad:
                    found.skipped[image] = found.pairs.pop(image)
        if skips_bad(cfg) and found.loader == LOADERS[0]:
            found.skip_bad()
        yield found


def used_maps(cfg: Config) -> set[Path]:
    """The label maps of all loaders, also of those that are not checked."""
    found = label_files(cfg, LOADERS)
    return {file for one in found for file in {**one.pairs, **one.skipped}.values()}


def _pairs_by_name(cfg: Config, dataset: dict) -> bool:
    kinds = getattr(dataset_type(cfg, dataset), '__mro__', ())
    return defining(kinds, 'load_data_list') == 'BaseSegDataset'


def _pair(found: LabelFiles, list_file: str) -> None:
    """One label map for each image, or for each line of a list, as mmseg does it."""
    found.is_listed = os.path.isfile(list_file)
    if found.is_listed:
        stems = [line.strip() for line in list_from_file(list_file)]
    else:
        names = (found.images, found.image_suffix, found.maps, found.map_suffix)
        stems, found.mistaken = stems_of(*names)
        stems = sorted([*stems, *found.mistaken])
    found.pairs = {
        Path(found.images, stem + found.image_suffix): Path(found.maps, stem + found.map_suffix)
        for stem in stems
    }


def reduces_zero_label(cfg: Config, dataset: dict) -> bool:
    return bool(setting(cfg, dataset, 'reduce_zero_label'))


def setting(cfg: Config, dataset: dict, key: str, fallback: object = None) -> object:
    """A setting of a dataset from its config, else the default of its type."""
    if key in dataset:
        return dataset[key]
    for kind in getattr(dataset_type(cfg, dataset), '__mro__', ()):
        parameter = inspect.signature(kind.__init__).parameters.get(key)
        if parameter is not None:
            return parameter.default
    return fallback
