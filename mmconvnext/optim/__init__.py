# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Learning rates: layer-wise decay for every backbone that knows the depth of its parameters."""

from .layer_decay import LayerDecayOptimWrapperConstructor

__all__ = ['LayerDecayOptimWrapperConstructor']
