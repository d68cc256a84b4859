# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Brings a COCO file into the form that mmdet and pycocotools read rightly.

`read.py` parses the file, `images.py`, `categories.py` and `objects.py` check each field of an
entry against its meaning, `boxes.py` judges the boxes of the whole file, and `sound.py` calls them.
`kept.py` writes the result to the cache; `parts.py` divides a file.
"""
