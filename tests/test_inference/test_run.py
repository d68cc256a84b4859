# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""inference/run.py: many images and videos, some of them bad, some finished before."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmconvnext.inference.outputs import Outputs
from mmconvnext.inference.records import Records
from mmconvnext.inference.run import Run, reason, weights_digest
from mmconvnext.inference.sources import Source, find_sources, keys_of
from mmconvnext.inference.video import Video, VideoWriter


@pytest.fixture
def start(tmp_path, model_of):
    """A function that runs over sources, into the folder out."""

    def call(sources, objects=True, model=None, **outputs):
        out = tmp_path / 'out'
        with Records(out, {}) as records:
            taken = {path: row['key'] for path, row in records.done.items() if 'key' in row}
            keys = keys_of(sources, taken)
            run = Run(
                model or model_of(),
                records,
                Outputs(out, **outputs),
                keys,
                batch=2,
                objects=objects,
            )
            images = [source for source in sources if source.kind == 'image']
            progress = [run.images(images)] if images else []
            progress += [run.video(source) for source in sources if source.kind != 'image']
            return progress, dict(records.done), [*records.pictures()]

    return call


@pytest.fixture
def images(tmp_path):
    """Four images, the third of which is cut off."""
    folder = tmp_path / 'in'
    (folder / 'deep').mkdir(parents=True)
    for name in ('a.png', 'b.png', 'c.png', 'deep/a.png'):
        pixels = np.full((30, 40, 3), 20, np.uint8)
        pixels[6:16, 8:20] = 250
        Image.fromarray(pixels).save(folder / name)
    (folder / 'c.png').write_bytes((folder / 'c.png').read_bytes()[:-20])
    return find_sources([str(folder)], tmp_path / 'out')


def test_bad_images_are_noted_and_the_others_go_on(start, images, tmp_path):
    (progress,), done, pictures = start(images)
    errors = {source.name: done[source.path].get('error') for source in images}
    assert errors == {'a.png': None, 'b.png': None, 'c.png': 'it is cut off', 'deep/a.png': None}
    assert [row['name'] for row in pictures] == ['a.png', 'b.png', 'deep/a.png']
    assert pictures[0]['counts'] == dict(dog=1) and pictures[0]['size'] == [40, 30]
    assert pictures[0]['objects'][0]['bbox'] == [8, 6, 12, 10]
    assert (progress.done, progress.bad) == (4, 1)
    drawn = (tmp_path / 'out/pictures').rglob('*.png')
    assert sorted(str(file.relative_to(tmp_path / 'out/pictures')) for file in drawn) == [
        'a.png',
        'b.png',
        'deep/a.png',
    ]


def test_the_next_start_does_what_is_left(start, images, tmp_path):
    start(images[:2])
    before = (tmp_path / 'out/pictures/a.png').stat().st_mtime_ns
    (progress,), done, pictures = start(images)
    assert progress.before == 2 and len(done) == 4 and len(pictures) == 3
    assert (tmp_path / 'out/pictures/a.png').stat().st_mtime_ns == before
    good = images[0].path
    Path(images[2].path).write_bytes(Path(good).read_bytes())  # mended
    Image.new('RGB', (9, 7)).save(good)  # changed
    (progress,), done, pictures = start(images)
    assert progress.before == 2 and progress.bad == 0
    assert {row['name']: row['size'] for row in pictures}['a.png'] == [9, 7] and len(pictures) == 4


def test_without_json_no_objects_are_kept(start, images):
    _, _, pictures = start(images, objects=False)
    assert 'objects' not in pictures[0]


def a_video(file: Path, frames=4):
    writer = VideoWriter(file, Fraction(12))
    for i in range(frames):
        picture = np.full((48, 64, 3), 10, np.uint8)
        picture[8:24, 4 + 4 * i : 24 + 4 * i] = 255
        writer.add(picture)
    writer.close()
    return Source('video', str(file), file.name)


def test_a_video_becomes_a_video_with_the_objects_of_each_frame(start, tmp_path):
    source = a_video(tmp_path / 'v.mp4')
    (progress,), done, pictures = start([source], crops=True)
    assert progress.done == 4 and done[source.path]['frames'] == 4
    assert done[source.path]['counts'] == dict(dog=4)
    assert [row['name'] for row in pictures] == [f'v.mp4/00000{i}.jpg' for i in (1, 2, 3, 4)]
    assert [round(row['objects'][0]['bbox'][0]) for row in pictures] == [4, 8, 12, 16]
    written = Video(str(tmp_path / 'out/pictures/v.mp4'))
    assert written.rate == 12 and [frame.shape for frame in written] == [(48, 64, 3)] * 4
    assert len([*(tmp_path / 'out/crops/dog/v').iterdir()]) == 4


@pytest.mark.parametrize('outline', [False, True])
def test_the_frames_of_a_video_may_have_outlines(start, tmp_path, outline):
    start([a_video(tmp_path / 'v.mp4', frames=1)], outline=outline)
    (frame,) = Video(str(tmp_path / 'out/pictures/v.mp4'))
    tinted = np.ptp(frame[16, 14].astype(int)) > 60  # inside of the white object
    assert tinted == (not outline)


def test_a_broken_video_is_noted(start, tmp_path):
    source = a_video(tmp_path / 'v.mp4')
    (tmp_path / 'v.mp4').write_bytes((tmp_path / 'v.mp4').read_bytes()[:500])
    _, done, pictures = start([source])
    assert 'nvalid data' in done[source.path]['error'] and pictures == []
    assert not [*(tmp_path / 'out').rglob('*.mp4*')]


def test_without_pictures_a_video_leaves_none(start, tmp_path):
    _, _, frames = start([a_video(tmp_path / 'v.mp4')], pictures=False)
    assert len(frames) == 4 and not (tmp_path / 'out/pictures').exists()


class Camera:
    rate, frames = Fraction(10), None

    def __init__(self, number):
        pass

    def __iter__(self):
        yield from [np.full((32, 32, 3), 255, np.uint8)] * 6
        raise KeyboardInterrupt

    def close(self):
        pass


def test_a_camera_ends_with_an_interruption(start, tmp_path, monkeypatch):
    monkeypatch.setattr('mmconvnext.inference.run.Camera', Camera)
    _, done, pictures = start([Source('camera', '0', 'camera_0')])
    assert done['0']['frames'] == len(pictures) > 0
    assert len([*Video(str(tmp_path / 'out/pictures/camera_0.mp4'))]) == len(pictures)


def test_an_interrupted_video_is_not_finished(start, tmp_path, monkeypatch):
    monkeypatch.setattr('mmconvnext.inference.run.Video', Camera)
    with pytest.raises(KeyboardInterrupt):
        start([Source('video', 'v.mp4', 'v.mp4')])
    assert not [*(tmp_path / 'out/pictures').iterdir()]
    assert '"begin"' in (tmp_path / 'out/records.jsonl').read_text()


def test_one_note_about_images_that_are_shrunk_much(start, images, model_of, capsys, monkeypatch):
    monkeypatch.setattr('mmconvnext.inference.model._shrunk', lambda one: 4.1)
    start(images)
    assert capsys.readouterr().err.count('4.1 times smaller') == 1
    monkeypatch.setattr('mmconvnext.inference.model._shrunk', lambda one: 4.0)
    start(images[:1], model=model_of())
    assert capsys.readouterr().err == ''


def test_reasons_are_one_line_without_the_path():
    assert reason(ValueError('a/b.jpg: it is empty\nmore'), 'a/b.jpg') == 'it is empty'
    assert reason(RuntimeError('CUDA out of memory. Tried'), 'a').startswith(
        'out of memory: try --b'
    )
    assert reason(KeyError(), 'a') == 'KeyError'


def test_a_digest_of_the_weights(model_of):
    model = model_of()
    before = weights_digest(model)
    assert before == weights_digest(model_of()) and len(before) == 12
    model.net.weight.data += 1
    assert weights_digest(model) != before
