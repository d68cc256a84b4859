# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: importing, building, training and loading leave mmengine, mmcv and torch as they were.

``main`` runs in an interpreter of its own. It first uses everything that it compares, so that
first-use effects are over before mmconvnext is imported. ``ADDED`` lists what mmconvnext may add.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import pkgutil
import random
import re
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType

import mmengine.runner.checkpoint as mmengine_checkpoint
import numpy as np
import pytest
import torch
from mmengine.fileio import LocalBackend
from mmengine.fileio.backends.registry_utils import backends
from mmengine.model import BaseModule
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope, Registry
from mmengine.runner import load_checkpoint, save_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader
from neighbours import contents, lost_by_init_weights, same
from snapshot import changes, snapshot
from torch import nn

PACKAGES = ('torch', 'mmengine', 'mmcv', 'mmdet', 'mmseg')
ARCH = dict(depths=[1, 1], channels=[16, 32])
BACKBONE = dict(type='mmconvnext.ConvNeXt', arch=ARCH, out_indices=(0, 1))
DECAY = dict(constructor='mmconvnext.LayerDecayOptimWrapperConstructor')
DECAY['paramwise_cfg'] = dict(decay_rate=0.7)
SAFE_GLOBALS = 'torch._weights_only_unpickler._marked_safe_globals_set'
ADDED = (
    r'torch\.ops\.',  # our operators, and where torch keeps book of operators
    r'torch\.(_?library|jit\._builtins)\.',
    r'torch\.fx\._symbolic_trace\._wrapped_fns_to_patch\.',  # torch.fx.wrap, of functions of ours
    r'mmengine\.registry\.root\.'
    r'(MODELS|MODEL_WRAPPERS|DATASETS|TRANSFORMS|VISBACKENDS|OPTIM_WRAPPER_CONSTRUCTORS)'
    r'\._children\.mmconvnext$',
    # For pictures of deep images, under a name of ours.
    r'mmengine\.fileio\.backends\.registry_utils\.backends\.mmconvnext\.Picture$',
)
# mmengine's overwrite_default_scope, which this test calls, recreates that dict.
SCOPES = 'mmengine.registry.default_scope.DefaultScope._instance_dict'


def is_added(path: str, old: object, new: object) -> bool:
    """Whether a change is an addition that this package may make."""
    if path == SAFE_GLOBALS:
        return old <= new
    if '._children.mmconvnext.' in path or path == SCOPES:  # in our own registries
        return True
    if old is not ...:
        return False
    ours = 'mmconvnext' in path or 'mmconvnext' in str(new)
    # Or a submodule of theirs that was imported on first use.
    return isinstance(new, ModuleType) or (ours and re.match('|'.join(ADDED), path) is not None)


DRAWN = ('random', 'numpy', 'torch')  # a backbone starts from random numbers


def process() -> dict[str, object]:
    """State that belongs to no module: random number generators, warning filters."""
    return dict(
        random=random.getstate(),
        numpy=str(np.random.get_state()),
        torch=torch.get_rng_state().tolist(),
        threads=(torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()),
        environment=dict(os.environ),
        warnings=list(warnings.filters),
        hooks=(sys.excepthook, sys.displayhook, sys.meta_path[:], sys.path_hooks[:]),
        signals=[signal.getsignal(number) for number in signal.valid_signals()],
        loggers=[(kind.level, kind.handlers[:], kind.filters[:]) for kind in loggers()],
        scope=DefaultScope.get_current_instance(),
    )


def loggers() -> list[logging.Logger]:
    names = ('mmengine', 'mmcv', 'mmdet', 'mmseg', 'torch')
    return [logging.getLogger(), *map(logging.getLogger, names)]


def use(module: nn.Module, **wrapper: object) -> None:
    """Everything that is done with a backbone, using mmengine's own functions."""
    module.init_weights()
    optimizer = dict(type='AdamW', lr=1e-3, weight_decay=0.05)
    wrapper = build_optim_wrapper(module, dict(type='OptimWrapper', optimizer=optimizer, **wrapper))
    for bf16 in (False, True):
        with torch.autocast('cpu', torch.bfloat16, enabled=bf16):
            maps = module(torch.rand(1, 3, 32, 32))
        wrapper.update_params(sum(x.float().square().mean() for x in maps))
    save_checkpoint(dict(state_dict=module.state_dict(), meta={}), 'used.pth')
    load_checkpoint(module, 'used.pth', strict=True)
    module.load_state_dict(module.state_dict())
    with torch.no_grad():
        module.eval()(torch.rand(1, 3, 32, 32))


class Other(BaseModule):
    """Another package's backbone, with the layers that ours has too."""

    def __init__(self, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.stem, self.norm, self.bn = nn.Conv2d(3, 8, 4, 4), nn.LayerNorm(8), nn.BatchNorm2d(8)
        self.act = nn.GELU()

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        x = self.norm(self.act(self.stem(x)).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return [self.bn(x)]


def import_all() -> list[str]:
    """Import all our modules, except those that need a missing package; return their names."""
    import mmconvnext

    names = [m.name for m in pkgutil.walk_packages(mmconvnext.__path__, 'mmconvnext.')]
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            assert not error.name.startswith('mmconvnext'), error
        except ImportError:  # the library of kernels is no module
            assert name == 'mmconvnext.kernels._cpu', name
    return names


def use_ours(folder: Path) -> dict:
    """Build both versions with and without files, train, save, load, fold; return the weights."""
    from mmconvnext import ConvNeXt, lenient_loading

    weights = ConvNeXt(ARCH).state_dict()
    torch.save({'state_dict': weights}, folder / 'ours.pth')
    os.environ['MMENGINE_HOME'] = str(folder)
    (folder / 'open_mmlab.json').write_text('{"ours": "ours.pth"}')
    for source in (str(folder / 'ours.pth'), 'openmmlab://ours'):
        init_cfg = dict(type='Pretrained', checkpoint=source)
        use(MODELS.build(dict(BACKBONE, init_cfg=init_cfg)), **DECAY)
    del os.environ['MMENGINE_HOME']
    with DefaultScope.overwrite_default_scope('mmseg'):
        backbone = MODELS.build(dict(BACKBONE, version='v2', drop_path_rate=0.5))
        use(backbone, **DECAY)
    backbone.fuse()
    with torch.no_grad():
        backbone(torch.rand(1, 3, 32, 32))
    with lenient_loading():
        backbone.load_state_dict({}, strict=False)
    return weights


def misread(folder: Path, weights: dict) -> list[str]:
    """The files of other packages that mmengine's own loader does not return as they are."""
    wrong = []
    for name, given in contents(weights).items():
        torch.save(given, folder / 'other.pth')
        found = CheckpointLoader.load_checkpoint(str(folder / 'other.pth'), map_location='cpu')
        wrong += [] if same(found, given) else [name]
    return wrong + lost_by_init_weights(folder)


def main(folder: Path) -> dict:
    """Run the four parts; every list in the result must be empty."""
    for package in (
        'mmengine.hooks',
        'mmcv.ops',
        'mmdet.utils',
        'mmseg.utils',
        'matplotlib.pyplot',
    ):
        importlib.import_module(package)
    for package in ('mmdet', 'mmseg'):
        importlib.import_module(f'{package}.utils').register_all_modules(init_default_scope=False)
    torch.save({'state_dict': Other().state_dict()}, folder / 'other.pth')
    checkpoint = dict(type='Pretrained', checkpoint=str(folder / 'other.pth'))
    MODELS.build(dict(type='LN', normalized_shape=8))
    use(Other(init_cfg=checkpoint))
    with DefaultScope.overwrite_default_scope('mmseg'):
        use(Other())
    misread(folder, {})

    before, around = snapshot(*PACKAGES), process()
    import mmconvnext  # noqa: F401

    imported = snapshot(*PACKAGES)
    names = import_all()
    unlike = [key for key, value in process().items() if value != around[key]]
    weights = use_ours(folder)
    wrong = misread(folder, weights)
    used = snapshot(*PACKAGES)
    unlike += [key for key, value in process().items() if value != around[key] and key not in DRAWN]

    steps = (before, imported), (imported, used)
    found = [changes(*step) for step in steps]
    return dict(
        changed=[
            f'{path}: {str(old)[:80]} -> {str(new)[:80]}'
            for step in found
            for path, (old, new) in step.items()
            if not is_added(path, old, new)
        ],
        added_by_import=[path for path in found[0] if path != SAFE_GLOBALS],
        process=unlike,
        misread=wrong,
        # And proof that all of this was run.
        modules=[] if 'mmconvnext.optim.groups' in names else names,
        operators=[] if hasattr(torch.ops.mmconvnext, 'mlp') else dir(torch.ops),
    )


@pytest.mark.slow
def test_importing_and_using_ours_changes_nothing_for_others(tmp_path):
    command = [sys.executable, '-W', 'ignore', __file__, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert set(found) >= {'changed', 'added_by_import', 'process', 'misread'}
    assert {part: faults for part, faults in found.items() if faults} == {}


# The snapshot sees it


def new(*args, **kwargs):
    """Stand in for anything."""


def test_no_change_is_none():
    assert changes(snapshot('mmengine'), snapshot('mmengine')) == {}


@pytest.mark.parametrize(
    ('owner', 'name', 'path'),
    [
        (mmengine_checkpoint, 'load_from_http', 'mmengine.runner.checkpoint.load_from_http'),
        (mmengine_checkpoint, 'unheard_of', 'mmengine.runner.checkpoint.unheard_of'),
        (CheckpointLoader, '_schemes', 'mmengine.runner.checkpoint.CheckpointLoader._schemes'),
        (LocalBackend, 'put', 'mmengine.fileio.backends.local_backend.LocalBackend.put'),
        (load_checkpoint, '__defaults__', 'mmengine.runner.checkpoint.load_checkpoint.__defaults'),
        (CheckpointLoader, '_schemes.', 'CheckpointLoader._schemes.'),
        (backends, 'local', 'mmengine.fileio.backends.registry_utils.backends.local'),
        (MODELS.module_dict, 'ConvNeXt', 'mmengine.registry.root.MODELS._module_dict.ConvNeXt'),
        (MODELS._children, 'other', 'mmengine.registry.root.MODELS._children.other'),
    ],
)
def test_a_change_in_mmengine_is_seen(owner, name, path, monkeypatch):
    before = snapshot('mmengine')
    if name == '_schemes.':  # what it is now, not when the tests were collected
        owner, name = owner._schemes, ''
    if isinstance(owner, dict):
        monkeypatch.setitem(owner, name, new)
    else:
        value = owner._schemes.copy() if name == '_schemes' else new
        value = (None, None) if name == '__defaults__' else value
        monkeypatch.setattr(owner, name, value, raising=False)
    found = changes(before, snapshot('mmengine'))
    assert any(path in place for place in found), found
    assert not any(is_added(place, *pair) for place, pair in found.items())


def test_a_change_in_torch_is_seen(monkeypatch):
    before = snapshot('torch')
    owners = ((torch, 'load'), (nn.Module, 'load_state_dict'), (torch.nn.functional, 'gelu'))
    for owner, name in owners:
        monkeypatch.setattr(owner, name, new)
    found = changes(before, snapshot('torch'))
    assert {'torch.load', 'torch.nn.functional.gelu'} <= set(found)
    assert any(place.endswith('.Module.load_state_dict') for place in found)
    assert not any(is_added(place, *pair) for place, pair in found.items())


def test_what_may_be_added_is_told_from_what_may_not():
    ours = Registry('model', scope='mmconvnext')
    assert is_added('mmengine.registry.root.MODELS._children.mmconvnext', ..., ours)
    assert is_added('torch.ops.mmconvnext', ..., torch.ops.aten)
    assert is_added(SAFE_GLOBALS, {1}, {1, 2}) and not is_added(SAFE_GLOBALS, {1, 2}, {2, 3})
    by_ours = type('ConvNeXt', (), {'__module__': 'mmconvnext'})
    assert not is_added('mmengine.registry.root.MODELS._module_dict.ConvNeXt', ..., by_ours)
    assert not is_added('mmengine.registry.root.MODELS._children.mmdet', ours, by_ours)
    assert not is_added('torch.ops.mmconvnext', new, by_ours)


def test_a_loader_that_rewrites_files_is_seen(tmp_path, monkeypatch):
    def wrapping(filename, map_location=None):
        return {'state_dict': torch.load(filename, map_location)}

    monkeypatch.setitem(CheckpointLoader._schemes, '', wrapping)
    lost = lost_by_init_weights(tmp_path)
    assert {name.partition('.')[0] for name in lost} == {'pidnet', 'san_text', 'san_head'}


if __name__ == '__main__':
    print('\n' + json.dumps(main(Path(sys.argv[1]))))
