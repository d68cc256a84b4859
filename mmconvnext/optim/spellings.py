# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What other packages' layer-decay constructors are called, and their options: errors that answer.

None of them means quite what ours means, so that each is answered with the lines to write.

Sources: ``LearningRateDecayOptimWrapperConstructor`` of mmpretrain 1.2
(``engine/optimizers/layer_decay_optim_wrapper_constructor.py``); the two constructors of mmseg 1.2
and the one of mmdet 3.3 (``engine/optimizers/layer_decay_optimizer_constructor.py``), which Meta's
``mmcv_custom`` has under the same name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ..registry import OPTIM_WRAPPER_CONSTRUCTORS

NAME = 'mmconvnext.LayerDecayOptimWrapperConstructor'
# mmpretrain's rule for norms, biases and other flat parameters: the full weight decay.
FULL_DECAY = dict(norm_decay_mult=1.0, bias_decay_mult=1.0, flat_decay_mult=1.0)
READ_BY_OLD = ('decay_rate', 'decay_type', 'num_layers', 'layer_decay_rate')


class Spelling(NamedTuple):
    """A row: a name of a constructor or of its option, whose it is, and how the manual says it."""

    name: str
    whose: str
    text: str


TABLE = [
    Spelling(
        'layer_decay_rate',
        'mmpretrain, mmseg',
        'error: `decay_rate`; in mmpretrain norms and biases have weight decay unless told, '
        'here `norm_decay_mult=1.0, bias_decay_mult=1.0, flat_decay_mult=1.0` gives it to them',
    ),
    Spelling(
        'LearningRateDecayOptimWrapperConstructor',
        'mmpretrain',
        f'error: `{NAME}`; `layer_decay_rate` as above',
    ),
    Spelling(
        'LearningRateDecayOptimizerConstructor',
        'mmdet, mmseg, Meta',
        f'error: `{NAME}`, without `num_layers`; it passes over `custom_keys`, ours does not',
    ),
    Spelling(
        'LayerDecayOptimizerConstructor',
        'mmseg',
        f'error: `{NAME}`; its `layer_decay_rate` is `decay_rate`',
    ),
]


def refuse_old_options(options: Mapping) -> None:
    """Answer ``layer_decay_rate`` in ``paramwise_cfg``.

    Raises:
        ValueError: it is there; the message has the line to write.
    """
    if 'layer_decay_rate' in options:
        raise ValueError(
            f'paramwise_cfg layer_decay_rate={options["layer_decay_rate"]!r} is decay_rate here. '
            + _as_in_mmpretrain(options)
        )


def _as_in_mmpretrain(options: Mapping) -> str:
    ours = {'decay_rate': options.get('layer_decay_rate', 1.0), **options}
    ours.pop('layer_decay_rate', None)
    as_there = {**ours, **{key: ours.get(key, full) for key, full in FULL_DECAY.items()}}
    return (
        "Norms, biases and scales get no weight decay here, as in Meta's recipes; in mmpretrain "
        f'they do. Write\n  {_paramwise(ours)}\nor, for weight decay as there,\n  '
        f'{_paramwise(as_there)}'
    )


def _paramwise(options: Mapping) -> str:
    return f'paramwise_cfg=dict({", ".join(f"{key}={value!r}" for key, value in options.items())})'


def _old_name(name: str):
    """Registers what answers to the old name with an error that has the new lines."""

    def refuse(optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None):
        options = dict(paramwise_cfg or {})
        mend = f"constructor='{NAME}'"
        if name == 'LearningRateDecayOptimWrapperConstructor':
            raise ValueError(f'{name} is {mend} here. {_as_in_mmpretrain(options)}')
        idle = sorted(set(options) - set(READ_BY_OLD))
        rate = options.get('decay_rate', options.get('layer_decay_rate'))
        ours = {'decay_rate': 0.8 if rate is None else rate}
        if options.get('decay_type', 'layer_wise_vit') != 'layer_wise_vit':
            ours['decay_type'] = options['decay_type']
        raise ValueError(
            f'{name} is the same rule; write\n  {mend}, {_paramwise(ours)}'
            + (f'\nThe old one passes over {idle}; ours would not' if idle else '')
        )

    refuse.__name__ = refuse.__qualname__ = name
    OPTIM_WRAPPER_CONSTRUCTORS.register_module(name=name, module=refuse)


for _row in TABLE[1:]:
    _old_name(_row.name)


def as_markdown() -> str:
    """The second table of ``docs/spellings.md``."""
    lines = [('name', 'whose', 'becomes'), ('---', '---', '---')]
    lines += [(f'`{row.name}`', row.whose, row.text) for row in TABLE]
    return ''.join(f'| {" | ".join(line)} |\n' for line in lines)
