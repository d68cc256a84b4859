# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Label maps for mmseg: files with a class id, or a colour, in each pixel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.config import Config, ConfigDict

from .... import toy
from ....data.label_maps import read_label_maps
from ....data.listing import endless, listed
from ....data.name_lists import written_list
from ....data.pairs import stems_of, suffix_of
from ....data.split import choose, divide
from ...walk import unimported_name
from ..label_values import OPTIONS, loader_arguments
from .kind import DataKind, written

if TYPE_CHECKING:
    from ...checks.finding import Finding
    from ..given import OwnData

OTHER_METRICS = {'CityscapesMetric'}  # for the files of one dataset; they become IoUMetric
MMSEGS, OURS = 'mmseg.LoadAnnotations', 'mmconvnext.LoadLabelMap'  # transforms that load them
UNTURNED = {'color': 'color_ignore_orientation', 'grayscale': 'grayscale_ignore_orientation'}
OUTPUT = 'work_dirs/label_maps'  # our choice; mmseg's configs for unlabelled test sets have one too


class LabelMaps(DataKind):
    """A folder of images and one of label maps for each split; class i has id i.

    With ``reduce_zero_label`` id 0 is ignored, and class i has id i + 1. ``ids`` has the value of
    each class in the files, ``colours`` its colour (R, G, B), and ``palette_file`` a table of them;
    ``ignore_ids`` are values or colours without a class. ``ignore_exif`` loads the images as they
    are stored, without turning them, as label maps are.
    """

    holds = 'a class for every pixel'
    scope = 'mmseg'
    loads = ('LoadAnnotations', 'LoadLabelMap')
    options = dict(
        reduce_zero_label=False,
        image_suffix='.jpg',
        label_suffix='.png',
        ignore_exif=False,
        **OPTIONS,
    )
    others = dict(
        LoadDepthAnnotation='depth maps',
        LoadMultipleRSImageFromFile='pairs of images between which something changed',
    )

    def fits(self, cfg: Config | ConfigDict) -> bool:
        return True

    def dataset(self, split: dict, own: OwnData) -> dict:
        prefix = dict(img_path=split['images'], seg_map_path=split.get('annotations'))
        listed = dict(ann_file=split['list']) if 'list' in split else {}
        return dict(
            type='mmseg.BaseSegDataset',
            **listed,
            data_prefix={key: folder for key, folder in prefix.items() if folder},
            reduce_zero_label=bool(own.options['reduce_zero_label']),
            img_suffix=own.options['image_suffix'],
            seg_map_suffix=own.options['label_suffix'],
        )

    def divide(self, root: str, train: dict, fraction: float, options: dict) -> tuple[dict, dict]:
        folders = _folders(root, train, options)
        stems = _stems(train, folders)
        if not stems:
            return train, dict(train)  # the checks say why
        map_of = {stem: Path(folders[2], stem + folders[3]) for stem in stems}
        maps = read_label_maps(map_of.values())
        contents = {stem: {*(maps[f].ids or maps[f].colours)} for stem, f in map_of.items()}
        learnt, measured = (
            dict(train, list=str(written_list(folders[0], part)))
            for part in divide(contents, fraction)
        )
        return learnt, measured

    def choose(self, root: str, split: dict, names: list[str], options: dict) -> dict:
        folders = _folders(root, split, options)
        stems = _stems(split, folders)
        by_name = {stem + folders[1]: stem for stem in stems}
        found, unknown = choose(list(by_name), names)
        more, unknown = choose(stems, unknown)
        if unknown:
            raise ValueError(_unknown(unknown, folders))
        wanted = {*map(by_name.get, found), *more}
        return dict(split, list=str(written_list(folders[0], wanted)))

    def complete(self, root: str, split: dict, options: dict) -> dict:
        """A list of the images, if mmseg would take label maps for images too, or never end."""
        if 'list' in split:
            return split
        images, suffix = str(Path(root, split['images'])), str(options['image_suffix'])
        if 'annotations' in split:
            stems, mistaken = stems_of(*_folders(root, split, options))
        else:
            stems, mistaken = [name.removesuffix(suffix) for name in listed(images, suffix)], []
        if mistaken or (stems and endless(images)):
            return dict(split, list=str(written_list(images, stems)))
        return split

    def set_transform(self, transform: dict, own: OwnData) -> None:
        name = unimported_name(transform)
        if name in self.loads:
            self._set_loader(transform, loader_arguments(own))
        if own.options['ignore_exif'] and name in ('LoadImageFromFile', 'LoadImage'):
            kind = transform.get('color_type', 'color')
            transform['color_type'] = UNTURNED.get(kind, kind)
        if 'reduce_zero_label' in transform:
            transform['reduce_zero_label'] = bool(own.options['reduce_zero_label'])

    def _set_loader(self, transform: dict, arguments: dict) -> None:
        for key in OPTIONS:
            transform.pop(key, None)
        if arguments or unimported_name(transform) == self.loads[1]:
            transform['type'] = OURS if arguments else MMSEGS
        transform.update(arguments)

    def metric(self, cfg: Config, node: dict, split: dict, own: OwnData) -> dict:
        if unimported_name(node) in OTHER_METRICS:
            return _iou_metric()
        return node

    def unlabelled(self, evaluator: object) -> dict:
        """IoUMetric that writes the predictions; ``--out`` of every tool sets its folder."""
        first = evaluator[0] if isinstance(evaluator, (list, tuple)) and evaluator else evaluator
        if not isinstance(first, dict) or unimported_name(first) != 'IoUMetric':
            first = _iou_metric()
        return ConfigDict({'output_dir': OUTPUT, **first, 'format_only': True})

    def checks(self, cfg: Config, loaders: tuple) -> Iterator[Finding]:
        # Imported here because the package of checks imports the kinds.
        from ...checks.labels import check_labels

        yield from check_labels(cfg, loaders)

    def toy(self, root: Path) -> dict:
        return dict(
            root=written(toy.write_ade, Path(root) / 'ade'),
            classes=toy.ADE_CLASSES,
            palette=toy.ADE_PALETTE,
            train=dict(images='images/training', annotations='annotations/training'),
            val=dict(images='images/validation', annotations='annotations/validation'),
            reduce_zero_label=True,
        )


def _folders(root: str, split: dict, options: dict) -> tuple[str, str, str, str]:
    images, maps = (str(Path(root, split[key])) for key in ('images', 'annotations'))
    return images, str(options['image_suffix']), maps, str(options['label_suffix'])


def _stems(split: dict, folders: tuple[str, str, str, str]) -> list[str]:
    if 'list' in split:
        return Path(split['list']).read_text(encoding='utf-8').splitlines()
    return stems_of(*folders)[0]


def _unknown(names: list[str], folders: tuple[str, str, str, str]) -> str:
    """Why there is no image of some names, by the first: its suffix, or the name."""
    images, suffix = folders[:2]
    text = f'{images} has no image {names[:5]} ending in {suffix!r}'
    there = [name for name in listed(images) if suffix_of(name)]
    found, _ = choose(there, names[:1])
    if not found or found[0].endswith(suffix):
        return text
    return f'{text}, but {found[0]}; set own_data.image_suffix={suffix_of(found[0])!r}'


def _iou_metric() -> ConfigDict:
    return ConfigDict(type='mmseg.IoUMetric', iou_metrics=['mIoU'])
