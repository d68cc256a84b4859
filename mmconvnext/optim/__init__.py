# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Learning rates: layer-wise decay for any backbone with a method ``get_layer_depth``."""

from .layer_decay import LayerDecayOptimWrapperConstructor

__all__ = ['LayerDecayOptimWrapperConstructor']
