# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What ranks do in the tests of divided models: a tiny model, trained and saved in four ways."""

import os

import torch
import torch.distributed as dist
from torch import nn

ADAMW = dict(lr=1e-2, weight_decay=0.05, betas=(0.9, 0.99))
DIVIDED = dict(type='ZeroRedundancyOptimizer', optimizer_type='AdamW', **ADAMW)
OPTIMIZERS = dict(ddp=dict(type='AdamW', **ADAMW), zero=DIVIDED)
STEPS = 6
KINDS = ('ddp', 'zero', 'fsdp')


def build(seed: int = 0) -> nn.Module:
    """A backbone of [1, 1, 2, 1] blocks with a head, as a model of mmengine."""
    from mmengine.model import BaseModel

    from mmconvnext.models import ConvNeXt

    class Model(BaseModel):
        def __init__(self) -> None:
            super().__init__()
            arch = dict(depths=[1, 1, 2, 1], channels=[8, 16, 24, 40])
            self.backbone = ConvNeXt(arch=arch, layer_scale_init_value=0.5)
            self.head = nn.Conv2d(40, 3, 1)  # 3 rows: one process gets two of them
            self.frozen = nn.Linear(5, 4)
            self.frozen.requires_grad_(False)

        def forward(self, inputs, data_samples=None, mode='tensor'):
            maps = self.backbone(inputs)
            score = self.head(maps[-1])
            if mode == 'predict':
                return [score]
            return dict(loss=score.square().mean() + sum(m.mean() for m in maps[:-1]))

    torch.manual_seed(seed)
    return Model()


def images(step: int) -> torch.Tensor:
    return torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(step))


def wrap(model: nn.Module, kind: str) -> nn.Module:
    from mmengine.model import MMDistributedDataParallel

    from mmconvnext.distributed.sharded import FullyShardedModel

    if kind == 'one':
        return model
    return FullyShardedModel(model, 1000) if kind == 'fsdp' else MMDistributedDataParallel(model)


def optimize(model: nn.Module, kind: str, **options):
    from mmconvnext.optim import LayerDecayOptimWrapperConstructor

    optimizer = dict(OPTIMIZERS.get(kind, OPTIMIZERS['ddp']))
    wrapper = dict(optimizer=optimizer, clip_grad=dict(max_norm=0.5), **options)
    return LayerDecayOptimWrapperConstructor(wrapper, dict(decay_rate=0.7))(model)


def train(
    model: nn.Module, wrapper, steps, share: slice, accumulate: int = 1, half: bool = False
) -> list[float]:
    """Train with a falling learning rate; returns the norms of the gradients.

    ``half`` is bfloat16 as AmpOptimWrapper has it, which itself needs a GPU.
    """
    norms = []
    model.saves_together = True
    model.train()
    for step in steps:
        for group in wrapper.optimizer.param_groups:
            group.setdefault('initial_lr', group['lr'])
            group['lr'] = group['initial_lr'] * (1 - step / STEPS / 2)
        with torch.autocast('cpu', dtype=torch.bfloat16, enabled=half):
            model.train_step(dict(inputs=images(step)[share]), wrapper)
        if (step + 1) % accumulate == 0:
            norms.append(float(wrapper.message_hub.get_scalar('train/grad_norm').current()))
    return norms


def bytes_of(optimizer) -> int:
    """Bytes of state that this process holds."""
    states = [*getattr(optimizer, 'optim', optimizer).state.values()]
    tensors = [value for state in states if state for value in state.values()]
    own = [t.to_local() if hasattr(t, 'to_local') else t for t in tensors]
    return sum(t.numel() * t.element_size() for t in own)


def meet() -> slice:
    """Join the others; returns this process's share of four images."""
    torch.set_num_threads(1)
    dist.init_process_group('gloo')
    rank, count = dist.get_rank(), dist.get_world_size()
    return slice(rank * 4 // count, (rank + 1) * 4 // count)


def equal(rank: int, out: str, kinds: tuple) -> None:
    """Train each kind, also with accumulation and in bfloat16, and save what it becomes."""
    share = meet()
    for kind in kinds:
        for accumulate, half in ((1, False), (2, False), (1, True)):
            model = wrap(build(seed=0 if kind != 'fsdp' else rank), kind)
            wrapper = optimize(model, kind, accumulative_counts=accumulate)
            groups = [
                {k: v for k, v in g.items() if k != 'params'} | dict(tensors=len(g['params']))
                for g in wrapper.optimizer.param_groups
            ]
            norms = train(model, wrapper, range(STEPS), share, accumulate, half)
            inner = getattr(model, 'module', model)
            saved = dict(
                groups=groups,
                norms=norms,
                held=bytes_of(wrapper.optimizer),
                weights=inner.state_dict(),
                optimizer=wrapper.state_dict(),
            )
            name = f'{kind}_{"half" if half else accumulate}_{rank}_of_{os.environ["WORLD_SIZE"]}'
            torch.save(saved, f'{out}/{name}.pt')
    _leave()


def run(function, *arguments: object, count: int, folder: object) -> None:
    """Call a function of this module in each of ``count`` processes; one that fails is shown."""
    import processes

    done = processes.launch(function, *arguments, count=count, folder=folder)
    assert [one.returncode for one in done] == [0] * count, '\n'.join(one.stderr for one in done)


def _leave() -> None:
    dist.barrier()
    dist.destroy_process_group()


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def weights(rank: int) -> None:
    """All that writes or reads weights from outside sees whole tensors, with rank 0's values."""
    import pytest
    from mmengine.runner.checkpoint import load_state_dict

    from mmconvnext.checkpoint.errors import CheckpointMismatch

    meet()
    first, own = build(seed=0), build(seed=rank)
    model = wrap(own, 'fsdp')
    assert same(own.state_dict(), first.state_dict())
    assert {type(value) for value in own.state_dict().values()} == {torch.Tensor}
    held = sum(p.to_local().numel() for p in model.parameters())
    whole = sum(p.numel() for p in first.parameters())
    # 57% at most: of 3 rows one process gets two
    assert 0.4 * whole < held < 0.6 * whole, (held, whole)

    def fill(module: nn.Module) -> None:
        shapes = [tuple(p.shape) for p in module.parameters()]
        assert shapes == [tuple(p.shape) for p in first.parameters()]
        for parameter in module.parameters():
            nn.init.constant_(parameter, 1 + rank)

    # init_weights is wrapped when the model is, so the model's own does the filling here.
    model = build(seed=0)
    model.init_weights = lambda: fill(model)
    wrapped = wrap(model, 'fsdp')
    model.init_weights()
    assert all((v == 1).all() for k, v in model.state_dict().items() if 'num_batches' not in k)

    # Both ways of loading; a part; and after a failure.
    other = build(seed=5).state_dict()
    for load in (model.load_state_dict, lambda state: load_state_dict(model, state)):
        load({name: torch.zeros_like(value) for name, value in other.items()})
        assert not any(value.any() for value in model.state_dict().values())
        load(other)
        assert same(model.state_dict(), other)
    part = {name: value for name, value in other.items() if 'backbone' in name}
    part['head.bias'] = torch.tensor([1.0, 2.0, 3.0])
    lacking = model.load_state_dict(part, strict=False).missing_keys
    assert lacking == ['head.weight', 'frozen.weight', 'frozen.bias']
    assert model.state_dict()['head.bias'].tolist() == [1, 2, 3]
    with pytest.raises(CheckpointMismatch, match='no key begins with'):  # in the middle
        model.load_state_dict({'head.bias': part['head.bias']}, strict=False)
    with pytest.raises(RuntimeError, match='size mismatch for head.bias'):
        model.load_state_dict({**other, 'head.bias': torch.zeros(4)})
    model.load_state_dict(other)
    assert same(model.state_dict(), other)
    assert all(hasattr(p, 'to_local') for p in wrapped.parameters())
    _leave()


def evaluation(rank: int) -> None:
    """Processes may evaluate unequally often, and then train on."""
    import pytest

    from mmconvnext.recipe.errors import RecipeError

    share = meet()
    plain, model = build(), wrap(build(), 'fsdp')
    for turn in range(2):
        model.eval(), plain.eval()
        with torch.no_grad():
            for step in range(2 * rank):  # rank 0: none, so it gathers nothing by itself
                (score,) = model.val_step(dict(inputs=images(step)))
                assert torch.equal(score, plain.val_step(dict(inputs=images(step)))[0])
        if not turn:
            saved = model.module.state_dict()
            assert same(saved, plain.state_dict())
            model.eval()
    model.saves_together = True
    with pytest.raises(RecipeError, match='of this optimizer are not shards'):
        model.train_step(dict(inputs=images(0)), optimize(model, 'fsdp'))
    model.train()
    wrapper, alone = optimize(model, 'fsdp'), optimize(plain, 'one')
    train(model, wrapper, range(2), share)
    assert all(hasattr(p, 'to_local') for p in model.parameters())
    train(plain, alone, range(2), slice(0, 4))
    for name, value in model.module.state_dict().items():
        assert torch.allclose(value, plain.state_dict()[name], atol=1e-5), name
    _leave()


def optimizer_states(rank: int) -> None:
    """States go from each kind to each other, before and after the first step."""
    import pytest

    from mmconvnext.distributed.together import saved_together

    share = meet()
    for source in KINDS:
        model = wrap(build(), source)
        wrapper = optimize(model, source)
        train(model, wrapper, range(3), share)
        with saved_together(model, wrapper):
            if rank == 0:  # as mmengine's Runner saves
                saved = [model.module.state_dict(), wrapper.state_dict()]
                assert {type(v) for v in saved[1]['state'][0].values()} == {torch.Tensor}
        assert 'state_dict' not in vars(wrapper.optimizer)
        assert 'state_dict' not in vars(model.module)
        box = [_copy(saved) if rank == 0 else None]
        dist.broadcast_object_list(box)
        train(model, wrapper, range(3, STEPS), share)
        expected = model.module.state_dict()
        for target in KINDS:
            for begun in (False, True) if target == 'fsdp' else (False,):
                model = wrap(build(seed=3), target)
                wrapper = optimize(model, target)
                if begun:
                    train(model, wrapper, range(1), share)
                weights, state = _copy(box[0])
                model.module.load_state_dict(weights)
                wrapper.load_state_dict(state)
                train(model, wrapper, range(3, STEPS), share)
                found = model.module.state_dict()
                for name, value in expected.items():
                    near = torch.allclose(found[name], value, atol=1e-4)
                    assert near, (source, target, begun, name)
    model = wrap(build(), 'fsdp')
    wrapper = optimize(model, 'fsdp')
    train(model, wrapper, range(1), share)
    state = wrapper.state_dict()
    if rank:
        with pytest.raises(KeyError, match='state'):
            wrapper.load_state_dict(state)
    _leave()


def _copy(node):
    import copy

    return copy.deepcopy(node)


def refusals(rank: int) -> None:
    """What would hang, or fill the memory again."""
    import copy

    import pytest

    from mmconvnext.recipe.errors import RecipeError

    meet()
    model = wrap(build(), 'fsdp')
    with pytest.raises(RecipeError, match='cannot be copied, which EMAHook does'):
        copy.deepcopy(model.module)
    wrapper = optimize(model, 'fsdp')
    with pytest.raises(RecipeError, match='saves checkpoints on rank 0 alone'):
        model.train_step(dict(inputs=images(0)), wrapper)
    _leave()
