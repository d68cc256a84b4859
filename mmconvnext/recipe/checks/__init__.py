# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What can be known to fail, or to be silently wrong, before anything is built."""

from mmengine.config import Config

from ..walk import LOADERS, task
from .classes import check_categories, check_num_classes
from .files import check_files
from .labels import check_labels
from .masks import check_masks
from .model import check_channels, check_constructor


def check_recipe(cfg: Config, loaders: tuple = LOADERS) -> list[str]:
    """Check a config against itself and against the data of ``loaders``; return warnings.

    Raises:
        RecipeError: the first thing found that cannot work.
    """
    warnings = check_constructor(cfg)
    check_channels(cfg)
    check_num_classes(cfg, loaders)
    check_files(cfg, loaders)
    if task(cfg) == 'mmdet':
        warnings += check_categories(cfg, loaders)
        if 'train_dataloader' in loaders:
            check_masks(cfg)
    else:
        check_labels(cfg, loaders)
    return warnings
