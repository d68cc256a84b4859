# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Steps that the GradScaler of mixed precision leaves out because float16 overflows.

Some are normal: it halves the scale of the loss each time, and doubles it after 2000 good steps.
"""

from __future__ import annotations

# In a row. From torch's first scale, 65536, the 17th halving is the first below 1; our choice.
LOOP = 25
CAUSES = (
    'Likely causes: a layer whose values leave the range of float16 (65504), a learning rate that '
    "is too high, or a loss that is a sum and no mean. Try optim_wrapper.dtype='bfloat16', whose "
    "range is that of float32 and which needs no scale, or optim_wrapper.type='OptimWrapper'"
)


class Overflows:
    """Judges overflows of the scaler; a scale below 1 is told once."""

    def __init__(self) -> None:
        self.told = False

    def judge(self, row: int, scale: float) -> tuple[str, str]:
        """A warning and the reason to stop, each '' if there is none.

        Args:
            row: how many steps in a row have overflowed.
            scale: that of the loss after this one.
        """
        if row >= LOOP:
            return '', (
                f'the gradients have overflowed in {row} steps in a row, so nothing is learnt; '
                f'the scale of the loss is {scale:g}. {CAUSES}'
            )
        if scale < 1 and not self.told:
            self.told = True
            return (
                f'mixed precision: after overflows the scale of the loss is {scale:g}, below 1, so '
                f'that small gradients become 0. {CAUSES}'
            ), ''
        return '', ''
