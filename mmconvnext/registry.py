# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Registries of the scope ``mmconvnext``, children of mmengine's root registries.

mmengine imports this module when a config says ``type='mmconvnext.X'``, and then the module in
``locations`` that registers X, so such a config needs no ``custom_imports`` in any MM project.
Nothing is registered in the root registries, where a name could clash with other packages.
"""

from mmengine.registry import DATASETS as ROOT_DATASETS
from mmengine.registry import MODEL_WRAPPERS as ROOT_MODEL_WRAPPERS
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as ROOT_OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.registry import TRANSFORMS as ROOT_TRANSFORMS
from mmengine.registry import VISBACKENDS as ROOT_VISBACKENDS
from mmengine.registry import Registry

MODELS = Registry(
    'model',
    parent=ROOT_MODELS,
    scope='mmconvnext',
    locations=['mmconvnext.models', 'mmconvnext.models.preprocessor'],
)

MODEL_WRAPPERS = Registry(
    'model_wrapper',
    parent=ROOT_MODEL_WRAPPERS,
    scope='mmconvnext',
    locations=['mmconvnext.distributed.sharded'],
)

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

TRANSFORMS = Registry(
    'transform',
    parent=ROOT_TRANSFORMS,
    scope='mmconvnext',
    locations=[
        'mmconvnext.recipe.load_image',
        'mmconvnext.recipe.load_label_map',
        'mmconvnext.recipe.photo_metric_distortion',
    ],
)

VISBACKENDS = Registry(
    'vis_backend',
    parent=ROOT_VISBACKENDS,
    scope='mmconvnext',
    locations=['mmconvnext.recipe.wandb_backend'],
)
