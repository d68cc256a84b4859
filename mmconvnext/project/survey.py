# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The facts about data from which settings are chosen."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Survey:
    """What was found in a folder of data.

    Attributes:
        own_data: the dict for the config.
        images: how many there are to learn from, and ``val_images`` to measure with.
        sizes: (N, 2), width and height in pixels of each image to learn from, as it is loaded.
        objects: (M, 2), width and height of each object to learn from, as parts of its image's
            longer side; (0, 2) for label maps.
        crowding: (N,), the number of objects in each image.
        masks: whether most objects have one.
        counts: of each class, the objects, or the label maps that hold it.
        formats: kinds of the image files, as 'JPEG'.
        notes: what the user should know, one line each.
    """

    own_data: dict
    images: int
    val_images: int
    sizes: np.ndarray
    counts: dict[str, int]
    objects: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    crowding: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    masks: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def is_maps(self) -> bool:
        """Whether it has label maps, not objects."""
        return not len(self.objects)

    @property
    def classes(self) -> list[str]:
        return self.own_data['classes']

    @property
    def long_side(self) -> int:
        """The median of the images' longer sides, in pixels."""
        return int(np.median(self.sizes.max(1)))

    @property
    def short_side(self) -> int:
        """The median of the images' shorter sides, in pixels."""
        return int(np.median(self.sizes.min(1)))

    def objects_at(self, long_side: int) -> np.ndarray:
        """(M, 2), width and height of the objects in pixels of images with this longer side."""
        return self.objects * long_side
