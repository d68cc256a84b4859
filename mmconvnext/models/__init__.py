# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The backbone: architecture table, design switches, layers, block, network."""

from ..checkpoint.mmengine_io import install
from .arch import ARCHS, Arch, get_arch
from .convnext import ConvNeXt
from .design import Design

__all__ = ['ARCHS', 'Arch', 'ConvNeXt', 'Design', 'get_arch']

# Whoever builds a backbone also reads, resumes and saves checkpoints through mmengine.
install()
