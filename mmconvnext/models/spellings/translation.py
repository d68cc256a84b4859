# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""From a call in the words of other packages to one in ours, or to the error that says it."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence

from ...arch import ARCHS, get_arch
from ..design import DEFAULT_EPS, Design
from . import values
from .table import TABLE
from .values import Refused


def translate(foreign: Mapping, given: Mapping, own: Sequence[str] = ()) -> dict:
    """Our arguments for those of another package's ConvNeXt.

    Args:
        foreign: keyword arguments that are not ours.
        given: those of ours that were passed besides. They are looked at too: ``arch`` for another
            package's name, ``frozen_stages`` and ``out_indices`` for another count.
        own: the names of all arguments of ours, for the message about what nobody has.

    Returns:
        what to put over ``given``; its ``design``, if any, holds what was given, too.

    Raises:
        TypeError: arguments that no ConvNeXt has.
        ValueError: what cannot be taken as it is, each with the reason, and the line to write.
    """
    unknown = [name for name in foreign if name not in TABLE]
    if unknown:
        raise TypeError(_unknown(unknown, own))
    given = {name: value for name, value in given.items() if value is not None}
    Design.of(given.get('design'))  # what is wrong with it by itself
    ours, faults, can_be_written = {}, [], True
    for name, value in foreign.items():
        try:
            answer = _flat(TABLE[name].rule(value, {**given, **foreign}))
            clashes = _clashes(name, answer, {**_flat(given), **ours})
            can_be_written &= not clashes
            faults += clashes
        except Refused as refused:
            faults.append(f'{_said({name: value})} ({TABLE[name].whose}): {refused}')
            can_be_written &= refused.instead is not None
            answer = _flat(refused.instead or {})
        ours.update(answer)
    for name, refused in _other_meanings(foreign, given):
        faults.append(f'{_said({name: {**given, **foreign}[name]})}: {refused}')
        ours.update(_flat(refused.instead))
    ours = _nested(ours, given.get('design'))
    if faults:
        whole = {**given, **ours}
        left = _left_wrong(whole) if can_be_written else ''
        faults += [left] if left else []
        line = _said(dict(backbone=dict(type='mmconvnext.ConvNeXt', **whole)))
        mend = f'\nWrite {line}' if can_be_written and not left else ''
        raise ValueError('ConvNeXt does not take\n- ' + '\n- '.join(faults) + mend)
    return ours


def takes_spellings(init: Callable) -> Callable:
    """Let a constructor take the arguments of other packages besides its own."""
    signature = inspect.signature(init)
    own = list(signature.parameters)[1:]

    @functools.wraps(init)
    def taking(self, *args, **kwargs):
        foreign = {name: value for name, value in kwargs.items() if name not in own}
        named = {name: value for name, value in kwargs.items() if name in own}
        given = signature.bind_partial(self, *args, **named).arguments
        del given['self']
        init(self, **{**given, **translate(foreign, given, own)})

    return taking


def _other_meanings(foreign: Mapping, given: Mapping) -> Iterator[tuple[str, Refused]]:
    """Arguments of ours that mean something else beside those of other packages."""
    arch, out_indices = given.get('arch'), given.get('out_indices')
    found = values.called(arch) if isinstance(arch, str) and arch not in ARCHS else None
    if found:
        ours, weights = found
        if weights and 'init_cfg' not in given:
            ours = {**ours, 'init_cfg': values.weights(weights)}
        yield 'arch', Refused('here it is the size alone', ours)
    whose = {TABLE[name].whose for name in foreign}
    patch = values.one(foreign.get('patch_size', 4))
    if patch != 4 and 'transformers' not in whose:
        reason = 'in timm the stages behind it have other strides then, so that the last one is '
        reason += '32; here, as in transformers, each but the first halves the map'
        yield 'patch_size', Refused(reason, dict(design=dict(stem_patch_size=patch)))
    mmpretrain = whose & {'mmpretrain', 'mmpretrain, timm'}
    # False is what we do anyway: whoever writes it has mmpretrain in mind.
    if mmpretrain or given.get('gap_before_final_norm') is False:
        frozen = given.get('frozen_stages')
        if frozen == 0 and not isinstance(frozen, bool):
            reason = 'beside arguments of mmpretrain, where 0 freezes nothing; here, as in mmdet, '
            reason += 'it freezes the stem, and -1 nothing; write what you mean'
            yield 'frozen_stages', Refused(reason, dict(frozen_stages=-1))
    if 'transformers' in whose and out_indices is not None:
        reason = 'beside arguments of transformers, where 0 is the stem; here it is the first stage'
        ours = dict(out_indices=values.without_stem(out_indices))
        yield 'out_indices', Refused(reason, ours)


def _left_wrong(arguments: Mapping) -> str:
    """What keeps these arguments of ours from being built, or ''."""
    try:
        arch = get_arch(arguments.get('arch', 'tiny'), arguments.get('version', 'v1'))
        Design.of(arguments.get('design')).of_stages(len(arch.depths))
    except ValueError as error:
        return str(error)
    return ''


def _clashes(name: str, answer: Mapping, known: Mapping) -> list[str]:
    return [
        f'{name}, which is {_said({key: value})}, beside {_said({key: known[key]})}'
        for key, value in answer.items()
        if key in known and known[key] != value
    ]


def _flat(arguments: Mapping) -> dict:
    """The arguments, with the fields of ``design`` as ``design.<field>``."""
    others = {name: value for name, value in arguments.items() if name != 'design'}
    fields = _fields(arguments.get('design'))
    return {**others, **{f'design.{name}': value for name, value in fields.items()}}


def _nested(ours: Mapping, given: Design | Mapping | None) -> dict:
    """The opposite, with the ``design`` that was given; the paper's own values are left out."""
    fields = {name.partition('.')[2]: ours[name] for name in ours if name.startswith('design.')}
    whole = {**vars(Design()), **_fields(given), **fields}
    usual = {**vars(Design()), 'norm_eps': DEFAULT_EPS[whole['norm']]}
    design = {name: value for name, value in fields.items() if value != usual[name]}
    others = {name: value for name, value in ours.items() if not name.startswith('design.')}
    return {**others, 'design': {**_fields(given), **design}} if design else others


def _fields(design: Design | Mapping | None) -> dict:
    """All that a dict gives; of a Design, what departs from the paper."""
    if isinstance(design, Mapping):
        return dict(design)
    design = Design.of(design)
    paper = vars(Design())
    return {name: getattr(design, name) for name in paper if getattr(design, name) != paper[name]}


def _said(arguments: Mapping) -> str:
    """Arguments as one writes them in a config."""
    return ', '.join(f'{name}={_value(value)}' for name, value in arguments.items())


def _value(value: object) -> str:
    if isinstance(value, Design):
        value = _fields(value)
    if isinstance(value, Mapping) and all(str(key).isidentifier() for key in value):
        return f'dict({_said(value)})'
    return repr(value)


def _unknown(names: Sequence[str], own: Sequence[str]) -> str:
    near = [difflib.get_close_matches(name, own, 1) for name in names]
    mean = [f'{other[0]} for {name}' for name, other in zip(names, near) if other]
    way = "backbone=dict(_delete_=True, type='mmconvnext.ConvNeXt', ...)"
    if '_delete_' in names:  # after model.update(...), in a config with read_base()
        way = f'model.merge(dict({way})): update() does not act on _delete_'
    return (
        f'ConvNeXt got unexpected keyword arguments {list(names)}'
        + (f'; did you mean {", ".join(mean)}?' if mean else ';')
        + (f' Its arguments are {list(own)}.' if own else '')
        + f' Those that the backbone of a base config left go with {way}'
    )
