# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The backbone: architecture table, design switches, layers, block, network."""

from ..arch import ARCHS, Arch, get_arch
from .convnext import ConvNeXt
from .design import Design

__all__ = ['ARCHS', 'Arch', 'ConvNeXt', 'Design', 'get_arch']
