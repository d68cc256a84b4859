# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""People's texts: in UTF-8, or in UTF-16 and 32, which Windows' editors and PowerShell write."""

from __future__ import annotations

import json
from pathlib import Path


def text_of(file: Path, errors: str = 'strict') -> str:
    """The content of a text file, with the ends of lines that Python uses.

    Raises:
        UnicodeDecodeError: it is in another encoding, with ``errors='strict'``.
    """
    text = decoded(file.read_bytes(), errors)
    return text.replace('\r\n', '\n').replace('\r', '\n')


def decoded(content: bytes, errors: str = 'strict') -> str:
    """The text of the bytes, without a byte order mark."""
    encoding = json.detect_encoding(content[:4])  # by byte order marks and zeros
    return content.decode('utf-8-sig' if encoding == 'utf-8' else encoding, errors)
