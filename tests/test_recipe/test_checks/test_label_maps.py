# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/checks/label_maps.py: maps are read as mmseg reads them, and again only if they change."""

import json
import os
import re

import numpy as np
import pytest
from mmcv import imread
from PIL import Image

from mmconvnext.recipe.checks import label_maps
from mmconvnext.recipe.checks.label_maps import LabelMap, read_label_map, read_label_maps

IDS = np.array([[0, 1, 1], [7, 1, 255]], dtype=np.uint8)


@pytest.fixture
def opened(monkeypatch):
    """The names of the files that were decoded."""
    names, real = [], label_maps.read_label_map
    monkeypatch.setattr(
        label_maps, 'read_label_map', lambda file: names.append(file.name) or real(file)
    )
    return names


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / 'maps' / name for name in ('a.png', 'b.png', 'sub/a.png')]
    for i, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), i, dtype=np.uint8)).save(path)
    return paths


def palette(ids):
    image = Image.fromarray(ids, mode='P')
    image.putpalette([200] * 768)
    return image


@pytest.mark.parametrize(
    'image',
    [
        Image.fromarray(IDS),
        palette(IDS),
        Image.fromarray(IDS.astype(np.uint16) * 257),
        Image.fromarray(IDS.astype(np.int32) * 1000),
        Image.fromarray(IDS > 1),
        Image.fromarray(np.zeros_like(IDS)),
    ],
    ids=['grey', 'palette', '16 bit', '32 bit', '1 bit', 'zeros'],
)
def test_ids_are_those_that_mmseg_reads(tmp_path, image):
    file = tmp_path / 'a.tif'
    image.save(file)
    expected = np.unique(imread(str(file), flag='unchanged', backend='pillow').astype(int))
    assert read_label_map(file) == LabelMap(tuple(expected))


@pytest.mark.parametrize('mode, channels', [('RGB', 3), ('RGBA', 4), ('LA', 2)])
def test_several_channels_hold_no_ids(tmp_path, mode, channels):
    Image.fromarray(IDS).convert(mode).save(tmp_path / 'a.png')
    assert read_label_map(tmp_path / 'a.png') == LabelMap((), channels)


@pytest.mark.parametrize('keep', [0, 20, -200])
def test_files_that_cannot_be_read_say_why(tmp_path, keep):
    file = tmp_path / 'a.png'
    assert 'FileNotFoundError' in read_label_map(file).error
    noise = np.random.default_rng(0).integers(0, 9, (40, 40), dtype=np.uint8)
    Image.fromarray(noise).save(file)
    file.write_bytes(file.read_bytes()[:keep])
    content = read_label_map(file)
    assert content.error and not content.ids


def test_the_second_time_nothing_is_decoded(files, opened):
    first = read_label_maps(files)
    assert [content.ids for content in first.values()] == [(0,), (1,), (2,)]
    assert sorted(opened) == ['a.png', 'a.png', 'b.png']
    opened.clear()
    assert read_label_maps(files) == first
    assert list(first) == files
    assert not opened


@pytest.mark.parametrize('change', ['size', 'time'])
def test_a_changed_file_is_read_again(files, opened, change):
    read_label_maps(files)
    opened.clear()
    stat = files[1].stat()
    if change == 'size':
        Image.fromarray(np.arange(99, dtype=np.uint8)[None]).save(files[1])
        os.utime(files[1], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    else:
        os.utime(files[1], ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    content = read_label_maps(files)
    assert opened == ['b.png']
    assert content[files[1]].ids == (tuple(range(99)) if change == 'size' else (1,))


def test_what_cannot_be_read_is_not_remembered(files, opened):
    good = files[0].read_bytes()
    files[0].write_bytes(good[:30].ljust(len(good), b'x'))
    stat = files[0].stat()
    assert read_label_maps(files)[files[0]].error
    files[0].write_bytes(good)
    os.utime(files[0], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert read_label_maps(files)[files[0]].ids == (0,)


def test_files_that_are_gone_are_forgotten(files, label_map_cache):
    read_label_maps(files)
    files[0].unlink()
    Image.fromarray(IDS).save(files[1].with_name('c.png'))
    read_label_maps([files[1], files[1].with_name('c.png')])
    names = {
        name for file in label_map_cache.iterdir() for name in json.loads(file.read_text())['files']
    }
    assert names == {'a.png', 'b.png', 'c.png'}  # a.png of the other folder
    assert read_label_maps(files)[files[0]].error


def test_nothing_is_written_beside_the_data(files, tmp_path):
    before = sorted(tmp_path.rglob('*'))
    read_label_maps(files)
    assert sorted(tmp_path.rglob('*')) == before


@pytest.mark.parametrize(
    'text',
    [
        '',
        '{',
        '[]',
        '[' * 100_000,
        '"version"',
        '{"version": 0, "files": {"a.png": [[1, 2], []]}}',
        '{"version": 1, "files": []}',
        '{"version": 1, "files": null}',
        '{"files": {}}',
        '{"version": 1}',
        '{"version": 1, "files": {"a.png": [], "b.png": [STAMP]}}',
        '{"version": 1, "files": {"a.png": null, "b.png": [STAMP, []]}}',
        '{"version": 1, "files": {"a.png": [STAMP, [[1]]], "b.png": [STAMP, null]}}',
        '{"version": 1, "files": {"a.png": [STAMP, [1, 1, ""]], "b.png": [STAMP, "abc"]}}',
        '{"version": 1, "files": {"a.png": [STAMP, [["1"], 1, ""]], "b.png": 0}}',
        '{"version": 1, "files": {"a.png": [STAMP, [[1], null, ""]], "b.png": "ab"}}',
    ],
)
def test_a_cache_of_others_is_no_cache(files, label_map_cache, opened, text):
    first = read_label_maps(files)
    stamp = json.dumps([files[0].stat().st_size, files[0].stat().st_mtime_ns])
    for file in files:
        os.utime(file, ns=(0, files[0].stat().st_mtime_ns))  # all of them, to fit the stamp
    for file in label_map_cache.iterdir():
        file.write_text(text.replace('STAMP', stamp))
    opened.clear()
    assert read_label_maps(files) == first
    assert len(opened) == 3


@pytest.mark.parametrize('step', [1, -1])
def test_a_cache_of_another_version(files, label_map_cache, step):
    first = read_label_maps(files)
    for file in label_map_cache.iterdir():
        content = json.loads(file.read_text())
        for entry in content['files'].values():
            entry[1][0] = [9]
        file.write_text(json.dumps(content))
    assert {content.ids for content in read_label_maps(files).values()} == {(9,)}
    for file in label_map_cache.iterdir():
        content = json.loads(file.read_text())
        file.write_text(json.dumps({**content, 'version': content['version'] + step}))
    assert read_label_maps(files) == first


def test_without_a_place_for_the_cache(files, opened, monkeypatch, tmp_path):
    (tmp_path / 'file').touch()
    monkeypatch.setattr(label_maps, 'cache_root', lambda: tmp_path / 'file/below')
    assert read_label_maps(files) == read_label_maps(files)
    assert len(opened) == 6


def test_where_the_cache_lies(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setenv('XDG_CACHE_HOME', '/x')
    assert str(label_maps.cache_root()) == '/x/mmconvnext/label_maps'
    monkeypatch.delenv('XDG_CACHE_HOME')
    monkeypatch.setenv('HOME', '/y')
    assert str(label_maps.cache_root()) == '/y/.cache/mmconvnext/label_maps'
    monkeypatch.setenv('XDG_CACHE_HOME', 'x')
    assert str(label_maps.cache_root()) == os.devnull


def test_progress_is_told_for_large_sets_only(files, capsys, monkeypatch):
    read_label_maps(files, 'train')
    assert capsys.readouterr().out == ''
    monkeypatch.setattr(label_maps, 'SILENT', -1)
    os.utime(files[2])
    read_label_maps(files, 'train')
    assert 'train: 3 of 3 label maps read, ' in capsys.readouterr().out
    for file in files:
        os.utime(file)
    read_label_maps(files, 'val')
    lines = capsys.readouterr().out.splitlines()
    told = [re.search(r'(val: \d of \d) label maps read, \d+ per second$', line) for line in lines]
    assert [line[1] for line in told] == ['val: 1 of 3', 'val: 2 of 3', 'val: 3 of 3']


def test_progress_is_told_every_five_seconds(files, capsys, monkeypatch):
    clock = iter([0, 5, 5.1, 5.1, 10.1])  # the start, then two readings where a line is told
    monkeypatch.setattr(label_maps.time, 'monotonic', lambda: next(clock))
    read_label_maps(files, 'train')
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith('train: 2 of 3 label maps read, 0 per second')
