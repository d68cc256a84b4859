# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Pictures of feature maps: what ``tools/feature_maps.py`` does."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from ..analysis.feature_maps import (
    Features,
    draw_channels,
    draw_components,
    draw_overview,
    feature_maps,
)
from ..checkpoint.atomic import atomic_path
from ..inference import load
from ..recipe.errors import RecipeError
from .options import maps_parser
from .stack import require_stack


def main(argv: list[str] | None = None) -> Path:
    """Parse ``argv``, run the backbone, draw; return the picture."""
    args = maps_parser().parse_args(argv)
    out = Path(args.out).expanduser()
    if out.suffix.lower() != '.png':
        raise RecipeError(f'--out {out}: the picture is a PNG; write a name that ends in .png')
    if out.exists():
        raise RecipeError(f'--out: {out} exists and is left unchanged; choose another name')
    require_stack()
    model = load(
        args.config,
        args.checkpoint,
        device=args.device,
        config_only_data=args.config_only_data,
    )
    features = feature_maps(model, args.image)
    if args.stage is not None:
        features = _only(features, args.stage)
    if args.channels:
        picture = draw_channels(features, args.channels)
    else:
        picture = draw_components(features) if args.pca else draw_overview(features)
    try:
        with atomic_path(out) as path:
            Image.fromarray(picture).save(path, format='PNG')
    except OSError as error:
        raise RecipeError(f'--out: {out} cannot be written: {error.strerror or error}') from error
    for stage in features.stages:
        print(', '.join(stage.title()))
    print(f'picture: {out}')
    return out


def _only(features: Features, stage: int) -> Features:
    if stage >= len(features.stages):
        last = len(features.stages) - 1
        raise RecipeError(f'--stage {stage}: this backbone returns the maps 0 to {last}')
    return features._replace(stages=[features.stages[stage]])
