# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The one error that the tools show without a traceback."""


class RecipeError(ValueError):
    """A mistake in a config, its data or its options; the message names the way out."""
