# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Write files atomically: whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import get_ident


@contextmanager
def atomic_path(final: str | Path) -> Iterator[Path]:
    """Yield a temporary path to write to; at the end the file is renamed to ``final``.

    After an error, on a full disk or in a killed process ``final`` stays as it was. A killed
    process leaves the temporary file, FINAL.PROCESS-THREAD.part. Missing folders are made.
    """
    final = Path(os.path.realpath(final))  # a link stays a link, as with open()
    final.parent.mkdir(parents=True, exist_ok=True)
    if final.exists() and not final.is_file():  # /dev/null, a pipe: nothing to rename over
        yield final
        return
    part = final.with_name(f'{final.name}.{os.getpid()}-{get_ident()}.part')
    try:
        yield part
        with part.open('rb') as file:
            os.fsync(file.fileno())  # else a crash after the rename could leave an empty file
        part.replace(final)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
