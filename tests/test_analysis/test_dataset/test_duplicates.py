# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""analysis/dataset/duplicates.py: files of the same bytes, with few files read."""

import os
from pathlib import Path

from mmconvnext.analysis.dataset import duplicates as module
from mmconvnext.analysis.dataset.duplicates import duplicates

LONG = b'x' * 3 * module.PIECE


def write(folder: Path, **contents: bytes) -> list[str]:
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [str(folder / name) for name in contents]


def test_groups_of_the_same_bytes(tmp_path):
    """Files that differ at the end only, in the middle only, or in their size are others."""
    middle = bytearray(LONG)
    middle[len(LONG) // 2] = 0
    train = write(
        tmp_path, a=LONG, b=LONG[:-1] + b'y', c=bytes(middle), d=LONG + b'x', e=LONG, f=LONG
    )
    assert duplicates(dict(train=train[:5])) == [[('train', 0), ('train', 4)]]
    assert duplicates(dict(train=train[:4])) == []
    groups = duplicates(dict(train=train[:1], val=train[1:]))
    assert groups == [[('train', 0), ('val', 3), ('val', 4)]]


def test_a_file_listed_twice_and_links_are_the_same_file(tmp_path):
    (file,) = write(tmp_path, a=b'1')
    os.symlink(file, tmp_path / 'link')
    files = dict(train=[file, file], val=[str(tmp_path / 'link')])
    assert duplicates(files) == [[('train', 0), ('train', 1), ('val', 0)]]


def test_files_that_are_missing_are_left_out(tmp_path):
    files = write(tmp_path, a=b'1', b=b'1')
    missing = [str(tmp_path / 'none'), 's3://bucket/a.png', 'bad\0name', '']
    assert duplicates(dict(train=[missing[0], *files, *missing])) == [[('train', 1), ('train', 2)]]
    assert duplicates({}) == [] and duplicates(dict(train=[])) == []


def test_only_files_of_the_same_size_and_middle_are_read(tmp_path, monkeypatch):
    read = []
    whole = module._whole
    monkeypatch.setattr(module, '_whole', lambda file, size: read.append(file) or whole(file, size))
    files = write(tmp_path, a=b'1' * 9, b=b'2' * 9, c=b'3' * 8, d=b'1' * 9)
    assert duplicates(dict(train=files)) == [[('train', 0), ('train', 3)]]
    assert [file.name for file in read] == ['a', 'd']
