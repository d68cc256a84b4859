# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What a check finds, and the settings that turn a refusal into a warning."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from mmengine.config import Config

from ...data.listed_name import with_listed_names
from ..errors import RecipeError

# Keys of `checks` in a config: the names of the refusals, and what each refuses.
CHECKS = dict(
    channels='a neck or a head expects other channels than the backbone returns',
    files='a folder or an annotation file is missing',
    annotations='an annotation file is not in COCO format',
    images='entries of images are incomplete, or share an id or a file',
    image_files='images are missing or cannot be read; passed, those in COCO files are left out',
    image_bits='values of images have other bits than the loader expects, and would turn dark',
    image_channels='images have other channels than the preprocessor or the backbone',
    normalization='mean and std do not suit the values of the images, or cannot divide',
    image_sizes='listed sizes of images differ from their files',
    thin_images='of an image, a pixel high or wide, nothing is left when it is resized',
    categories='categories are incomplete, or share an id',
    references='objects refer to ids that are one lower or higher than those of the lists',
    evaluated_images='an evaluator reads the file of other images than its dataset',
    boxes='boxes are corners or fractions, or belong to other images',
    crowd='all objects are regions to ignore',
    masks='the recipe trains on masks, but the annotations have none that it can read',
    num_classes='a head predicts a different number of classes than the datasets have',
    class_names='the class names differ between datasets, or are not a list of names',
    missing_class='a class is missing from the categories of an annotation file',
    double_category='two categories of an annotation file share a name or an id',
    class_order='an annotation file lists its categories in a different order from the classes',
    classwise='the evaluator would print the AP of one class next to the name of another',
    no_objects='a split has no object of any class',
    trained_classes='the checkpoint was trained with other classes, or in another order',
    label_maps='label maps are missing, unreadable or have several channels',
    label_sizes='label maps have another size than their images',
    image_suffix='images with a label map would be left out, because their suffix is another',
    segments='panoptic categories, segments and PNGs do not match',
    label_ids='label maps hold ids that belong to no class',
    black_white='label maps hold only 0 and 255',
    one_class='a segmentor has a single class and a softmax, so it learns nothing',
    reduce_zero_label='reduce_zero_label seems to drop a class, or differs between datasets',
    variables='an option sets a variable of the config, which nothing reads any more',
    unread_options='paramwise_cfg holds options that the constructor does not read',
    num_layers='paramwise_cfg.num_layers is that of a backbone of another depth',
    group_hooks='a hook mistakes a parameter group of a layer for that of the biases',
    unused_maps='nothing uses one of the backbone maps, which stops DistributedDataParallel',
    batch_norm='a head applies batch norm to a single value per channel',
    samples='samples cannot be read, or the pipeline leaves no object of them',
    disk='the disk has no room for the first checkpoint',
    first_steps='the first training steps fail (tools/check_config.py)',
    resumed_config='settings that the result depends on are not those of the run to resume',
    schedule='the checkpoint to resume has a different schedule or optimizer from the config',
)


class Finding(NamedTuple):
    """A message for the user; ``check`` is a refusal's key in CHECKS, or '' for a warning."""

    text: str
    check: str = ''


def passed(cfg: Config) -> tuple[str, ...]:
    """The names of the refusals that the user turned into warnings."""
    settings = cfg.get('checks') or {}
    return tuple(
        sorted(n for n in CHECKS if isinstance(settings, dict) and settings.get(n) is False)
    )


def settle(cfg: Config, findings: Iterable[Finding]) -> list[str]:
    """Raise the first refusal unless ``cfg.checks`` turns it off; return the rest as warnings.

    ``checks = dict(label_ids=False)`` in a config, or ``--cfg-options checks.label_ids=False``,
    turns the refusal of this name into a warning; CHECKS lists the names.

    Raises:
        RecipeError: something is refused, or ``checks`` has an unknown key or a value that is
            neither True nor False.
    """
    settings = cfg.get('checks') or {}
    if not isinstance(settings, dict) or any(
        name not in CHECKS or not isinstance(value, bool) for name, value in settings.items()
    ):
        raise RecipeError(
            f'checks={settings!r} must hold True or False for some of {", ".join(CHECKS)}'
        )
    warnings = []
    for text, check in findings:
        assert not check or check in CHECKS, check
        text = with_listed_names(text)
        if check and settings.get(check, True):
            raise RecipeError(f'{text}\n(checks.{check}=False in the config lets this pass)')
        warnings.append(f'{text} (passed by checks.{check}=False)' if check else text)
    return warnings
