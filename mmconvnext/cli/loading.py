# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""A checkpoint into a whole model: what it must fill, what may start fresh, what is said of it.

mmengine initialises all weights first, downloads included, and then loads with ``strict=False``: a
test of random heads gives an AP of 0, a resumed run starts over, and nothing but the log knows.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Mapping

from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.registry import MODELS
from mmengine.runner import Runner
from mmengine.runner.checkpoint import CheckpointLoader, find_latest_checkpoint
from mmengine.utils import is_seq_of
from torch import Tensor, nn

from ..checkpoint.checkpoint_key import unwrap
from ..checkpoint.errors import CheckpointUnreadable
from ..checkpoint.formats import listed
from ..checkpoint.load import fills, is_pretrained, lenient_loading, whole_loading
from ..checkpoint.match import described, unusable
from ..recipe.errors import RecipeError
from ..recipe.work_dir import keep_in_work_dir
from .class_layers import class_counts, class_dimensions
from .same_classes import trained_classes

HINT = {
    'load_from': 'Take a checkpoint of the same network; only the number of classes may differ',
    'resume': 'Take the config that it was trained with: the same heads, the same classes',
    'test': 'Take the config that it was trained with: the same heads, the same classes',
}
VALUES_HINT = 'Take a checkpoint whose weights are whole: an earlier one, or the one not quantized'
WAY_OUT = 'To load only what fits: --lenient, or lenient_loading = True in the config'
# What DistributedDataParallel and torch.compile put before all names, in whatever order.
WRAPPERS = re.compile(r'((module|_orig_mod)\.)+')


class Loading(Hook):
    """Loads once, before mmengine does, and refuses what would leave weights random unawares.

    For ``load_from``, layers whose shape depends on the number of classes may start fresh; nothing
    may for a run that is resumed, nor for a test. A backbone that the file fills is not initialised
    from its ``init_cfg`` first.

    Args:
        what: 'load_from', 'resume' or 'test'.
        lenient: load what fits, and say at level WARNING what did not.
    """

    priority = 'VERY_HIGH'  # EMAHook copies what is loaded here

    def __init__(self, what: str, lenient: bool = False) -> None:
        self.what, self.lenient, self.source = what, lenient, ''
        self.spared: list[str] = []
        self.line, self.level = '', logging.INFO

    def before_run(self, runner: Runner) -> None:
        """Keep mmengine from fetching weights that the checkpoint replaces."""
        # Without load_from mmengine resumes from the last checkpoint, if there is one.
        self.source = runner._load_from or find_latest_checkpoint(runner.work_dir)
        if self.what == 'test' or self.source is None or runner._has_loaded:
            return  # nothing is initialised, or there is no run to continue
        modules = {name: m for name, m in _bare(runner.model).named_modules() if _pretrained(m)}
        if modules and (self.what != 'resume' or self.lenient):  # else all is filled, or an error
            found = self._weights(CheckpointLoader.load_checkpoint(self.source, 'cpu'))
            state = _bare(runner.model).state_dict()
            faulty = unusable(_shared(found, state), state)
            found = {name: value for name, value in found.items() if name not in faulty}
            modules = {name: m for name, m in modules.items() if _filled(m, found, name)}
        for name, module in modules.items():
            if name:
                module._is_init = True
            else:  # mmengine warns when it comes to a whole model that is initialised
                module.init_cfg = None
            self.spared.append(name or 'the model')

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Load the checkpoint into the model.

        Raises:
            RecipeError: it does not fill the model, but for what may start fresh; or it is no
                checkpoint; or it continues no run, although it is to be resumed.
        """
        found = self._weights(checkpoint)
        inside = checkpoint.get('state_dict')
        if not isinstance(inside, Mapping) or found.keys() != inside.keys():
            checkpoint['state_dict'] = found  # mmengine and its EMAHook load it again
        if self.what == 'resume':
            _require_run(checkpoint)
            if not runner.cfg.get('default_hooks', {}).get('checkpoint', {}).get('out_dir'):
                keep_in_work_dir(checkpoint['message_hub'].get('runtime_info', {}), runner.work_dir)
        model = _bare(runner.model)
        state = model.state_dict()
        own = {name: tuple(tensor.shape) for name, tensor in state.items()}
        ours = tuple(f'{name}.' for name, module in model.named_modules() if _is_convnext(module))
        other = {
            name: (tuple(found[name].shape), shape)
            for name, shape in own.items()
            if isinstance(found.get(name), Tensor)
            and tuple(found[name].shape) != shape
            and not name.startswith(ours)  # what fits our backbone, it knows itself
        }
        fresh = self._class_layers(runner.cfg.model, checkpoint, own, other)
        taken = {name: value for name, value in found.items() if name not in fresh}
        faulty = unusable(_shared(taken, state), state)
        if self.lenient:  # what our backbone would rename is dropped here as well
            foreign = {k: v for k, v in taken.items() if k not in own and k.startswith(ours)}
            foreign = {k: v for k, v in foreign.items() if isinstance(v, Tensor)}
            faulty.update(unusable(foreign, foreign))
        faulty.update(self._average(checkpoint, state))
        if faulty and not self.lenient:
            raise RecipeError(self._refusal(described(faulty), VALUES_HINT))
        left_out = {**other, **dict.fromkeys(faulty)} if self.lenient else fresh
        rest = {name: value for name, value in found.items() if name not in left_out}
        try:
            with lenient_loading() if self.lenient else whole_loading():
                missing, left_over = model.load_state_dict(rest, strict=False)
        except RuntimeError as error:
            raise RecipeError(self._refusal(str(error))) from error
        counters = [name for name in missing if name.endswith('num_batches_tracked')]
        missing = [name for name in missing if name not in left_out and name not in counters]
        if missing and not self.lenient:
            raise RecipeError(self._refusal(f'{len(missing)} missing: {listed(missing)}'))
        if self.what == 'load_from' or self.lenient:
            # mmengine and its EMAHook then load all that the model has, without a word.
            checkpoint['state_dict'] = model.state_dict()
        loaded = len(own) - len(missing) - len(counters) - len(own.keys() & left_out)
        self.line = f'Loaded {loaded} of {len(own)} tensors from {self.source}'
        missing += [name for name in faulty if name in own and name not in other]
        if faulty:
            self.line += f'; left out: {described(faulty)}'
            self.level = logging.WARNING
        self._explain(runner, checkpoint, fresh, {**other, **dict.fromkeys(missing)}, left_over)

    def before_train(self, runner: Runner) -> None:
        """Say what was loaded, after all that mmengine says."""
        if self.line:
            runner.logger.log(self.level, self.line)
            self.line = ''  # once

    before_test = before_train

    def _average(self, checkpoint: dict, state: Mapping[str, Tensor]) -> dict[str, str]:
        """Faults of what EMAHook swaps in when a run goes on; they are taken out."""
        average = checkpoint.get('ema_state_dict')
        if self.what != 'resume' or not isinstance(average, Mapping):
            return {}
        names = {name: _unwrapped(name) for name in average}
        shared = _shared({names[name]: value for name, value in average.items()}, state)
        faulty = unusable(shared, state)
        if faulty:
            average = {key: value for key, value in average.items() if names[key] not in faulty}
            checkpoint['ema_state_dict'] = average
        return {f'ema_state_dict.{name}': fault for name, fault in faulty.items()}

    def _weights(self, checkpoint: object) -> Mapping[str, object]:
        try:
            content = unwrap(checkpoint)
        except CheckpointUnreadable as error:
            raise RecipeError(f'{self.source} {error}') from error
        # Of mmengine's own all is taken: what is no tensor there is an error, or named.
        weights = checkpoint['state_dict'] if content.path == 'state_dict' else content.tensors
        names = {name: _unwrapped(name) for name in weights}
        twice = [name for name, count in Counter(names.values()).items() if count > 1]
        if twice:
            both = [str(name) for name in names if names[name] == twice[0]]
            raise RecipeError(
                f'{self.source} has {len(twice)} tensors twice, with and without the prefix of a '
                f'wrapper: {listed(both)}; keep one of each'
            )
        return {names[name]: value for name, value in weights.items()}

    def _class_layers(self, config: dict, checkpoint: Mapping, own: dict, other: dict) -> dict:
        """Those of another shape that differ only where the number of classes makes them differ."""
        same = class_counts(config) == [len(trained_classes(checkpoint))]
        if not other or self.what != 'load_from' or same:
            return {}
        dimensions = class_dimensions(config, own)
        return {
            name: (theirs, ours)
            for name, (theirs, ours) in other.items()
            if len(theirs) == len(ours)
            and {i for i, pair in enumerate(zip(theirs, ours)) if pair[0] != pair[1]}
            <= dimensions.get(name, set())
        }

    def _refusal(self, fault: str, hint: str = '') -> str:
        what = '' if self.what == 'test' else f' ({self.what})'
        return (
            f'the checkpoint {self.source}{what} does not fill the model:\n{fault}\n'
            f'{hint or HINT[self.what]}. {WAY_OUT}'
        )

    def _explain(
        self, runner: Runner, checkpoint: dict, fresh: dict, missing: dict, left_over: list[str]
    ) -> None:
        if self.what == 'resume':
            meta = checkpoint['meta']
            self.line += f', resumed at epoch {meta.get("epoch")}, iteration {meta["iter"]}'
        if fresh:
            why = _why(checkpoint, runner.cfg.model)
            self.line += f'; fresh: {_changes(fresh)}: expected, {why}'
        missing = {name: shapes for name, shapes in missing.items() if name not in fresh}
        if missing:
            self.line += f'; NOT STRICT (lenient_loading), left as they were: {_changes(missing)}'
        if left_over:
            self.line += f'; not used: {listed(left_over)}'
        if self.spared:
            self.line += f'; not read, as the file has all of it: init_cfg of {listed(self.spared)}'
        if missing or left_over:
            self.level = logging.WARNING


def _bare(model: nn.Module) -> nn.Module:
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def _unwrapped(name: object) -> str:
    """The name in the model itself; what is no name, a number say, is left over by its text."""
    name = str(name)
    prefix = WRAPPERS.match(name)
    return name[prefix.end() :] if prefix else name


def _shared(found: Mapping[str, object], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k: v for k, v in found.items() if k in state and isinstance(v, Tensor)}


def _pretrained(module: nn.Module) -> bool:
    """Whether its weights would be read from a file or fetched."""
    configs = getattr(module, 'init_cfg', None) or []
    configs = configs if isinstance(configs, (list, tuple)) else [configs]
    return is_seq_of(configs, dict) and any(map(is_pretrained, configs))


def _filled(module: nn.Module, found: Mapping[str, object], name: str) -> bool:
    """Whether the file fills all of a module, so that nothing of its init_cfg would be left."""
    prefix = f'{name}.' if name else ''
    if _is_convnext(module):
        return fills(module, found, prefix)
    return all(
        getattr(found.get(prefix + key), 'shape', None) == tensor.shape
        for key, tensor in module.state_dict().items()
        if not key.endswith('num_batches_tracked')
    )


def _is_convnext(module: nn.Module) -> bool:
    return isinstance(module, MODELS.get('mmconvnext.ConvNeXt'))


def _require_run(checkpoint: Mapping) -> None:
    required, meta = ('optimizer', 'message_hub'), checkpoint.get('meta')
    lacking = [key for key in required if not isinstance(checkpoint.get(key), Mapping)]
    if lacking or not isinstance(meta, Mapping) or 'iter' not in meta:
        raise RecipeError(
            'the checkpoint is of no run of these tools '
            f'({"no " + lacking[0] if lacking else "no iteration count"}), so it cannot be '
            'resumed; start from its weights with --cfg-options load_from=FILE'
        )


def _changes(tensors: Mapping[str, tuple | None]) -> str:
    """The modules of the tensors, with what differs in their shapes: 'fc_cls (81 -> 3)'."""
    modules: dict[str, str] = {}
    for name, shapes in tensors.items():
        pairs = [f'{a} -> {b}' for a, b in zip(*shapes or ((), ())) if a != b]
        if shapes and len(shapes[0]) != len(shapes[1]):
            pairs = [f'{shapes[0]} -> {shapes[1]}']
        module = re.sub(r'\.(weight|bias)$', '', name)
        modules.setdefault(module, f'{module} ({", ".join(pairs)})' if pairs else module)
    return listed(modules.values(), 10)


def _why(checkpoint: Mapping, model: dict) -> str:
    ours = ' and '.join(map(str, class_counts(model)))
    theirs = len(trained_classes(checkpoint)) or 'another number'
    return f'because the model has {ours} classes and the file {theirs}'
