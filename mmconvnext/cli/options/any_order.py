# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""A parser for tools with optional or repeated paths."""

from __future__ import annotations

import argparse


class AnyOrder(argparse.ArgumentParser):
    """Takes paths before, between and after options; argparse itself takes them in one place."""

    def parse_args(self, args=None, namespace=None) -> argparse.Namespace:
        return self.parse_intermixed_args(args, namespace)
