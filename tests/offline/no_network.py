# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Refuse every connection that would leave this machine, and write down that it was tried.

Imports the standard library alone, because `sitecustomize.py` beside it runs this in every Python
that a test starts.
"""

import ipaddress
import os
import socket
import sys

# The file in which tries are written down; it also says that the network is closed.
LOG = 'MMCONVNEXT_TESTS_NETWORK_LOG'
# The address, or the name to look up, is this argument of the event.
EVENTS = {
    'socket.connect': 1,
    'socket.sendto': 1,
    'socket.sendmsg': 1,
    'socket.getaddrinfo': 0,
    'socket.gethostbyname': 0,
    'socket.gethostbyaddr': 0,
    'socket.getnameinfo': 0,
}


class NetworkTried(RuntimeError):
    """No OSError, which programs meet by trying again."""


def is_here(host: object) -> bool:
    """Whether a host name or address is this machine."""
    if isinstance(host, bytes):
        host = host.decode()
    if not host or host in ('localhost', socket.gethostname()):
        return True
    try:
        address = ipaddress.ip_address(str(host).partition('%')[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _refuse(event: str, arguments: tuple) -> None:
    if event not in EVENTS:
        return
    address = arguments[EVENTS[event]]
    # A path, for a socket between processes, or None for a socket that is connected already.
    if event in ('socket.connect', 'socket.sendto', 'socket.sendmsg') and (
        not isinstance(address, tuple)
    ):
        return
    host = address[0] if isinstance(address, tuple) else address
    if is_here(host):
        return
    tried = f'{event}: {address}'
    if os.environ.get(LOG):
        with open(os.environ[LOG], 'a') as log:
            log.write(f'{tried}\n')
    raise NetworkTried(
        f'the tests use no network, but this was tried: {tried}. Serve the file from 127.0.0.1, '
        'or replace the function that asks for it'
    )


def close() -> None:
    """From now on; audit hooks stay until the interpreter ends."""
    sys.addaudithook(_refuse)
