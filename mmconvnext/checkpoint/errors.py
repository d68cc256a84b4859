# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What loading weights raises."""


class CheckpointError(ValueError, RuntimeError):
    """A file cannot be used; the message says what is wrong with it and what to do.

    Also a ``RuntimeError``, which is what the callers of torch's ``load_state_dict`` expect.
    """


class CheckpointUnreadable(CheckpointError):
    """Damaged, no checkpoint at all, or holding more than weights_only lets in."""


class CheckpointMismatch(CheckpointError):
    """The weights are not this backbone's; the message lists the first names of each side."""


class CheckpointNotFound(CheckpointError, FileNotFoundError):
    """Neither a file nor the name of published weights."""


class CheckpointUnreachable(CheckpointError, ConnectionError):
    """A download failed; the message says where to put a file that was fetched otherwise."""
