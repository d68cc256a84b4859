# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Find the weights in a checkpoint, under one checkpoint key or several nested ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from .errors import CheckpointMismatch, CheckpointUnreadable

# In order of preference if a file has several. OpenMMLab: state_dict (EMAHook swaps the averaged
# weights into it); Meta: model, model_ema; DeepSpeed: module; DINO and its successors: teacher,
# which they publish; timm: state_dict, state_dict_ema.
CHECKPOINT_KEYS = (
    *('state_dict', 'model', 'module', 'teacher', 'model_ema', 'state_dict_ema', 'ema_state_dict'),
    *('ema', 'student', 'network', 'backbone', 'encoder'),
)
DEEPEST = 9  # our choice: known files nest 2 levels at most; a pickled dict may contain itself


@dataclass(frozen=True)
class Unwrapped:
    """The tensors of a file, the keys that led to them (dotted), and keys of other weights."""

    tensors: dict[str, Tensor]
    path: str = ''
    others: tuple[str, ...] = ()


def unwrap(content: object, choice: str | None = None) -> Unwrapped:
    """Take the weights out of a checkpoint, however deeply they are nested.

    Args:
        content: what the file holds.
        choice: the checkpoint key to use, such as 'model_ema', if the file has more than one.

    Raises:
        CheckpointUnreadable: the checkpoint holds no tensors.
        CheckpointMismatch: the file has no weights under ``choice``.
    """
    path, others = [], []
    while isinstance(content, Mapping) and len(path) < DEEPEST:
        found = [key for key in content if _leads_to_tensors(key, content[key], choice)]
        found.sort(key=lambda key: -1 if key == choice else CHECKPOINT_KEYS.index(key))
        if not found:
            break
        path.append(found[0])
        others += found[1:]
        content = content[found[0]]
    if choice and choice not in path:
        raise CheckpointMismatch(
            f'envelope={choice!r}: the file has no weights under this key; keys with weights: '
            f'{[*path, *others]}'
        )
    if not isinstance(content, Mapping):
        raise CheckpointUnreadable(f'holds no weights, only a {type(content).__name__}')
    tensors = {k: v for k, v in content.items() if isinstance(k, str) and isinstance(v, Tensor)}
    if not tensors:
        inside = [str(key) for key, value in content.items() if _holds_tensors(value)]
        hint = (
            f'; choose one of its keys {inside} with envelope='
            if inside
            else f' with the keys {sorted(map(str, content))[:5]}'
        )
        raise CheckpointUnreadable(f'holds no weights, only a dict{hint if content else ""}')
    return Unwrapped(tensors, '.'.join(path), tuple(others))


def _leads_to_tensors(key: object, value: object, choice: str | None) -> bool:
    return isinstance(key, str) and key in (*CHECKPOINT_KEYS, choice) and _holds_tensors(value)


def _holds_tensors(value: object) -> bool:
    """Whether a dict holds tensors, at most DEEPEST levels down; a config under 'model' does not.

    Level by level, each dict once: a file may hold one dict a billion times.
    """
    level, seen = [value], set()
    for _ in range(DEEPEST):
        new = {id(dict_): dict_ for dict_ in level if isinstance(dict_, Mapping)}
        level = [item for key in new.keys() - seen for item in new[key].values()]
        seen |= new.keys()
        if any(isinstance(item, Tensor) for item in level):
            return True
    return False
