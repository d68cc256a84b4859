# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""A checkpoint that is tested or resumed must fill the heads too, not only the backbone."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import Runner

from ..checkpoint.formats import listed
from ..models import ConvNeXt
from ..recipe.errors import RecipeError


class WholeModel(Hook):
    """Compares what was read with the model, before mmengine loads it.

    mmengine warns of what does not fit and goes on: a test of heads with random weights gives an AP
    of 0, a resumed run starts over. The backbone's own names are left to the backbone, which checks
    them itself and knows other formats.

    Args:
        resume: the file continues a run, so it must be one of mmengine's, with its optimizer.
    """

    def __init__(self, resume: bool = False) -> None:
        self.resume = resume

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Refuse a checkpoint that does not fill the model.

        Raises:
            RecipeError: tensors outside of the backbone are missing or of another shape; or a run
                cannot be continued from it.
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
        backbones = tuple(f'{n}.' for n, m in model.named_modules() if isinstance(m, ConvNeXt))
        own = {
            name: value
            for name, value in model.state_dict().items()
            if not name.startswith(backbones) and not name.endswith('num_batches_tracked')
        }
        missing = [name for name in own if name not in found]
        shapes = [
            f'{name} {tuple(found[name].shape)} for {tuple(value.shape)}'
            for name, value in own.items()
            if name in found and found[name].shape != value.shape
        ]
        if missing or shapes:
            raise RecipeError(
                'the checkpoint does not fill the model:'
                + (f'\n  {len(missing)} missing: {listed(missing)}' if missing else '')
                + (f'\n  {len(shapes)} of another shape: {listed(shapes)}' if shapes else '')
                + '\nTake the config that it was trained with: the same heads, the same classes'
            )
