# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""A trained model on images: ``mmconvnext.load``, its results, and what the tool writes."""

from .load import load
from .model import Model
from .result import Result

__all__ = ['Model', 'Result', 'load']
