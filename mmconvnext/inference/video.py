# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Frames of videos and cameras, and videos of pictures."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from ..recipe.errors import RecipeError

CAMERA_RATE = Fraction(30)  # frames a second if the camera does not tell it; our choice
QUALITY = '20'  # x264's constant rate factor; smaller is better, 18 to 28 is usual; our choice


class Video:
    """A video file. Frames are turned as players turn them, such as those of telephones.

    Attributes:
        rate: mean number of frames a second.
        frames: how many frames there are, as far as the file tells; None if it does not.

    Raises:
        ValueError: it cannot be read, or holds no pictures.
    """

    def __init__(self, path: str) -> None:
        import av

        try:
            self._file = av.open(path)
        except (av.FFmpegError, OSError) as error:
            raise ValueError(f'{path}: {getattr(error, "strerror", "") or error}') from error
        if not self._file.streams.video:
            self._file.close()
            raise ValueError(f'{path}: it holds no pictures')
        self._stream = self._file.streams.video[0]
        self._stream.thread_type = 'AUTO'
        self.rate = self._stream.average_rate or self._stream.guessed_rate or CAMERA_RATE
        self.frames = self._stream.frames or None

    def __iter__(self) -> Iterator[np.ndarray]:
        """The frames, (H, W, 3) uint8 in RGB."""
        import av

        try:
            for frame in self._file.decode(self._stream):
                picture = frame.to_ndarray(format='rgb24')
                turns = round(getattr(frame, 'rotation', 0) / 90) % 4
                yield np.ascontiguousarray(np.rot90(picture, turns))
        except av.FFmpegError as error:
            raise ValueError(f'{self._file.name}: {error.strerror or error}') from error

    def close(self) -> None:
        self._file.close()


class Camera:
    """A camera of this computer, until it is interrupted; like :class:`Video`.

    Raises:
        RecipeError: there is no such camera.
    """

    def __init__(self, number: int) -> None:
        import cv2

        self._capture = cv2.VideoCapture(number)
        if not self._capture.isOpened():
            raise RecipeError(f'camera:{number} cannot be opened; is it connected, and not in use?')
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = Fraction(rate).limit_denominator(1001) if 1 <= rate <= 240 else CAMERA_RATE
        self.frames = None

    def __iter__(self) -> Iterator[np.ndarray]:
        while True:
            there, frame = self._capture.read()
            if not there:
                return
            yield np.ascontiguousarray(frame[..., ::-1])

    def close(self) -> None:
        self._capture.release()


class VideoWriter:
    """Writes pictures of one size as H.264 in an MP4 file, without sound."""

    def __init__(self, path: Path, rate: Fraction) -> None:
        import av

        self._file = av.open(str(path), 'w', format='mp4')
        self._stream = self._file.add_stream('libx264', rate=rate, options={'crf': QUALITY})
        self._size: tuple[int, int] | None = None

    def add(self, picture: np.ndarray) -> None:
        """One more picture, (H, W, 3) uint8 in RGB."""
        import av

        if self._size is None:
            self._size = picture.shape[:2]
            self._stream.height, self._stream.width = self._size
            # Players expect 4:2:0, which needs even sides.
            even = all(side % 2 == 0 for side in self._size)
            self._stream.pix_fmt = 'yuv420p' if even else 'yuv444p'
        if picture.shape[:2] != self._size:
            picture = _resized(picture, self._size)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format='rgb24')
        self._file.mux(self._stream.encode(frame))

    def close(self) -> None:
        if self._size:
            self._file.mux(self._stream.encode())
        self._file.close()


def _resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    import cv2

    return cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA)
