# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Lines for the shell: what a tool says comes next."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path


def command(tool: str, *arguments: str | Path) -> str:
    """A line for the shell that runs another tool of the folder of this one."""
    here = Path(sys.argv[0]).with_name(f'{tool}.py')
    script = here if here.is_file() else Path('tools', here.name)
    return shlex.join(['python', short(script), *map(short, arguments)])


def data_folder(config: Path) -> Path:
    """A folder for a page about the data of a config, in its default work dir."""
    return Path('work_dirs', config.stem, 'data')


def short(path: str | Path) -> str:
    """The path from the working folder, if it is below it."""
    text = str(path)
    if not os.path.isabs(text):
        return text
    relative = os.path.relpath(text)
    return text if relative.startswith(os.pardir) else relative
