# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""ConvNeXt for dense prediction in MMDetection, MMSegmentation and any other MM project."""

from importlib import import_module

try:
    import mmengine  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        'mmconvnext needs one of the two MM stacks. After installing torch, run\n'
        '  pip install "setuptools<81" wheel ninja psutil\n'
        'and then one of\n'
        '  pip install --no-build-isolation "mmconvnext[openmmlab]"\n'
        '  pip install --no-build-isolation "mmconvnext[onedl]"'
    ) from error

from .checkpoint.safe_globals import allow_for_mmengine
from .version import __version__

allow_for_mmengine()

# Imported on first use: importing mmengine.model and mmengine.optim takes a second.
_LAZY = {
    'ConvNeXt': 'mmconvnext.models',
    'LayerDecayOptimWrapperConstructor': 'mmconvnext.optim',
    'lenient_loading': 'mmconvnext.checkpoint.load',
    'load': 'mmconvnext.inference',
    'use_own_data': 'mmconvnext.recipe.own_data',
}
__all__ = [*_LAZY, '__version__']


def __getattr__(name: str):
    if name not in _LAZY:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(_LAZY[name]), name)
