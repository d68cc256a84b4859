# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Two processes stop after the same iteration, and go on as if they had not."""

import os
import subprocess
import sys
from pathlib import Path

import processes
import pytest
import torch
from fixtures import ROOT
from resume_runs import PLAIN, run_alone, run_rank, run_with_workers, same

from mmconvnext.checkpoint.whole import RESUME

BOTH = pytest.mark.parametrize('by_epoch', [True, False], ids=['epochs', 'iterations'])


def two(folder, name, *arguments, status=0):
    done = processes.call(run_rank, str(folder), name, *arguments, count=2, folder=folder)
    assert [one.returncode for one in done] == [status] * 2, done[0].stderr + done[1].stderr
    return (Path(folder) / name.partition(' ')[0] / 'last_checkpoint').read_text()


def end(path):
    content = torch.load(path, weights_only=False)
    keys = ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers')
    metrics = content['message_hub']['log_scalars']['val/acc']
    return {**{key: content[key] for key in keys}, 'val/acc': list(metrics._log_history)}


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    found = {}

    def run(by_epoch):
        if by_epoch not in found:
            found[by_epoch] = end(two(tmp_path_factory.mktemp('whole'), 'whole', by_epoch))
        return found[by_epoch]

    return run


@pytest.mark.slow
@pytest.mark.parametrize(('by_epoch', 'who'), [(True, [1]), (False, [0]), (True, [0, 1])])
def test_a_signal_to_any_stops_all(by_epoch, who, whole, tmp_path):
    """In the middle of three accumulated iterations, where the gradients of the two differ."""
    at = 1 if by_epoch else 3
    path = two(tmp_path, 'stopped', by_epoch, [(rank, at, 'train') for rank in who], status=143)
    assert path.endswith(f'resume_iter_{at + 1}.pth')
    own = torch.load(path, weights_only=False)[RESUME]['processes']
    gradients = [one['gradients'] for one in own]
    assert gradients[0].keys() == gradients[1].keys() and gradients[0]
    assert any(not torch.equal(one, gradients[1][name]) for name, one in gradients[0].items())
    # Plain batch norm has the statistics of the images of its process, also in a validation.
    assert not own[0]['buffers'] and '0.layers.1.running_mean' in own[1]['buffers']
    same(end(two(tmp_path, 'stopped again', by_epoch, (), path)), whole(by_epoch), 'checkpoint')


@pytest.mark.slow
def test_another_number_of_processes_is_refused_unless_the_user_lets_it_pass(tmp_path):
    """It goes on with the same images, and ends with the same weights, to rounding."""
    stop = [(1, 1, 'train')]  # in the middle of three accumulated iterations
    path = two(tmp_path, 'stopped', True, stop, '', PLAIN, status=143)
    (done,) = processes.call(run_alone, str(tmp_path), path, True)
    assert done.returncode == 1
    assert 'processes: 2 in the checkpoint, 1 here' in done.stderr
    assert 'processes x batch_size is the same: images and augmentations stay' in done.stderr
    assert 'batches are larger' not in done.stderr and 'seen twice' not in done.stderr
    ends = []
    for resume in (path, ''):
        (done,) = processes.call(run_alone, str(tmp_path), resume, False)
        assert done.returncode == 0, done.stderr
        place = tmp_path / ('stopped' if resume else 'alone')
        ends.append(torch.load(place / 'epoch_3.pth', weights_only=False))
    assert [one['meta']['iter'] for one in ends] == [9, 9]
    torch.testing.assert_close(ends[0]['state_dict'], ends[1]['state_dict'], rtol=0, atol=1e-6)
    torch.testing.assert_close(
        ends[0]['ema_state_dict'], ends[1]['ema_state_dict'], rtol=0, atol=1e-6
    )


LAUNCHED = """
import sys
sys.path[:0] = {paths!r}
from mmconvnext.distributed.process import run_one_of_several
from resume_runs import run_launched

run_one_of_several(lambda: run_launched({folder!r}))
"""


@pytest.mark.slow
def test_a_run_whose_process_was_killed_goes_on_by_itself(whole, tmp_path):
    """By torchrun, as tools/dist_train.sh starts it; the end is that of an undisturbed run."""
    script = tmp_path / 'worker.py'
    paths = [str(ROOT / 'tests'), str(ROOT)]
    script.write_text(LAUNCHED.format(paths=paths, folder=str(tmp_path)))
    begin = 'import sys; from mmconvnext.distributed.launch import main; main(sys.argv[1:])'
    left_out = ('NNODES', 'NODE_RANK', 'MASTER_ADDR', 'PORT')
    environ = {name: value for name, value in os.environ.items() if name not in left_out}
    done = subprocess.run(
        [sys.executable, '-c', begin, str(script), '2'],
        env=environ | dict(MAX_RESTARTS='1', OMP_NUM_THREADS='1', PYTHONPATH=str(ROOT)),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert 'Started again after a failure' in done.stdout
    path = (tmp_path / 'launched/last_checkpoint').read_text()
    same(end(path), whole(True), 'checkpoint')


@pytest.mark.slow
def test_workers_stay_until_the_end_and_no_longer(tmp_path):
    (done,) = processes.call(run_with_workers, str(tmp_path / 'x'), True)
    assert done.returncode == 143, done.stderr
    assert 'exited unexpectedly' not in done.stderr and 'Terminated' not in done.stderr
    assert (tmp_path / 'x/last_checkpoint').read_text().endswith('resume_iter_7.pth')
    (done,) = processes.call(run_with_workers, str(tmp_path / 'y'), False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'y/last_checkpoint').read_text().endswith('epoch_3.pth')


@pytest.mark.slow
@BOTH
def test_a_validation_stops_for_all(by_epoch, whole, tmp_path):
    at = 3 if by_epoch else 4
    path = two(tmp_path, 'stopped', by_epoch, [(1, at, 'val')], status=143)
    same(end(two(tmp_path, 'stopped again', by_epoch, (), path)), whole(by_epoch), 'checkpoint')
