# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/own_data/kinds: a recipe's kind of data is found, or the error names what it needs."""

import inspect
from functools import partial

import pytest
from fixtures import CASCADE, FASTER_RCNN, UPERNET, public_config, stem
from mmengine.config import Config

from mmconvnext import toy
from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.own_data import apply_own_data
from mmconvnext.recipe.own_data.kinds import KINDS, check_data, kind_of
from mmconvnext.recipe.own_data.kinds.instances import Instances
from mmconvnext.recipe.own_data.kinds.kind import DataKind
from mmconvnext.recipe.own_data.kinds.label_maps import LabelMaps
from mmconvnext.recipe.own_data.kinds.panoptic import Panoptic
from mmconvnext.recipe.walk import LOADERS

PANOPTIC = public_config('mmdet::panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py')
HTC = public_config('mmdet::htc/htc_r50_fpn_1x_coco.py')
RECIPES = {
    FASTER_RCNN: Instances,
    CASCADE: Instances,
    public_config('mmdet::yolox/yolox_s_8xb8-300e_coco.py'): Instances,
    public_config('mmdet::lvis/mask-rcnn_r50_fpn_sample1e-3_ms-1x_lvis-v1.py'): Instances,
    PANOPTIC: Panoptic,
    UPERNET: LabelMaps,
    public_config('mmseg::segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py'): LabelMaps,
}


@pytest.mark.parametrize(('config', 'kind'), RECIPES.items(), ids=map(stem, RECIPES))
def test_the_kind_of_a_recipe(config, kind):
    assert type(kind_of(Config.fromfile(config))) is kind


@pytest.mark.parametrize(
    ('config', 'what'),
    [
        ('mmdet::htc/htc_r50_fpn_1x_coco.py', 'boxes and masks .* loads label maps .*with_seg'),
        (
            'mmdet::masktrack_rcnn/masktrack-rcnn_mask-rcnn_r50_fpn_8xb1-12e_youtubevis2019.py',
            r'loads objects tracked through videos \(LoadTrackAnnotations\)',
        ),
        (
            'mmdet::reid/reid_r50_8xb32-6e_mot15train80_test-mot15val20.py',
            r'loads identities of persons \(PackReIDInputs\)',
        ),
        (
            'mmdet::grounding_dino/refcoco/grounding_dino_swin-t_pretrain_zeroshot_refexp.py',
            r'loads texts that describe the objects \(MDETRStyleRefCocoDataset\)',
        ),
        (
            'mmdet::mm_grounding_dino/coco/grounding_dino_swin-t_finetune_16xb4_1x_sft_coco.py',
            r'loads texts that describe the objects \(RandomSamplingNegPos\)',
        ),
        (
            'mmseg::vpd/vpd_sd_4xb8-25k_nyu-480x480.py',
            r'a class for every pixel, .* loads depth maps \(LoadDepthAnnotation\)',
        ),
        (
            'mmseg::swin/swin-tiny-patch4-window7_upernet_1xb8-20k_levir-256x256.py',
            r'loads pairs of images .* \(LoadMultipleRSImageFromFile\)',
        ),
    ],
)
def test_what_no_kind_holds_is_named(coco_data, config, what):
    cfg = Config.fromfile(public_config(config), import_custom_modules=False)
    with pytest.raises(RecipeError, match=f'{what}.*; use a recipe that does not, or'):
        kind_of(cfg)
    cfg.own_data = coco_data
    with pytest.raises(RecipeError, match=what):
        apply_own_data(cfg)


def test_files_are_checked_where_a_recipe_needs_more(coco_data):
    cfg = Config.fromfile(HTC)
    dataset = dict(data_root=coco_data['root'], ann_file='train.json')
    dataset['metainfo'] = dict(classes=('dog', 'cat'))
    cfg.merge_from_dict({'train_dataloader.dataset': dataset})
    texts = [finding.text for finding in check_data(cfg, LOADERS[:1])]
    assert 'a different order from classes' in texts[0]


@pytest.mark.parametrize('config', [FASTER_RCNN, PANOPTIC, UPERNET], ids=stem)
def test_the_toy_data_is_of_its_kind(tmp_path, monkeypatch, config):
    for name in ('write_coco', 'write_panoptic', 'write_ade'):
        small = partial(getattr(toy, name), num_train=2, num_val=2, size=96)
        monkeypatch.setattr(toy, name, small)
    cfg = Config.fromfile(config)
    cfg.own_data = kind_of(cfg).toy(tmp_path)
    apply_own_data(cfg)
    refused = [finding.text for finding in check_data(cfg, LOADERS) if finding.check]
    assert refused == []


def test_toy_data_leaves_other_folders_alone(tmp_path):
    (tmp_path / 'panoptic').mkdir()
    (tmp_path / 'panoptic/mine.txt').write_text('mine')
    with pytest.raises(RecipeError, match='panoptic is in the way: it holds no readable toy.json'):
        Panoptic().toy(tmp_path)


@pytest.mark.parametrize('kind', KINDS, ids=lambda kind: type(kind).__name__)
def test_a_kind_answers_everything(kind):
    for name in ('fits', 'dataset', 'metric', 'checks', 'toy'):
        assert name in vars(type(kind)), f'{type(kind).__name__} lacks {name}'
    assert kind.scope in ('mmdet', 'mmseg') and kind.holds
    assert inspect.getdoc(type(kind)) != inspect.getdoc(DataKind)
