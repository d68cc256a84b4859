# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: what checks/model.py refuses stops DistributedDataParallel; with the fix it trains."""

import copy
import os

import processes
import pytest
import torch
import torch.distributed as dist
from fixtures import found, public_config
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import MODELS

from mmconvnext.recipe.checks.model import check_channels, check_unused_maps
from mmconvnext.recipe.errors import RecipeError

pytestmark = pytest.mark.slow
ARCH = dict(depths=[1, 1, 1, 1], channels=[8, 16, 32, 64])
BASES = {
    'mmdet': 'mmdet::_base_/models/retinanet_r50_fpn.py',
    'mmseg': 'mmseg::_base_/models/fcn_r50-d8.py',
}


def detector(**changes):
    neck = dict(in_channels=ARCH['channels'])
    return dict(neck=neck, bbox_head=dict(num_classes=2, stacked_convs=1), **changes)


def segmentor():
    """Whose heads take the last map and the one before."""
    head = dict(norm_cfg=dict(type='GN', num_groups=4), channels=8)
    return dict(
        decode_head=dict(in_channels=64, **head), auxiliary_head=dict(in_channels=32, **head)
    )


@pytest.fixture
def config():
    def write(project, model):
        backbone = dict(_delete_=True, type='mmconvnext.ConvNeXt', arch=ARCH)
        cfg = Config.fromfile(public_config(BASES[project]))
        cfg.model.pop('pretrained', None)
        cfg.merge_from_dict(dict(model=dict(backbone=backbone, **model)))
        cfg.merge_from_dict(dict(launcher='pytorch', default_scope=project))
        return cfg

    return write


def mended(cfg: Config) -> Config:
    """The config with every line that the refusal suggests."""
    with pytest.raises(RecipeError, match='Expected to have finished reduction') as caught:
        found(cfg, lambda cfg, loaders: check_unused_maps(cfg))
    lines = [line for line in str(caught.value).splitlines() if line.startswith('  model.')]
    pairs = (line.strip().split('=', 1) for line in lines)
    cfg.merge_from_dict({key: eval(value) for key, value in pairs})
    check_channels(cfg)
    assert found(cfg, lambda cfg, loaders: check_unused_maps(cfg)) == []
    return cfg


def _process(rank, folder, cases) -> None:
    """In each case the first model raises, and the others train, in one process and in two.

    One start of processes serves all cases, because it takes seconds.
    """
    from mmengine.registry import init_default_scope

    torch.set_num_threads(1)
    os.environ.setdefault('GLOO_SOCKET_IFNAME', 'lo')  # without it gloo looks up the host's name
    dist.init_process_group('gloo', f'file://{folder}/store', rank=rank, world_size=2)
    alone = [dist.new_group([one]) for one in range(2)][rank]
    for scope, refused, *passing in cases:
        init_default_scope(scope)
        for group in (None, alone):
            with pytest.raises(RuntimeError, match='Expected to have finished reduction'):
                _steps(refused, process_group=group)
            for case in passing:
                _steps(**case, process_group=group)
    dist.barrier()
    dist.destroy_process_group()
    os._exit(0)  # a thread of gloo that is still ending would abort the process


def _steps(model: dict, **options) -> None:
    model = MMDistributedDataParallel(_Sum(MODELS.build(copy.deepcopy(model))), **options)
    for _ in range(2):
        model(torch.rand(2, 3, 64, 64)).backward()


class _Sum(torch.nn.Module):
    """The mean of all that the heads return stands for their losses."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        maps = self.model.extract_feat(images)
        names = ('bbox_head', 'decode_head', 'auxiliary_head')
        heads = [getattr(self.model, name) for name in names if hasattr(self.model, name)]
        return sum(out.mean() for head in heads for out in _tensors(head(maps)))


def _tensors(value):
    return [value] if torch.is_tensor(value) else [t for part in value for t in _tensors(part)]


def test_what_is_refused_stops_and_what_passes_trains(config, tmp_path):
    cases = []
    for scope, model in (('mmdet', detector()), ('mmseg', segmentor())):
        refused = config(scope, model)
        mend = mended(copy.deepcopy(refused)).model.to_dict()
        other_way = dict(model=refused.model.to_dict(), find_unused_parameters=True)
        cases.append((scope, refused.model.to_dict(), dict(model=mend), other_way))
    assert cases[0][1]['neck']['start_level'] == 1
    done = processes.call(_process, tmp_path, cases, count=2)
    assert [process.returncode for process in done] == [0, 0], [p.stderr for p in done]
