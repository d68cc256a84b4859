# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The old place of :mod:`mmconvnext.arch`, in which models pickled by release 0.1.0 look."""

from ..arch import ARCHS, Arch, get_arch

__all__ = ['ARCHS', 'Arch', 'get_arch']
