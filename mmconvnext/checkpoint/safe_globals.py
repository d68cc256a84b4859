# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What mmengine's own checkpoints hold besides tensors, allowed under ``weights_only=True``.

torch 2.6 and later unpickle nothing but tensors and what is allow-listed. The checkpoints that
mmengine writes hold its message hub: histories of scalars in a ``HistoryBuffer`` of numpy arrays.
mmengine 0.10.7 does not list them, so its own runs can neither be resumed nor tested.
"""
from __future__ import annotations

import numpy as np
import torch
from mmengine.logging.history_buffer import HistoryBuffer


def allow_own_checkpoints() -> None:
    """Allow-list exactly the types of a message hub; calling it again changes nothing."""
    add = getattr(torch.serialization, 'add_safe_globals', None)
    if add is None:  # before torch 2.4 there is no allow list, and no need of one
        return
    reconstruct = np.zeros(1).__reduce__()[0]  # its module moved between numpy 1 and 2
    scalars = [np.dtype(kind) for kind in ('float64', 'float32', 'int64', 'int32', 'bool')]
    types = [type(kind) for kind in scalars]
    add([HistoryBuffer, reconstruct, np.ndarray, np.dtype, np.float64(0).__reduce__()[0], *types])
