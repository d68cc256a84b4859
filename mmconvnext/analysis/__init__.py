# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""A look at data, results and runs: figures, pages, pictures."""
