# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What is wrong with samples that were read: faults, lost objects, values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mmengine.config import Config

from ..checks.finding import Finding
from ..walk import LOADERS, dicts, type_name
from .samples import Samples, check_samples
from .values import check_values


def judge(cfg: Config, samples: Iterable[Samples]) -> Iterator[Finding]:
    """The findings on samples of several loaders."""
    nodes = [node for _, node in dicts(cfg.get(LOADERS[0]))]
    loading = [node for node in nodes if type_name(node) == 'LoadAnnotations']
    poly2mask = all(node.get('poly2mask', True) for node in loading)
    for found in samples:
        yield from check_samples(found, poly2mask)
        yield from check_values(cfg, found)
