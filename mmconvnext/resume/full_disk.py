# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""On a full disk curves and logs lose rows, and the run goes on; checkpoints wait for room."""

from __future__ import annotations

import logging
import os
import sys
from functools import partial

from mmengine.visualization import Visualizer

from .patience import PASSING


def spare_the_run(visualizer: Visualizer, logger: logging.Logger) -> None:
    """Let a fault of the disk that may pass end neither the curves' nor the log's writer."""
    visualizer.add_scalars = _Sparing(visualizer.add_scalars, logger)
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handleError = partial(_handle, handler)


class _Sparing:
    """Writes rows of the curves, or says once that it cannot."""

    def __init__(self, write: object, logger: logging.Logger) -> None:
        self.write, self.logger = write, logger
        self.told = False

    def __call__(self, *args: object, **options: object) -> None:
        try:
            self.write(*args, **options)
        except OSError as error:
            if error.errno not in PASSING:
                raise
            if not self.told:
                self.told = True
                self.logger.warning(
                    f'curves and logs cannot be written: {os.strerror(error.errno)}. The run goes '
                    'on without these rows; the next checkpoint waits for room'
                )


def _handle(handler: logging.FileHandler, record: logging.LogRecord) -> None:
    """The console has the record too, so no traceback for each."""
    if not isinstance(sys.exc_info()[1], OSError):
        logging.FileHandler.handleError(handler, record)
