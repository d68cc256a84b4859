# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What a class of ours tells that refuses its arguments: the setting in the config, and why.

Its ValueError names the argument, the value and what is allowed. Through mmengine's registries it
would come with a traceback; that of other people's classes stays.
"""

from __future__ import annotations

import traceback

from mmengine.config import Config

from ..recipe.walk import dicts, type_name

OURS = ('mmconvnext.arch', 'mmconvnext.models', 'mmconvnext.optim')
BUILDERS = ('mmengine.registry', 'mmengine.optim.optimizer.builder')


def refused(error: Exception) -> str:
    """The message for the user; '' if no constructor of ours has raised the error."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    modules = [frame.f_globals.get('__name__', '') for frame in frames]
    builders = [i for i, name in enumerate(modules) if name.startswith(BUILDERS)]
    if not builders or not modules[-1].startswith(OURS):
        return ''
    if modules[-1].startswith('mmconvnext.optim'):
        return f'optim_wrapper: {error}'
    node = frames[builders[-1]].f_locals.get('cfg')
    whole = (frame.f_locals.get('cfg') for frame in frames)
    for cfg in whole:
        if isinstance(cfg, Config) and isinstance(node, dict):
            for path, inner in dicts(cfg.get('model'), 'model'):
                if inner == node:
                    return f'{path}: {error}'
    return f'{type_name(node)}: {error}' if isinstance(node, dict) else str(error)
