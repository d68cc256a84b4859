# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/work_dir.py: each config has its folder, and no run writes over another."""

import pytest

from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.work_dir import default_work_dir, refuse_used


def test_default_work_dir():
    assert default_work_dir('configs/upernet/some_net.v2.py') == 'work_dirs/some_net.v2'
    assert default_work_dir('configs/upernet/some_net.py', toy=True) == 'work_dirs/some_net_toy'


def test_missing_empty_and_log_only_folders_are_free(tmp_path):
    refuse_used(str(tmp_path / 'new'))
    refuse_used(str(tmp_path))
    (tmp_path / '20250101_000000').mkdir()
    (tmp_path / '20250101_000000' / 'run.log').touch()
    (tmp_path / 'config.py').touch()
    refuse_used(str(tmp_path))
    assert not (tmp_path / 'new').exists()


def test_checkpoints_are_never_overwritten(tmp_path):
    (tmp_path / 'epoch_1.pth').write_bytes(b'mine')
    with pytest.raises(
        RecipeError, match=r'holds another run \(epoch_1\.pth\).*--resume.*--work-dir'
    ):
        refuse_used(str(tmp_path))
    assert (tmp_path / 'epoch_1.pth').read_bytes() == b'mine'


def test_many_checkpoints_are_cut_short(tmp_path):
    for i in range(5):
        (tmp_path / f'iter_{i}.pth').touch()
    with pytest.raises(RecipeError, match=r'\(iter_0\.pth, iter_1\.pth, iter_2\.pth \.\.\.\)'):
        refuse_used(str(tmp_path))
