# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""inference/find.py: a work dir alone tells the config and the checkpoint."""

import os

import pytest

from mmconvnext.checkpoint.errors import CheckpointNotFound
from mmconvnext.inference.find import find_checkpoint, find_run
from mmconvnext.recipe.errors import RecipeError


def make(folder, *names):
    for age, name in enumerate(names):
        (folder / name).write_text('')
        os.utime(folder / name, (1000 + age, 1000 + age))


def test_the_newest_best_checkpoint_of_a_work_dir(tmp_path):
    make(tmp_path, 'a.py', 'best_b_epoch_9.pth', 'best_a_epoch_12.pth', 'epoch_13.pth')
    expected = (tmp_path / 'a.py', str(tmp_path / 'best_a_epoch_12.pth'))
    assert find_run(tmp_path, None) == find_run(str(tmp_path), str(tmp_path)) == expected


def test_the_last_checkpoint_without_a_best_one(tmp_path):
    make(tmp_path, 'a.py', 'epoch_2.pth', 'epoch_1.pth')
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_2.pth'))
    assert find_run(tmp_path, None)[1] == str(tmp_path / 'epoch_2.pth')


def test_a_config_with_a_file_a_folder_and_a_short_name(tmp_path):
    make(tmp_path, 'a.py', 'b.py', 'x.pth')
    config = tmp_path / 'a.py'
    assert find_run(config, tmp_path / 'x.pth') == (config, str(tmp_path / 'x.pth'))
    assert find_run(config, tmp_path) == (config, str(tmp_path / 'x.pth'))
    assert find_run(config, 'convnext-tiny_in1k')[1].startswith('https://')


def test_a_checkpoint_alone(tmp_path):
    make(tmp_path, 'x.pth')
    assert find_checkpoint(tmp_path) == find_checkpoint(tmp_path / 'x.pth')
    with pytest.raises(ValueError, match="a checkpoint is a path, .* got ''"):
        find_checkpoint('')  # not the working folder


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(RecipeError, match=r'holds no config \(\*\.py\)'):
        find_run(tmp_path, None)
    make(tmp_path, 'a.py')
    with pytest.raises(RecipeError, match='holds no checkpoint'):
        find_run(tmp_path, None)
    make(tmp_path, 'x.pth', 'b.py')
    with pytest.raises(RecipeError, match=r'several configs \(a\.py, b\.py\): give'):
        find_run(tmp_path, None)
    with pytest.raises(RecipeError, match=r'a\.py needs a checkpoint: give the config, then the'):
        find_run(tmp_path / 'a.py', None)
    with pytest.raises(CheckpointNotFound, match="'y.pth' is neither a file nor"):
        find_run(tmp_path / 'a.py', 'y.pth')


def test_a_checkpoint_alone_and_a_config_in_its_place(tmp_path):
    make(tmp_path, 'a.py', 'x.pth')
    with pytest.raises(RecipeError, match=rf'x.pth is a checkpoint, which .* alone: {tmp_path}$'):
        find_run(tmp_path / 'x.pth', None)
    with pytest.raises(RecipeError, match=f'there is no {tmp_path}/typo: give the folder'):
        find_run(tmp_path / 'typo', None)
    for first in (tmp_path, tmp_path / 'x.pth'):
        with pytest.raises(
            RecipeError, match=r'a\.py is a config, where a checkpoint is expected; '
        ):
            find_run(first, tmp_path / 'a.py')
