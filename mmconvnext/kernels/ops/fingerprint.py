# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""A number that changes whenever the contents of one of the given CPU tensors change."""

from .define import LIBRARY

# It returns no tensor, so there is nothing to differentiate or to trace.
LIBRARY.define('fingerprint(Tensor[] tensors) -> int')
