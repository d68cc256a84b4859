# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/repeat_step.py: the command that a stopped run gives computes its step again."""

import shutil
from pathlib import Path

import pytest
import torch
from fixtures import TINY_SEGMENTOR, UPERNET, forget_runs, toy_data_at
from mmengine.registry import HOOKS
from number_runs import FaultHook

from mmconvnext.cli.repeat_step import main
from mmconvnext.cli.train import main as train
from mmconvnext.recipe.errors import RecipeError


@HOOKS.register_module(force=True)
class BadImageHook(FaultHook):
    """A NaN in the second image of the second iteration."""

    def __init__(self):
        super().__init__('', 1)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 1:
            images = data_batch['inputs']
            images[1] = images[1].float()
            images[1][2, 5, 7] = float('nan')


@pytest.fixture(scope='module')
def stopped(tmp_path_factory, toy_root):
    """The message of a stopped run, and its dump."""
    folder = tmp_path_factory.mktemp('stopped')
    config = folder / 'a.py'
    config.write_text(f"_base_ = {UPERNET!r}\ncustom_hooks = [dict(type='BadImageHook')]\n")
    forget_runs()
    with toy_data_at(toy_root), pytest.raises(RecipeError) as caught:
        argv = [str(config), '--toy', '--work-dir', str(folder / 'run'), '--on-bad-numbers', 'stop']
        train([*argv, '--cfg-options', *TINY_SEGMENTOR])
    return str(caught.value), folder / 'run/bad_numbers/iter_2_rank_0.pth'


@pytest.mark.slow
def test_it_comes_again(stopped, capsys, tmp_path):
    text, dump = stopped
    assert f'tools/repeat_step.py {dump}\n' in text and 'ADE_train_' in text
    assert 'image: number 2 of the batch (1 NaN of ' in text
    found = main([str(dump)])
    _, here = capsys.readouterr().out.split('here, on cpu:\n')
    assert 'image: number 2 of the batch (1 NaN' in here
    assert all(f'  {line}\n' in here and line in text for line in found.lines())
    alone = shutil.copy(dump, tmp_path / 'x.pth')
    with pytest.raises(RecipeError, match='holds 0 configs .* give it with --config'):
        main([str(alone)])
    config = next(dump.parents[1].glob('*.py'))
    assert main([str(alone), '--config', str(config)]).images == found.images


@pytest.mark.slow
def test_all_is_finite_or_the_model_is_another(stopped, capsys, tmp_path):
    _, dump = stopped
    config = str(next(dump.parents[1].glob('*.py')))
    content = torch.load(dump, weights_only=False)
    content['turns'][0]['batch']['inputs'][1].nan_to_num_()
    torch.save(content, tmp_path / 'fine.pth')
    with pytest.raises(SystemExit) as end:
        main([str(tmp_path / 'fine.pth'), '--config', config])
    assert end.value.code == 1 and capsys.readouterr().out.endswith('all numbers are finite\n')
    with pytest.raises(RecipeError, match='the model of the config is not that of the dump'):
        content['state_dict'].popitem()
        torch.save(content, tmp_path / 'other.pth')
        main([str(tmp_path / 'other.pth'), '--config', config])
    with pytest.raises(RecipeError, match='there is no dump'):
        main([str(Path(tmp_path, 'none.pth'))])
