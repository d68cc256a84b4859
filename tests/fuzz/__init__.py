# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Fuzz targets: readers that get any bytes, each in a file of its own.

A target has ``SEEDS``, contents to begin with, and ``run(data, folder)``, which writes the bytes
into an empty folder and reads them; any exception that it lets through is a finding.
tests/test_fuzz.py runs each for a moment, `python tests/fuzz/run.py --minutes 10` for longer.
"""

TARGETS = ('checkpoint', 'coco', 'data_config', 'exports', 'image')
