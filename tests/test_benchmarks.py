# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: the benchmarks run. Their figures are not checked."""

import os
import subprocess
import sys

import pytest
from fixtures import ROOT

from mmconvnext.kernels.ops import capability

pytestmark = pytest.mark.skipif(capability()[0] is None, reason=f'no kernels: {capability()[1]}')


def run(script: str, *options: str) -> str:
    command = [sys.executable, str(ROOT / 'benchmarks' / script), *options]
    env = os.environ | {'OMP_NUM_THREADS': '1'}
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_cpu_table(tmp_path):
    file = tmp_path / 'cpu.md'
    names = ('fast', 'timm', 'mmpretrain', 'meta')
    run(
        'cpu.py',
        *('--rounds', '2', '--versions', 'v2', '--cases', '5', '--out', str(file), '--names'),
        *names,
    )
    lines = file.read_text().splitlines()
    (row,) = (line for line in lines if line.startswith('inference 1x3x512x512 bf16'))
    assert row.count(' s (') == len(names)
    assert row.count('fast takes') == 2


@pytest.mark.slow
def test_gpu_suite_without_a_gpu():
    sections = ('parity', 'backbone', 'drop_path')
    out = run('gpu_suite.py', '--dry-run', '--only', *sections)
    assert 'FAILED' not in out
    assert 'v2 fp32' in out
