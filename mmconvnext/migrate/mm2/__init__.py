# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Update configs of mmdet 2 and mmseg 0.x, including those of Meta's forks, to mmdet 3 and mmseg 1.

OpenMMLab's guides "Migrate your own config" describe each step. Settings without a counterpart are
listed in the notes. ``model``, ``pipeline``, ``data``, ``schedule`` and ``runtime`` each translate
one part; ``compose`` writes the result over the configs that the projects ship.
"""
