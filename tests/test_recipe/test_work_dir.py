# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/work_dir.py: each config has its folder, and no run overwrites another."""

import os
import re
import shutil

import pytest

from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.work_dir import default_work_dir, last_checkpoint, refuse_used


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


def test_last_checkpoint_is_the_noted_one(tmp_path):
    for name in ('epoch_1.pth', 'epoch_2.pth'):
        (tmp_path / name).touch()
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_1.pth'))
    assert last_checkpoint(str(tmp_path)) == (str(tmp_path / 'epoch_1.pth'), '')
    (tmp_path / 'last_checkpoint').write_text('moved/away/epoch_1.pth')
    assert last_checkpoint(str(tmp_path)) == (str(tmp_path / 'epoch_1.pth'), '')
    (tmp_path / 'last_checkpoint').write_text('s3://bucket/epoch_1.pth')
    assert last_checkpoint(str(tmp_path)) == ('s3://bucket/epoch_1.pth', '')


def test_a_copied_folder_resumes_from_its_own_checkpoint(tmp_path):
    original, copy = tmp_path / 'original', tmp_path / 'copy'
    original.mkdir()
    (original / 'epoch_1.pth').touch()
    (original / 'last_checkpoint').write_text(str(original / 'epoch_1.pth'))
    shutil.copytree(original, copy)
    path, said = last_checkpoint(str(copy))
    assert path == str(copy / 'epoch_1.pth')
    said_of = rf'names {original}/epoch_1\.pth, in another folder; resuming from {copy}'
    assert re.search(said_of, said)
    (copy / 'epoch_1.pth').unlink()  # saved elsewhere, as out_dir of CheckpointHook makes it
    assert last_checkpoint(str(copy)) == (str(original / 'epoch_1.pth'), '')


def test_a_link_to_the_folder_is_no_other(tmp_path):
    (tmp_path / 'run').mkdir()
    (tmp_path / 'link').symlink_to(tmp_path / 'run')
    (tmp_path / 'run/epoch_1.pth').touch()
    (tmp_path / 'run/last_checkpoint').write_text(str(tmp_path / 'run/epoch_1.pth'))
    path = str(tmp_path / 'link/epoch_1.pth')
    assert last_checkpoint(str(tmp_path / 'link')) == (path, '')


@pytest.mark.parametrize(
    ('note', 'said'),
    [(None, 'missing or empty'), ('', 'missing or empty'), ('x/epoch_3.pth', 'does not exist')],
)
def test_without_a_note_the_newest_checkpoint_is_taken(note, said, tmp_path):
    for age, name in enumerate(['best_AP.pth', 'epoch_2.pth', 'epoch_1.pth']):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    (tmp_path / 'epoch_3.pth.part').touch()
    if note is not None:
        (tmp_path / 'last_checkpoint').write_text(note)
    path, warning = last_checkpoint(str(tmp_path))
    assert path == str(tmp_path / 'epoch_2.pth')
    assert said in warning and 'resuming from the newest checkpoint' in warning


def test_a_folder_without_checkpoints_holds_no_run(tmp_path):
    with pytest.raises(RecipeError, match='--resume: .* holds no run to continue'):
        last_checkpoint(str(tmp_path))
