# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""From a config file to the config that mmengine's Runner gets; :mod:`.prepare` has the order."""
