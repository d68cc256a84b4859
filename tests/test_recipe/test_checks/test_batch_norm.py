# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/checks/batch_norm.py: a batch of one image is refused where batch norm fails on it."""

import copy
import re

import pytest
import torch
from fixtures import MASK_RCNN, UPERNET, found, public_config
from mmengine.config import Config
from mmseg.registry import MODELS

from mmconvnext.models import ConvNeXt
from mmconvnext.recipe.checks.batch_norm import check_batch_norm
from mmconvnext.recipe.errors import RecipeError

HEADS = {
    'upernet_r50': r'model\.decode_head\.psp_modules\.0\.1\.bn .*model\.decode_head\.norm_cfg',
    'pspnet_r50-d8': r'model\.decode_head\.psp_modules\.0\.1\.bn',
    'deeplabv3plus_r50-d8': r'model\.decode_head\.image_pool\.1\.bn',
    'apcnet_r50-d8': r'model\.decode_head\.acm_modules\.0\.pooled_redu_conv\.bn',
    'ocrnet_r50-d8': '',
    'encnet_r50-d8': '',
    'fcn_r50-d8': '',
    'gcnet_r50-d8': '',
    'fpn_r50': '',
}


def one_image(check=check_batch_norm, **changes):
    """The refusal of a config that trains on one image, '' if there is none."""

    def of(cfg):
        cfg.train_dataloader.batch_size = 1
        cfg.update(changes)
        return found(cfg, lambda cfg, loaders: check(cfg))

    return of


def segmentor(name, tiny_arch):
    """A model of mmseg's, its backbone and widths made small."""
    model = Config.fromfile(public_config(f'mmseg::_base_/models/{name}.py')).model
    model.update(pretrained=None)
    channels = tiny_arch['channels']
    model.backbone = dict(type='mmconvnext.ConvNeXt', arch=tiny_arch)
    nodes = [model.get('neck'), model.decode_head, model.get('auxiliary_head')]
    for node in [n for part in nodes if part for n in (part if isinstance(part, list) else [part])]:
        if name.startswith('ocrnet'):  # whose two heads take maps of one size
            node.in_index = 3
        if 'in_index' in node and not model.get('neck'):
            index = node.in_index
            many = isinstance(index, (list, tuple))
            node.in_channels = [channels[i] for i in index] if many else channels[index]
        if 'c1_in_channels' in node:
            node.c1_in_channels = channels[0]
        for key in ('channels', 'ocr_channels', 'c1_channels'):
            if key in node:
                node[key] = 32
    if model.get('neck'):
        model.neck.in_channels = channels
    return Config(dict(default_scope='mmseg', model=model, train_dataloader=dict(batch_size=1)))


@pytest.mark.parametrize('name', HEADS)
def test_what_is_refused_dies_and_what_passes_trains(name, tiny_arch):
    cfg = segmentor(name, tiny_arch)
    if HEADS[name]:
        with pytest.raises(RecipeError, match=HEADS[name]) as caught:
            one_image()(cfg)
        assert 'checks.batch_norm=False' in str(caught.value)
    else:
        assert one_image()(cfg) == []
    model = copy.deepcopy(cfg.model)
    for node in [model.decode_head, model.get('auxiliary_head')]:
        for part in node if isinstance(node, list) else [node] if node else []:
            part.norm_cfg = dict(type='BN')
    with MODELS.switch_scope_and_registry('mmseg') as registry:
        model = registry.build(model).train()
    maps = model.extract_feat(torch.rand(1, 3, 64, 64))
    cascade = isinstance(model.decode_head, torch.nn.ModuleList)
    heads, out = model.decode_head if cascade else [model.decode_head], ()
    if HEADS[name]:
        with pytest.raises(ValueError, match='Expected more than 1 value per channel'):
            heads[0](maps)
        return
    for head in heads:
        out = (head(maps, *out),)


def test_auxiliary_heads_run_too(tiny_arch):
    cfg = segmentor('fcn_r50-d8', tiny_arch)
    pools = segmentor('pspnet_r50-d8', tiny_arch).model.decode_head
    for heads in (pools, [cfg.model.auxiliary_head, pools]):
        cfg.model.auxiliary_head = heads
        with pytest.raises(RecipeError, match=r'auxiliary_head\.(1\.)?psp_modules\.0\.1\.bn'):
            one_image()(cfg)


def test_a_backbone_that_does_not_say_its_channels_takes_colours(tiny_arch):
    cfg = segmentor('pspnet_r50-d8', tiny_arch)
    cfg.model.backbone = dict(type=Silent, arch=tiny_arch)
    with pytest.raises(RecipeError, match=r'psp_modules\.0\.1\.bn'):
        one_image()(cfg)


class Silent(ConvNeXt):
    """As most backbones of mmseg."""

    def __init__(self, **options):
        super().__init__(**options)
        self.__dict__.pop('in_channels')

    def forward(self, x):
        assert x.shape[1] == 3
        self.in_channels = 3
        try:
            return super().forward(x)
        finally:
            del self.in_channels


def test_the_mend_is_let_pass(load):
    cfg = load(UPERNET)
    assert found(cfg, lambda cfg, loaders: check_batch_norm(cfg)) == []
    for channels, groups in ((64, 32), (48, 16)):
        cfg.model.decode_head.channels = channels
        match = re.escape(
            'Set train_dataloader.batch_size=2, or '
            f"model.decode_head.norm_cfg=dict(type='GN', num_groups={groups})\n"
        )
        with pytest.raises(RecipeError, match=match):
            one_image()(cfg)
    cfg.model.decode_head.norm_cfg = dict(type='GN', num_groups=16)
    assert one_image()(cfg) == []


def test_shared_statistics_of_several_processes_are_enough(load):
    assert one_image(launcher='pytorch')(load(UPERNET)) == []
    cfg = load(UPERNET)
    cfg.model.decode_head.norm_cfg = dict(type='BN')
    with pytest.raises(RecipeError, match=r'batch_size=1, but model\.decode_head\.psp_modules'):
        one_image(launcher='pytorch')(cfg)


def test_it_leaves_the_random_numbers_as_they_are(load):
    state = torch.get_rng_state()
    with pytest.raises(RecipeError):
        one_image()(load(UPERNET))
    assert torch.equal(torch.get_rng_state(), state)


def test_detectors_and_what_cannot_be_built_are_left_alone(load):
    assert one_image()(load(MASK_RCNN)) == []
    cfg = load(UPERNET)
    cfg.model.decode_head.type = 'NoSuchHead'
    assert one_image()(cfg) == []
