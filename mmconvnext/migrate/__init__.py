# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Configs of other ConvNeXts in ours.

``source`` reads, ``mm2`` brings an old generation to today's, ``backbone``, ``weights`` and
``optimizer`` replace, ``write`` and ``diff`` make the new file, ``proof`` and ``rates`` compare
sides, ``recipes`` finds the shipped recipe that it equals; ``migration`` calls them in this order.
"""
