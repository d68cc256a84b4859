# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""From a config file to what the runner gets: load, own data, toy, machine, checks, work dir."""
