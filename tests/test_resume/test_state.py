# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What another number of processes goes on with; the rest is tested by runs, in test_runner.py."""

import torch

from mmconvnext.resume.state import mean


def test_the_gradients_of_another_number_of_processes():
    one = dict(a=torch.tensor([1.0, 2.0]), b=torch.tensor([4.0]))
    two = dict(a=torch.tensor([3.0, 6.0]))
    found = mean([one, two])
    assert found.keys() == {'a', 'b'}
    assert found['a'].tolist() == [2.0, 4.0] and found['b'].tolist() == [2.0]
    assert mean([{}, {}]) == mean([]) == {}
