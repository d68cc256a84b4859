# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What can be said of a weight format: the names of its tensors, their layouts, its quirks.

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
    """One way to name and lay out the tensors of a ConvNeXt, and what is peculiar to it.

    Templates stand for many names: {i} is a stage, {j} a block, {k} 0 or 1, {s} a layer of the
    stem, {n} 1 or 2, {p} weight or bias.

    Args:
        name: the name that log lines and tools print.
        source: the code that writes and reads such files.
        rows: name templates, ours -> theirs; the first match counts.
        final_norm: template of the classifier's norm, which is applied to pooled features.
        others: patterns of what the files hold besides the network; dropped and reported.
        beside: patterns of a head or decoder next to the network, outside of its prefix.
        layouts: pattern of our name -> the layout of their tensor, see :mod:`.layouts`.
        marked_by: (our name, number of axes): only files whose tensor has that many axes are of
            this format. It tells formats with the same names apart, so put the marked one first.
        checkpoint_key: the key that holds the tensors in their files; '' if there is none.
        prefix: what their files put before every name.
        builds: departures from the paper that shapes reveal (:func:`.structure.departures`) and
            that the code of the source can build; 'both' is GRN together with layer scale.
        our_names: the names are this package's own, so tensors of an ablation, which match no
            template, keep their names.
        our_code: files of this package itself: any design can be written, and GRN may still be
            zero, as before training.
        target: whether ``convert`` offers to write this format.
        written_for: (name of a target, pairs of channels in the first and last stage): networks of
            these sizes are written in this format when that target is asked for.
        trained_with: pairs of what the tensors show (``channels`` or switches of ``Design``) and
            the epsilon and activation of that network. The last match counts; without one the
            paper's values hold.
        simple_norm_channels: if set, norms without bias are SimpleNorm in a network of these
            channels, and an RMSNorm, which this package does not have, in all others.
        config_eps: the keys that lead, in the ``config.json`` of the source, to the epsilon of all
            norms.
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
        """Our name of their tensor; None if it is not part of the network."""
        return _rename(name, ((theirs, to) for _, to, theirs, _ in self._compiled))

    def theirs(self, name: str) -> str | None:
        """Their name of our tensor; None if the format has no name for it."""
        return _rename(name, ((own, to) for own, _, _, to in self._compiled))

    def final_norm_part(self, name: str) -> str | None:
        """'weight' or 'bias' if the name belongs to the classifier's norm."""
        match = _compile(self.final_norm).fullmatch(name)
        return match and match['p']

    def is_other(self, name: str) -> bool:
        """Whether such files hold this tensor besides the network."""
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
