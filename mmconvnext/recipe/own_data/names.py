# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The project of a config, found without importing the classes that it names."""

from __future__ import annotations

import inspect

from mmengine.config import Config, ConfigDict

from ..walk import dicts, task


def scope_of(cfg: Config | ConfigDict) -> str:
    """'mmdet' or 'mmseg': the default scope, else where the types of the model come from.

    Raises:
        RecipeError: neither.
    """
    if cfg.get('default_scope') is None:  # as in mmdet's and mmseg's own lazy configs
        for _, node in dicts(cfg.get('model')):
            given = dict.get(node, 'type')
            module = given.__module__ if inspect.isclass(given) else getattr(given, 'module', given)
            package = str(module).partition('.')[0]
            if package in ('mmdet', 'mmseg'):
                return package
    return task(cfg)
