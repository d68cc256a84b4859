# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Configs of mmdet 2 and mmseg 0.x, Meta's forks among them, in the terms of mmdet 3 and mmseg 1.

OpenMMLab's guides "Migrate your own config" describe each step; what has no counterpart here is
listed by name. ``model``, ``pipeline``, ``data``, ``schedule`` and ``runtime`` each do theirs,
``compose`` puts them over the configs that the projects ship.
"""
