# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""One line that says which blocks take which path, and why."""

from __future__ import annotations

from mmengine.logging import print_log

from .ops import capability


class PathReport:
    """Collects the path that each block took last, and logs each distinct summary line once."""

    def __init__(self) -> None:
        self.why: dict[str, str] = {}  # block -> why it runs plain, or '' if it runs fast
        self.told: set[str] = set()  # lines that were logged

    def note(self, block: str, why: str) -> None:
        """Record why ``block`` runs plain; '' if it runs fast."""
        self.why[block] = why

    def tell(self, device: str) -> None:
        """Log the line unless it was logged before; ``device`` is the input's device type."""
        line = self.line(device)
        if line not in self.told and device != 'meta':
            self.told.add(line)
            print_log(line, 'current')

    def line(self, device: str) -> str:
        """Which blocks run on which path, and why."""
        groups: dict[str, list[str]] = {}
        for block, why in self.why.items():
            groups.setdefault(why, []).append(block)
        parts = []
        for why, blocks in sorted(groups.items()):
            made = capability()[0] if device == 'cpu' else 'Triton'
            path = f'plain PyTorch ({why})' if why else f'fast kernels ({made})'
            where = 'all blocks' if len(groups) == 1 else ', '.join(blocks)
            if not why and len(groups) > 1:
                where = f'{len(blocks)} blocks'
            parts.append(f'{path} in {where}')
        return f'ConvNeXt on {device}: {"; ".join(parts)}'
