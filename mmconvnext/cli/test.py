# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Evaluation: what ``tools/test.py`` does."""

from __future__ import annotations

import argparse
import os

from mmengine.config import Config
from mmengine.runner import Runner

from ..checkpoint.lookup import look_up
from ..checkpoint.mmengine_io import install
from ..hooks.loading import Loading
from ..hooks.same_classes import SameClasses
from ..inference.build import fuse, skip_pretrained, use_tta
from ..inference.find import find_run
from ..recipe.errors import RecipeError
from ..recipe.own_data.kinds import label_maps
from ..recipe.prepare import is_lenient, prepare_config
from ..recipe.ranks import rank
from ..recipe.walk import LOADERS, default_hook, evaluators, task
from .cfg_options import read_cfg_options
from .options import test_parser
from .runner import build_runner
from .stack import require_stack


def main(argv: list[str] | None = None) -> dict:
    """Parse ``argv``, evaluate, return the metrics."""
    args = test_parser().parse_args(argv)
    require_stack()
    install()
    config, args.checkpoint = find_run(args.config, args.checkpoint)
    cfg = prepare_config(
        str(config),
        read_cfg_options(args.cfg_options),
        only_data=args.config_only_data,
        training=False,
        toy=args.toy,
        work_dir=args.work_dir,
        lenient=args.lenient,
        launcher=args.launcher,
        edit=lambda cfg: _apply_arguments(cfg, args),
    )
    runner = testing_runner(cfg)
    for metric in evaluators(cfg):
        if metric.get('output_dir'):  # in mmseg rank 0 makes it, perhaps too late for the others
            os.makedirs(metric.output_dir, exist_ok=True)
    return runner.test()


def testing_runner(cfg: Config) -> Runner:
    """A runner whose ``test()`` loads the checkpoint with all checks."""
    runner = build_runner(cfg)
    runner.register_hook(Loading('test', is_lenient(cfg)))
    runner.register_hook(SameClasses(LOADERS[2]))
    fuse(runner.model)
    return runner


def load_for_test(cfg: Config, checkpoint: str) -> None:
    """Let ``cfg`` load this checkpoint, and no pretrained weights.

    Raises:
        CheckpointNotFound: it is neither a file, nor a URL, nor the name of published weights.
    """
    look_up(checkpoint)
    cfg.load_from = checkpoint
    skip_pretrained(cfg)


def _apply_arguments(cfg: Config, args: argparse.Namespace) -> None:
    load_for_test(cfg, args.checkpoint)
    if args.tta:
        _use_tta(cfg)
    if args.show_dir:
        _draw_predictions(cfg, args.show_dir)
    if args.out:
        _save_predictions(cfg, args.out)
    for metric in evaluators(cfg):
        # The default folder would be shared by all runs: give each its own.
        if metric.get('output_dir') == label_maps.OUTPUT:
            metric.output_dir = os.path.join(cfg.work_dir, 'label_maps')


def _use_tta(cfg: Config) -> None:
    use_tta(cfg)
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline


def _draw_predictions(cfg: Config, folder: str) -> None:
    # Pictures are named like their images. The others could see what rank 0 has drawn.
    if not rank() and os.path.isdir(folder) and os.listdir(folder):
        raise RecipeError(
            f'--show-dir: {folder} is not empty, and pictures would overwrite files of the same '
            'name; choose a new folder'
        )
    kind = 'DetVisualizationHook' if task(cfg) == 'mmdet' else 'SegVisualizationHook'
    hook = default_hook(cfg, 'visualization', kind)
    hook.draw = True
    if task(cfg) == 'mmdet':
        hook.test_out_dir = os.path.abspath(folder)
    else:
        hook.interval = 1  # mmseg's default draws every 50th image
        cfg.visualizer.save_dir = folder


def _save_predictions(cfg: Config, out: str) -> None:
    if not rank() and os.path.exists(out):
        raise RecipeError(f'--out: {out} exists and would be overwritten; choose another name')
    is_file = out.endswith(('.pkl', '.pickle'))
    if task(cfg) == 'mmseg':
        if is_file:
            raise RecipeError(f'--out: label maps of a segmentor go into a folder, got {out!r}')
        cfg.test_evaluator.update(output_dir=out, keep_results=True)
        return
    if not is_file:
        raise RecipeError(f'--out: predictions of a detector go into a .pkl file, got {out!r}')
    metrics = cfg.test_evaluator
    metrics = list(metrics) if isinstance(metrics, (list, tuple)) else [metrics]
    cfg.test_evaluator = [*metrics, dict(type='DumpDetResults', out_file_path=out)]
