# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What the scripts in tools/ call: command-line options, hooks and mmengine's Runner."""
