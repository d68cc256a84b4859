# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Numbers and data that go wrong during a run: named, and stopped at or skipped."""
