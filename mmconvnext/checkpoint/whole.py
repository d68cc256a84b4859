# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Is a checkpoint whole, so that a run can be resumed from it? Looked at before anything is built.

A machine that loses power, or a network disk, can leave a file that is too short or holds zeros; a
checkpoint of several processes may lack the state of some.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

from .errors import CheckpointUnreadable
from .read import read_checkpoint
from .safe_globals import torch_load

RESUME = 'mmconvnext_resume'  # key of what is added for exact resume, see resume/state.py


def look(path: str | Path) -> Mapping:
    """Check every byte of a checkpoint file and return its content, tensors not yet read if
    the disk can map files.

    Raises:
        CheckpointUnreadable: it is not whole, or no checkpoint at all.
    """
    path = Path(path)
    if zipfile.is_zipfile(path):  # what torch.save writes, with a checksum of every tensor
        try:
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
        except (zipfile.BadZipFile, OSError, EOFError) as error:
            damaged = str(error)
        if damaged:
            raise CheckpointUnreadable(f'{path} is damaged: {damaged}')
        try:
            content = torch_load(path, 'cpu', mmap=True)
        except Exception:  # a disk that maps no files, or a fault that read_checkpoint tells
            content = read_checkpoint(path)
    else:
        content = read_checkpoint(path)
    if not isinstance(content, Mapping):
        raise CheckpointUnreadable(
            f'{path} is not a checkpoint: it holds a {type(content).__name__}'
        )
    missing = lacking(content)
    if missing:
        raise CheckpointUnreadable(f'{path} lacks the state of {missing}')
    return content


def lacking(content: Mapping) -> str:
    """Which of the run's processes a checkpoint lacks: 'process 1 of 4', or ''."""
    processes = (content.get(RESUME) or {}).get('processes', [])
    absent = [str(rank) for rank, own in enumerate(processes) if not own]
    return f'process {", ".join(absent)} of {len(processes)}' if absent else ''
