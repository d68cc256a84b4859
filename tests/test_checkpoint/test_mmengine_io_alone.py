# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: without ``install`` nothing in mmengine changes, and init_cfg reads as safely."""

import json
import subprocess
import sys

import pytest
import torch

from mmconvnext import ConvNeXt

# Imports the package, builds, loads and saves a backbone; prints what differs in mmengine then.
USE = """
import sys
import mmengine.runner.checkpoint as module
from mmengine.fileio.backends.registry_utils import backends
from mmengine.runner import load_checkpoint, save_checkpoint

def state():
    names = {k: v for k, v in vars(module).items() if k != '__warningregistry__'}
    return [names, dict(module.CheckpointLoader._schemes), dict(backends)]

before = state()
import torch
from mmconvnext import ConvNeXt, LayerDecayOptimWrapperConstructor
from mmconvnext.checkpoint import convert, load, mmengine_io
arch = dict(depths=[1], channels=[8])
torch.save(ConvNeXt(arch).state_dict(), sys.argv[1])
net = ConvNeXt(arch, init_cfg=dict(type='Pretrained', checkpoint=sys.argv[1]))
net.init_weights()
load_checkpoint(net, sys.argv[1])
save_checkpoint(net.state_dict(), sys.argv[1])
print(state() == before)
"""


@pytest.mark.slow
def test_importing_building_and_loading_change_nothing_in_mmengine(tmp_path):
    command = [sys.executable, '-c', USE, str(tmp_path / 'w.pth')]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ['True'], done.stderr


@pytest.mark.parametrize('where', ['bucket', 'table'])
def test_init_cfg_reads_by_mmengines_schemes_without_installing(
    where, tiny_arch, monkeypatch, mmengine_state, tmp_path, alone, bucket, unsafe_default
):
    convnext = {f'backbone.{k}': v for k, v in ConvNeXt(tiny_arch).state_dict().items()}
    monkeypatch.setenv('MMENGINE_HOME', str(tmp_path))
    (tmp_path / 'open_mmlab.json').write_text(json.dumps({'model': 'w.pth'}))
    source = {'bucket': f's3://{tmp_path / "w.pth"}', 'table': 'openmmlab://model'}[where]
    torch.save({'state_dict': convnext}, tmp_path / 'w.pth')
    before = mmengine_state()
    net = ConvNeXt(tiny_arch, init_cfg=dict(type='Pretrained', checkpoint=source))
    net.init_weights()
    assert all(torch.equal(v, convnext[f'backbone.{k}']) for k, v in net.state_dict().items())
    assert mmengine_state() == before


def test_a_malicious_file_in_a_bucket_without_installing(
    evil, tiny_arch, mmengine_state, alone, bucket, unsafe_default
):
    path, trace = evil
    before = mmengine_state()
    net = ConvNeXt(tiny_arch, init_cfg=dict(type='Pretrained', checkpoint=f's3://{path}'))
    match = r'Weights only load failed|Unsupported GLOBAL|getattr\(.*is not safe'
    with pytest.raises(Exception, match=match):
        net.init_weights()
    assert not trace.exists() and mmengine_state() == before
