# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""A stopped run continues as if nothing had happened: tools/train.py switches this on.

- :mod:`.runner`: mmengine's Runner with the parts below; a config stays a plain MM config.
- :mod:`.loops`: mmengine's two training loops, which start at any batch.
- :mod:`.batches`: which images are read, and with which random numbers, by their place in the run.
- :mod:`.randomness`: the random generators of a process.
- :mod:`.state`: what a checkpoint needs besides what mmengine saves.
- :mod:`.memory`: hooks and modules with a memory of their own.
- :mod:`.changes`: how a config differs from that of the run to resume.
- :mod:`.signals`, :mod:`.orders`: SIGTERM and its like; all processes stop after one iteration.
- :mod:`.checkpoints`, :mod:`.patience`: no checkpoint is deleted or lost before the next is whole.
"""
