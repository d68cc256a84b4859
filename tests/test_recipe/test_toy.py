# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/toy.py: --toy shrinks any recipe, keeps its method and leaves its file alone."""

from pathlib import Path

import numpy as np
import pytest
import torch
from fixtures import CASCADE, FASTER_RCNN, LEAVES, MASK_RCNN, NUCLEI, UPERNET, stem
from mmengine.config import Config, ConfigDict
from PIL import Image

from mmconvnext.arch import get_arch
from mmconvnext.models.layers import SimpleNorm2d
from mmconvnext.recipe.checks import check_recipe
from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.families.shrink import WIDTH_KEYS
from mmconvnext.recipe.own_data import apply_own_data
from mmconvnext.recipe.toy import make_toy as shrink
from mmconvnext.recipe.walk import LOADERS, dicts, pipelines
from mmconvnext.registry import MODELS
from mmconvnext.toy import ADE_CLASSES, CLASSES

ALL = list(map(str, LEAVES))


def make_toy(cfg, *root) -> None:
    """As the tools do: own data are applied after it, once."""
    shrink(cfg, *root)
    apply_own_data(cfg)


@pytest.mark.parametrize('config', ALL, ids=stem)
def test_every_recipe_becomes_a_rehearsal_that_passes_the_checks(load, toy_data, config):
    cfg = load(config)
    make_toy(cfg)
    assert check_recipe(cfg) == []
    assert cfg.own_data.root == cfg.train_dataloader.dataset.data_root
    assert cfg.model.backbone.arch == 'atto' and 'init_cfg' not in cfg.model.backbone
    options = {f'model.backbone.init_cfg.{key}': key for key in ('type', 'checkpoint')}
    cfg.merge_from_dict(options)
    assert cfg.model.backbone.init_cfg == dict(type='type', checkpoint='checkpoint')
    assert cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size
    assert all(cfg[loader].num_workers == 0 for loader in LOADERS)
    widths = [node[k] for _, node in dicts(cfg.model) for k in WIDTH_KEYS if k in node]
    # The backbone's own widest map has 320 channels.
    assert max(w for width in widths for w in np.atleast_1d(width)) <= 320


@pytest.mark.parametrize(
    'config, kind', [(MASK_RCNN, 'SemiBaseDetector'), (UPERNET, 'BaseSegmentor')], ids=stem
)
def test_a_model_of_no_family_is_refused_before_data_are_written(load, tmp_path, config, kind):
    cfg = load(config)
    cfg.model = dict(type=kind, backbone=cfg.model.backbone)
    with pytest.raises(RecipeError, match=rf"model\.type='{kind}' belongs to no model family"):
        make_toy(cfg, str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_model_that_cannot_be_shrunk_is_refused_before_data_are_written(load, tmp_path):
    cfg = load(MASK_RCNN)
    cfg.model.pop('neck')
    with pytest.raises(RecipeError, match="which part of 'MaskRCNN' takes the maps"):
        make_toy(cfg, str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_the_design_stays(load, toy_data):
    cfg, design = load(UPERNET), dict(stem='overlap_tiered', kernel_size=[7, 5, 5, 3])
    cfg.model.backbone.design = {**design, 'norm': 'SimpleNorm'}
    make_toy(cfg)
    assert check_recipe(cfg) == []
    backbone = MODELS.build(cfg.model.backbone)
    assert [stage[0].dwconv.kernel_size[0] for stage in backbone.stages] == [7, 5, 5, 3]
    assert [layer.weight.shape[0] for layer in backbone.downsample_layers[0]] == [24, 40, 40]
    assert backbone.norm0.__class__ is SimpleNorm2d


@pytest.mark.parametrize(
    'words',
    [
        dict(depths=[3, 3, 27, 3], dims=[128, 256, 512, 1024]),
        dict(depths=[3, 3, 27, 3], hidden_sizes=[128, 256, 512, 1024], num_stages=4),
    ],
    ids=['timm', 'transformers'],
)
def test_a_size_in_the_words_of_another_package_gives_way(load, toy_data, words):
    cfg = load(MASK_RCNN)
    del cfg.model.backbone['arch']
    cfg.model.backbone.update(words)
    make_toy(cfg)
    assert check_recipe(cfg) == [] and not set(words) & set(cfg.model.backbone)
    assert cfg.model.neck.in_channels == [40, 80, 160, 320]
    assert (cfg.model.backbone.arch, cfg.model.backbone.drop_path_rate) == ('atto', 0.05)


@pytest.mark.parametrize('config', [MASK_RCNN, UPERNET], ids=stem)
def test_the_recipe_itself_stays_untouched(load, toy_data, config):
    text = Path(config).read_bytes()
    before = Config.fromfile(config).to_dict()
    make_toy(load(config))
    assert Config.fromfile(config).to_dict() == before
    assert Path(config).read_bytes() == text


def test_a_detector_keeps_what_makes_it(load, toy_data):
    real, cfg = load(CASCADE), load(CASCADE)
    make_toy(cfg)
    assert [step.type for step in pipelines(cfg)] == [step.type for step in pipelines(real)]
    assert cfg.optim_wrapper.paramwise_cfg == real.optim_wrapper.paramwise_cfg
    assert cfg.optim_wrapper.constructor == real.optim_wrapper.constructor
    assert cfg.model.train_cfg.rpn == real.model.train_cfg.rpn
    for stage in range(3):
        ours, theirs = (c.model.train_cfg.rcnn[stage] for c in (cfg, real))
        assert ours.assigner == theirs.assigner
        assert (ours.sampler.num, theirs.sampler.num) == (64, 512)
        ours, theirs = (c.model.roi_head.bbox_head[stage] for c in (cfg, real))
        assert (ours.type, ours.loss_bbox) == (theirs.type, theirs.loss_bbox)
        assert ours.num_classes == len(CLASSES)
    assert cfg.val_evaluator.metric == real.val_evaluator.metric
    assert cfg.val_evaluator.ann_file.endswith('coco/annotations/instances_val2017.json')


def test_a_segmentor_keeps_what_makes_it(load, toy_data):
    real, cfg = load(UPERNET), load(UPERNET)
    make_toy(cfg)
    assert [step.type for step in pipelines(cfg)] == [step.type for step in pipelines(real)]
    assert cfg.optim_wrapper.paramwise_cfg == real.optim_wrapper.paramwise_cfg
    channels = list(get_arch('atto').channels)
    assert cfg.model.decode_head.in_channels == channels
    assert cfg.model.auxiliary_head.in_channels == channels[2]
    assert cfg.model.decode_head.num_classes == len(ADE_CLASSES)
    assert cfg.model.test_cfg.mode == 'slide'
    assert all(cfg[loader].dataset.reduce_zero_label for loader in LOADERS)


def test_each_size_shrinks_once(load, toy_data):
    """Loaders that share a pipeline must not have it scaled twice."""
    cfg = load(MASK_RCNN)
    make_toy(cfg)
    for loader in LOADERS[1:]:
        (resize,) = [s for s in cfg[loader].dataset.pipeline if s.type == 'Resize']
        assert tuple(resize.scale) == (320, 192)  # of (1333, 800), times 0.24
    (choice,) = [s for s in cfg.train_dataloader.dataset.pipeline if s.type == 'RandomChoice']
    assert choice.transforms[1][1].crop_size == (92, 144)  # of (384, 600)
    assert choice.transforms[0][0].scales[0] == (115, 320)  # of (480, 1333)

    cfg = load(UPERNET)
    make_toy(cfg)
    assert cfg.model.data_preprocessor.size == (128, 128)
    assert cfg.model.test_cfg.crop_size == (128, 128)
    assert cfg.model.test_cfg.stride == (85, 85)  # of 341
    (crop,) = [s for s in cfg.train_dataloader.dataset.pipeline if s.type == 'RandomCrop']
    assert crop.crop_size == (128, 128)
    for loader in LOADERS[1:]:
        (resize,) = [s for s in cfg[loader].dataset.pipeline if s.type == 'Resize']
        assert resize.scale == (512, 128)
    ((resize, *_),) = [s.transforms for s in cfg.tta_pipeline if s.type == 'TestTimeAug']
    assert [step.scale[1] for step in resize] == [64, 96, 128, 160, 192, 224]  # of 512, 0.5 to 1.75


def test_the_schedule_keeps_its_proportions(load, toy_data):
    cfg = load(MASK_RCNN)
    make_toy(cfg)
    assert cfg.train_cfg.max_epochs == cfg.train_cfg.val_interval == 7
    warmup, steps = cfg.param_scheduler
    assert warmup.end == 50
    assert (steps.begin, steps.end, steps.milestones) == (0, 7, [5, 6])  # of 36: 27, 33
    assert cfg.default_hooks.checkpoint.interval == 7

    cfg = load(UPERNET)
    make_toy(cfg)
    assert cfg.train_cfg.max_iters == cfg.train_cfg.val_interval == 1600
    assert (cfg.param_scheduler[1].begin, cfg.param_scheduler[1].end) == (0, 1600)
    assert cfg.default_hooks.checkpoint.interval == 1600


def test_a_cosine_schedule_ends_with_the_rehearsal(load, toy_data):
    cfg = load(NUCLEI)
    make_toy(cfg)
    cosine = cfg.param_scheduler[1]
    assert cosine.type == 'CosineAnnealingLR'
    assert cosine.T_max == cosine.end == cfg.train_cfg.max_epochs == 7


def test_boxes_only_stays_boxes_only(load, toy_data):
    cfg = load(FASTER_RCNN)
    make_toy(cfg)
    assert cfg.model.roi_head.mask_head is None
    assert cfg.val_evaluator.metric == 'bbox'


def test_own_data_of_the_config_give_way(load, toy_data):
    cfg = load(NUCLEI)
    make_toy(cfg)
    assert cfg.train_dataloader.dataset.metainfo.classes == tuple(CLASSES)
    assert 'nuclei' not in cfg.pretty_text


@pytest.mark.parametrize(
    ('optimizer', 'base', 'rate', 'lowest'),
    [
        (dict(type='AdamW', lr=0.0002), 16, 6e-4, 0.003),
        (dict(type='Adam', lr=0.0002), 16, 6e-4, 0.003),
        (dict(type=torch.optim.AdamW), 16, 6e-4, 0.001),  # the lowest rate stays without a ratio
        (dict(type='SGD', lr=0.02), 8, 0.02 * 2 / 8, 0.001 * 2 / 8),
        (dict(type='SGD', lr=0.02), None, 0.02 * 2 / 16, 0.001 * 2 / 16),
        (dict(type='RAdam', lr=0.02), 4, 0.02 * 2 / 4, 0.001 * 2 / 4),
    ],
)
def test_only_adam_gets_another_rate_in_proportion(load, toy_data, optimizer, base, rate, lowest):
    cfg = load(MASK_RCNN)
    cfg.optim_wrapper.optimizer = optimizer
    cfg.auto_scale_lr = base and dict(enable=True, base_batch_size=base)
    cfg.param_scheduler[1].eta_min = 0.001
    make_toy(cfg)
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(rate)
    assert cfg.param_scheduler[1].eta_min == pytest.approx(lowest)


@pytest.mark.parametrize(
    'config, batch', [(MASK_RCNN, 2), (UPERNET, 4)], ids=['mask-rcnn', 'upernet']
)
def test_a_rehearsal_is_the_same_each_time_and_reads_its_few_images_itself(
    load, toy_data, config, batch
):
    cfg = load(config)
    cfg.train_dataloader.update(num_workers=4, persistent_workers=True, prefetch_factor=3)
    assert 'seed' not in cfg.get('randomness', {})
    make_toy(cfg)
    assert cfg.randomness == dict(seed=0)
    assert cfg.auto_scale_lr == dict(enable=False, base_batch_size=batch)
    assert cfg.train_dataloader.batch_size == batch
    for loader in LOADERS:
        assert (cfg[loader].num_workers, cfg[loader].persistent_workers) == (0, False)
        assert 'prefetch_factor' not in cfg[loader]
    assert cfg.default_hooks.logger.interval == 10


def test_every_name_of_an_image_size_is_known(load, toy_data):
    cfg = load(MASK_RCNN)  # its sizes shrink to 24 %
    given = dict(
        scale=(1333, 800),
        scales=[(100, 50), (200, 400)],
        crop_size=[384, 600],
        stride=341,
        size=1,
        img_scale=(640, 320),
        max_size=100,
        random_size_range=(480, 800),
    )
    shrunk = dict(
        scale=(320, 192),
        scales=[(24, 12), (48, 96)],
        crop_size=[92, 144],
        stride=82,
        size=1,
        img_scale=(154, 77),
        max_size=24,
        random_size_range=(115, 192),
    )
    others = dict(scale=0.5, size=None, keep_ratio=100, crop_size=('a', True))
    affine = dict(type='RandomAffine', border=(-320, -100))
    steps = [dict(given, type='A'), dict(others, type='B'), affine, dict(type='RandomAffine')]
    cfg.tta_pipeline = list(map(ConfigDict, steps))
    cfg.model.data_preprocessor.batch_augments = [dict(given)]
    cfg.model.test_cfg.rcnn.update(given)
    cfg.model.neck.update(size=100)
    make_toy(cfg)
    first, second, *affines = cfg.tta_pipeline
    for node in (first, cfg.model.data_preprocessor.batch_augments[0], cfg.model.test_cfg.rcnn):
        assert {key: node[key] for key in shrunk} == shrunk
        assert all(type(node[key]) is type(shrunk[key]) for key in shrunk)
    assert second == dict(others, type='B')
    assert [node.border for node in affines] == [(-77, -24), ()]
    assert cfg.model.neck.size == 100


def test_nothing_is_downloaded_for_a_rehearsal(load, toy_data):
    """Weights of the whole model, of a teacher, and mmseg's older word for those of a backbone."""
    cfg = load(MASK_RCNN)
    cfg.load_from = 'https://example.org/detector.pth'
    weights = dict(type='Pretrained', checkpoint='torchvision://resnet101')
    cfg.model.teacher_backbone = dict(type='ResNet', depth=101, init_cfg=weights)
    cfg.model.update(teacher_ckpt='https://example.org/teacher.pth', pretrained='resnet50')
    cfg.model.rpn_head.init_cfg = dict(type='Normal', layer='Conv2d')
    cfg.model.backbone.init_cfg = [cfg.model.backbone.init_cfg]
    make_toy(cfg)
    assert 'init_cfg' not in cfg.model.backbone
    assert cfg.load_from is cfg.model.teacher_ckpt is cfg.model.pretrained is None
    assert 'init_cfg' not in cfg.model.teacher_backbone and 'pretrained' not in cfg.model.neck
    assert cfg.model.rpn_head.init_cfg == dict(type='Normal', layer='Conv2d')


def test_data_are_written_below_the_root_and_only_once(load, tmp_path, monkeypatch):
    from mmconvnext import toy

    calls = []
    write = toy.write_coco

    def small(root):
        calls.append(root)
        return write(root, num_train=1, num_val=1, size=64)

    monkeypatch.setattr(toy, 'write_coco', small)
    for _ in range(2):
        cfg = load(MASK_RCNN)
        make_toy(cfg, str(tmp_path))
    assert calls == [tmp_path / 'coco'] * 2
    assert cfg.train_dataloader.dataset.data_root == str(tmp_path / 'coco')
    images = list((tmp_path / 'coco').rglob('*.png'))
    assert len(images) == 2 and Image.open(images[0]).size == (64, 64)


@pytest.mark.parametrize(
    'config, folder', [(MASK_RCNN, 'coco'), (UPERNET, 'ade')], ids=['coco', 'ade']
)
def test_data_are_in_one_place_by_default(load, monkeypatch, config, folder):
    from mmconvnext import toy

    for name in ('write_coco', 'write_ade'):
        monkeypatch.setattr(toy, name, lambda root: root)
    cfg = load(config)
    shrink(cfg)
    assert cfg.own_data.root == f'data/toy/{folder}'


def test_other_files_in_the_place_of_the_toy_data_are_kept(load, tmp_path):
    (tmp_path / 'coco').mkdir()
    (tmp_path / 'coco' / 'mine.txt').write_text('precious')
    with pytest.raises(RecipeError, match='coco is in the way'):
        make_toy(load(MASK_RCNN), str(tmp_path))
    assert (tmp_path / 'coco' / 'mine.txt').read_text() == 'precious'


@pytest.mark.parametrize(('kind', 'right'), [('stage_wise', 6), ('single', 12), ('timm', 12)])
def test_num_layers_becomes_that_of_the_small_backbone(load, toy_data, kind, right):
    cfg = load(MASK_RCNN)
    cfg.model.backbone.arch = 'base'
    cfg.optim_wrapper.paramwise_cfg.update(num_layers=36, decay_type=kind)
    make_toy(cfg)
    assert cfg.optim_wrapper.paramwise_cfg.num_layers == right
    assert check_recipe(cfg) == []
