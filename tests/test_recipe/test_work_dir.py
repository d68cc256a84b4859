# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/work_dir.py: each config has its folder, and no run overwrites another."""

import os
import re
import shutil

import pytest

from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.work_dir import (
    checkpoints,
    default_work_dir,
    folders,
    holds_checkpoint,
    keep_in_work_dir,
    last_checkpoint,
    refuse_unwritable,
    refuse_used,
)


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


@pytest.mark.parametrize(
    ('names', 'shown'),
    [
        (['epoch_1.pth'], r'\(epoch_1\.pth\)'),
        (['c.pth', 'a.pth', 'b.pth'], r'\(a\.pth, b\.pth, c\.pth\)'),
        (['d.pth', 'c.pth', 'a.pth', 'b.pth'], r'\(a\.pth, b\.pth, c\.pth \.\.\.\)'),
    ],
    ids=['one', 'three', 'four'],
)
def test_checkpoints_are_never_overwritten(names, shown, tmp_path):
    folder = tmp_path / 'my r\u00fcns'
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes(b'mine')
    match = rf'^{re.escape(str(folder))} holds another run {shown}.*--resume.*--work-dir'
    with pytest.raises(RecipeError, match=match):
        refuse_used(str(folder))
    assert {path.read_bytes() for path in folder.iterdir()} == {b'mine'}


def test_last_checkpoint_is_the_noted_one(tmp_path):
    for name in ('epoch_1.pth', 'epoch_2.pth'):
        (tmp_path / name).touch()
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_1.pth'))
    assert last_checkpoint(str(tmp_path)) == (str(tmp_path / 'epoch_1.pth'), '')
    (tmp_path / 'last_checkpoint').write_text('moved/away/epoch_1.pth\n')
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
    assert said == (
        f'{copy}/last_checkpoint names {original}/epoch_1.pth, in another folder; resuming from '
        f'{copy}/epoch_1.pth'
    )
    (copy / 'epoch_1.pth').unlink()  # saved elsewhere, as out_dir of CheckpointHook makes it
    assert last_checkpoint(str(copy)) == (str(original / 'epoch_1.pth'), '')
    (copy / 'epoch_0.pth').touch()  # the copy has one of its own, so it stays with these
    assert last_checkpoint(str(copy)) == (
        str(copy / 'epoch_0.pth'),
        f'{copy}/last_checkpoint names {original}/epoch_1.pth, in another folder; resuming from '
        f'the newest checkpoint, {copy}/epoch_0.pth',
    )
    there = dict(out_dir=str(tmp_path))  # below which its own folder has the work dir's name
    assert last_checkpoint(str(copy), there)[0] == str(copy / 'epoch_0.pth')
    elsewhere = tmp_path / 'out/copy/epoch_1.pth'
    elsewhere.parent.mkdir(parents=True)
    elsewhere.touch()
    (copy / 'last_checkpoint').write_text(str(elsewhere))
    hook = dict(out_dir=str(tmp_path / 'out'))
    assert last_checkpoint(str(copy), hook) == (str(elsewhere), '')


def test_a_link_to_the_folder_is_no_other(tmp_path):
    (tmp_path / 'run').mkdir()
    (tmp_path / 'link').symlink_to(tmp_path / 'run')
    (tmp_path / 'run/epoch_1.pth').touch()
    (tmp_path / 'run/last_checkpoint').write_text(str(tmp_path / 'run/epoch_1.pth'))
    path = str(tmp_path / 'link/epoch_1.pth')
    assert last_checkpoint(str(tmp_path / 'link')) == (path, '')


@pytest.mark.parametrize(
    ('note', 'said'),
    [
        (None, 'is missing or empty'),
        ('', 'is missing or empty'),
        ('x/epoch_3.pth', "names 'x/epoch_3.pth', which does not exist"),
    ],
)
def test_without_a_note_the_newest_checkpoint_is_taken(note, said, tmp_path):
    names = ['c.pth', 'd.pth', 'a.pth', 'b.pth']
    for age, name in enumerate(['best_AP.pth', *names]):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    (tmp_path / 'epoch_3.pth.part').touch()
    noted = tmp_path / 'last_checkpoint'
    if note is not None:
        noted.write_text(note)
    path, warning = last_checkpoint(str(tmp_path))
    assert path == str(tmp_path / 'c.pth')
    assert warning == f'{noted} {said}; resuming from the newest checkpoint, {path}'


@pytest.mark.parametrize('note', [None, '', 'gone.pth'])
def test_a_folder_without_checkpoints_holds_no_run(note, tmp_path):
    (tmp_path / 'best_AP.pth').touch()
    if note is not None:
        (tmp_path / 'last_checkpoint').write_text(note)
    match = f'^--resume: {re.escape(str(tmp_path))} holds no run to continue.*--resume FILE$'
    with pytest.raises(RecipeError, match=match):
        last_checkpoint(str(tmp_path))


def test_a_run_that_saves_elsewhere_is_found(tmp_path):
    """By out_dir, below which mmengine adds the work dir's name, and by filename_tmpl."""
    run, hook = tmp_path / 'run', dict(out_dir=str(tmp_path / 'out'), filename_tmpl='model_{}.ckpt')
    saved = tmp_path / 'out/run/model_1.ckpt'
    saved.parent.mkdir(parents=True)
    refuse_used(str(run), hook)
    assert not holds_checkpoint(str(run), hook)
    saved.touch()
    with pytest.raises(RecipeError, match=r'run holds another run \(model_1\.ckpt\)'):
        refuse_used(str(run), hook)
    assert holds_checkpoint(str(run), hook) and not holds_checkpoint(str(run), hook, 2e9 * 9)
    assert last_checkpoint(str(run), hook)[0] == str(saved)
    assert not holds_checkpoint(str(tmp_path / 'another'), hook)
    (saved.parent / 'best_AP.pth').touch()
    assert checkpoints(str(run), hook) == [saved.parent / 'best_AP.pth', saved]
    same = dict(out_dir=str(run))
    assert folders(str(run), same) == folders(str(run)) == [run]
    assert folders(f'{run}/', hook) == [run, saved.parent]


def test_a_run_that_saves_on_a_server_is_found(tmp_path):
    assert folders(str(tmp_path), dict(out_dir='s3://bucket')) == [tmp_path]
    (tmp_path / 'last_checkpoint').write_text('s3://bucket/x/epoch_1.pth')
    assert holds_checkpoint(str(tmp_path))
    with pytest.raises(RecipeError, match=r'another run \(s3://bucket/x/epoch_1\.pth\)'):
        refuse_used(str(tmp_path))


def test_a_noted_checkpoint_in_any_folder_counts(tmp_path):
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run/last_checkpoint').write_text(str(tmp_path / 'x.pth'))
    assert not holds_checkpoint(str(tmp_path / 'run'))
    (tmp_path / 'x.pth').touch()
    assert holds_checkpoint(str(tmp_path / 'run'))


def test_a_run_that_moves_remembers_its_own_checkpoints():
    info = dict(
        best_ckpt='old/best_AP.pth',
        last_ckpt='old/epoch_2.pth',
        best_ckpt_AP='s3://bucket/best.pth',
        last_ckpt_none=None,
        best_score=0.5,
        cfg='old/config.py',
    )
    keep_in_work_dir(info, 'my new/run')
    assert info == dict(
        best_ckpt='my new/run/best_AP.pth',
        last_ckpt='my new/run/epoch_2.pth',
        best_ckpt_AP='s3://bucket/best.pth',
        last_ckpt_none=None,
        best_score=0.5,
        cfg='old/config.py',
    )


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    refuse_unwritable(str(tmp_path / 'new' / 'run'))
    (tmp_path / 'file').touch()
    match = r'^work dir .*file/run: .*file is a file; choose a folder with --work-dir$'
    with pytest.raises(RecipeError, match=match):
        refuse_unwritable(str(tmp_path / 'file' / 'run'))
    asked = []
    monkeypatch.setattr('os.access', lambda path, mode: asked.append(path))
    with pytest.raises(RecipeError, match='may not be written to by this user'):
        refuse_unwritable(str(tmp_path / 'new' / 'run'))
    assert asked == [tmp_path]
