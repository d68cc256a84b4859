# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The version, apart from everything else so that setup.py reads it without an import."""

__version__ = '0.1.0'
