# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Translates other packages' constructor arguments into ours, or raises with the line to write."""

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
        given: our arguments in the same call. ``arch`` may be another package's name, and
            ``frozen_stages`` and ``out_indices`` may be numbered as in another package.
        own: the names of all our arguments, for the message about unknown ones.

    Returns:
        arguments that override ``given``; ``design`` includes the given one.

    Raises:
        TypeError: arguments that no ConvNeXt has.
        ValueError: arguments that cannot be translated, with the reasons and the line to write.
    """
    unknown = [name for name in foreign if name not in TABLE]
    if unknown:
        raise TypeError(_unknown(unknown, own))
    given = {name: value for name, value in given.items() if value is not None}
    Design.of(given.get('design'))  # raises if it is wrong by itself
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
        raise ValueError('ConvNeXt does not accept\n- ' + '\n- '.join(faults) + mend)
    return ours


def takes_spellings(init: Callable) -> Callable:
    """Decorate a constructor to accept other packages' arguments as well."""
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
    """Our arguments that have a different meaning in another package."""
    arch, out_indices = given.get('arch'), given.get('out_indices')
    found = values.called(arch) if isinstance(arch, str) and arch not in ARCHS else None
    if found:
        ours, weights = found
        if weights and 'init_cfg' not in given:
            ours = {**ours, 'init_cfg': values.weights(weights)}
        yield 'arch', Refused('here it names only the size', ours)
    whose = {TABLE[name].whose for name in foreign}
    patch = values.one(foreign.get('patch_size', 4))
    if patch != 4 and 'transformers' not in whose:
        reason = 'in timm later strides change with it so that the last map has stride 32; '
        reason += 'here, as in transformers, every stage after the first halves the map'
        yield 'patch_size', Refused(reason, {})  # its row has translated it
    mmpretrain = whose & {'mmpretrain', 'mmpretrain, timm'}
    # False is our default, so a config that writes it comes from mmpretrain.
    if mmpretrain or given.get('gap_before_final_norm') is False:
        frozen = given.get('frozen_stages')
        if frozen == 0 and not isinstance(frozen, bool):
            reason = 'the config seems to be for mmpretrain, where 0 freezes nothing; here, as in '
            reason += 'mmdet, 0 freezes the stem and -1 nothing; write the one you mean'
            yield 'frozen_stages', Refused(reason, dict(frozen_stages=-1))
    if 'transformers' in whose and out_indices is not None:
        reason = 'the config is for transformers, where 0 is the stem; here 0 is the first stage'
        ours = dict(out_indices=values.without_stem(out_indices))
        yield 'out_indices', Refused(reason, ours)


def _left_wrong(arguments: Mapping) -> str:
    """Why a backbone cannot be built with these arguments of ours, or ''."""
    try:
        arch = get_arch(arguments.get('arch', 'tiny'), arguments.get('version', 'v1'))
        Design.of(arguments.get('design')).of_stages(len(arch.depths))
    except ValueError as error:
        return str(error)
    return ''


def _clashes(name: str, answer: Mapping, known: Mapping) -> list[str]:
    return [
        f'{name}, here {_said({key: value})}, contradicts {_said({key: known[key]})}'
        for key, value in answer.items()
        if key in known and known[key] != value
    ]


def _flat(arguments: Mapping) -> dict:
    """The arguments, with the fields of ``design`` as ``design.<field>``."""
    others = {name: value for name, value in arguments.items() if name != 'design'}
    fields = _fields(arguments.get('design'))
    return {**others, **{f'design.{name}': value for name, value in fields.items()}}


def _nested(ours: Mapping, given: Design | Mapping | None) -> dict:
    """The inverse of _flat, on top of the given ``design``; the paper's values are left out."""
    fields = {name.partition('.')[2]: ours[name] for name in ours if name.startswith('design.')}
    whole = {**vars(Design()), **_fields(given), **fields}
    usual = {**vars(Design()), 'norm_eps': DEFAULT_EPS[whole['norm']]}
    design = {name: value for name, value in fields.items() if value != usual[name]}
    others = {name: value for name, value in ours.items() if not name.startswith('design.')}
    return {**others, 'design': {**_fields(given), **design}} if design else others


def _fields(design: Design | Mapping | None) -> dict:
    """The fields of a dict, or those of a Design that differ from the paper."""
    if isinstance(design, Mapping):
        return dict(design)
    design = Design.of(design)
    paper = vars(Design())
    return {name: getattr(design, name) for name in paper if getattr(design, name) != paper[name]}


def _said(arguments: Mapping) -> str:
    """Arguments as written in a config."""
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
        way = f'model.merge(dict({way})): update() ignores _delete_'
    return (
        f'ConvNeXt got unexpected keyword arguments {list(names)}'
        + (f'; did you mean {", ".join(mean)}?' if mean else '.')
        + (f' Its arguments are {list(own)}.' if own else '')
        + f' To remove the arguments that a base config sets, write {way}'
    )
