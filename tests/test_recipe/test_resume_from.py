# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""`--resume` takes the newest whole checkpoint."""

import os

import pytest
import torch

from mmconvnext.checkpoint.whole import RESUME
from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.resume_from import meta_of, newest_whole


@pytest.fixture
def save(tmp_path):
    """A function that saves a checkpoint of an iteration, a second after the one before."""
    clock = iter(range(1000, 2000))

    def write(name, count, noted=True, **more):
        path = tmp_path / name
        content = dict(meta=dict(iter=count, epoch=0, seed=9), optimizer={}, **more)
        torch.save(content, path)
        _at(path, next(clock))
        if noted:
            (tmp_path / 'last_checkpoint').write_text(str(path))
            _at(tmp_path / 'last_checkpoint', next(clock))
        return path

    return write


def _at(path, seconds):
    os.utime(path, (seconds, seconds))


@pytest.fixture
def found(tmp_path):
    """A function that returns the name and the iteration of what is resumed, and the warnings."""

    def look():
        said = []
        path, meta = newest_whole(str(tmp_path), said.append)
        assert meta['seed'] == 9
        return os.path.basename(path), meta['iter'], said

    return look


def test_the_noted_one(save, found, tmp_path):
    save('epoch_2.pth', 20)
    save('epoch_1.pth', 10)
    (tmp_path / 'best_x.pth').write_bytes(b'')
    assert found() == ('epoch_1.pth', 10, [])


def test_a_later_one_than_the_note(save, found, tmp_path):
    """The run was killed before it wrote the note."""
    save('epoch_1.pth', 10)
    save('resume_iter_12.pth', 12, noted=False)
    assert found() == ('resume_iter_12.pth', 12, [])
    (tmp_path / 'epoch_1.pth').unlink()
    name, count, said = found()
    assert (name, count) == ('resume_iter_12.pth', 12)
    assert 'resuming from the newest checkpoint' in said[0]


def test_a_later_file_of_an_earlier_iteration_is_a_copy(save, found):
    save('epoch_2.pth', 20)
    save('copied.pth', 10, noted=False)
    assert found() == ('epoch_2.pth', 20, [])


def test_a_converted_file_is_no_run(save, found, tmp_path):
    save('epoch_2.pth', 20)
    torch.save(dict(meta={}, state_dict={}), tmp_path / 'published.pth')
    assert found() == ('epoch_2.pth', 20, [])
    save('weights.pth', 30)
    content = torch.load(tmp_path / 'weights.pth')
    del content['optimizer']
    torch.save(content, tmp_path / 'weights.pth')
    _at(tmp_path / 'weights.pth', 1500)
    name, count, (said,) = found()
    assert name == 'epoch_2.pth' and 'weights.pth holds no training state' in said


@pytest.mark.parametrize('damage', [b'', b'half of it', None])
def test_the_one_before_a_damaged_one(save, found, damage):
    save('epoch_1.pth', 10)
    save('epoch_2.pth', 20)
    path = save('epoch_3.pth', 30)
    path.write_bytes(path.read_bytes()[:700] if damage is None else damage)
    _at(path, 3000)
    name, count, (said,) = found()
    assert (name, count) == ('epoch_2.pth', 20)
    assert said.startswith(str(path)) and said.endswith(f'Resuming from {path.parent}/epoch_2.pth')


def test_the_one_before_one_that_lacks_a_process(save, found):
    save('epoch_1.pth', 10)
    save('epoch_2.pth', 20, **{RESUME: dict(processes=[dict(x=1), None])})
    name, count, (said,) = found()
    assert (name, count) == ('epoch_1.pth', 10)
    assert 'epoch_2.pth lacks the state of process 1 of 2' in said


def test_no_whole_one(save, tmp_path):
    save('epoch_1.pth', 10).write_bytes(b'')
    match = r'holds no whole checkpoint:\n.*epoch_1\.pth is empty \(0 bytes\)\n.*--work-dir'
    with pytest.raises(RecipeError, match=match):
        newest_whole(str(tmp_path), print)


def test_one_elsewhere_is_not_looked_at(tmp_path):
    (tmp_path / 'last_checkpoint').write_text('s3://bucket/epoch_1.pth')
    assert newest_whole(str(tmp_path), print) == ('s3://bucket/epoch_1.pth', {})


def test_a_named_file_is_judged_later(save, tmp_path):
    path = save('epoch_1.pth', 10)
    assert meta_of(path)['iter'] == 10
    path.write_bytes(b'')
    assert meta_of(path) == {} and meta_of('https://x/y.pth') == {}


def test_one_that_was_saved_elsewhere(save, tmp_path):
    """The run was killed before it wrote the note, or its note is in a copy."""
    (tmp_path / 'out/run').mkdir(parents=True)
    path = save('out/run/model_3.ckpt', 3, noted=False)
    hook = dict(out_dir=str(tmp_path / 'out'), filename_tmpl='model_{}.ckpt')
    said = []
    assert newest_whole(str(tmp_path / 'run'), said.append, hook)[0] == str(path)
    assert len(said) == 1 and 'resuming from the newest checkpoint' in said[0]
