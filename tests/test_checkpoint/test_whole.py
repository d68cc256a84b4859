# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Cut off, damaged and incomplete checkpoints are found before a run resumes from them."""

import errno
import zipfile

import pytest
import torch

from mmconvnext.checkpoint import whole
from mmconvnext.checkpoint.errors import CheckpointUnreadable
from mmconvnext.checkpoint.whole import RESUME, lacking, look


@pytest.fixture
def run(tmp_path):
    content = dict(
        meta=dict(iter=3, seed=5),
        state_dict=dict(a=torch.arange(5000.0)),
        optimizer={},
        **{RESUME: dict(processes=[dict(x=1), dict(x=2)])},
    )
    torch.save(content, tmp_path / 'x.pth')
    return tmp_path / 'x.pth'


def test_a_disk_that_cannot_map_files(run, monkeypatch):
    def fail(path, map_location, mmap):
        raise OSError(errno.ENODEV, 'No such device')

    monkeypatch.setattr(whole, 'torch_load', fail)
    content = look(run)
    assert content['meta'] == dict(iter=3, seed=5)
    assert torch.equal(content['state_dict']['a'], torch.arange(5000.0))


def test_a_whole_checkpoint(run):
    content = look(run)
    assert content['meta'] == dict(iter=3, seed=5)
    assert torch.equal(content['state_dict']['a'], torch.arange(5000.0))
    assert lacking(content) == ''


@pytest.mark.parametrize('share', [0, 0.001, 0.5, 0.99])
def test_a_file_that_was_cut_off(run, share):
    data = run.read_bytes()
    run.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(CheckpointUnreadable, match=r'x\.pth'):
        look(run)


def test_bytes_that_changed_inside_of_a_tensor(run):
    data = bytearray(run.read_bytes())
    middle = bytes(torch.arange(2000.0, 2100.0).numpy())
    place = data.index(middle)
    data[place : place + 400] = bytes(400)  # what a disk may return after a power cut
    run.write_bytes(data)
    torch.load(run)  # torch does not notice
    with pytest.raises(CheckpointUnreadable, match=r'x\.pth is damaged: .*data/0'):
        look(run)


def test_what_is_no_checkpoint(run):
    torch.save(torch.zeros(3), run)
    with pytest.raises(CheckpointUnreadable, match=r'x\.pth is not a checkpoint: .* a Tensor$'):
        look(run)


def test_other_files(run):
    with zipfile.ZipFile(run, 'w') as archive:
        archive.writestr('readme.txt', 'hello')
    with pytest.raises(CheckpointUnreadable, match=r'x\.pth'):
        look(run)
    torch.save(dict(meta=print), run)
    with pytest.raises(CheckpointUnreadable, match='not safe to read'):
        look(run)


@pytest.mark.parametrize(
    ('processes', 'said'),
    [([{}, dict(x=1)], 'process 0 of 2'), ([dict(x=1), None, None], 'process 1, 2 of 3')],
)
def test_a_process_that_is_missing(processes, said, run):
    content = torch.load(run)
    content[RESUME]['processes'] = processes
    torch.save(content, run)
    with pytest.raises(CheckpointUnreadable, match=rf'x\.pth lacks the state of {said}$'):
        look(run)
