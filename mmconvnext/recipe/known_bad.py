# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Files that a run to resume has found bad, and puts other samples in the place of.

Without this, the checks before the training would refuse them, and a run that went on without them
could not be started again at night. They stay in the dataset, because the order of the images, and
with it all that follows, depends on its length.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config

FILE = 'bad_data.txt'  # in the work dir


class Entry(NamedTuple):
    """A line of the list.

    Attributes:
        file: the bad one.
        image: that of the sample, which is the same if its label map is not meant.
        reason: in words.
        rank: the process that read it first.
    """

    file: str
    image: str
    reason: str
    rank: str


def entries(folder: str | Path) -> list[Entry]:
    """The list of a work dir; a line that is not whole yet is left out."""
    try:
        text = Path(folder, FILE).read_text(encoding='utf-8')
    except FileNotFoundError:
        return []
    lines = text[: text.rfind('\n') + 1].split('\n')
    rows = [line.split('\t') for line in lines if not line.startswith('#')]
    return [Entry(*row) for row in rows if len(row) == len(Entry._fields)]


def skips_bad(cfg: Config) -> bool:
    """Whether files of the training may be bad, because the run goes on and skips them.

    Others may have turned bad since the one at which it stopped.
    """
    return bool(cfg.get('resume')) and cfg.get('on_bad_data') == 'skip'


def known_bad(cfg: Config) -> tuple[str, ...]:
    """Absolute paths of the files that the run to resume skips, and of their images.

    There are none if the config does not resume a run, or is to stop at bad data.
    """
    if not skips_bad(cfg):
        return ()
    rows = entries(cfg.work_dir)
    return tuple(sorted({os.path.abspath(path) for row in rows for path in row[:2]}))
