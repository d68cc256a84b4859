# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""A checkpoint that is tested or resumed must fill the heads too, not only the backbone."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import Runner

from ..checkpoint.formats import listed
from ..checkpoint.load import whole_loading
from ..recipe.errors import RecipeError

HINT = 'Take the config that it was trained with: the same heads, the same classes'


class WholeModel(Hook):
    """Refuses what would leave any part of the model with random weights.

    mmengine warns and goes on: a test of random heads gives an AP of 0, a resumed run starts over.

    Args:
        resume: the file continues a run, so it must be one of mmengine's, with its optimizer.
    """

    def __init__(self, resume: bool = False) -> None:
        self.resume = resume

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Refuse a checkpoint that does not fill the model.

        Raises:
            RecipeError: tensors are missing or of another shape; or it continues no run.
        """
        if self.resume:
            lacking = [key for key in ('optimizer', 'message_hub') if key not in checkpoint]
            if lacking or 'iter' not in checkpoint.get('meta', {}):
                raise RecipeError(
                    'the checkpoint is of no run of these tools '
                    f'({"no " + lacking[0] if lacking else "no iteration count"}), so it cannot be '
                    'resumed; start from its weights with --cfg-options load_from=FILE'
                )
        model = runner.model
        while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
            model = model.module
        found = checkpoint.get('state_dict', checkpoint)
        found = {name.removeprefix('module.'): value for name, value in found.items()}
        # Loaded once here, by torch, which tells what is missing after all modules have renamed
        # what they know under other names; mmengine only logs it.
        try:
            with whole_loading():
                missing, _ = model.load_state_dict(found, strict=False)
        except RuntimeError as error:
            raise RecipeError(
                f'the checkpoint does not fill the model:\n{error}\n{HINT}'
            ) from error
        missing = [name for name in missing if not name.endswith('num_batches_tracked')]
        if missing:
            raise RecipeError(
                'the checkpoint does not fill the model:\n'
                f'{len(missing)} missing: {listed(missing)}\n{HINT}'
            )
