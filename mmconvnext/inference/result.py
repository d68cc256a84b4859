# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The result of one image: its objects or its label map, drawn or written."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .arguments import score_of, whole
from .coco import annotations, categories
from .detections import Detections

if TYPE_CHECKING:
    from PIL.Image import Image

LEAST = 480  # short side of a picture in pixels, so that texts are readable; our choice
MOST = 2000  # long side of a picture in pixels that is larger than its image; our choice
HELD = 2**28  # bytes of masks that are drawn at once; our choice
SHOWN = 24  # classes in the legend; our choice
WHITE = (255, 255, 255)


class Result:
    """What a model found in one image.

    Objects are sorted by score, the highest first. In a notebook a result shows itself.

    Attributes:
        classes: the names of the classes; a label is an index into them.
        colours: an (R, G, B) colour for each class.
        path: the file of the image; '' for an array.
        width, height: of the image in pixels, turned by its EXIF orientation.
        boxes: (N, 4) float32: x1, y1, x2, y2 in pixels of the image.
        labels: (N,) int64.
        scores: (N,) float32.
        label_map: (H, W) uint8 with a label for each pixel, 255 for none; uint16 and 65535 with
            more than 255 classes. None for models that only find objects.
    """

    def __init__(
        self,
        found: Detections,
        image: np.ndarray | Callable[[], np.ndarray],
        size: tuple[int, int],
        classes: Sequence[str],
        colours: Sequence[tuple[int, int, int]],
        path: str = '',
    ) -> None:
        """See the class.

        Args:
            image: (H, W, C) in RGB, or a function that loads it again.
            size: height and width of the image.
        """
        self._found, self._image = found, image
        self.height, self.width = size
        self.classes, self.colours, self.path = tuple(classes), list(colours), path
        self.boxes, self.labels, self.scores = found.boxes, found.labels, found.scores
        self.label_map = found.label_map

    def __len__(self) -> int:
        """The number of objects; without objects, of the classes in the label map."""
        return len(self.labels) if self._found.has_objects else len(self.counts)

    def __bool__(self) -> bool:
        return True  # a result without objects is a result

    def __repr__(self) -> str:
        head = f'{self.path or "image"}, {self.width} x {self.height} pixels: '
        if self._found.has_objects:
            return head + (', '.join(f'{n} {name}' for name, n in self.counts.items()) or 'nothing')
        pixels = self.width * self.height
        shares = (f'{name} {100 * n / pixels:.0f} %' for name, n in self.counts.items())
        return head + (', '.join(shares) or 'no class')

    @property
    def image(self) -> np.ndarray:
        """(H, W, C) in RGB, as the model's pipeline loads it."""
        return self._image() if callable(self._image) else self._image

    @property
    def names(self) -> list[str]:
        """The class of each object."""
        return [self.classes[label] for label in self.labels]

    @property
    def masks(self) -> np.ndarray | None:
        """(N, H, W) bool; None if the model predicts no masks. Made anew each time."""
        return self._masks(range(len(self.labels)))

    @property
    def counts(self) -> dict[str, int]:
        """Objects of each class; without objects, pixels of each class. The largest first."""
        if self._found.has_objects:
            return dict(Counter(self.names).most_common())
        pixels = np.bincount(self.label_map.ravel(), minlength=len(self.classes))
        order = np.argsort(-pixels[: len(self.classes)], kind='stable')
        return {self.classes[i]: int(pixels[i]) for i in order if pixels[i]}

    def at_least(self, score: float) -> Result:
        """The objects with this score or more, as a result of the same image."""
        found = self._found.take((self.scores >= score_of(score)).nonzero()[0])
        size = (self.height, self.width)
        return Result(found, self._image, size, self.classes, self.colours, self.path)

    def draw(
        self,
        *,
        least: int = LEAST,
        texts: bool | None = None,
        legend: bool = True,
        outline: bool = False,
        brighten: bool = True,
    ) -> Image:
        """A picture of the image with what was found, as a PIL image in RGB.

        Args:
            least: show a smaller image 2, 3, ... times as large, so that its short side has so
                many pixels; 0 keeps its size.
            texts: write class and score beside each object (the score alone if the model knows one
                class); None: where there is room.
            legend: below the picture, the classes in it, with the numbers of objects.
            outline: draw the outlines of masks and of areas only, so that the image shows.
            brighten: draw a dark image brighter, so that it can be seen; the legend says how much.
        """
        from PIL import Image

        from ..draw import (
            as_picture,
            brightened,
            brightness,
            draw_label_map,
            enlarge,
            line_width,
            with_legend,
        )

        least = whole('least', least, 0, 'a number of pixels from 0 on')
        short, long = sorted((self.width, self.height))
        least = short * max(1, min(-(-least // short), MOST // long))
        picture, scale = enlarge(as_picture(self.image), least)
        times = brightness(picture) if brighten else 1
        picture = brightened(picture, times)
        if self.label_map is not None:
            labels, _ = enlarge(self.label_map, least)
            width = line_width(picture) if outline else 0
            picture = draw_label_map(
                picture, labels, self.colours, outline=width, classes=self.classes
            )
        if self._found.has_objects:
            picture = self._draw_objects(picture, scale, texts, outline)
        named = self._legend() if legend else []
        if legend and times > 1:
            named.append((f'image {times:.2g} times as bright', WHITE))
        if named:
            picture = with_legend(picture, *zip(*named))
        return Image.fromarray(picture)

    def save(self, path: str | Path) -> None:
        """Write the picture, or COCO's JSON if the name ends in .json; an existing file is lost."""
        if Path(path).suffix.lower() == '.json':
            content = json.dumps(self.to_coco(), ensure_ascii=False)
            Path(path).write_text(content, encoding='utf-8', errors='backslashreplace')
        else:
            self.draw().save(path)

    def to_coco(self, image_id: int = 1) -> dict:
        """A COCO data set of this image: 'images', 'annotations' with a score, 'categories'.

        Category ids are the labels plus 1. ``['annotations']`` alone is what COCO's evaluation
        takes as results.

        Raises:
            ValueError: the model predicts no objects, or ``image_id`` is no whole number.
        """
        if not self._found.has_objects:
            raise ValueError(
                'a label map has no form in COCO; take label_map, such as '
                "PIL.Image.fromarray(result.label_map).save('labels.png')"
            )
        image_id = whole('image_id', image_id, 0, 'a whole number from 0 on')
        name = Path(self.path).name
        size = dict(width=self.width, height=self.height)
        return dict(
            images=[dict(id=image_id, file_name=name, **size)],
            annotations=annotations(self._found, self.height, self.width, image_id),
            categories=categories(self.classes),
        )

    def _repr_png_(self) -> bytes:
        content = io.BytesIO()
        self.draw().save(content, 'PNG')
        return content.getvalue()

    def _masks(self, chosen: Sequence[int]) -> np.ndarray | None:
        if self._found.patches is None:
            return None
        whole = (0, 0, self.width, self.height)
        masks = [self._found.patches[i].within(*whole) for i in chosen]
        return np.stack(masks) if masks else np.zeros((0, self.height, self.width), bool)

    def _draw_objects(
        self, picture: np.ndarray, scale: int, texts: bool | None, outline: bool
    ) -> np.ndarray:
        """Draw them in parts, the first object last: the masks of all may not fit in memory."""
        from ..draw import Objects, draw_objects, write_texts

        boxes = self.boxes.clip(0, [self.width, self.height] * 2)  # not all models clip them
        part = max(1, HELD // max(1, picture.shape[0] * picture.shape[1]))
        for start in reversed(range(0, len(self.labels), part)):
            chosen = slice(start, start + part)
            masks = self._masks(range(*chosen.indices(len(self.labels))))
            few = Objects(boxes[chosen], self.labels[chosen], self.scores[chosen], masks)
            picture = draw_objects(
                picture, few.scaled(scale), self.classes, self.colours, texts=False, outline=outline
            )
        if texts is None or texts:
            objects = Objects(boxes * scale, self.labels, self.scores)
            names = self.classes if len(self.classes) > 1 else ['']
            write_texts(picture, objects, names, self.colours, every=bool(texts))
        return picture

    def _legend(self) -> list[tuple[str, tuple[int, int, int]]]:
        """The names of the most frequent classes, with their numbers of objects, and colours."""
        labels = self.labels if self.label_map is None else self.label_map.ravel()
        counts = np.bincount(labels, minlength=len(self.classes))[: len(self.classes)]
        order = [i for i in np.argsort(-counts, kind='stable')[:SHOWN] if counts[i]]
        numbers = ['' if self.label_map is not None else f': {counts[i]}' for i in order]
        return [(self.classes[i] + n, self.colours[i]) for i, n in zip(order, numbers)]
