# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Errors raised when loading weights."""


class CheckpointError(ValueError, RuntimeError):
    """A checkpoint cannot be used; the message says why and what to do.

    Also a ``RuntimeError``, which is what the callers of torch's ``load_state_dict`` expect.
    """


class CheckpointUnreadable(CheckpointError):
    """The file is damaged, not a checkpoint, or holds types that weights_only does not allow."""


class CheckpointMismatch(CheckpointError):
    """The weights do not fit the backbone; the message lists the first names of each kind."""


class CheckpointNotFound(CheckpointError, FileNotFoundError):
    """There is no such file and no such short name."""


class CheckpointUnreachable(CheckpointError, ConnectionError):
    """A download failed; the message says where to put the file instead."""
