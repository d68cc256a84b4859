# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Migrate configs from another package's ConvNeXt to this one.

``migration`` calls the others in this order: ``source`` reads the config; ``mm2`` updates configs
of mmdet 2 and mmseg 0.x; ``backbone``, ``weights`` and ``optimizer`` replace what differs;
``write`` and ``diff`` produce the new file; ``proof`` and ``rates`` compare both sides; ``recipes``
finds a shipped recipe that is equal. ``notes`` collects what the user should know.
"""
