# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Decide whether norm3 belongs to the classifier or to the last feature map.

mmpretrain gives both the same name. Loading and converting both decide it here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from .formats import Native

OUTPUT_NORM = re.compile(r'norm\d+\.\w+')


def settle_final_norm(native: Native, has_head: bool, needed: Iterable[str] = ()) -> Native:
    """Keep an ambiguous norm either in ``tensors`` or in ``final_norm``, where it belongs.

    If other feature maps have norms too, it belongs to the last map. If it is the only one, it is
    the classifier's if there is a head, or if the backbone needs more norms.

    Args:
        native: the weights under our names.
        has_head: whether a classification head came with them.
        needed: names of the output norms that the backbone needs; empty without a backbone.
    """
    if not native.final_norm_names:
        return native
    with_norm = {name.partition('.')[0] for name in native.tensors if OUTPUT_NORM.fullmatch(name)}
    if len(with_norm) > 1 or (not has_head and native.tensors.keys() >= set(needed)):
        return replace(native, final_norm={})
    rest = {k: v for k, v in native.tensors.items() if k not in native.final_norm_names}
    return replace(native, tensors=rest)
