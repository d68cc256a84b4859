# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: importing the package is fast, and an error says how to install what is missing."""

import importlib
import json
import pkgutil
import subprocess
import sys

import pytest

import mmconvnext

HEAVY = ('mmdet', 'mmseg', 'mmcv.ops', 'mmcv._ext', 'torchvision', 'mmpretrain', 'transformers')
MEASURE = f"""
import json, sys, time
import torch, mmengine
start = time.perf_counter()
import mmconvnext
seconds = time.perf_counter() - start
heavy = [name for name in {HEAVY} if name in sys.modules]
print(json.dumps([seconds, heavy, mmconvnext.__version__]))
"""


def run(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)


def test_import_is_light_and_fast():
    fastest = float('inf')
    for _ in range(3):
        result = run(MEASURE)
        assert result.returncode == 0, result.stderr
        seconds, heavy, version = json.loads(result.stdout)
        assert heavy == []
        assert version == mmconvnext.__version__
        fastest = min(fastest, seconds)
        if fastest < 0.3:
            break
    assert fastest < 0.3


def test_using_the_backbone_needs_no_other_mm_package_nor_ops():
    result = run(f"""
import sys
for name in {HEAVY}:
    sys.modules[name] = None  # as if not installed
import torch, mmconvnext
model = mmconvnext.ConvNeXt(dict(depths=[1], channels=[4]), out_indices=0)
print(tuple(model(torch.zeros(1, 3, 8, 8))[0].shape))
""")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == '(1, 4, 2, 2)'


def test_missing_mmengine_names_both_ways_to_install():
    result = run("""
import sys
sys.modules['mmengine'] = None
import mmconvnext
""")
    assert result.returncode == 1
    assert 'ModuleNotFoundError: mmconvnext needs one of the two MM stacks' in result.stderr
    for extra in ('openmmlab', 'onedl'):
        assert f'pip install --no-build-isolation "mmconvnext[{extra}]"' in result.stderr


def test_public_names_are_there_on_demand():
    assert set(mmconvnext.__all__) == {
        'ConvNeXt',
        'LayerDecayOptimWrapperConstructor',
        'lenient_loading',
        'load',
        'use_own_data',
        '__version__',
    }
    assert mmconvnext.ConvNeXt.__module__ == 'mmconvnext.models.convnext'
    constructor = mmconvnext.LayerDecayOptimWrapperConstructor
    assert constructor.__module__ == 'mmconvnext.optim.layer_decay'
    assert mmconvnext.lenient_loading.__module__ == 'mmconvnext.checkpoint.strictness'
    assert mmconvnext.use_own_data.__module__ == 'mmconvnext.recipe.own_data'


def modules() -> list[str]:
    return [info.name for info in pkgutil.walk_packages(mmconvnext.__path__, 'mmconvnext.')]


def test_every_listed_name_is_there():
    listed = 0
    for name in modules():
        if name.startswith('mmconvnext.kernels.triton') or name.rpartition('.')[2] == 'cuda':
            continue  # needs Triton
        module = importlib.import_module(name)
        for public in getattr(module, '__all__', ()):
            assert hasattr(module, public), f'{name}.{public}'
            listed += 1
    assert listed > 30


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'mmconvnext' has no attribute 'ConvNext'"):
        mmconvnext.ConvNext  # noqa: B018
