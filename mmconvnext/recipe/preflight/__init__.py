# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What can only be seen on built parts: samples that are read, free disk, time and memory."""
