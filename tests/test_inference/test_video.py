# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""inference/video.py: frames in, frames out, of the same size and number."""

from fractions import Fraction

import numpy as np
import pytest

from mmconvnext.inference.video import Camera, Video, VideoWriter
from mmconvnext.recipe.errors import RecipeError


def write(path, size, rate, number=5):
    writer = VideoWriter(path, rate)
    for i in range(number):
        picture = np.full((*size, 3), 40 * i, np.uint8)
        picture[: size[0] // 2, : size[1] // 2] = (200, 30, 30)
        writer.add(picture)
    writer.close()


@pytest.mark.parametrize(
    ('size', 'rate'), [((48, 64), Fraction(25)), ((49, 65), Fraction(30000, 1001))]
)
def test_what_was_written_is_read(tmp_path, size, rate):
    write(tmp_path / 'a.mp4', size, rate)
    video = Video(str(tmp_path / 'a.mp4'))
    assert video.rate == rate and video.frames == 5
    frames = [*video]
    video.close()
    assert [frame.shape for frame in frames] == [(*size, 3)] * 5
    assert [round(frame[-4, -4].mean() / 40) for frame in frames] == [0, 1, 2, 3, 4]
    assert np.abs(frames[2][10, 10].astype(int) - (200, 30, 30)).max() < 12  # RGB, not BGR


def test_a_picture_of_another_size_is_fitted(tmp_path):
    writer = VideoWriter(tmp_path / 'a.mp4', Fraction(10))
    for size in ((32, 48), (64, 96)):
        writer.add(np.zeros((*size, 3), np.uint8))
    writer.close()
    assert [frame.shape for frame in Video(str(tmp_path / 'a.mp4'))] == [(32, 48, 3)] * 2


def test_files_that_are_no_videos(tmp_path):
    (tmp_path / 'a.mp4').write_text('no video')
    with pytest.raises(ValueError, match=r'a\.mp4: .*[Ii]nvalid data'):
        Video(str(tmp_path / 'a.mp4'))
    with pytest.raises(ValueError, match=r'none\.mp4: No such file'):
        Video(str(tmp_path / 'none.mp4'))


def test_a_camera(monkeypatch):
    class Capture:
        def __init__(self, number):
            self.left, self.number = 2, number

        def isOpened(self):
            return self.number == 0

        def get(self, _):
            return 0.0  # many cameras do not tell

        def read(self):
            self.left -= 1
            return self.left >= 0, np.full((2, 3, 3), (1, 2, 3), np.uint8)

        def release(self):
            self.left = 0

    monkeypatch.setattr('cv2.VideoCapture', Capture)
    camera = Camera(0)
    assert [frame[0, 0].tolist() for frame in camera] == [[3, 2, 1]] * 2
    assert camera.rate == 30 and camera.frames is None
    camera.close()
    with pytest.raises(RecipeError, match='camera:1 cannot be opened; is it connected'):
        Camera(1)
