# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What the scripts in tools/ call: options, and the way from them to mmengine's Runner."""
