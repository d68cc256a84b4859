# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""``--toy``: any shipped recipe on toy data, shrunk to minutes on a CPU.

What makes the recipe stays: detector, heads, losses, assigners, augmentation steps, optimizer with
its layer-wise decay, schedulers with their proportions, evaluators. What costs shrinks: backbone,
widths, image sizes, proposals, iterations. Every number below is our choice.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mmengine.config import Config

from .. import toy
from ..arch import get_arch
from .errors import RecipeError
from .own_data import apply_own_data
from .walk import LOADERS, backbones, dicts, pipelines, task, type_name

ROOT = 'data/toy'
ARCH, DROP_PATH = 'atto', 0.05
OTHER_SIZES = ('depths', 'dims', 'hidden_sizes', 'num_stages')  # other packages' words for arch
WIDTHS = {256: 64, 512: 64, 1024: 128}  # channels of neck and heads, the recipe's: the toy's
WIDTH_KEYS = ('in_channels', 'out_channels', 'feat_channels', 'conv_out_channels')
WIDTH_KEYS += ('fc_out_channels', 'channels')
ROIS, PROPOSALS = 64, 200  # sampled RoIs, of 512; proposals, of 1000 or 2000
MASK_CONVS = 2  # of 4, for speed
# Images in a batch and learning rate, from random weights, where the recipes fine-tune at 1e-4.
DETECTION_BATCH, DETECTION_LR = 2, 6e-4
SEGMENTATION_BATCH, SEGMENTATION_LR = 4, 1e-3
WARMUP = 50  # iterations
EPOCHS, ITERATIONS = 7, 1600  # of detection and segmentation
SIZE_KEYS = ('scale', 'scales', 'crop_size', 'stride', 'size')
DETECTION_SCALE = 192 / 800  # short side of the toy images over the recipes'
SEGMENTATION_SCALE = 128 / 512


def make_toy(cfg: Config, root: str = ROOT) -> None:
    """Turn ``cfg`` into its rehearsal in place; write the toy data below ``root`` if missing."""
    parts = ('neck', 'roi_head') if task(cfg) == 'mmdet' else ('decode_head', 'auxiliary_head')
    missing = [part for part in parts if not cfg.model.get(part)]
    if missing:
        raise RecipeError(
            '--toy shrinks detectors with a neck and a roi_head, and segmentors with a decode_head '
            f'and an auxiliary_head; {cfg.model.type} has no {" and no ".join(missing)}: try it '
            'on a small data set of your own, with own_data'
        )
    for _, backbone in backbones(cfg):
        backbone.update(arch=ARCH, drop_path_rate=DROP_PATH)
        # Gone rather than None: --cfg-options may give another.
        for key in ('init_cfg', *OTHER_SIZES):
            backbone.pop(key, None)
    if task(cfg) == 'mmdet':
        cfg.own_data = dict(
            root=_write(toy.write_coco, Path(root) / 'coco'),
            classes=toy.CLASSES,
            palette=toy.PALETTE,
            train=_split('train2017', 'annotations/instances_train2017.json'),
            val=_split('val2017', 'annotations/instances_val2017.json'),
        )
        _shrink_detector(cfg)
        _shorten(cfg, 'max_epochs', EPOCHS)
        scale, batch, lr = DETECTION_SCALE, DETECTION_BATCH, DETECTION_LR
    else:
        cfg.own_data = dict(
            root=_write(toy.write_ade, Path(root) / 'ade'),
            classes=toy.ADE_CLASSES,
            palette=toy.ADE_PALETTE,
            train=_split('images/training', 'annotations/training'),
            val=_split('images/validation', 'annotations/validation'),
            reduce_zero_label=True,
        )
        _shrink_segmentor(cfg)
        _shorten(cfg, 'max_iters', ITERATIONS)
        scale, batch, lr = SEGMENTATION_SCALE, SEGMENTATION_BATCH, SEGMENTATION_LR
    apply_own_data(cfg)
    for node in [*pipelines(cfg), cfg.model.data_preprocessor, cfg.model.get('test_cfg', {})]:
        for key in SIZE_KEYS:
            if key in node:
                node[key] = _scaled(node[key], scale)
    cfg.optim_wrapper.optimizer.lr = lr
    cfg.auto_scale_lr = dict(enable=False, base_batch_size=batch)
    cfg.randomness = dict(seed=0)  # a rehearsal that comes out the same twice
    cfg.train_dataloader.batch_size = batch
    for loader in LOADERS:
        # Images this small are read faster than worker processes start.
        cfg[loader].update(num_workers=0, persistent_workers=False)
    cfg.default_hooks.logger.interval = 10


def _write(write: Callable[[Path], Path], root: Path) -> str:
    try:
        return str(write(root))
    except FileExistsError as error:
        raise RecipeError(str(error)) from error


def _split(images: str, annotations: str) -> dict:
    return dict(images=images, annotations=annotations)


def _shrink_detector(cfg: Config) -> None:
    model = cfg.model
    for path, node in dicts(model):
        if path.startswith('backbone'):
            continue
        for key in WIDTH_KEYS:
            if isinstance(node.get(key), int):
                node[key] = WIDTHS.get(node[key], node[key])
        if 'sampler' in node and 'rcnn' in path:
            node.sampler.num = ROIS
        for key in ('nms_pre', 'max_per_img'):
            if key in node and 'rpn' in path:
                node[key] = PROPOSALS
    model.neck.in_channels = list(get_arch(ARCH).channels)
    # From random weights neck and mask head learn faster with a norm (arXiv 1811.08883).
    for part in (model.neck, model.roi_head.get('mask_head')):
        for node in part if isinstance(part, list) else [part] if part else []:
            node.norm_cfg = dict(type='GN', num_groups=16)
            if 'num_convs' in node:
                node.num_convs = MASK_CONVS


def _shrink_segmentor(cfg: Config) -> None:
    channels = list(get_arch(ARCH).channels)
    for head in (cfg.model.decode_head, cfg.model.auxiliary_head):
        index = head.get('in_index', -1)
        head.in_channels = (
            [channels[i] for i in index] if hasattr(index, '__len__') else channels[index]
        )
        head.channels = WIDTHS.get(head.channels, head.channels)


def _shorten(cfg: Config, unit: str, length: int) -> None:
    """Make the schedule ``length`` epochs or iterations long, one validation at its end."""
    factor = length / cfg.train_cfg[unit]
    for scheduler in cfg.param_scheduler:
        if type_name(scheduler) == 'LinearLR':
            scheduler.end = WARMUP
            continue
        for key in ('begin', 'end', 'T_max'):
            if key in scheduler:
                scheduler[key] = round(scheduler[key] * factor)
        if 'milestones' in scheduler:
            scheduler.milestones = [round(step * factor) for step in scheduler.milestones]
    cfg.train_cfg.update({unit: length, 'val_interval': length})
    cfg.default_hooks.checkpoint.interval = length


def _scaled(value: object, scale: float) -> object:
    if isinstance(value, (list, tuple)):
        return type(value)(_scaled(item, scale) for item in value)
    return max(1, round(value * scale)) if isinstance(value, int) else value
