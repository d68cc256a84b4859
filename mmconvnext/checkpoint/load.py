# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Load weights into a backbone, or refuse them and change nothing.

There are two entry points: :func:`load_pretrained` for a file (``init_cfg``), and
:func:`adapt_state_dict` for every ``load_state_dict``, of the backbone or of a model around it.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from mmengine.logging import print_log
from torch import Tensor, nn

from .backbone import check_whole, match_backbone, report, same_tensor
from .checkpoint_key import unwrap
from .errors import CheckpointError, CheckpointMismatch
from .formats import Network, find_network, listed
from .lookup import look_up, needs_mmengine
from .match import check_grn
from .mmengine_io import load_by_scheme
from .numerics import config_beside
from .read import read_checkpoint
from .strictness import Strictness, current_strictness, lenient_loading, whole_loading

__all__ = [
    'adapt_state_dict',
    'fills',
    'is_pretrained',
    'lenient_loading',
    'load_pretrained',
    'pretrained_options',
    'whole_loading',
]
# Added to error messages: how to load anyway.
FILE_WAY_OUT = '\nTo load only what fits, set strict=False in init_cfg.'
DICT_WAY_OUT = (
    '\nTo load only what fits, put the loading call inside `with mmconvnext.lenient_loading():`.'
)


def load_pretrained(
    backbone: nn.Module,
    checkpoint: str | Path,
    prefix: str | None = None,
    map_location: str = 'cpu',
    *,
    strict: bool = True,
    envelope: str | None = None,
    stem: str = 'repeat',
    classifier_norm: str | None = None,
) -> str:
    """Load published weights or your own into ``backbone``; log and return one line of result.

    The format is recognised by the names of the tensors. Every tensor of the backbone must be in
    the file, except the output norms (``norm0`` ...), which keep their initial values if the file
    has none. Unexpected tensors are an error, except those that belong to the format (a
    classifier's head and norm, a decoder) or to a model around the network (the rest of a
    detector).

    Args:
        backbone: the model to fill; unchanged if an error is raised.
        checkpoint: path, http(s) URL or short name, see :func:`.read.read_checkpoint`; or a URL
            with another scheme that mmengine reads, such as s3://.
        prefix: the prefix of the network's names, such as ``backbone.``; only needed if the file
            holds several networks (a teacher and a student).
        map_location: the device to load the tensors to.
        strict: if False, load what fits and report the rest.
        envelope: the checkpoint key of the weights, such as 'model_ema'; only needed if the file
            has several sets of weights.
        stem: 'repeat', 'mean' or 'zero': how to adapt the stem's filters to ``in_channels``, see
            :func:`.stem.inflate`.
        classifier_norm: 'drop' a classifier's final norm, as the official dense models do, or
            'reuse' it as the norm of the last map. None means 'reuse' for a backbone with
            ``gap_before_final_norm`` and a file that has such a norm, else 'drop'.

    Raises:
        CheckpointNotFound: no such file and no such short name.
        CheckpointUnreadable: the file is damaged, not a checkpoint, or not safe to read.
        CheckpointMismatch: the weights do not fit the backbone.
        ValueError: the backbone is on the meta device, or an option has an unknown value.
    """
    if any(parameter.is_meta for parameter in backbone.parameters()):
        raise ValueError('the backbone is on the meta device; call to_empty(device=...) first')
    content, config = _read(checkpoint, map_location)
    way_out = ''
    try:
        file = unwrap(content, envelope)
        network = find_network(file.tensors, prefix, strict)
        way_out = FILE_WAY_OUT if strict else ''
        options = dict(stem=stem, classifier_norm=classifier_norm)
        match = match_backbone(backbone, network, strict=strict, config=config, **options)
        if strict:
            check_grn(match.tensors)
    except CheckpointError as error:
        raise type(error)(f'{checkpoint}: {error}{way_out}') from error
    backbone.load_state_dict({**backbone.state_dict(), **match.tensors})
    if file.others:
        match.notes.append(f'other weights, select with envelope=: {", ".join(file.others)}')
    under = f' in {file.path!r}' if file.path else ''
    source = f'{checkpoint} ({network.row.name} names{under})'
    return report(source, backbone, network, match)


def adapt_state_dict(
    backbone: nn.Module, state_dict: MutableMapping[str, Tensor], prefix: str
) -> None:
    """Convert the part of ``state_dict`` under ``prefix`` to the backbone's own names, in place.

    torch and mmengine call this through ``_load_from_state_dict``, with a copy of the user's dict.
    Weights that match the backbone's own names and shapes are left unchanged.

    Raises:
        CheckpointMismatch: the weights do not fit the backbone; within :func:`lenient_loading` this
            is a warning.
    """
    strictness = current_strictness()
    strict = strictness is not Strictness.LENIENT
    below = _below(state_dict, prefix)
    own = backbone.state_dict()
    if below.keys() == own.keys() and all(same_tensor(own[k], below[k]) for k in own):
        return
    try:
        network = _find_below(below, strict)
        match = match_backbone(backbone, network, strict=strict)
        if not network.row.our_code:
            check_grn(match.tensors)
        if strictness is Strictness.WHOLE:
            check_whole(match)
    except CheckpointMismatch as error:
        text = f'weights for {prefix or "the backbone"}: {error}'
        if strict:
            way_out = DICT_WAY_OUT if strictness is Strictness.STRICT else ''
            raise CheckpointMismatch(text + way_out) from None
        print_log(text, 'current', logging.WARNING)
        return
    for name in below:
        del state_dict[prefix + name]
    # Otherwise torch would report these as missing. After a problem it may: the user chose to load
    # only what fits.
    kept = {} if match.problem else {name: own[name] for name in match.missing}
    state_dict.update({prefix + k: v for k, v in {**match.tensors, **kept}.items()})
    if strictness is not Strictness.WHOLE:
        report(f'a state dict in {network.row.name} names', backbone, network, match, prefix)


def fills(backbone: nn.Module, state_dict: Mapping[str, object], prefix: str) -> bool:
    """Whether the tensors under ``prefix`` fill the backbone, apart from its output norms."""
    try:
        network = _find_below(_below(state_dict, prefix), strict=True)
        match_backbone(backbone, network, strict=True)
    except CheckpointMismatch:
        return False
    return True


def is_pretrained(init_cfg: Mapping) -> bool:
    """Whether an initializer is mmengine's 'Pretrained', by any of its names or as the class."""
    kind = init_cfg.get('type')
    name = kind if isinstance(kind, str) else getattr(kind, '__name__', '')
    return name.rpartition('.')[2] in ('Pretrained', 'PretrainedInit')


def pretrained_options(init_cfg: Mapping) -> dict:
    """The arguments of :func:`load_pretrained` in an ``init_cfg`` of type 'Pretrained'.

    Raises:
        ValueError: an unknown key, or no checkpoint.
    """
    options = {key: value for key, value in init_cfg.items() if key != 'type'}
    allowed = list(inspect.signature(load_pretrained).parameters)[1:]
    unknown = sorted(set(options) - set(allowed))
    if unknown or not options.get('checkpoint'):
        fault = f'has unknown keys {unknown}' if unknown else 'has no checkpoint'
        raise ValueError(f'init_cfg {fault}; besides type, it may have the keys {allowed}')
    return options


def _read(checkpoint: str | Path, map_location: str) -> tuple[object, dict]:
    """The content of a checkpoint, and of the config.json beside a local one."""
    if needs_mmengine(checkpoint):
        return load_by_scheme(checkpoint, map_location), {}
    # A short name or URL has no config.json; one in the working folder would be unrelated.
    found = look_up(checkpoint)
    config = config_beside(found) if isinstance(found, Path) else {}
    return read_checkpoint(checkpoint, map_location), config


def _below(state_dict: Mapping[str, object], prefix: str) -> dict[str, object]:
    return {k[len(prefix) :]: v for k, v in state_dict.items() if k.startswith(prefix)}


def _find_below(below: Mapping[str, object], strict: bool) -> Network:
    if not below:
        raise CheckpointMismatch(
            'no key begins with this prefix. To load the weights of a backbone or classifier, use '
            "init_cfg=dict(type='Pretrained', checkpoint=...); the keys of a compiled model begin "
            'with _orig_mod., which revise_keys of load_checkpoint can strip'
        )
    others = [name for name, value in below.items() if not isinstance(value, Tensor)]
    if others:
        kind = type(below[others[0]]).__name__
        raise CheckpointMismatch(f'{listed(others)}: expected a tensor, got {kind}')
    return find_network(below, None, strict)
