# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""distributed/divided.py: configs that would fail late, or wait for ever."""

import pytest
from mmengine.config import Config

from mmconvnext.distributed.divided import check_training, check_wrapper
from mmconvnext.recipe.errors import RecipeError

OURS = dict(type='mmconvnext.FullyShardedModel')
ZERO = dict(type='ZeroRedundancyOptimizer', optimizer_type='AdamW', lr=1e-4)


def config(optimizer=None, wrapper=None, **more) -> Config:
    cfg = dict(model=dict(type='mmdet.MaskRCNN'), optim_wrapper=dict(optimizer=optimizer), **more)
    return Config(cfg | (dict(model_wrapper_cfg=wrapper) if wrapper else {}))


@pytest.mark.parametrize('scope', ['', 'mmengine.'])
def test_fsdp1(scope):
    kind = 'MMFullyShardedDataParallel'
    with pytest.raises(RecipeError, match=f"'{kind}' is FSDP1.*mmconvnext.FullyShardedModel"):
        check_wrapper(config(wrapper=dict(type=scope + kind)))


@pytest.mark.parametrize('wrapper', [None, OURS, dict(type='MMDistributedDataParallel'), {}])
def test_wrappers(wrapper):
    check_wrapper(config(wrapper=wrapper))


@pytest.mark.parametrize(
    ('change', 'processes', 'wrapper', 'match'),
    [
        ({}, 1, None, "the only one; start several .* or write type='AdamW'"),
        ({}, 2, OURS, 'FullyShardedModel has divided already'),
        (dict(optimizer_type=None), 2, None, 'optimizer_type=None; choose one'),
        (dict(optimizer_type='AdamX'), 2, None, "optimizer_type='AdamX'; choose one"),
        (dict(optimizer_type='Optimizer_'), 2, None, 'choose one'),
        (dict(optimizer_type='lr_scheduler'), 2, None, 'choose one'),  # a module
        (dict(overlap_with_ddp=True), 2, None, 'before the gradients are clipped'),
    ],
)
def test_refused(change, processes, wrapper, match):
    with pytest.raises(RecipeError, match=match):
        check_training(config(ZERO | change, wrapper), processes)
    several = config(None, wrapper)
    several.optim_wrapper = dict(
        type='OptimWrapperDict', backbone=dict(type='OptimWrapper', optimizer=ZERO | change)
    )
    with pytest.raises(RecipeError, match=match):
        check_training(several, processes)


@pytest.mark.parametrize(
    ('optimizer', 'processes', 'wrapper'),
    [
        (ZERO, 2, None),
        (ZERO, 2, dict(type='MMDistributedDataParallel')),
        (dict(type='AdamW', lr=1), 2, OURS),
        (dict(type='AdamW', lr=1), 1, OURS),  # which mmengine ignores then
        (dict(type='Unknown'), 2, None),  # another check's
        (None, 1, None),
    ],
)
def test_fine(optimizer, processes, wrapper):
    check_training(config(optimizer, wrapper), processes)


def test_no_optimizer():
    check_training(Config(dict(model=dict(type='mmdet.MaskRCNN'))), 1)
