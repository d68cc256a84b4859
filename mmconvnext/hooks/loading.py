# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Loading a checkpoint into a whole model: what must fit, and what may stay at initialization.

mmengine initializes all weights first, downloads included, and then loads with ``strict=False``:
the AP of a test with random heads is 0, a resumed run starts over, and only the log mentions it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.runner.checkpoint import CheckpointLoader, find_latest_checkpoint
from torch import Tensor, nn

from ..checkpoint.formats import listed
from ..checkpoint.load import lenient_loading, whole_loading
from ..checkpoint.match import described, unusable
from ..recipe.errors import RecipeError
from ..recipe.work_dir import keep_in_work_dir
from .class_layers import class_counts, class_dimensions
from .loading_summary import Summary
from .model_weights import (
    Shapes,
    backbone_prefixes,
    fills_module,
    loads_pretrained,
    other_shapes,
    shared_tensors,
    unwrapped_model,
    unwrapped_name,
    weights_of,
)
from .same_classes import trained_classes

HINT = {
    'load_from': 'Use a checkpoint of the same network; only the number of classes may differ',
    'resume': 'Use the config that it was trained with: the same heads, the same classes',
    'test': 'Use the config that it was trained with: the same heads, the same classes',
}
VALUES_HINT = 'Use a checkpoint with valid values: an earlier one, or one that is not quantized'
WAY_OUT = 'To load only what fits: --lenient, or lenient_loading = True in the config'


class Loading(Hook):
    """Loads the checkpoint before mmengine does; refuses one that would leave weights random.

    With ``load_from``, layers whose shape depends on the number of classes may stay at
    initialization; nothing may in a resumed run or a test. A module that the file fills is not
    initialized from its ``init_cfg`` first.

    Args:
        purpose: 'load_from', 'resume' or 'test'.
        lenient: load what fits, and log at level WARNING what did not.
    """

    priority = 'VERY_HIGH'  # before EMAHook, which copies the loaded weights

    def __init__(self, purpose: str, lenient: bool = False) -> None:
        self.purpose, self.lenient, self.source = purpose, lenient, ''
        self.skipped: list[str] = []  # modules whose init_cfg is not read
        self.line, self.level = '', logging.INFO

    def before_run(self, runner: Runner) -> None:
        """Keep mmengine from downloading weights that the checkpoint replaces."""
        # Without load_from, mmengine resumes from the last checkpoint, if there is one.
        self.source = runner._load_from or find_latest_checkpoint(runner.work_dir)
        if self.purpose == 'test' or self.source is None or runner._has_loaded:
            return  # nothing is initialized, or there is no run to continue
        model = unwrapped_model(runner.model)
        modules = {name: m for name, m in model.named_modules() if loads_pretrained(m)}
        # A strict resume fills everything or raises.
        if modules and (self.purpose != 'resume' or self.lenient):
            content = CheckpointLoader.load_checkpoint(self.source, 'cpu')
            weights, state = weights_of(content, self.source), model.state_dict()
            faults = unusable(shared_tensors(weights, state), state)
            weights = {name: value for name, value in weights.items() if name not in faults}
            modules = {name: m for name, m in modules.items() if fills_module(weights, m, name)}
        for name, module in modules.items():
            if name:
                module._is_init = True
            else:  # mmengine warns if _is_init is set on the whole model
                module.init_cfg = None
            self.skipped.append(name or 'the model')

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Load the checkpoint into the model.

        Raises:
            RecipeError: it is not a checkpoint; or it does not fill the model, apart from what
                may stay at initialization; or it is to be resumed but has no training state.
        """
        weights = weights_of(checkpoint, self.source)
        _set_weights(checkpoint, weights)
        if self.purpose == 'resume':
            _require_run(checkpoint)
            _keep_in_work_dir(runner, checkpoint)
        model = unwrapped_model(runner.model)
        state = model.state_dict()
        reshaped = other_shapes(weights, model)
        class_layers = self._class_layers(runner.cfg.model, checkpoint, state, reshaped)
        faults = self._faults(model, checkpoint, weights, class_layers)
        if faults and not self.lenient:
            raise RecipeError(self._refusal(described(faults), VALUES_HINT))
        left_out = {**reshaped, **dict.fromkeys(faults)} if self.lenient else class_layers
        missing, unused = self._load(model, weights, left_out)
        missing = [name for name in missing if name not in left_out]
        if missing and not self.lenient:
            raise RecipeError(self._refusal(f'{len(missing)} missing: {listed(missing)}'))
        if self.purpose == 'load_from' or self.lenient:
            # Complete, so that mmengine and its EMAHook load it again without a message.
            checkpoint['state_dict'] = model.state_dict()
        absent = len(missing) + len(state.keys() & left_out)
        missing += [name for name in faults if name in state]
        summary = Summary(
            source=self.source,
            loaded=len(state) - absent,
            total=len(state),
            faults=described(faults) if faults else '',
            resumed=checkpoint['meta'] if self.purpose == 'resume' else None,
            class_layers=class_layers,
            classes=(class_counts(runner.cfg.model), len(trained_classes(checkpoint))),
            missing={**reshaped, **dict.fromkeys(n for n in missing if n not in reshaped)},
            unused=unused,
            skipped=self.skipped,
        )
        self.line, self.level = summary.line(), summary.level()

    def before_train(self, runner: Runner) -> None:
        """Log what was loaded, after mmengine's own lines."""
        if self.line:
            runner.logger.log(self.level, self.line)
            self.line = ''  # once

    before_test = before_train

    def _class_layers(
        self, config: dict, checkpoint: Mapping, state: Mapping[str, Tensor], reshaped: Shapes
    ) -> Shapes:
        """The reshaped tensors that differ only in dimensions set by the number of classes."""
        same = class_counts(config) == [len(trained_classes(checkpoint))]
        if not reshaped or self.purpose != 'load_from' or same:
            return {}
        own = {name: tuple(tensor.shape) for name, tensor in state.items()}
        dimensions = class_dimensions(config, own)
        return {
            name: (theirs, ours)
            for name, (theirs, ours) in reshaped.items()
            if len(theirs) == len(ours)
            and {i for i, pair in enumerate(zip(theirs, ours)) if pair[0] != pair[1]}
            <= dimensions.get(name, set())
        }

    def _faults(
        self,
        model: nn.Module,
        checkpoint: dict,
        weights: Mapping[str, object],
        class_layers: Mapping[str, object],
    ) -> dict[str, str]:
        """Tensors with unusable values, such as NaN or quantized ones, and what is wrong."""
        state = model.state_dict()
        taken = {name: value for name, value in weights.items() if name not in class_layers}
        faults = unusable(shared_tensors(taken, state), state)
        if self.lenient:  # also tensors of our backbone in a format that loading would rename
            ours = backbone_prefixes(model)
            foreign = {k: v for k, v in taken.items() if k not in state and k.startswith(ours)}
            foreign = {k: v for k, v in foreign.items() if isinstance(v, Tensor)}
            faults.update(unusable(foreign, foreign))
        if self.purpose == 'resume':
            faults.update(_faults_of_average(checkpoint, state))
        return faults

    def _load(
        self, model: nn.Module, weights: Mapping[str, object], left_out: Mapping[str, object]
    ) -> tuple[list[str], list[str]]:
        """Load all but ``left_out``; return the missing and the unused names."""
        rest = {name: value for name, value in weights.items() if name not in left_out}
        try:
            with lenient_loading() if self.lenient else whole_loading():
                return model.load_state_dict(rest, strict=False)
        except RuntimeError as error:
            raise RecipeError(self._refusal(str(error))) from error

    def _refusal(self, fault: str, hint: str = '') -> str:
        purpose = '' if self.purpose == 'test' else f' ({self.purpose})'
        return (
            f'the checkpoint {self.source}{purpose} does not fill the model:\n{fault}\n'
            f'{hint or HINT[self.purpose]}. {WAY_OUT}'
        )


def _set_weights(checkpoint: dict, weights: dict[str, object]) -> None:
    """Put the weights where mmengine and its EMAHook look for them when they load again."""
    inside = checkpoint.get('state_dict')
    if not isinstance(inside, Mapping) or weights.keys() != inside.keys():
        checkpoint['state_dict'] = weights


def _require_run(checkpoint: Mapping) -> None:
    required, meta = ('optimizer', 'message_hub'), checkpoint.get('meta')
    lacking = [key for key in required if not isinstance(checkpoint.get(key), Mapping)]
    if lacking or not isinstance(meta, Mapping) or 'iter' not in meta:
        raise RecipeError(
            'this checkpoint was not written by a training run '
            f'({"no " + lacking[0] if lacking else "no iteration count"}), so it cannot be '
            'resumed; start from its weights with --cfg-options load_from=FILE'
        )


def _keep_in_work_dir(runner: Runner, checkpoint: dict) -> None:
    if not runner.cfg.get('default_hooks', {}).get('checkpoint', {}).get('out_dir'):
        keep_in_work_dir(checkpoint['message_hub'].get('runtime_info', {}), runner.work_dir)


def _faults_of_average(checkpoint: dict, state: Mapping[str, Tensor]) -> dict[str, str]:
    """Faults of the averaged weights that EMAHook restores; faulty tensors are removed."""
    average = checkpoint.get('ema_state_dict')
    if not isinstance(average, Mapping):
        return {}
    names = {name: unwrapped_name(name) for name in average}
    shared = shared_tensors({names[name]: value for name, value in average.items()}, state)
    faults = unusable(shared, state)
    if faults:
        average = {key: value for key, value in average.items() if names[key] not in faults}
        checkpoint['ema_state_dict'] = average
    return {f'ema_state_dict.{name}': fault for name, fault in faults.items()}
