# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The description of a weight format: the names of its tensors, their layouts, its quirks.

:mod:`.tables` has one :class:`Format` for each published format.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

SIGNATURE = 'stages.0.0.dwconv.weight'  # every format has exactly one name for this tensor
FIELDS = dict(i=r'\d+', j=r'\d+', k='[01]', s='[0-3]', n='[12]', p='weight|bias')
# mmpretrain's ImageClassifier and transformers' ...ForImageClassification.
CLASSIFIER_HEADS = (r'head\.fc\.', r'head\.layers\.', r'classifier\.')


@dataclass(frozen=True)
class Format:
    """One way to name and lay out the tensors of a ConvNeXt, with its quirks.

    Templates stand for many names: {i} is a stage, {j} a block, {k} 0 or 1, {s} a layer of the
    stem, {n} 1 or 2, {p} weight or bias.

    Args:
        name: the name that log lines and tools print.
        source: the code that writes and reads such files.
        rows: name templates, ours -> theirs; the first match wins.
        final_norm: template of the classifier's norm, which is applied to pooled features.
        others: patterns of other tensors that such files hold; dropped and reported.
        beside: patterns of a head or decoder next to the network, outside of its prefix.
        layouts: pattern of our name -> the layout of their tensor, see :mod:`.layouts`.
        marked_by: (our name, number of axes): a file is of this format only if the tensor has that
            many axes. It distinguishes formats with the same names; list the marked one first.
        checkpoint_key: the key of the tensors in such files; '' if there is none.
        prefix: the prefix of every name in such files.
        builds: departures from the paper that tensor shapes reveal
            (:func:`.structure.departures`) and that the source's code can build; 'both' is GRN
            together with layer scale.
        our_names: the names are this package's own, so tensors of an ablation, which match no
            template, keep their names.
        our_code: files of this package itself: any design can be written, and GRN may still be
            zero, as before training.
        target: whether ``convert`` can write this format.
        written_for: (name of a target, pairs of channels in the first and last stage): networks of
            these sizes are written in this format when converted to that target.
        trained_with: pairs of what the tensors reveal (``channels`` or switches of ``Design``) and
            the network's epsilon and activation. The last match wins; without a match, the paper's
            values apply.
        simple_norm_channels: if set, norms without bias are SimpleNorm in a network with these
            channels, and RMSNorm, which this package does not have, in all others.
        config_eps: the path of keys to the epsilon of all norms in the source's ``config.json``.
    """

    name: str
    source: str
    rows: Mapping[str, str]
    final_norm: str
    others: tuple[str, ...]
    beside: tuple[str, ...] = CLASSIFIER_HEADS
    layouts: Mapping[str, str] = field(default_factory=dict)
    marked_by: tuple[str, int] | None = None
    checkpoint_key: str = ''
    prefix: str = ''
    builds: tuple[str, ...] = ()
    our_names: bool = False
    our_code: bool = False
    target: bool = False
    written_for: tuple[str, tuple[tuple[int, int], ...]] = ('', ())
    trained_with: tuple[tuple[Mapping, Mapping], ...] = ()
    simple_norm_channels: tuple[int, ...] = ()
    config_eps: tuple[str, ...] = ('model_args', 'norm_eps')  # timm's

    @cached_property
    def signature(self) -> re.Pattern:
        return re.compile(rf'(?P<prefix>(?:.*\.)?){re.escape(self.theirs(SIGNATURE))}')

    @cached_property
    def _compiled(self) -> list[tuple[re.Pattern, str, re.Pattern, str]]:
        return [(_compile(a), a, _compile(b), b) for a, b in self.rows.items()]

    def ours(self, name: str) -> str | None:
        """Our name for their tensor; None if it is not part of the network."""
        return _rename(name, ((theirs, to) for _, to, theirs, _ in self._compiled))

    def theirs(self, name: str) -> str | None:
        """Their name for our tensor; None if the format has no name for it."""
        return _rename(name, ((own, to) for own, _, _, to in self._compiled))

    def final_norm_part(self, name: str) -> str | None:
        """'weight' or 'bias' if the name belongs to the classifier's norm."""
        match = _compile(self.final_norm).fullmatch(name)
        return match and match['p']

    def is_other(self, name: str) -> bool:
        """Whether the tensor is in such files without being part of the network."""
        return _begins(name, self.others)

    def is_beside(self, name: str) -> bool:
        """Whether it belongs to a head or decoder; ``name`` is relative to the prefix's parent."""
        return _begins(name, self.beside)


def _begins(name: str, patterns: Iterable[str]) -> bool:
    return any(re.match(pattern, name) for pattern in patterns)


def _compile(template: str) -> re.Pattern:
    pattern = re.escape(template)
    for key, expression in FIELDS.items():
        pattern = pattern.replace(rf'\{{{key}\}}', f'(?P<{key}>{expression})')
    return re.compile(pattern)


def _rename(name: str, rows: Iterable[tuple[re.Pattern, str]]) -> str | None:
    for pattern, template in rows:
        match = pattern.fullmatch(name)
        if match:
            return template.format(**match.groupdict())
    return None
