# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Options that set a variable of the config file: what was made from it does not follow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mmengine.config import Config

from .finding import Finding

# Variables of mmdet's, mmseg's and our configs, and what is made from them.
VARIABLES = dict(
    max_epochs='train_cfg.max_epochs, and end and T_max in param_scheduler',
    max_iters='train_cfg.max_iters, and end and T_max in param_scheduler',
    train_pipeline='train_dataloader.dataset.pipeline',
    test_pipeline='val_dataloader.dataset.pipeline and test_dataloader.dataset.pipeline',
    crop_size='the pipelines and model.data_preprocessor.size',
    data_root='own_data.root, or data_root of each dataset',
    dataset_type='type of each dataset',
    backend_args='the transforms and datasets',
    base_lr='optim_wrapper.optimizer.lr',
    num_classes='own_data.classes, or num_classes of each head',
    norm_cfg='norm_cfg of each part of the model',
    data_preprocessor='model.data_preprocessor',
)


def check_variables(cfg: Config, options: Iterable[str]) -> Iterator[Finding]:
    """Refuse options, such as 'max_epochs', that would silently have no effect."""
    for option in options:
        name = option.partition('.')[0]
        if name not in VARIABLES:
            continue
        if name == 'data_preprocessor' and 'data_preprocessor' not in cfg.get('model', {}):
            continue  # mmengine's Runner gives it to the model
        yield Finding(
            f'--cfg-options {option}=... has no effect: {name} is a variable of the config file, '
            f'and was used when the file was read. Set {VARIABLES[name]}, or write {name} = ... '
            'into your config',
            'variables',
        )
