# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(final: str | Path) -> Iterator[Path]:
    """Yield a path to write to; at the end it takes the name ``final``.

    An error, a full disk or a killed process leaves ``final`` as it was. What a killed process
    leaves is called FINAL.part; the next attempt writes over it. Parent folders are made.
    """
    final = Path(os.path.realpath(final))  # a link stays one, as with open()
    final.parent.mkdir(parents=True, exist_ok=True)
    part = final.with_name(f'{final.name}.part')
    try:
        yield part
        with part.open('rb') as file:
            os.fsync(file.fileno())  # renamed before its data are on disk, it could come back empty
        part.replace(final)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
