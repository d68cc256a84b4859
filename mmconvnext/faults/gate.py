# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The gate before a step of the optimizer: closed when the gradient is not finite.

When are numbers read? Each reading lets the CPU wait for the GPU, so they are read where mmengine
does, which reads every loss by itself after the step, and before it the norm of ``clip_grad`` and
the flag of the GradScaler:

- with ``clip_grad`` by norm: the norm, at the moment when mmengine reads it;
- with a GradScaler: its own flag; here it is only seen whether it let the step pass. A fused
  optimizer looks at the flag on the GPU, so that this is one reading more;
- otherwise: the largest norm of a gradient, together with all losses, before the step.

The losses of an iteration are read at once, and not one by one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps

import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from torch import Tensor, nn

from ..distributed.shards import own_part

# Whose steps are known; a subclass with a step of its own may unscale gradients somewhere else.
STEPS = (OptimWrapper.step, AmpOptimWrapper.step)


class Gate:
    """Stands before the steps of a model's optimizer wrappers while it is entered.

    A loss that is not finite makes its whole gradient NaN. So DistributedDataParallel carries it to
    all processes, which then close their gates alike, without asking each other.

    Args:
        model: not wrapped; with mmengine's ``parse_losses``.
        wrappers: those whose step is known.
        refuse: called with the wrapper before a step whose gradient is not finite. If it returns,
            the step is left out. With a GradScaler it is called afterwards, and the scaler itself
            has left the step out.
        agree: tells whether the gradients are finite in all processes, from whether they are here;
            for processes that hold parts of them.
    """

    def __init__(
        self,
        model: nn.Module,
        wrappers: list[OptimWrapper],
        refuse: Callable[[OptimWrapper], None],
        agree: Callable[[bool], bool] = bool,
    ) -> None:
        self.model, self.wrappers, self.refuse, self.agree = model, wrappers, refuse, agree
        self.stepped = self.refused = False  # in this iteration
        self.losses: dict[str, float] = {}  # of this iteration, once they are read
        self._unread: list[dict[str, object]] = []
        self._passed = False
        self._undo: list[Callable[[], object]] = []

    def __enter__(self) -> Gate:
        self._replace(self.model, 'parse_losses', self._parse)
        for wrapper in self.wrappers:
            self._replace(wrapper, 'step', self._step, wrapper)
            if has_scaler(wrapper):
                self._undo.append(wrapper.optimizer.register_step_post_hook(self._note).remove)
        return self

    def __exit__(self, *error: object) -> None:
        while self._undo:
            self._undo.pop()()

    def hide_from_compiler(self) -> None:
        """Keep torch.compile from tracing what the gate does; before it is entered."""
        self._parse = torch.compiler.disable(self._parse)
        self._step = torch.compiler.disable(self._step)

    def begin(self) -> None:
        """Begin an iteration."""
        self.stepped = self.refused = False
        self.losses, self._unread = {}, []

    def read(self, *more: Tensor) -> list[float]:
        """Read the losses of the iteration that were not read yet, and more numbers, at once."""
        found = [
            (log, name, value.detach())
            for log in self._unread
            for name, value in log.items()
            if isinstance(value, Tensor) and value.numel() == 1
        ]
        self._unread = []
        tensors = [value.reshape(()).float() for _, _, value in found] + [t.float() for t in more]
        if not tensors:
            return []
        values = torch.stack(tensors).tolist()
        for (log, name, value), number in zip(found, values):
            if 'loss' in name:  # as mmengine's parse_losses adds them up
                self.losses[name] = number
            if value.is_cuda:  # so that mmengine need not read it again
                log[name] = torch.tensor(number)
        return values[len(found) :]

    def _replace(self, owner: object, name: str, method: Callable, *first: object) -> None:
        """Set a method of one object, which gets the one before; undone at the end."""
        original, own = getattr(owner, name), name in vars(owner)
        before = vars(owner).get(name)

        @wraps(original)  # mmengine's schedulers mark the step
        def replaced(*args: object, **options: object) -> object:
            return method(*first, original, *args, **options)

        vars(owner)[name] = replaced
        self._undo.append(
            lambda: vars(owner).update({name: before}) if own else vars(owner).pop(name)
        )

    def _parse(self, original: Callable, losses: dict) -> tuple[Tensor, dict]:
        loss, log = original(losses)
        self._unread.append(log)
        if isinstance(loss, Tensor):
            loss = loss * (1 + 0 * loss.detach())  # times 1, or NaN
        return loss, log

    def _step(self, wrapper: OptimWrapper, original: Callable, **options: object) -> None:
        self.stepped = True
        if has_scaler(wrapper):
            self._passed = False
            original(**options)
            if not self._passed:
                self._close(wrapper)
            return
        clip = wrapper.clip_grad_kwargs
        if clip and wrapper.grad_name == 'grad_norm':
            size = _clip(wrapper)
        else:
            size = (self.read(*_largest(wrapper)) or [0.0])[-1]
        if not self.agree(math.isfinite(size)):
            self._close(wrapper)
            if hasattr(wrapper, '_global_step'):  # by which schedulers see that steps are asked for
                wrapper._global_step += 1
            return
        try:
            if clip and wrapper.grad_name == 'grad_norm':
                wrapper.clip_grad_kwargs = None  # it is clipped already
            original(**options)
        finally:
            wrapper.clip_grad_kwargs = clip

    def _close(self, wrapper: OptimWrapper) -> None:
        self.refused = True
        self.refuse(wrapper)

    def _note(self, optimizer: torch.optim.Optimizer, *_: object) -> None:
        """The scaler lets the optimizer take its step; a fused one looks at the flag itself."""
        flag = getattr(optimizer, 'found_inf', None)
        self._passed = flag is None or not flag.item()


def has_scaler(wrapper: OptimWrapper) -> bool:
    """Whether a GradScaler judges the steps."""
    scaler = getattr(wrapper, 'loss_scaler', None)
    return scaler is not None and scaler.is_enabled()


def gradients(wrapper: OptimWrapper) -> list[Tensor]:
    """The gradients of a wrapper's parameters; of those that are sharded, the part of this rank."""
    found = [p.grad for group in wrapper.optimizer.param_groups for p in group['params']]
    return [own_part(grad) for grad in found if grad is not None]


def _largest(wrapper: OptimWrapper) -> list[Tensor]:
    """The largest 2-norm of a gradient, NaN if one holds NaN; empty without gradients.

    Other norms are slower on CPUs: 9 ms for 50 million values, and 130 ms for the largest of them.
    """
    found = [grad for grad in gradients(wrapper) if grad.numel()]
    norms = torch._foreach_norm(found) if found else []
    return [torch.stack([n.to(norms[0].device, torch.float32) for n in norms]).max()] * bool(found)


def _clip(wrapper: OptimWrapper) -> float:
    """Let mmengine clip the gradients; return their norm before. It logs only a finite one."""
    original, norms = wrapper.clip_func, [0.0]

    def clip(parameters: list[Tensor], **options: object) -> Tensor | None:
        options.pop('error_if_nonfinite', None)  # its message would name nothing
        norms.append(float(original(parameters, **options)))
        return torch.tensor(norms[-1]) if math.isfinite(norms[-1]) else None

    try:
        wrapper.clip_func = clip
        wrapper._clip_grad()
    finally:
        wrapper.clip_func = original
    return norms[-1]
