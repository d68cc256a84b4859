# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Reading weights: strict about the backbone, safe about pickles."""
