# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/preflight/build.py: what a run would build, or an error that says which part."""

import pytest
import torch
from fixtures import TINY_SEGMENTOR, UPERNET

from mmconvnext.cli.cfg_options import read_cfg_options
from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.own_data import apply_own_data
from mmconvnext.recipe.preflight.build import build_loader, build_model, build_wrapper


@pytest.fixture
def cfg(load, seg_data):
    cfg = load(UPERNET)
    cfg.own_data = seg_data
    apply_own_data(cfg)
    cfg.merge_from_dict(read_cfg_options(list(TINY_SEGMENTOR)))
    cfg.optim_wrapper.type = 'OptimWrapper'
    return cfg


def test_model_optimizer_and_loaders(cfg):
    assert cfg.model.backbone.init_cfg.type == 'Pretrained'
    model = build_model(cfg)  # a download would fail
    assert cfg.model.backbone.init_cfg.type == 'Pretrained'
    assert not any(isinstance(m, torch.nn.SyncBatchNorm) for m in model.modules())
    rates = {group['lr'] for group in build_wrapper(cfg, model).optimizer.param_groups}
    assert len(rates) > 2
    cfg.train_dataloader.prefetch_factor = 2
    loader = build_loader(cfg, 'train_dataloader')
    assert loader.num_workers == 0 and len(loader.dataset) == 1
    assert cfg.train_dataloader.num_workers > 0


def test_of_a_divided_optimizer_the_one_that_it_divides(cfg):
    plain = build_wrapper(cfg, build_model(cfg)).optimizer
    more = dict(type='ZeroRedundancyOptimizer', optimizer_type='AdamW')
    cfg.optim_wrapper.optimizer.update(more, parameters_as_bucket_view=True)
    found = build_wrapper(cfg, build_model(cfg)).optimizer
    assert type(found) is type(plain) is torch.optim.AdamW
    for key in ('lr', 'weight_decay', 'betas'):
        groups = ([group[key] for group in one.param_groups] for one in (found, plain))
        assert next(groups) == next(groups)
    assert cfg.optim_wrapper.optimizer.optimizer_type == 'AdamW'


def test_parts_that_cannot_be_built(cfg):
    cfg.model.auxiliary_head.type = 'NoSuchHead'
    with pytest.raises(RecipeError, match='^the model cannot be built: .*NoSuchHead'):
        build_model(cfg)
    with pytest.raises(RecipeError, match="^the optimizer cannot be built: .*'decay_rate'"):
        cfg.optim_wrapper.paramwise_cfg = dict(_delete_=True)
        build_wrapper(cfg, torch.nn.Linear(2, 3))
    cfg.val_dataloader.dataset.pipeline = [dict(type='NoSuchStep')]
    with pytest.raises(RecipeError, match='^val_dataloader cannot be built: .*NoSuchStep'):
        build_loader(cfg, 'val_dataloader')
