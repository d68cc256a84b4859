# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Whether a config has the sections that mmengine's Runner needs."""

from __future__ import annotations

from mmengine.config import Config

from ..errors import RecipeError

TRAINING = ('train_dataloader', 'train_cfg', 'optim_wrapper')
VALIDATION = ('val_dataloader', 'val_cfg', 'val_evaluator')
TESTING = ('test_dataloader', 'test_cfg', 'test_evaluator')


def check_sections(cfg: Config, *, training: bool) -> None:
    """Check that a config has a model and what training, or a test, needs.

    Raises:
        RecipeError: a section is missing, or only some of those that belong together are there.
    """
    needed = ('model', *(TRAINING if training else TESTING))
    missing = [
        name for name in needed if cfg.get(name) is None or (name == 'model' and not cfg.model)
    ]
    if missing:
        raise RecipeError(
            f'the config has no {", ".join(missing)}, which '
            f'{"training" if training else "a test"} needs: begin with _base_ and a recipe of '
            'configs/, or write the section'
        )
    for group in (VALIDATION, TESTING):
        lacking = [name for name in group if cfg.get(name) is None]
        if 0 < len(lacking) < len(group):
            given = [name for name in group if name not in lacking]
            raise RecipeError(
                f'the config has {" and ".join(given)}, but no {" and ".join(lacking)}, which '
                'belong together: write what is missing, or set the others to None'
            )
