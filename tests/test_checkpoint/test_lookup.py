# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: looking up a checkpoint downloads nothing; the error lists similar names."""

import re
from pathlib import Path

import pytest

from mmconvnext.checkpoint import zoo
from mmconvnext.checkpoint.errors import CheckpointNotFound
from mmconvnext.checkpoint.lookup import locate, look_up, needs_mmengine


@pytest.mark.parametrize(
    'source',
    [
        *('https://x.org/w.pth', 'http://x.org/a b/w.pth?id=1&x=2#c', 's3://bucket/w.pth'),
        *('torchvision://r', 'file:///tmp/w.pth', 'ftp://x.org/w.pth'),
    ],
)
def test_a_url_stays_what_it_is(source):
    assert look_up(source) == source
    assert needs_mmengine(source) == (not source.startswith('http'))


def test_a_short_name_is_its_url_unless_a_file_is_called_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert look_up('convnext-tiny_in1k') == zoo.find('convnext-tiny_in1k').url
    Path('convnext-tiny_in1k').touch()
    assert look_up('convnext-tiny_in1k') == locate('convnext-tiny_in1k')
    assert look_up('convnext-tiny_in1k') == Path('convnext-tiny_in1k')


@pytest.mark.parametrize(
    'name', ['a b/w c.pth', 'gr\u00fc\u00df/\u91cd.pth', 'w.pth?raw=1', 'a:b', '50%20.pth']
)
def test_paths_with_unusual_signs_are_paths(name, tmp_path, monkeypatch):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    monkeypatch.chdir(tmp_path)
    for source in (name, str(path), path, Path(name)):
        assert look_up(source) == locate(source) == Path(source)
        assert not needs_mmengine(source)


def test_the_home_folder_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    (tmp_path / 'w.pth').touch()
    assert look_up('~/w.pth') == look_up(tmp_path / 'w.pth') == tmp_path / 'w.pth'


@pytest.mark.parametrize('name', ['a' * 5000, '~nobody-of-this-name/w.pth', 'a\0b'])
def test_what_cannot_be_a_path_is_refused(name):
    with pytest.raises(CheckpointNotFound, match='is neither a file nor'):
        look_up(name)


def test_what_is_nowhere_is_refused_with_similar_names():
    message = "'convnext-tiny_in1' is neither a file nor .*; did you mean convnext-tiny_in1k"
    for find in (look_up, locate):
        with pytest.raises(CheckpointNotFound, match=message):
            find('convnext-tiny_in1')
        with pytest.raises(CheckpointNotFound, match=r'did you mean convnext-tiny_in21k, '):
            find('conv-t-22k')  # spelt quite differently
    with pytest.raises(CheckpointNotFound, match=re.escape("'s3://b/w.pth' is neither a file")):
        locate('s3://b/w.pth')


@pytest.mark.parametrize('source', ['', None, 3])
def test_what_names_nothing_is_refused(source):
    with pytest.raises(ValueError, match=f'a path, a URL or a short name, got {source!r}'):
        look_up(source)
