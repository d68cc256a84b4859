# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Looks at data, runs, models and results, for the tools that draw them."""
