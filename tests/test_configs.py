# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: every recipe parses, builds, survives a dump, and holds the published values.

The values are in ``data/published_recipes.yml``, typed from the official files. Parameters are
those of the whole model; ``test_metafiles.py`` compares the FLOPs with the same file.
"""

import copy
import functools
import math
from pathlib import Path

import fixtures
import pytest
import torch
import yaml
from fixtures import CONFIGS, ROOT
from mmengine import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, PARAM_SCHEDULERS, DefaultScope
from torch import nn

LEAVES = [str(path.relative_to(CONFIGS)) for path in fixtures.LEAVES]
PUBLISHED = {
    row['config']: row
    for row in yaml.safe_load((ROOT / 'tests/data/published_recipes.yml').read_text())['recipes']
}
COCO = [name for name in PUBLISHED if 'rcnn' in name]
ADE = [name for name in PUBLISHED if 'upernet' in name]
V2 = 'mask_rcnn/mask-rcnn_convnext-v2-b_fpn_lsj-3x-fcmae_coco.py'
ONE_X = 'mask_rcnn/mask-rcnn_convnext-t-p4-w7_fpn_amp-1x_coco.py'
FASTER = 'faster_rcnn/faster-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py'
RELEASED = [*PUBLISHED, V2, ONE_X, FASTER]


@functools.cache
def parsed(name: str) -> Config:
    return Config.fromfile(CONFIGS / name)


def load(name: str) -> Config:
    return copy.deepcopy(parsed(name))


@functools.cache
def build(name: str) -> nn.Module:
    config = load(name)
    with DefaultScope.overwrite_default_scope(config.default_scope), torch.device('meta'):
        return MODELS.build(config.model)


def plain(value):
    """The value without mmengine's containers; tuples become lists, as in a dump."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def test_all_recipes_are_there():
    assert len(PUBLISHED) == 13
    assert set(RELEASED) <= set(LEAVES)


# --- every leaf -----------------------------------------------------------------------------------


@pytest.mark.parametrize('name', LEAVES)
def test_leaf_says_only_what_is_its_own(name):
    lines = (CONFIGS / name).read_text().splitlines()
    assert len(lines) <= 25
    assert lines[0].startswith('# ')


@pytest.mark.parametrize('name', LEAVES)
def test_dump_reloads_equal(name, tmp_path):
    config = load(name)
    config.dump(tmp_path / 'dump.py')
    assert plain(Config.fromfile(tmp_path / 'dump.py').to_dict()) == plain(config.to_dict())


@pytest.mark.parametrize('name', LEAVES)
def test_no_helper_of_the_bases_is_left(name):
    """`changes` is removed in ``_base_``: other tools see only the keys of their own recipes."""
    assert 'changes' not in load(name)
    assert 'Resize' in str(load(name).get('tta_pipeline', 'Resize'))


@pytest.mark.parametrize('name', LEAVES)
def test_only_this_package_is_imported(name):
    assert load(name).custom_imports.imports == ['mmconvnext']
    assert 'mmpretrain' not in str(plain(load(name).to_dict()))


@pytest.mark.parametrize('name', LEAVES)
def test_necks_and_heads_take_what_the_backbone_gives(name):
    model, config = build(name), load(name).model
    given = list(model.backbone.out_channels)
    assert type(model.backbone).__module__ == 'mmconvnext.models.convnext'
    assert model.backbone.out_strides == (4, 8, 16, 32)
    if 'neck' in config:
        assert config.neck.in_channels == given
    else:
        assert config.decode_head.in_channels == given
        head = config.auxiliary_head
        assert head.in_channels == given[head.in_index]


@pytest.mark.parametrize('name', LEAVES)
def test_optimizer_groups_can_be_made(name):
    config = load(name)
    config.optim_wrapper.type = 'OptimWrapper'  # the AMP one needs a GPU
    wrapper = build_optim_wrapper(build(name), config.optim_wrapper)
    assert wrapper.get_lr()['lr'][0] == config.optim_wrapper.optimizer.lr
    given = {id(param) for group in wrapper.optimizer.param_groups for param in group['params']}
    assert given == {id(param) for param in build(name).parameters()}


# --- the published ones ---------------------------------------------------------------------------


@pytest.mark.parametrize('name', PUBLISHED)
def test_backbone_is_the_published_one(name):
    row, backbone = PUBLISHED[name], load(name).model.backbone
    assert backbone.type == 'mmconvnext.ConvNeXt'
    assert backbone.arch == row['arch']
    assert backbone.drop_path_rate == row['drop_path_rate']
    assert backbone.layer_scale_init_value == 1.0
    assert backbone.init_cfg.type == 'Pretrained'
    # The file name only: mirrors have other hosts.
    assert backbone.init_cfg.checkpoint.rpartition('/')[2] == row['pretrained']
    assert 'version' not in backbone and 'frozen_stages' not in backbone


@pytest.mark.parametrize('name', PUBLISHED)
def test_optimizer_is_the_published_one(name):
    row, wrapper = PUBLISHED[name], load(name).optim_wrapper
    assert wrapper.type == ('AmpOptimWrapper' if row['amp'] else 'OptimWrapper')
    assert ('amp' in Path(name).stem) == row['amp']
    assert wrapper.constructor == 'mmconvnext.LayerDecayOptimWrapperConstructor'
    assert plain(wrapper.optimizer) == dict(
        type='AdamW', lr=row['lr'], betas=[0.9, 0.999], weight_decay=0.05
    )
    assert wrapper.paramwise_cfg == dict(decay_rate=row['decay_rate'], decay_type=row['decay_type'])
    # mmengine adds `_scope_` to what comes from another package. No gradient clipping.
    others = set(wrapper) - {'type', 'constructor', 'optimizer', 'paramwise_cfg', '_scope_'}
    assert others == set()


@pytest.mark.parametrize('name', PUBLISHED)
def test_parameters_are_the_published_ones(name):
    millions = sum(param.numel() for param in build(name).parameters()) / 1e6
    assert abs(millions - PUBLISHED[name]['params']) < 0.5


@pytest.mark.parametrize('name', PUBLISHED)
def test_first_line_states_the_published_result(name):
    row = PUBLISHED[name]
    line = (CONFIGS / name).read_text().splitlines()[0]
    if 'miou' in row:
        result = f'{row["miou"]} mIoU, {row["miou_ms"]} multi-scale and flipped'
    else:
        result = f'{row["box_ap"]} box AP, {row["mask_ap"]} mask AP'
    start = 'ImageNet-1K, non-EMA' if '_1k_' in row['pretrained'] else 'ImageNet-22K'
    assert f', from {start}: {result}.' in line


@pytest.mark.parametrize('name', COCO)
def test_coco_schedule(name):
    config = load(name)
    assert config.train_cfg.max_epochs == 36
    assert [plain(scheduler) for scheduler in config.param_scheduler] == [
        dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
        dict(type='MultiStepLR', begin=0, end=36, by_epoch=True, milestones=[27, 33], gamma=0.1),
    ]


@pytest.mark.parametrize('name', [name for name in COCO if 'cascade' in name])
def test_cascade_heads(name):
    heads = load(name).model.roi_head.bbox_head
    stds = [[0.1, 0.1, 0.2, 0.2], [0.05, 0.05, 0.1, 0.1], [0.033, 0.033, 0.067, 0.067]]
    assert [plain(head.bbox_coder.target_stds) for head in heads] == stds
    for head in heads:
        assert (head.num_shared_convs, head.num_shared_fcs) == (4, 1)
        assert head.norm_cfg.type == 'SyncBN'
        assert head.loss_bbox == dict(type='GIoULoss', loss_weight=10.0)
        assert head.reg_decoded_bbox is True


@pytest.mark.parametrize('name', ADE)
def test_ade_schedule_and_crop(name):
    config = load(name)
    side = 640 if '640x640' in name else 512
    assert config.train_cfg.max_iters == 160_000
    assert plain(config.crop_size) == [side, side]
    assert plain(config.model.data_preprocessor['size']) == [side, side]
    stride = {512: 341, 640: 426}[side]
    assert plain(config.model.test_cfg) == dict(
        mode='slide', crop_size=[side, side], stride=[stride, stride]
    )
    assert config.model.decode_head.num_classes == config.model.auxiliary_head.num_classes == 150


def official_poly(iteration: int) -> float:
    """mmcv 1's poly policy with power 1 and a linear warm-up; both apply from the start."""
    warmup = 1 - (1 - min(iteration, 1500) / 1500) * (1 - 1e-6)
    return (1 - iteration / 160_000) * warmup


@pytest.mark.parametrize('name', [ADE[0], ADE[-1]])
def test_ade_rate_is_the_official_one_over_the_run(name):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedulers = [
        PARAM_SCHEDULERS.build(dict(cfg, optimizer=optimizer)) for cfg in load(name).param_scheduler
    ]
    rates = []
    for _ in range(4000):
        rates.append(optimizer.param_groups[0]['lr'])
        for scheduler in schedulers:
            scheduler.step()
    for i in (0, 1, 700, 1499, 1600, 3999):
        # mmengine's warm-up is over one iteration earlier.
        assert math.isclose(rates[i], official_poly(i), rel_tol=1e-3, abs_tol=1e-6), i


# --- the others -----------------------------------------------------------------------------------


@pytest.mark.parametrize('name', RELEASED)
def test_batch_size_of_the_learning_rate(name):
    config = load(name)
    images = 4 if name == V2 else 2
    assert config.train_dataloader.batch_size == images
    assert config.auto_scale_lr == dict(enable=False, base_batch_size=8 * images)


def test_v2_marks_what_was_never_published():
    config = load(V2)
    assert config.model.backbone.version == 'v2'
    assert build(V2).backbone.stages[0][0].gamma is None
    assert build(V2).backbone.stages[0][0].grn is not None
    guessed = ('drop_path_rate=', 'lr=', 'decay_rate=')
    lines = (CONFIGS / V2).read_text().splitlines()
    marked = [line for line in lines if any(key in line for key in guessed)]
    assert len(marked) == 3
    assert all('# not published' in line for line in marked)
    assert 'CC BY-NC 4.0' in (CONFIGS / V2).read_text()
    assert config.model.backbone.init_cfg.checkpoint.endswith('convnextv2_base_1k_224_fcmae.pt')


def test_one_x_differs_from_three_x_in_schedule_and_regularization_only():
    short, long = load(ONE_X), load(COCO[0])
    assert short.train_cfg.max_epochs == 12
    warmup, steps = short.param_scheduler
    assert (warmup.end, steps.end, plain(steps.milestones)) == (500, 12, [8, 11])
    assert short.model.backbone.drop_path_rate == 0.2
    short.model.backbone.drop_path_rate = long.model.backbone.drop_path_rate
    assert short.model == long.model
    assert short.optim_wrapper == long.optim_wrapper


def test_faster_rcnn_needs_no_masks():
    config, model = load(FASTER), build(FASTER)
    assert type(model).__name__ == 'FasterRCNN'
    assert not model.roi_head.with_mask
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        (step,) = [s for s in loader.dataset.pipeline if s.type == 'LoadAnnotations']
        assert not step.get('with_mask')
    assert config.val_evaluator.metric == config.test_evaluator.metric == 'bbox'


@pytest.mark.parametrize('name', [V2, ONE_X, FASTER])
def test_warm_up_of_the_others(name):
    warmup = load(name).param_scheduler[0]
    iterations = 1000 if name == V2 else 500  # V2: as in mmdet's project of it
    assert plain(warmup) == dict(
        type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=iterations
    )


def test_the_cpu_recipe_trains_on_a_cpu_with_the_tools_of_others():
    """Only our tools turn off mixed precision if there is no GPU."""
    config = Config.fromfile(str(CONFIGS / '_base_/mask-rcnn_convnext-atto_cpu.py'))
    assert config.optim_wrapper.type == 'OptimWrapper'
