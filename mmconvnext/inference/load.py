# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""``mmconvnext.load``: a trained model in one line."""

from __future__ import annotations

import copy
import hashlib
import os
import warnings

import torch
from mmengine.config import Config

from ..recipe.checks.finding import passed
from ..recipe.errors import RecipeError
from ..recipe.load import load_config
from ..recipe.own_data import apply_own_data
from ..recipe.own_data.given import is_applied
from ..recipe.quiet import ignore_idle_warnings
from ..recipe.walk import task
from .arguments import device_of, number, path_of, score_of, shown, whole
from .build import build, names_of, palette_of, raise_threshold, test_pipeline, use_tta
from .find import find_checkpoint, find_run
from .images import Pipeline
from .model import Model
from .scope import in_scope, one_at_a_time

# Objects below are left out, as by mmdet's DetVisualizationHook. It is also the default of
# tools/predict.py and tools/analyze.py.
SCORE = 0.3
CONFIGS = 'a config file, the folder of a run, or a mmengine Config'
CHECKPOINTS = 'the file, URL or short name of a checkpoint, or the folder of a run'


@one_at_a_time
def load(
    config: str | os.PathLike | Config,
    checkpoint: str | os.PathLike | None = None,
    *,
    device: str | torch.device | None = None,
    score: float = SCORE,
    tiles: int | str | None = None,
    overlap: float = 0.2,
    tta: bool = False,
    config_only_data: bool = False,
) -> Model:
    """Load a trained detector or segmentor.

        model = mmconvnext.load('my.py', 'work_dirs/my/best_coco_bbox_mAP_epoch_9.pth')
        model = mmconvnext.load('work_dirs/my')
        model('image.jpg').draw().save('drawn.png')

    Nothing of mmengine is changed: models of mmdet and mmseg can be used beside each other, and
    beside other code. The data that the model was trained with are not needed.

    Args:
        config: a config file, a Config, or a work dir: the folder of a run. From a work dir alone
            the config in it and its newest best checkpoint, else its last one, are taken.
        checkpoint: a file, URL or short name (tools/list_weights.py), or a work dir.
        device: such as 'cpu' or 'cuda:1'; None is the GPU if there is one.
        score: leave out objects with a lower score.
        tiles: cut images into tiles of so many pixels, for small objects in large images; 'auto'
            cuts images that the recipe would shrink to less than half, into tiles that it does not
            shrink. Objects in several tiles are joined. None: no tiles.
        overlap: of neighbouring tiles, as a part of their side, 0 to 0.5.
        tta: use the recipe's test-time augmentation.
        config_only_data: read the config file without running it; refuse it if it is more than
            data. A config is a Python program: for one from somebody you do not trust.

    Raises:
        RecipeError: the config and the checkpoint do not belong together, or an argument is wrong.
        CheckpointError: the checkpoint cannot be found or read.
    """
    score, device = score_of(score), device_of(device)
    overlap = number('overlap', overlap, 0.5, 'a part of the side of a tile, 0 to 0.5')
    large_only = isinstance(tiles, str) and tiles == 'auto'
    if not large_only and tiles is not None:
        tiles = whole('tiles', tiles, 32, "a side of 32 pixels or more, 'auto' or None")
    cfg, source = _found(config, checkpoint, config_only_data)
    scope = task(cfg)
    # The scope also while own data are applied, which looks up types.
    with in_scope(scope), warnings.catch_warnings():
        ignore_idle_warnings()
        if 'own_data' in cfg and not is_applied(cfg):
            apply_own_data(cfg)
        steps = test_pipeline(cfg)
        recipe = hashlib.sha256(repr((cfg.model, steps)).encode()).hexdigest()[:12]
        raise_threshold(cfg, score)
        if tta:
            use_tta(cfg)
            steps = cfg.tta_pipeline
        pipeline = Pipeline(steps, any_bits='image_bits' in passed(cfg))
        net, content = build(cfg, source, device)
        return Model(
            net,
            pipeline,
            scope=scope,
            classes=names_of(cfg, content),
            palette=palette_of(cfg, content),
            score=score,
            tiles=_automatic(pipeline) if large_only else tiles,
            large_only=large_only,
            overlap=overlap,
            cfg=cfg,
            recipe=recipe,
        )


def _found(config: object, checkpoint: object, only_data: bool) -> tuple[Config, str]:
    """The config, and where its checkpoint is."""
    if checkpoint is not None:
        checkpoint = path_of('checkpoint', checkpoint, CHECKPOINTS)
    if not isinstance(config, Config):
        file, source = find_run(path_of('config', config, CONFIGS), checkpoint)
        return load_config(str(file), only_data), source
    if checkpoint is None:
        raise RecipeError('a Config needs a checkpoint: load(config, checkpoint)')
    if not config.get('model'):
        raise RecipeError(f'config={shown(config)}: it has no model; give {CONFIGS}')
    return copy.deepcopy(config), find_checkpoint(checkpoint)


def _automatic(pipeline: Pipeline) -> int:
    """The side of tiles that the recipe does not shrink."""
    if pipeline.scale is None:
        raise RecipeError(
            "tiles='auto': the test pipeline does not resize images, so it has no size to aim at; "
            'give the side of a tile in pixels'
        )
    return pipeline.scale[1]
