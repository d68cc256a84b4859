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
from mmconvnext.recipe.own_data.given import read
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


@pytest.mark.parametrize(
    ('kind', 'scope', 'what'),
    [
        ('LoadTrackAnnotations', 'mmdet', 'objects tracked through videos'),
        ('PackReIDInputs', 'mmdet', 'identities of persons'),
        ('RandomSamplingNegPos', 'mmdet', 'texts that describe the objects'),
        ('LoadTextAnnotations', 'mmdet', 'texts that describe the objects'),
        ('DODDataset', 'mmdet', 'texts that describe the objects'),
        ('Flickr30kDataset', 'mmdet', 'texts that describe the objects'),
        ('MDETRStyleRefCocoDataset', 'mmdet', 'texts that describe the objects'),
        ('LoadDepthAnnotation', 'mmseg', 'depth maps'),
        ('LoadMultipleRSImageFromFile', 'mmseg', 'pairs of images between which something changed'),
    ],
)
@pytest.mark.parametrize('loader', ['train_dataloader', 'val_dataloader', 'test_dataloader'])
def test_every_transform_and_dataset_of_other_data_is_known(kind, scope, what, loader):
    node = dict(type='A', dataset=dict(type='A', pipeline=[dict(type=f'{scope}.{kind}')]))
    cfg = Config({'default_scope': scope, loader: dict(dataset=node)})
    with pytest.raises(RecipeError, match=rf'this recipe loads {what} \({kind}\); use a recipe'):
        kind_of(cfg)


METRICS = ['CityScapesMetric', 'CrowdHumanMetric', 'LVISFixedAPMetric', 'LVISMetric']


@pytest.mark.parametrize('kind', [*METRICS, 'OpenImagesMetric', 'VOCMetric'])
@pytest.mark.parametrize('masks', [False, True])
def test_metrics_of_other_data_become_coco(coco_data, kind, masks):
    own = read(coco_data, Instances())
    pipeline = [dict(type='mmdet.LoadAnnotations', with_mask=masks)]
    cfg = Config(dict(val_dataloader=dict(dataset=dict(pipeline=pipeline))))
    node = dict(type=f'mmdet.{kind}', outfile_prefix='x')
    assert Instances().metric(cfg, node, coco_data['val'], own) == dict(
        type='mmdet.CocoMetric',
        metric=['bbox', 'segm'] if masks else 'bbox',
        ann_file=f'{coco_data["root"]}/val.json',
    )


IOU = dict(type='mmseg.IoUMetric', iou_metrics=['mIoU'])


@pytest.mark.parametrize(
    ('given', 'labelled', 'bare'),
    [
        (dict(IOU, output_dir='mine'), dict(IOU, output_dir='mine'), dict(IOU, output_dir='mine')),
        (dict(type='IoUMetric', iou_metrics=['mDice']), None, None),
        (dict(type='mmseg.CityscapesMetric', output_dir='x'), IOU, IOU),
        (dict(type='Mine'), dict(type='Mine'), IOU),
    ],
)
def test_metrics_of_label_maps(seg_data, given, labelled, bare):
    kind = LabelMaps()
    assert kind.metric(Config(), dict(given), seg_data['val'], None) == (labelled or given)
    expected = {'output_dir': 'work_dirs/label_maps', **(bare or given), 'format_only': True}
    for evaluator in (given, [given, dict(type='B')], (given,)):
        assert kind.unlabelled(evaluator) == expected
    for nothing in (None, [], {}):
        assert kind.unlabelled(nothing) == dict(
            IOU, output_dir='work_dirs/label_maps', format_only=True
        )


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


@pytest.mark.parametrize(
    ('kind', 'names'),
    [
        (Instances(), ['categories', 'masks']),
        (Panoptic(), ['categories', 'segments']),
        (LabelMaps(), ['labels']),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_checks_of_a_kind(monkeypatch, kind, names):
    for name in ('categories', 'masks', 'segments', 'labels'):
        check = partial(lambda name, cfg, loaders: [(name, cfg, loaders)], name)
        monkeypatch.setattr(f'mmconvnext.recipe.checks.{name}.check_{name}', check)
    assert list(kind.checks('cfg', LOADERS)) == [(name, 'cfg', LOADERS) for name in names]


@pytest.mark.parametrize('kind', KINDS, ids=lambda kind: type(kind).__name__)
def test_a_kind_answers_everything(kind):
    for name in ('fits', 'dataset', 'metric', 'checks', 'toy'):
        assert name in vars(type(kind)), f'{type(kind).__name__} lacks {name}'
    assert kind.scope in ('mmdet', 'mmseg') and kind.holds
    assert inspect.getdoc(type(kind)) != inspect.getdoc(DataKind)
