# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What a run shows on the console: not the pages that mmengine logs before each run.

The log file keeps all of it; the console names the file.
"""

from __future__ import annotations

import logging
import os
from types import new_class

from mmengine.logging import MMLogger
from mmengine.runner import Runner

# How the messages begin: hundreds of lines of config, environment and hooks, and warnings of
# mmengine about code of mmdet and mmseg, which the user cannot change.
FILE_ONLY = (
    'Config:\n',
    'System environment:',
    'Hooks will be executed in the following order',
    '"FileClient" will be deprecated',
    '"HardDiskBackend" is the alias',
    'The prefix is not set in metric class',
)


def with_short_console(kind: type[Runner]) -> type[Runner]:
    """A subclass of a runner, of the same name, whose console leaves out :data:`FILE_ONLY`.

    mmengine creates the logger and writes these pages in one go, so a filter must be there from
    the beginning; this changes no other runner.
    """
    return new_class(kind.__name__, (_ShortConsole, kind))


def for_the_console(record: logging.LogRecord) -> bool:
    """Whether the console shows a record: a filter of its handler."""
    return not record.getMessage().lstrip('-\n').startswith(FILE_ONLY)


class _ShortConsole:
    def build_logger(self, *args, **kwargs) -> MMLogger:
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(for_the_console)
        if logger.log_file:
            file = os.path.relpath(logger.log_file)
            file = logger.log_file if file.startswith(os.pardir) else file
            logger.info(f'Config, environment and hooks are in the log file: {file}')
        return logger
