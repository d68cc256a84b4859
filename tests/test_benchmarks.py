# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: the benchmarks run, and compare equal networks. Their figures are not checked."""

import processes
import pytest
import torch
from fixtures import ROOT

from mmconvnext import ConvNeXt
from mmconvnext.kernels.ops import capability

pytestmark = pytest.mark.skipif(capability()[0] is None, reason=f'no kernels: {capability()[1]}')


def run(script: str, *options: str) -> str:
    done = processes.script(ROOT / 'benchmarks' / script, *options)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_cpu_table(tmp_path):
    file = tmp_path / 'cpu.md'
    names = ('fast', 'timm')
    run(
        'cpu.py',
        *('--rounds', '2', '--versions', 'v2', '--cases', '5', '--side', '128'),
        *('--out', str(file), '--names'),
        *names,
    )
    lines = file.read_text().splitlines()
    (row,) = (line for line in lines if line.startswith('inference 1x3x128x128 bf16'))
    assert row.count(' s (') == len(names)
    assert row.count('fast takes') == 2


@pytest.mark.parametrize('version', ['v1', 'v2'])
@pytest.mark.parametrize('peer', ['Timm', 'Mmpretrain', 'Meta'])
def test_peers_compute_what_ours_does(peer, version, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / 'benchmarks')
    import peers

    scale = dict(layer_scale_init_value=1.0) if version == 'v1' else {}
    ours = ConvNeXt(dict(depths=[1, 2], channels=[8, 16]), version, drop_path_rate=0.5, **scale)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    theirs = getattr(peers, peer)(ours)
    image = torch.randn(2, 3, 32, 24)
    torch.testing.assert_close(theirs.eval()(image), [*ours(image)], rtol=1e-4, atol=1e-4)
    maps = theirs.train()(image[:1].expand(16, -1, -1, -1))[-1]
    assert len(maps.unique(dim=0)) > 1  # it drops samples


@pytest.mark.slow
def test_gpu_suite_without_a_gpu():
    sections = ('parity', 'backbone', 'drop_path')
    out = run('gpu_suite.py', '--dry-run', '--only', *sections)
    assert 'FAILED' not in out
    assert 'v2 fp32' in out
