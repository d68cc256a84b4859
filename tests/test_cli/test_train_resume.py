# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/train.py: recipes with all their random parts, stopped by a signal, end bitwise the same."""

import os
import signal
from pathlib import Path

import pytest
import torch
from fixtures import MASK_RCNN, TINY_DETECTOR, TINY_SEGMENTOR, UPERNET, forget_runs

from mmconvnext.cli.train import main
from mmconvnext.recipe.errors import RecipeError
from mmconvnext.resume.loops import ExactEpochLoop, ExactIterLoop

RUNS = {
    'detector': (
        (MASK_RCNN, *TINY_DETECTOR),
        ('train_cfg.max_epochs=2', 'model.backbone.drop_path_rate=0.3'),
        ExactEpochLoop,
    ),
    'segmentor': (
        (UPERNET, *TINY_SEGMENTOR),
        ('train_cfg.max_iters=4', 'model.backbone.drop_path_rate=0.3'),
        ExactIterLoop,
    ),
}


def start(name, work_dir, *argv, options=()):
    (config, *tiny), more, _ = RUNS[name]
    forget_runs()
    argv = [config, '--toy', '--work-dir', str(work_dir), *argv]
    return main([*argv, '--cfg-options', *tiny, *more, *options])


def stopped(name, work_dir, count, *argv, options=()):
    """Stop the run after ``count`` iterations."""
    loop = RUNS[name][2]
    original = loop.run_iter

    def run_iter(self, *batch):
        if self._iter == count - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        original(self, *batch)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setattr(loop, 'run_iter', run_iter)
        start(name, work_dir, *argv, options=options)
    assert end.value.code == 143


def assert_equal(ours, theirs):
    assert (ours.epoch, ours.iter) == (theirs.epoch, theirs.iter)
    one, two = ours.model.state_dict(), theirs.model.state_dict()
    assert [name for name in two if not torch.equal(one[name], two[name])] == []
    pairs = zip(
        ours.optim_wrapper.optimizer.state.values(), theirs.optim_wrapper.optimizer.state.values()
    )
    assert all(torch.equal(one['exp_avg'], two['exp_avg']) for one, two in pairs)


@pytest.mark.slow
@pytest.mark.parametrize('name', RUNS)
def test_a_recipe_goes_on_from_the_middle(name, workplace):
    """Of four iterations, with a validation after the second; stopped twice."""
    options = ('randomness.seed=None',) if name == 'segmentor' else ()
    stopped(name, 'x', 1, options=options)
    seed = torch.load('x/resume_iter_1.pth', weights_only=False)['meta']['seed']
    assert (seed == 0) == (name == 'detector')
    stopped(name, 'x', 3, '--resume', options=options)
    resumed = start(name, 'x', '--resume', options=options)
    assert resumed.iter == 4 and not list(Path('x').glob('resume*'))
    assert_equal(resumed, start(name, 'whole', options=(f'randomness.seed={seed}',)))


@pytest.mark.slow
def test_a_half_file_is_passed_over_and_a_changed_run_refused(workplace, capsys):
    stopped('segmentor', 'x', 1)
    stopped('segmentor', 'x', 3, '--resume')
    newest = Path('x/resume_iter_3.pth')
    newest.write_bytes(newest.read_bytes()[:-999])
    options = ('model.decode_head.dropout_ratio=0.3',)
    match = r'dropout_ratio: 0\.1 in the checkpoint, 0\.3 here\nmodel: .*\n.*\n.*resumed_config'
    with pytest.raises(RecipeError, match=match):
        start('segmentor', 'x', '--resume', options=options)
    assert 'resume_iter_3.pth is damaged' in capsys.readouterr().out
    resumed = start('segmentor', 'x', '--resume')
    assert_equal(resumed, start('segmentor', 'whole'))
