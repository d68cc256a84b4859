# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Weights into a backbone: recognised, renamed, checked name by name, loaded or refused.

Two entrances, one way: :func:`load_pretrained` for a file (``init_cfg``), :func:`adapt_state_dict`
for whatever ``load_state_dict`` brings, of the backbone alone or of any model around it.
"""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from mmengine.logging import print_log
from torch import Tensor, nn

from ..arch import ARCHS
from .checkpoint_key import unwrap
from .download import is_url
from .errors import CheckpointError, CheckpointMismatch
from .formats import Native, choose, is_classifier, listed, split, to_native
from .match import Fit, check_grn, fit
from .mmengine_io import load_by_scheme
from .numerics import config_beside, trained_with
from .read import read_checkpoint
from .size import Size
from .tables import META, NATIVE

# What the errors offer besides mending the config.
FILE_WAY_OUT = '\nTo load only what fits: strict=False in the init_cfg.'
DICT_WAY_OUT = (
    '\nTo load only what fits: `with mmconvnext.lenient_loading():` around the call that loads.'
)
# How load_state_dict behaves: 'strict'; 'lenient', see below; 'whole': nothing stays fresh.
_mode: ContextVar[str] = ContextVar('mode', default='strict')


@contextmanager
def lenient_loading() -> Iterator[None]:
    """Within this context a state dict that does not fit a backbone is a warning, not an error.

    A whole model's ``load_state_dict(strict=False)`` is no such choice: torch does not hand it down
    to the backbone, and mmengine's ``load_checkpoint`` says it by default.
    """
    with _loading('lenient'):
        yield


@contextmanager
def whole_loading() -> Iterator[None]:
    """Within this context nothing of a backbone may stay fresh, nor its stem be inflated.

    For what must be the trained model itself: to test it, to resume it. Says nothing of successes.
    """
    with _loading('whole'):
        yield


@contextmanager
def _loading(mode: str) -> Iterator[None]:
    token = _mode.set(mode)
    try:
        yield
    finally:
        _mode.reset(token)


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
    """Load published or own weights into ``backbone``; log and return a line that says what.

    The format is recognised by the names in the file. Every tensor of the backbone must be filled,
    but for the output norms (``norm0`` ...), which stay as they are where the file has none. What
    the file has besides is an error too, but for what its format announces (a classifier's head and
    norm, a decoder) and what lies beside the network (the rest of a detector, a text tower).

    Args:
        backbone: what is filled; unchanged if an error is raised.
        checkpoint: path, http(s) URL or short name, see :func:`.read.read_checkpoint`; or what
            else mmengine has a scheme for, such as s3://.
        prefix: where the network lies in the file, such as ``backbone.``; found by itself unless
            the file holds several (a teacher and a student).
        map_location: where the tensors are read to.
        strict: False loads what fits and reports the rest.
        envelope: the key to open where a file has several, such as 'model_ema'.
        stem: 'repeat', 'mean' or 'zero': how the filters of the stem become those of
            ``in_channels``, see :func:`.stem.inflate`.
        classifier_norm: 'drop', or 'reuse' as the norm of the last map. The official dense models
            drop it; mmpretrain's converted classifiers keep it as norm3. None is 'reuse' for a
            backbone with ``gap_before_final_norm`` and a file that has it, else 'drop'.

    Raises:
        CheckpointNotFound: there is no such file, nor such a short name.
        CheckpointUnreadable: the file is damaged, no checkpoint, or not safe to read.
        CheckpointMismatch: the weights are not this backbone's.
    """
    if any(parameter.is_meta for parameter in backbone.parameters()):
        raise ValueError('the backbone is on the meta device; call to_empty(device=...) first')
    if '://' in str(checkpoint) and not is_url(str(checkpoint)):  # s3://, torchvision:// and others
        content = load_by_scheme(str(checkpoint), map_location)
    else:
        content = read_checkpoint(checkpoint, map_location)
    way_out = ''
    try:
        found = unwrap(content, envelope)
        plan = Plan(backbone, found.tensors, prefix, strict)
        # Without the check a config.json of the working folder would speak for a short name.
        config = config_beside(Path(checkpoint)) if Path(checkpoint).exists() else {}
        way_out = FILE_WAY_OUT if strict else ''
        result = plan.fit(config, stem=stem, classifier_norm=classifier_norm)
        if strict:
            check_grn(result.tensors)
    except CheckpointError as error:
        raise type(error)(f'{checkpoint}: {error}{way_out}') from error
    # Complete by now, hence taken as it is by adapt_state_dict.
    backbone.load_state_dict({**plan.own, **result.tensors})
    source = f'{checkpoint} ({plan.row.name} names'
    source += f' in {found.path!r})' if found.path else ')'
    if found.others:
        result.notes.append(f'passed over, envelope= chooses: {", ".join(found.others)}')
    return plan.report(source, result)


def adapt_state_dict(
    backbone: nn.Module, state_dict: MutableMapping[str, Tensor], prefix: str
) -> None:
    """Turn the part of ``state_dict`` below ``prefix`` into the backbone's own names, in place.

    torch and mmengine come here by way of ``_load_from_state_dict``, with a copy of the user's
    dict. Weights that are the backbone's own, name by name and shape by shape, pass untouched.

    Raises:
        CheckpointMismatch: they are not this backbone's, unless within :func:`lenient_loading`.
    """
    below = {k[len(prefix) :]: v for k, v in state_dict.items() if k.startswith(prefix)}
    own = backbone.state_dict()
    if below.keys() == own.keys() and all(_same(own[k], below[k]) for k in own):
        return
    mode = _mode.get()
    try:
        if not below:
            raise CheckpointMismatch(
                "none of the names begins so. A backbone's or a classifier's weights belong in its "
                "init_cfg=dict(type='Pretrained', checkpoint=...); a compiled model's names begin "
                'with _orig_mod., which revise_keys of load_checkpoint can strip'
            )
        plan = Plan(backbone, below, None, mode != 'lenient')
        result = plan.fit({})
        if plan.row is not NATIVE:
            check_grn(result.tensors)
        missing = [name for name in result.fresh if not name.endswith('.num_batches_tracked')]
        if mode == 'whole' and (missing or result.notes):
            faults = [f'missing: {listed(missing)}'] if missing else []
            raise CheckpointMismatch(f'not the whole backbone; {"; ".join(faults + result.notes)}')
    except CheckpointMismatch as error:
        text = f'weights for {prefix or "the backbone"}: {error}'
        if mode != 'lenient':
            raise CheckpointMismatch(text + (DICT_WAY_OUT if mode == 'strict' else '')) from None
        print_log(text, 'current', logging.WARNING)
        return
    for name in below:
        del state_dict[prefix + name]
    kept = {} if result.problem else {name: own[name] for name in result.fresh}
    state_dict.update({prefix + k: v for k, v in {**result.tensors, **kept}.items()})
    if mode != 'whole':
        plan.report(f'a state dict in {plan.row.name} names', result, at=prefix)


def fills(backbone: nn.Module, state_dict: Mapping[str, object], prefix: str) -> bool:
    """Whether what lies below ``prefix`` would fill the backbone, but for the output norms."""
    below = {k[len(prefix) :]: v for k, v in state_dict.items() if k.startswith(prefix)}
    try:
        Plan(backbone, below, None, strict=True).fit({})
    except CheckpointMismatch:
        return False
    return True


def is_pretrained(init_cfg: Mapping) -> bool:
    """Whether an initializer is mmengine's 'Pretrained', by any of its names, or as the class."""
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
        fault = f'has unknown keys {unknown}' if unknown else 'names no checkpoint'
        raise ValueError(f'init_cfg {fault}; besides type it takes {allowed}')
    return options


def _same(own: Tensor | None, given: object) -> bool:
    return (
        isinstance(own, Tensor)
        and isinstance(given, Tensor)
        and own.shape == given.shape
        and own.is_floating_point() == given.is_floating_point()
    )


class Plan:
    """Which tensors of a flat dict become which of a backbone's.

    Raises:
        CheckpointMismatch: there is no ConvNeXt among them, or more than one.
    """

    def __init__(
        self, backbone: nn.Module, tensors: Mapping[str, object], prefix: str | None, strict: bool
    ) -> None:
        self.backbone, self.strict = backbone, strict
        self.own = backbone.state_dict()
        others = [name for name, value in tensors.items() if not isinstance(value, Tensor)]
        if others:
            kind = type(tensors[others[0]]).__name__
            raise CheckpointMismatch(f'{listed(others)}: {kind}, which is no tensor')
        self.row, self.prefix = choose(tensors, prefix, strict)
        self.inside, self.outside = split(tensors, self.prefix)

    def fit(self, config: Mapping, **options: str | None) -> Fit:
        """Everything checked; ``config`` is the config.json beside the file."""
        native = self._native()
        classifier = is_classifier(self.row, self.inside, self.outside, self.prefix)
        design = self.backbone.design
        return fit(
            native,
            self.own,
            ARCHS,
            is_classifier=classifier,
            pooled=self.backbone.gap_before_final_norm,
            strict=self.strict,
            trained=self._trained(Size.of(native.tensors), config),
            built=dict(norm_eps=design.eps, act=design.act, stem=design.stem),
            **options,
        )

    def _native(self) -> Native:
        own_names = {}
        if self.row in (NATIVE, META):  # an ablation has names that no table knows
            own_names = {k: v for k, v in self.inside.items() if _same(self.own.get(k), v)}
        rest = {k: v for k, v in self.inside.items() if k not in own_names}
        native = to_native(rest, self.row)
        native.tensors.update(own_names)
        return native

    def _trained(self, size: Size, config: Mapping) -> dict:
        # Weights under our own names may be of an ablation; Meta's classifiers are not.
        published = {'norm.weight', 'head.weight'} <= set(self.inside)
        if self.row in (NATIVE, META) and not published:
            return {}
        return trained_with(self.row, size.channels, config, size.design)

    def report(self, source: str, result: Fit, at: str = '') -> str:
        """Log how many of how many tensors, from where, what is new, what was dropped."""
        line = f'{at} ' if at else ''
        line += f'Loaded {len(result.tensors)} of {len(self.own)} tensors from {source}'
        if self.prefix:
            line += f', below {self.prefix!r}'
        for what, names in {'new': result.fresh, 'dropped': result.dropped}.items():
            modules = dict.fromkeys(re.sub(r'\.(weight|bias)$', '', name) for name in names)
            if modules:
                line += f'; {what}: {listed(modules, 10)}'
        line += ''.join(f'; {note}' for note in result.notes)
        if self.outside:
            line += f'; {len(self.outside)} beside {self.prefix!r} not read'
        if result.problem:
            line += f'; NOT STRICT, although {result.problem}'
        print_log(line, 'current', logging.WARNING if result.problem else logging.INFO)
        return line
