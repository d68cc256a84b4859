# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""analysis/results/values.py: numpy's values as plain ones."""

import json

import numpy as np

from mmconvnext.analysis.results.values import as_json


def test_values():
    value = {
        1: np.float32(0.25),
        'b': np.array([[1, 2], [3, 4]]),
        'c': (float('nan'), np.inf, True, None, 'x'),
        'd': 1 / 3,
        'e': np.bool_(False),
    }
    plain = as_json(value)
    assert plain == {
        '1': 0.25, 'b': [[1, 2], [3, 4]], 'c': [None, None, True, None, 'x'], 'd': 0.333333,
        'e': False,
    }  # fmt: skip
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
