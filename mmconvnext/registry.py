# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Registries of the scope ``mmconvnext``, children of mmengine's root registries.

mmengine imports this module by itself when a config says ``type='mmconvnext.X'``, and the
``locations`` below then import the modules that register X: such a config needs no
``custom_imports``, in whichever MM project it is built.
"""

from importlib import import_module

from mmengine.registry import DATASETS as ROOT_DATASETS
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as ROOT_OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.registry import Registry

MODELS = Registry('model', parent=ROOT_MODELS, scope='mmconvnext', locations=['mmconvnext.models'])

DATASETS = Registry(
    'dataset',
    parent=ROOT_DATASETS,
    scope='mmconvnext',
    locations=['mmconvnext.recipe.image_folder'],
)

OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    'optimizer wrapper constructor',
    parent=ROOT_OPTIM_WRAPPER_CONSTRUCTORS,
    scope='mmconvnext',
    locations=['mmconvnext.optim'],
)


def _register_plain_name(registry: Registry, location: str, name: str) -> None:
    """Make ``type=name`` work without our scope: the root is searched from every MM project.

    A function stands for the class, because the class costs the import of ``mmengine.model`` and
    ``mmengine.optim``, over a second, which ``import mmconvnext`` should not take. A name that
    another package put there first is left alone; ours is then reached with its scope.
    """

    def build(*args, **kwargs):
        return getattr(import_module(location), name)(*args, **kwargs)

    build.__name__ = build.__qualname__ = name
    if name not in registry.module_dict:
        registry.register_module(name=name, module=build)


_register_plain_name(ROOT_MODELS, 'mmconvnext.models', 'ConvNeXt')
_register_plain_name(
    ROOT_OPTIM_WRAPPER_CONSTRUCTORS, 'mmconvnext.optim', 'LayerDecayOptimWrapperConstructor'
)
