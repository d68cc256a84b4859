# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What mmengine's own checkpoints hold besides tensors, allowed under ``weights_only=True``.

torch 2.6 and later unpickle nothing but tensors and what is allow-listed. The checkpoints that
mmengine writes hold its message hub: histories of scalars in a ``HistoryBuffer`` of numpy arrays.
mmengine 0.10.7 does not list them, so its own runs can neither be resumed nor tested.
"""

from __future__ import annotations

from pickle import UnpicklingError

import numpy as np
import torch
from mmengine.logging.history_buffer import HistoryBuffer

# The methods that a HistoryBuffer keeps in its state, pickled as getattr(HistoryBuffer, name).
STATISTICS = ('current', 'max', 'mean', 'min')


def history_method(owner: object, name: str) -> object:
    """Stand in for ``getattr`` in a checkpoint, for the statistics of a HistoryBuffer alone.

    Raises:
        UnpicklingError: any other attribute; a free ``getattr`` would let a file call anything.
    """
    if owner is not HistoryBuffer or name not in STATISTICS:
        raise UnpicklingError(f'getattr({owner!r}, {name!r}) in a checkpoint is not safe: refused')
    return getattr(owner, name)


def allow_own_checkpoints() -> None:
    """Allow-list exactly the types of a message hub; calling it again changes nothing."""
    add = getattr(torch.serialization, 'add_safe_globals', None)
    if add is None:  # before torch 2.4 there is no allow list, and no need of one
        return
    # Asked of numpy itself, because their module moved between numpy 1 and 2.
    reconstruct, scalar = np.zeros(1).__reduce__()[0], np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(name)) for name in ('float64', 'float32', 'int64', 'int32', 'bool')]
    add([HistoryBuffer, (history_method, 'builtins.getattr')])
    add([reconstruct, scalar, np.ndarray, np.dtype, *kinds])
