# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Turns a config file into the config for mmengine's Runner; the steps are in :mod:`.prepare`."""
