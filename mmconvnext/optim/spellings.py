# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Layer-decay constructors of other packages and their options: errors with the lines to write.

None of them means exactly the same as ours, so none is accepted.

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
    """A row: a constructor or an option, its packages, and the text for the manual."""

    name: str
    whose: str
    text: str


TABLE = [
    Spelling(
        'layer_decay_rate',
        'mmpretrain, mmseg',
        'error: write `decay_rate`. mmpretrain also decays norms and biases by default; for that, '
        'add `norm_decay_mult=1.0, bias_decay_mult=1.0, flat_decay_mult=1.0`',
    ),
    Spelling(
        'LearningRateDecayOptimWrapperConstructor',
        'mmpretrain',
        f'error: write `{NAME}`; `layer_decay_rate` as above',
    ),
    Spelling(
        'LearningRateDecayOptimizerConstructor',
        'mmdet, mmseg, Meta',
        f'error: write `{NAME}`, without `num_layers`. Theirs ignores `custom_keys`, ours does not',
    ),
    Spelling(
        'LayerDecayOptimizerConstructor',
        'mmseg',
        f'error: write `{NAME}`; `layer_decay_rate` becomes `decay_rate`',
    ),
]


def refuse_old_options(options: Mapping) -> None:
    """Refuse ``layer_decay_rate`` in ``paramwise_cfg``.

    Raises:
        ValueError: with the line to write.
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
        "Norms, biases and scales have no weight decay here, as in Meta's recipes; in mmpretrain "
        f'they do. Write\n  {_paramwise(ours)}\nor, for weight decay as in mmpretrain,\n  '
        f'{_paramwise(as_there)}'
    )


def _paramwise(options: Mapping) -> str:
    return f'paramwise_cfg=dict({", ".join(f"{key}={value!r}" for key, value in options.items())})'


def _old_name(name: str):
    """Register a constructor under another package's name that raises, with the lines to write."""

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
            + (f'\nThat constructor ignores {idle}; ours does not' if idle else '')
        )

    refuse.__name__ = refuse.__qualname__ = name
    OPTIM_WRAPPER_CONSTRUCTORS.register_module(name=name, module=refuse)


for _row in TABLE[1:]:
    _old_name(_row.name)


def as_markdown() -> str:
    """The second table of ``docs/spellings.md``."""
    lines = [('name', 'package', 'here'), ('---', '---', '---')]
    lines += [(f'`{row.name}`', row.whose, row.text) for row in TABLE]
    return ''.join(f'| {" | ".join(line)} |\n' for line in lines)
