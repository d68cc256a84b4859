# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""``--toy``: any recipe of a known model family on toy data, shrunk to minutes on a CPU.

These stay: detector, heads, losses, assigners, augmentation steps, optimizer with its layer-wise
decay, schedulers with their proportions, evaluators. These shrink: backbone, widths, image sizes,
queries and proposals, iterations. Every number is our choice.
"""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

from .families import Family, backbone_maps, family_of
from .own_data.kinds import kind_of
from .toy_schedule import shorten
from .walk import LOADERS, backbones, default_hook, dicts, pipelines, type_name

ROOT = 'data/toy'
ARCH, DROP_PATH = 'atto', 0.05
NUM_LAYERS = 6  # of atto; 'single' and 'timm' count its blocks
BY_BLOCK = dict(single=12, timm=12)
OTHER_SIZES = ('depths', 'dims', 'hidden_sizes', 'num_stages')  # other packages' names for arch
SIZE_KEYS = ('scale', 'scales', 'crop_size', 'stride', 'size', 'img_scale', 'max_size')
SIZE_KEYS += ('random_size_range',)
ADAM = ('Adam', 'AdamW')


def make_toy(cfg: Config, root: str = ROOT) -> None:
    """Turn ``cfg`` into a rehearsal in place; write the toy data below ``root`` if missing.

    ``cfg.own_data`` then names the toy data; ``apply_own_data`` makes the loaders read them.

    Raises:
        RecipeError: the model belongs to no family that can be shrunk, the data are of no kind that
            can be drawn, or the folder of the toy data holds something else.
    """
    family, kind = family_of(cfg), kind_of(cfg)
    _shrink_model(cfg, family)
    cfg.own_data = kind.toy(Path(root))
    _scale_images(cfg, family.image_scale, family.size_multiple)
    _set_training(cfg, family)


def _shrink_model(cfg: Config, family: Family) -> None:
    for _, backbone in backbones(cfg):
        backbone.update(arch=ARCH, drop_path_rate=DROP_PATH)
        # Removed, not set to None: --cfg-options may set another.
        for key in ('init_cfg', *OTHER_SIZES):
            backbone.pop(key, None)
    for maps in backbone_maps(cfg):
        family.shrink(cfg, maps.model, maps.channels)
    for _, node in dicts(cfg.model):
        if 'checkpoint' in (node.get('init_cfg') or {}):  # of a teacher's backbone
            node.pop('init_cfg')
        for key in ('pretrained', 'teacher_ckpt'):
            if node.get(key):
                node[key] = None
    cfg.load_from = None


def _scale_images(cfg: Config, scale: float, step: int) -> None:
    """Multiply every image size by ``scale`` and round it to a multiple of ``step`` pixels."""

    def scaled(value: object) -> object:
        if isinstance(value, (list, tuple)):
            return type(value)(map(scaled, value))
        return max(1, round(value * scale / step)) * step if type(value) is int else value

    inside = [
        node
        for path, node in dicts(cfg.model)
        if {'data_preprocessor', 'test_cfg'} & {*path.split('.')}
    ]
    for node in [*pipelines(cfg), *inside]:
        for key in SIZE_KEYS:
            if key in node:
                node[key] = scaled(node[key])
        if type_name(node) == 'RandomAffine':  # cuts half an image off each side of a mosaic
            node.border = tuple(-scaled(-2 * side) // 2 for side in node.get('border', ()))


def _set_training(cfg: Config, family: Family) -> None:
    factor = _set_learning_rate(cfg, family)
    options = cfg.optim_wrapper.get('paramwise_cfg') or {}
    if 'num_layers' in options:
        options['num_layers'] = BY_BLOCK.get(options.get('decay_type'), NUM_LAYERS)
    shorten(cfg, family.epochs, family.iterations, factor)
    cfg.auto_scale_lr = dict(enable=False, base_batch_size=family.batch_size)
    cfg.randomness = dict(seed=0)  # the same result each time
    cfg.train_dataloader.batch_size = family.batch_size
    for loader in filter(cfg.get, LOADERS):
        # Images this small are read faster than worker processes start.
        cfg[loader].update(num_workers=0, persistent_workers=False)
        cfg[loader].pop('prefetch_factor', None)  # torch refuses it without workers
    default_hook(cfg, 'logger', 'LoggerHook').interval = 10


def _set_learning_rate(cfg: Config, family: Family) -> float:
    """Set the learning rate; return its ratio to the recipe's.

    Adam gets the family's rate for random weights. Other optimizers keep the recipe's, scaled
    with the batch size (arXiv 1706.02677).
    """
    optimizer = cfg.optim_wrapper.optimizer
    before = optimizer.get('lr')
    if type_name(optimizer) in ADAM:
        optimizer.lr = family.lr
    else:
        images = (cfg.get('auto_scale_lr') or {}).get('base_batch_size', 16)
        optimizer.lr = before * family.batch_size / images
    return optimizer.lr / before if before else 1.0
