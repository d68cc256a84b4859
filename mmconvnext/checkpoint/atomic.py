# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import get_ident


@contextmanager
def atomic_path(final: str | Path) -> Iterator[Path]:
    """Yield a path to write to; at the end it takes the name ``final``.

    An error, a full disk or a killed process leaves ``final`` as it was. What a killed process
    leaves is called FINAL.PROCESS-THREAD.part. Parent folders are made.
    """
    final = Path(os.path.realpath(final))  # a link stays one, as with open()
    final.parent.mkdir(parents=True, exist_ok=True)
    if final.exists() and not final.is_file():  # /dev/null, a pipe: nothing to rename over
        yield final
        return
    part = final.with_name(f'{final.name}.{os.getpid()}-{get_ident()}.part')
    try:
        yield part
        with part.open('rb') as file:
            os.fsync(file.fileno())  # renamed before its data are on disk, it could come back empty
        part.replace(final)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
