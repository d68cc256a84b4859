# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What a training prints at its end: its best checkpoint, and what to do with it."""

from __future__ import annotations

from pathlib import Path

from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from ..analysis.runs.panels import is_judged
from ..checkpoint.errors import CheckpointError
from ..inference.find import find_run
from ..recipe.errors import RecipeError
from .analyze import can_analyze
from .commands import command, short


def after_training(runner: Runner) -> list[str]:
    """The best checkpoint and what to do with it; nothing if the run saved none."""
    cfg = runner.cfg
    work_dir = Path(cfg.work_dir)
    try:
        _, checkpoint = find_run(work_dir, None)
    except (RecipeError, CheckpointError):  # saved elsewhere, or not at all
        return []
    kind = 'best' if Path(checkpoint).name.startswith('best_') else 'last'
    figures = ', '.join(_figures(runner, Path(checkpoint).name))
    lines = ['', f'{kind} checkpoint: {short(checkpoint)}{f" ({figures})" if figures else ""}']
    lines += ['next, with images of yours for IMAGES:']
    lines += ['  ' + command('predict', work_dir, 'IMAGES', '--out', work_dir / 'predictions')]
    if can_analyze(cfg, cfg.get('val_evaluator')):
        lines += ['  ' + command('analyze', work_dir, '--out', work_dir / 'mistakes')]
    return lines


def _figures(runner: Runner, checkpoint: str) -> list[str]:
    """What the checkpoint was chosen for, or what the last validation gave."""
    info = runner.message_hub.runtime_info
    for name, path in info.items():
        if name.startswith('best_ckpt') and Path(str(path)).name == checkpoint:
            key = name.removeprefix('best_ckpt').lstrip('_') or _indicator(runner)
            return [f'{key} {info[name.replace("ckpt", "score", 1)]:.4g}']
    found = {
        name.removeprefix('val/'): buffer.current()
        for name, buffer in runner.message_hub.log_scalars.items()
        if name.startswith('val/')
    }
    return [f'{key} {value:.4g}' for key, value in found.items() if is_judged(key)]


def _indicator(runner: Runner) -> str:
    """The only metric that the best checkpoint is chosen by."""
    hooks = (hook for hook in runner.hooks if isinstance(hook, CheckpointHook))
    return next(hook.key_indicators[0] for hook in hooks if hook.save_best)
