# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Nothing that a reader gets may start a program or open a connection: Python reports both."""

import sys

FORBIDDEN = (
    *('os.system', 'os.exec', 'os.posix_spawn', 'os.spawn', 'os.fork', 'subprocess.Popen'),
    *('socket.connect', 'webbrowser.open'),
)


class Escaped(BaseException):
    """Code of the input ran; not an Exception, which readers catch."""


class Guard:
    """A context in which these events raise; an audit hook cannot be removed again."""

    on = False

    def __init__(self) -> None:
        sys.addaudithook(self._heard)

    def _heard(self, event: str, arguments: tuple) -> None:
        if self.on and event in FORBIDDEN:
            raise Escaped(f'{event}{arguments!r}'[:200])

    def __enter__(self) -> None:
        self.on = True

    def __exit__(self, *_: object) -> None:
        self.on = False
