# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Malformed inputs, a file for each kind: configs, annotations, images, checkpoints.

Each has ``CASES``: by a name, what is written, and what the user is told. tests/test_malformed.py
feeds them through the functions that the tools call.
"""

from typing import NamedTuple


class Case(NamedTuple):
    """A malformed input.

    Attributes:
        content: what is written: bytes or text, JSON of anything else; a function of the folder.
        told: a pattern of the message.
        refused: whether that is an error; else the input is used, and the message is a warning or
            in the table of the data.
    """

    content: object
    told: str
    refused: bool = True
