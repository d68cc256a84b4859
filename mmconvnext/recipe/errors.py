# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The error for mistakes that the user can fix; the tools show it without a traceback."""


class RecipeError(ValueError):
    """A mistake in a config, its data or the options; the message says how to fix it."""
