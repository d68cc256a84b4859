# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""mmengine's backend for Weights & Biases, without a copy of the user's code."""

from __future__ import annotations

from mmengine.config import Config
from mmengine.visualization import WandbVisBackend
from mmengine.visualization.vis_backend import force_init_env

from ..registry import VISBACKENDS


@VISBACKENDS.register_module()
class WandbBackend(WandbVisBackend):
    """As mmengine's, but it uploads nothing but the run.

    mmengine's also uploads every .py file below the working folder: in a clone with its virtual
    environment that is tens of thousands, and in a user's project code that nobody asked for.
    """

    @force_init_env
    def add_config(self, config: Config, **kwargs) -> None:
        """Record the config."""
        self._wandb.config.update(config.to_dict(), allow_val_change=True)
