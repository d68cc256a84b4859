# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Reads people's annotation files and images, and says what was mended, left out or refused.

Nothing here knows configs: the functions take files and return facts. `coco/` brings a COCO file
into the form that mmdet and pycocotools read rightly; the user's file is never changed.
"""
