# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Values of options that several tools take."""

from __future__ import annotations

import argparse


def path(text: str) -> str:
    """A path; an empty one would be the working folder."""
    if not text.strip():
        raise argparse.ArgumentTypeError(
            f'{text!r} is no path; is a variable of the shell not set? The working folder is .'
        )
    return text


def name(text: str) -> str:
    """The name of a class, without blanks around it."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f'{text!r} is no name of a class')
    return text.strip()
