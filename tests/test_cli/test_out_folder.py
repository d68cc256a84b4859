# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/out_folder.py: nothing that is there is overwritten."""

import os
from pathlib import Path

import pytest

from mmconvnext.cli.out_folder import new_folder
from mmconvnext.recipe.errors import RecipeError


@pytest.mark.parametrize('name', ['new', 'a/b c/\u00e4 #1 %'])
def test_a_new_or_empty_folder(name, tmp_path):
    folder = new_folder(tmp_path / name)
    assert folder.is_dir() and new_folder(str(folder)) == folder


def test_the_home_folder_may_be_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    assert new_folder('~/x') == tmp_path / 'x'


def test_a_folder_that_is_used(tmp_path):
    (tmp_path / '.hidden').touch()
    with pytest.raises(RecipeError, match=r'--to: .* is not empty, .*; choose a new folder'):
        new_folder(tmp_path, '--to')


def test_a_tilde_may_be_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (
        new_folder('~nobody-of-this-name').is_dir() and (tmp_path / '~nobody-of-this-name').exists()
    )


@pytest.mark.parametrize('name', ['file', 'file/below', 'n' * 300, 'n' * 5000])
def test_no_folder(name, tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(RecipeError, match='--out: .* cannot be a folder: .*; choose another'):
        new_folder(tmp_path / name)


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    # Of a user; the superuser may write everywhere.
    monkeypatch.setattr(os, 'access', lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(RecipeError, match='--out: .* cannot be written; choose another folder'):
        new_folder(tmp_path)
