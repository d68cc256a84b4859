# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""faults/dump.py: a dump holds a step, and what is none is refused."""

import pytest
import torch
from torch import nn

from mmconvnext.faults.dump import read_dump, write_dump
from mmconvnext.faults.repeat import Turn, copies
from mmconvnext.recipe.errors import RecipeError
from mmconvnext.resume.randomness import take

ABOUT = dict(iteration=7, rank=2, told='iteration 7: bad')


@pytest.fixture
def dump(tmp_path):
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    before = copies(model)
    model[1].running_mean.fill_(float('nan'))
    turns = [Turn(dict(inputs=[torch.tensor([1.0, float('nan')])]), take())]
    path = tmp_path / 'bad_numbers/iter_7_rank_2.pth'
    write_dump(path, model, before, turns, 0.5, **ABOUT)
    return path


def test_a_dump_comes_back(dump):
    found = read_dump(dump)
    assert {key: found[key] for key in ABOUT} == ABOUT and found['scale'] == 0.5
    (turn,) = found['turns']
    assert turn.batch['inputs'][0][0] == 1 and torch.equal(
        turn.randomness['torch'], torch.get_rng_state()
    )
    assert found['state_dict'].keys() == {
        *('0.weight', '0.bias', '1.weight', '1.bias'),
        *('1.running_mean', '1.running_var', '1.num_batches_tracked'),
    }
    assert not found['buffers']['1.running_mean'].any()  # as it was before
    assert dump.with_suffix('.txt').read_text() == 'iteration 7: bad\n'


def test_what_is_no_dump(dump, tmp_path):
    with pytest.raises(RecipeError, match='there is no dump .*x.pth; a run writes it to bad_num'):
        read_dump(tmp_path / 'x.pth')
    torch.save(dict(state_dict={}), tmp_path / 'y.pth')
    with pytest.raises(RecipeError, match='y.pth is no dump of a step'):
        read_dump(tmp_path / 'y.pth')
    (tmp_path / 'z.pth').write_bytes(dump.read_bytes()[:300])
    with pytest.raises(RecipeError, match='z.pth cannot be read as a dump'):
        read_dump(tmp_path / 'z.pth')
    content = torch.load(dump, weights_only=False)
    torch.save({**content, 'version': 2}, dump)
    with pytest.raises(RecipeError, match='a dump of version 2, and this release reads 1'):
        read_dump(dump)
