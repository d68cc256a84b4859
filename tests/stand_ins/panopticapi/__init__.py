# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What mmdet uses of panopticapi, which no package index has: a stand-in for the tests alone.

Written from the definition of PQ in arXiv 1801.00868, section 4, and the format's description at
https://cocodataset.org/#format-data. An installed panopticapi comes first (tests/conftest.py).
"""
