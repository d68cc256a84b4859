# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The runner of a config: mmengine's, or the subclass that ``runner_type`` names."""

from __future__ import annotations

from collections.abc import Callable

from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from ..distributed.divided import OURS, check_wrapper
from ..distributed.start import on_cpus, start
from ..recipe.errors import RecipeError
from ..recipe.walk import registered
from .console import with_short_console


def build_runner(
    cfg: Config, extend: Callable[[type[Runner]], type[Runner]] = lambda kind: kind
) -> Runner:
    """Build mmengine's Runner, or the subclass that ``runner_type`` names; join other processes.

    Its console is short.

    Args:
        extend: makes a subclass of it.

    Raises:
        RecipeError: the processes cannot meet; the model's wrapper is FSDP1; or ``runner_type`` is
            not a subclass. FlexibleRunner builds, initializes and perhaps shards the model in its
            strategy, and loads the checkpoint before hooks can skip downloads; it cannot be checked
            which tensors of a shard a checkpoint fills.
    """
    name = cfg.get('runner_type')
    kind = registered(cfg, RUNNERS, dict(type=name)) if name else Runner
    if kind is None or not issubclass(kind, Runner):
        raise RecipeError(
            f"runner_type={name!r}: these tools need mmengine's Runner, or a subclass, to inspect "
            'the model before it loads a checkpoint; remove the line, write runner_type=None (to '
            f"divide the model among GPUs, {OURS}), or use mmdet's own tools/train.py"
        )
    check_wrapper(cfg)
    if start(cfg):
        kind = on_cpus(kind)
    return with_short_console(extend(kind)).from_cfg(cfg)
