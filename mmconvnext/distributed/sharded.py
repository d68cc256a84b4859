# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""A model whose weights, gradients and optimizer state are divided among the processes (FSDP2).

mmengine's wrapper is FSDP1, whose flat 1-D shards cannot be initialized, and whose checkpoints hold
one process's shards. Here everything that goes in and out is whole: initial weights, checkpoints,
the optimizer's state.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

import torch
import torch.distributed as dist
import torch.distributed.fsdp as fsdp
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from ..recipe.errors import RecipeError
from ..recipe.ranks import log_rank0
from ..registry import MODEL_WRAPPERS
from .shards import share, shared, whole_state

# Blocks with fewer parameters stay with the rest of the model: each gather costs a round trip. Our
# choice.
LEAST = 1_000_000
OLDEST = '2.8'  # the first torch with FSDPModule.set_reshard_after_forward
NO_COPY = (
    'FullyShardedModel cannot be copied, which EMAHook does: with its averages each process would '
    "hold the whole model again. Remove EMAHook, or divide only the optimizer's state: no "
    "model_wrapper_cfg, and optim_wrapper.optimizer=dict(type='ZeroRedundancyOptimizer', "
    "optimizer_type='AdamW', lr=..., weight_decay=...)"
)


ALONE = (
    'FullyShardedModel: train with tools/dist_train.sh or tools/slurm_train.sh. The Runner of '
    'mmengine saves checkpoints on rank 0 alone, which would wait for the others for ever; if all '
    'processes call state_dict() together in your own loop, set saves_together = True on the model'
)

NO_SHARDS = (
    'FullyShardedModel: the parameters of this optimizer are not shards, so it would change '
    'nothing; build it after the model is wrapped, and in training mode'
)


@MODEL_WRAPPERS.register_module()
class FullyShardedModel(nn.Module):
    """Wraps a model for ``torch.distributed.fsdp.fully_shard``, as ``model_wrapper_cfg`` names it.

    Each block of a backbone (a module in a Sequential or ModuleList of a module with
    ``get_layer_depth``) is gathered when it computes; the rest of the model is gathered for a whole
    step. A validation gathers everything once, because the processes may call the model unequally
    often. ``module.state_dict()`` and the optimizer's ``state_dict()`` are whole, and all processes
    must call them; only rank 0 gets the optimizer's. State dicts that are loaded must be whole.

    Gradients are averaged in each backward pass, also while a step accumulates.

    ``saves_together`` says that all processes save, which mmengine's Runner lets rank 0 do alone;
    tools/train.py sets it, and your own loop may.

    Args:
        module: the model, a ``BaseModel`` of mmengine.
        min_parameters: a block with fewer parameters is not gathered by itself.

    Raises:
        RecipeError: torch is older than 2.8; or something copies the model, or trains it without
            ``saves_together``.
    """

    saves_together = False

    def __init__(self, module: nn.Module, min_parameters: int = LEAST) -> None:
        super().__init__()
        fully_shard = getattr(fsdp, 'fully_shard', None)
        if not hasattr(getattr(fsdp, 'FSDPModule', None), 'set_reshard_after_forward'):
            raise RecipeError(
                f'FullyShardedModel needs torch {OLDEST} or later, this is {torch.__version__}; '
                "the optimizer's state alone can be divided with any: "
                "optim_wrapper.optimizer.type='ZeroRedundancyOptimizer'"
            )
        for tensor in chain(module.parameters(), module.buffers()):
            dist.broadcast(tensor.detach(), 0)  # as DistributedDataParallel does
        self.module = module
        self._loading: Whole | None = None
        for part in module.modules():  # before torch's own hooks, which need the shards
            part.register_load_state_dict_post_hook(self._after_load)
        self.blocks = blocks_of(module, min_parameters)
        for block in self.blocks:
            fully_shard(block)
        fully_shard(module)
        for part in (module, *self.blocks):
            # Gradients are summed and then divided: where torch lets the backend average, gloo sums
            # (torch 2.8), and NCCL may be wrong in a single process.
            part.set_force_sum_reduction_for_comms(True)
        self._prepared: list[torch.optim.Optimizer] = []
        self._keep_whole_outside()
        log_rank0(
            f'FullyShardedModel: {len(self.blocks)} blocks, and the rest of the model at once, are '
            f'divided among {dist.get_world_size()} processes'
        )

    def forward(self, *args: object, **options: object) -> object:
        """What the model returns."""
        return self.module(*args, **options)

    def train_step(self, data: object, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """A step as in mmengine's MMDistributedDataParallel; returns what is to be logged."""
        if not self.saves_together:
            raise RecipeError(ALONE)
        self._prepare(optim_wrapper)
        with optim_wrapper.optim_context(self):
            data = self.module.data_preprocessor(data, training=True)
            keywords = isinstance(data, dict)
            losses = self(**data, mode='loss') if keywords else self(*data, mode='loss')
        loss, logged = self.module.parse_losses(losses)
        optim_wrapper.update_params(loss)
        return logged

    def val_step(self, data: object) -> list:
        """The model's results."""
        return self.module.val_step(data)

    def test_step(self, data: object) -> list:
        """The model's results."""
        return self.module.test_step(data)

    def train(self, mode: bool = True) -> FullyShardedModel:
        """Set the mode; all processes must call it: without training, all weights are gathered."""
        super().train(mode)
        if mode:
            self._release()
        else:
            self._gather()
        return self

    def _prepare(self, wrapper: OptimWrapper) -> None:
        """Let the optimizers save and load whole states; one may just have loaded such a state."""
        parts = wrapper.values() if hasattr(wrapper, 'optim_wrappers') else [wrapper]
        for part in parts:
            if not any(part.optimizer is known for known in self._prepared):
                self._prepared.append(part.optimizer)
                given = [p for group in part.optimizer.param_groups for p in group['params']]
                if not all(map(shared, given)):
                    raise RecipeError(NO_SHARDS)
                whole_state(part.optimizer)
                if part.clip_grad_kwargs:
                    part.clip_func = _returns_whole(part.clip_func)

    def _keep_whole_outside(self) -> None:
        """Wrap what reads and writes the model's parameters from outside."""
        module = self.module
        if hasattr(module, 'init_weights'):
            initialize = module.init_weights

            def init_weights() -> None:
                with Whole(module):
                    initialize()

            module.init_weights = init_weights
        module._register_state_dict_hook(_gather_state)
        module._register_load_state_dict_pre_hook(self._before_load)
        module.__deepcopy__ = _refuse_copy

    def _before_load(self, *_: object) -> None:
        if self._loading is None:  # else the load before has failed
            self._release()
            self._loading = Whole(self.module).__enter__()

    def _after_load(self, part: nn.Module, _: object) -> None:
        if self._loading is not None:
            self._loading.leave(part)
        if part is self.module:
            self._loading = None

    def _gather(self) -> None:
        for part in self.blocks:
            part.set_reshard_after_forward(False, recurse=False)
        for part in (self.module, *self.blocks):
            part.unshard()

    def _release(self) -> None:
        for part in self.blocks:
            part.set_reshard_after_forward(True, recurse=False)
        for part in (self.module, *self.blocks):
            part.reshard()


def blocks_of(model: nn.Module, least: int) -> list[nn.Module]:
    """The blocks of all backbones with at least ``least`` parameters, in the model's order."""
    found = []
    for backbone in model.modules():
        if not hasattr(type(backbone), 'get_layer_depth'):
            continue
        for part in backbone.modules():
            if isinstance(part, (nn.Sequential, nn.ModuleList)):
                found += [child for child in part if _is_block(child)]
    found = list({id(block): block for block in found}.values())
    return [b for b in found if sum(p.numel() for p in b.parameters()) >= least]


def _is_block(module: nn.Module) -> bool:
    """Whether it is more than a layer, and no list of blocks."""
    return bool(module._modules) and not isinstance(module, (nn.Sequential, nn.ModuleList))


class Whole:
    """Whole parameters in the place of a model's shards; all processes must enter and leave."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._shards: dict[Tensor, Tensor] = {}  # by the whole parameters

    def __enter__(self) -> Whole:
        copies: dict[Tensor, Tensor] = {}
        for module in self.model.modules():
            for name, shard in module._parameters.items():
                if shared(shard):
                    if shard not in copies:
                        full = shard.detach().full_tensor().clone()
                        copies[shard] = nn.Parameter(full, shard.requires_grad)
                        self._shards[copies[shard]] = shard
                    module._parameters[name] = copies[shard]
        return self

    def __exit__(self, *error: object) -> None:
        for module in self.model.modules():
            self.leave(module)

    def leave(self, module: nn.Module) -> None:
        """Put back the shards of a module's own parameters, with the values of rank 0."""
        for name, parameter in module._parameters.items():
            shard = self._shards.get(parameter) if parameter is not None else None
            if shard is not None:
                module._parameters[name] = shard
                with torch.no_grad():
                    shard.copy_(share(parameter.detach(), shard))


def _gather_state(
    module: nn.Module, state: dict[str, object], prefix: str, metadata: object
) -> None:
    for name, value in state.items():
        if shared(value):
            state[name] = value.detach().full_tensor()


def _returns_whole(clip: Callable) -> Callable:
    """Let a function of torch return the norm of all shards, which mmengine logs.

    It clips by that norm anyway, but the number in its DTensor may be that of the own shards
    (torch 2.8).
    """

    def clip_and_gather(*args: object, **options: object) -> Tensor | None:
        norm = clip(*args, **options)
        return norm.full_tensor() if shared(norm) else norm

    return clip_and_gather


def _refuse_copy(memo: dict) -> None:
    raise RecipeError(NO_COPY)
