# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""``mmconvnext.load``: a trained model in one line."""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path

import torch
from mmengine.config import Config

from ..recipe.checks.finding import passed
from ..recipe.errors import RecipeError
from ..recipe.load import load_config
from ..recipe.own_data import apply_own_data
from ..recipe.own_data.given import is_applied
from ..recipe.walk import task
from .build import build, names_of, palette_of, raise_threshold, test_pipeline, use_tta
from .find import find_run
from .images import Pipeline
from .model import Model
from .scope import in_scope, one_at_a_time

SCORE = 0.3  # objects below are left out; our choice


@one_at_a_time
def load(
    config: str | Path | Config,
    checkpoint: str | Path | None = None,
    *,
    device: str | torch.device | None = None,
    score: float = SCORE,
    tiles: int | str | None = None,
    overlap: float = 0.2,
    tta: bool = False,
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

    Raises:
        RecipeError: the config and the checkpoint do not belong together, or an argument is wrong.
        CheckpointError: the checkpoint cannot be found or read.
    """
    _check(score, tiles, overlap)
    device = _device(device)
    if isinstance(config, Config):
        if checkpoint is None:
            raise RecipeError('a Config needs a checkpoint: load(config, checkpoint)')
        cfg, source = copy.deepcopy(config), find_run('', checkpoint)[1]
    else:
        file, source = find_run(config, checkpoint)
        cfg = load_config(str(file))
    if 'own_data' in cfg and not is_applied(cfg):
        apply_own_data(cfg)
    scope = task(cfg)
    with in_scope(scope):
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
            tiles=_side(tiles, pipeline),
            large_only=tiles == 'auto',
            overlap=overlap,
            cfg=cfg,
            recipe=recipe,
        )


def _check(score: float, tiles: int | str | None, overlap: float) -> None:
    if not 0 <= score <= 1:
        raise RecipeError(f'score={score!r}: choose a number from 0 to 1')
    if not 0 <= overlap <= 0.5:
        raise RecipeError(f'overlap={overlap!r}: choose a part of the side of a tile, 0 to 0.5')
    if tiles not in (None, 'auto') and not (type(tiles) is int and tiles >= 32):
        raise RecipeError(f"tiles={tiles!r}: choose a side of 32 pixels or more, 'auto' or None")


def _side(tiles: int | str | None, pipeline: Pipeline) -> int | None:
    if tiles != 'auto':
        return tiles
    if pipeline.scale is None:
        raise RecipeError(
            "tiles='auto': the test pipeline does not resize images, so it has no size to aim at; "
            'give the side of a tile in pixels'
        )
    return pipeline.scale[1]


def _device(device: str | torch.device | None) -> torch.device:
    if device is None:
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        found = torch.device(device)
        torch.zeros(1, device=found)
    except Exception as error:  # torch has many ways to say that there is none
        text = str(error).splitlines()[0]
        raise RecipeError(f'device={str(device)!r} cannot be used here: {text}') from error
    return found
