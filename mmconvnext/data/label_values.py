# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Which class each value or colour in label maps stands for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from .label_maps import LabelMap, packed, read_pixels, unpacked
from .texts import text_of

IGNORE = 255  # mmseg's ignore_index
# A line of CVAT's and VOC's labelmap.txt, 'name:r,g,b:parts:actions', or of a table 'name,r,g,b'.
COLOUR = re.compile(
    r'(?P<name>.+?)\s*[:,;\t]\s*(\d+)\s*[, ;\t]\s*(\d+)\s*[, ;\t]\s*(\d+)\s*(?:[:,;\t].*)?'
)
Colour = tuple[int, int, int]


class LabelValues:
    """A table of what label maps hold: values or colours, and the label of each.

    Without arguments it is mmseg's: the values are the labels, 0 to 255, and 255 is ignored.

    Args:
        ids: the value of each label, in the order of the labels.
        ignore_ids: values, or colours, of pixels that are ignored.
        colours: the colour (R, G, B) of each label. Grey values and palettes are colours then.

    Attributes:
        in_colour: whether colours are told apart.
        table: which argument lists the labels, 'ids' or 'colours'; '' if they are mmseg's.
        ignored: ``ignore_ids``; colours as tuples.
    """

    def __init__(
        self,
        ids: Sequence[int] | None = None,
        ignore_ids: Iterable[int | Colour] = (),
        colours: Sequence[Colour] | None = None,
    ):
        self.in_colour = colours is not None
        self.table = 'colours' if self.in_colour else 'ids' if ids is not None else ''
        self.ignored = [v if isinstance(v, int) else tuple(v) for v in ignore_ids]
        if colours is not None:
            given = [int(packed(colour)) for colour in colours]
        else:
            given = list(range(IGNORE)) if ids is None else list(ids)
        labels = {value: label for label, value in enumerate(given)}
        if not self.in_colour:
            labels.setdefault(IGNORE, IGNORE)
        self._labels = labels | dict.fromkeys(map(self._number, self.ignored), IGNORE)
        self._known = np.array(sorted(self._labels), dtype=np.int64)
        self._label_of = np.array([self._labels[v] for v in sorted(self._labels)], dtype=np.uint8)

    @property
    def is_default(self) -> bool:
        """Whether the values are read as mmseg does."""
        return not self.table and not self.ignored

    def _number(self, value: int | Colour) -> int:
        return value if isinstance(value, int) else int(packed(value))

    def read(self, data: bytes) -> np.ndarray:
        """Labels of the pixels of an encoded label map, uint8 (height, width).

        Raises:
            ValueError: the file cannot be read, or holds a value that is not in the table.
        """
        return self.labels(read_pixels(data, self.in_colour))

    def labels(self, pixels: np.ndarray) -> np.ndarray:
        """Labels of pixels as :func:`.label_maps.read_pixels` gives them."""
        index = np.searchsorted(self._known, pixels).clip(max=len(self._known) - 1)
        unknown = self._known[index] != pixels
        if unknown.any():
            value = int(pixels[unknown][0])
            shown = f'the colour {unpacked(value)}' if self.in_colour else f'the value {value}'
            raise ValueError(f'it holds {shown}, which is in no list of classes or ignored values')
        return self._label_of[index]

    def of(self, content: LabelMap) -> tuple[set[int], set]:
        """The labels in a map, and the values or colours that have none."""
        values = content.in_colour if self.in_colour else content.ids
        found = {value: self._labels.get(self._number(value)) for value in values}
        known = {label for label in found.values() if label is not None}
        return known, {value for value, label in found.items() if label is None}


def read_palette(file: Path) -> dict[str, Colour]:
    """The colour of each name in CVAT's and VOC's labelmap.txt, or in a table name,r,g,b.

    Raises:
        ValueError: a line has another form, or a colour has a number above 255.
        OSError, UnicodeDecodeError: the file cannot be read as text.
    """
    found: dict[str, Colour] = {}
    lines = text_of(file).splitlines()
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith('#'):
            continue
        match = COLOUR.fullmatch(line.strip())
        if match:
            red, green, blue = map(int, match.groups()[1:])
            if max(red, green, blue) > 255:
                raise ValueError(f'line {number}, {line!r}: a colour has numbers from 0 to 255')
            found[match['name']] = (red, green, blue)
        elif number > 1 or re.search(r'\d', line):  # the first may be a heading
            raise ValueError(f'line {number}, {line!r}, is not name:red,green,blue')
    return found
