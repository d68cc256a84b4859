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

    If writing fails or the process is killed, ``final`` is left unchanged. A killed process leaves
    the temporary file, FINAL.PROCESS-THREAD.part, behind. Missing folders are created.
    """
    final = Path(os.path.realpath(final))  # write through a symlink, as open() does
    final.parent.mkdir(parents=True, exist_ok=True)
    if final.exists() and not final.is_file():  # /dev/null or a pipe: write to it directly
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
