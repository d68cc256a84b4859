# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""migration.py: migrated configs with many heads are read, built and trained for a step."""

import pytest
from mmengine.config import Config

from mmconvnext.migrate.migration import migrate, refuse_existing, renew_imports
from mmconvnext.migrate.notes import Notes
from mmconvnext.recipe.errors import RecipeError

BACKBONE = """
custom_imports = dict(imports=['mmpretrain.models'], allow_failed_imports=False)
model = dict(
    backbone=dict(
        _delete_=True, type='mmpretrain.ConvNeXt', arch='atto', out_indices={out},
        gap_before_final_norm=False, layer_scale_init_value=1.0),
    {more})
"""
DECAY = """
optim_wrapper = dict(
    constructor='LearningRateDecayOptimizerConstructor',
    paramwise_cfg=dict(decay_rate=0.8, decay_type='layer_wise', num_layers=6),
    optimizer=dict(_delete_=True, type='AdamW', lr=1e-4, weight_decay=0.05))
"""
FOUR, THREE = [40, 80, 160, 320], [80, 160, 320]
# One of each kind of head, kept narrow: a second each. mmdet's config, the stages it uses, and what
# a user changes together with the backbone.
DETECTORS = {
    'RTMDet': ('rtmdet/rtmdet_tiny_8xb32-300e_coco.py', THREE, ''),  # shares parameters
    'ATSS': ('atss/atss_r50_fpn_1x_coco.py', FOUR, ''),
    'DINO': ('dino/dino-4scale_r50_8xb2-12e_coco.py', THREE, 'num_queries=20, '),
    'SOLOv2': (
        'solov2/solov2_r50_fpn_1x_coco.py',
        FOUR,
        'mask_head=dict(feat_channels=32, num_grids=[4, 4, 4, 4, 4]), ',
    ),
    'Mask2Former': (
        'mask2former/mask2former_r50_8xb2-lsj-50e_coco.py',
        FOUR,
        f'panoptic_head=dict(in_channels={FOUR})',
    ),
}
SEGMENTORS = {
    'UPerNet': (
        'upernet/upernet_r50_4xb2-40k_cityscapes-512x1024.py',
        f'pretrained=None, decode_head=dict(in_channels={FOUR}, channels=16), '
        'auxiliary_head=dict(in_channels=160, channels=16)',
    ),
    'OCR': (
        'ocrnet/ocrnet_r101-d8_4xb2-40k_cityscapes-512x1024.py',
        'pretrained=None, decode_head=[dict(type="FCNHead", in_channels=320, in_index=3, '
        'channels=16, num_classes=19, num_convs=1, concat_input=False), dict(type="OCRHead", '
        'in_channels=320, in_index=3, channels=16, ocr_channels=8, num_classes=19)]',
    ),
}
MASKED = ('SOLOv2', 'Mask2Former')
OWN_OPTIMIZER = ('DINO', 'Mask2Former')  # AdamW, with custom_keys of their own


def detector(name, write):
    base, channels, more = DETECTORS[name]
    out = list(range(4 - len(channels), 4))
    if name != 'Mask2Former':
        more += f'neck=dict(in_channels={channels})'
    text = f"_base_ = 'mmdet::{base}'\n" + BACKBONE.format(out=out, more=more)
    return write(text + ('' if name in OWN_OPTIMIZER else DECAY))


def segmentor(name, write, folder):
    base, more = SEGMENTORS[name]
    text = f"_base_ = '{folder}/{base}'\n" + BACKBONE.format(out=[0, 1, 2, 3], more=more)
    return write(text + DECAY)


@pytest.mark.parametrize('name', DETECTORS)
def test_detectors(name, write, tmp_path, step, detection_inputs, proven):
    out = tmp_path / 'out.py'
    result = migrate(detector(name, write), out)
    proven(result)
    out.write_text(result.text)
    assert len(result.text.splitlines()) < 30  # it is as short as the source
    if name in OWN_OPTIMIZER:
        assert any('applies to the whole backbone' in line for line in result.notes.look)
        keys = result.target['optim_wrapper']['paramwise_cfg']['custom_keys']
        assert keys['backbone']['lr_mult'] == 0.1
    assert 0 < step(out, detection_inputs(masks=name in MASKED)) < float('inf')


@pytest.mark.parametrize('name', SEGMENTORS)
def test_segmentors(name, write, tmp_path, mmseg_base, step, segmentation_inputs, proven):
    out = tmp_path / 'out.py'
    result = migrate(segmentor(name, write, mmseg_base), out)
    proven(result)
    out.write_text(result.text)
    assert 0 < step(out, segmentation_inputs) < float('inf')


def test_the_new_config_says_only_what_changed(mask_rcnn, tmp_path):
    result = migrate(mask_rcnn, tmp_path / 'out.py')
    assert result.text.startswith(
        '# From mine.py, by tools/migrate_config.py of mmconvnext.\n'
        "_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'\n"
    )
    (tmp_path / 'out.py').write_text(result.text)
    cfg = Config.fromfile(str(tmp_path / 'out.py'))
    assert cfg.model.backbone == dict(
        type='mmconvnext.ConvNeXt',
        arch='atto',
        version='v2',
        drop_path_rate=0.1,
        layer_scale_init_value=0.0,
        init_cfg=dict(type='Pretrained', checkpoint='atto.pth'),
    )
    assert cfg.custom_imports.imports == ['mmconvnext']
    assert cfg.optim_wrapper.paramwise_cfg == dict(decay_rate=0.8, decay_type='layer_wise')
    assert cfg.default_scope == 'mmdet'


def test_a_lazy_config_is_written_out(write, tmp_path):
    write("neck = dict(type='FPN', in_channels=[40, 80, 160, 320])\n", 'base.py')
    path = write(
        """
        from mmengine.config import read_base
        from mmengine.optim import OptimWrapper

        with read_base():
            from .base import *

        default_scope = 'mmdet'
        model = dict(
            type='NoSuchDetector', neck=neck,
            backbone=dict(
                type='mmpretrain.ConvNeXt', arch='atto', out_indices=[0, 1, 2, 3],
                gap_before_final_norm=False))
        optim_wrapper = dict(type=OptimWrapper, optimizer=dict(type='SGD', lr=0.1))
        """
    )
    result = migrate(path, tmp_path / 'out.py')
    assert '_base_' not in result.text
    assert any('NoSuchDetector' in line for line in result.proof)  # said, not raised
    (tmp_path / 'out.py').write_text(result.text)
    cfg = Config.fromfile(str(tmp_path / 'out.py'))
    assert cfg.model.backbone == dict(type='mmconvnext.ConvNeXt', arch='atto')
    assert cfg.model.neck.in_channels == [40, 80, 160, 320]
    assert cfg.optim_wrapper.type.endswith('.OptimWrapper')


def test_imports_stay_while_something_needs_them():
    cfg = dict(
        custom_imports=dict(imports='mmpretrain.models'),
        model=dict(neck=dict(type='mmpretrain.HRFuseScales')),
    )
    notes = Notes()
    renew_imports(cfg, False, notes)
    assert cfg['custom_imports'] == dict(imports='mmpretrain.models')
    assert 'model.neck needs it' in notes.look[0]


def test_own_modules_stay_in_the_imports():
    cfg = dict(custom_imports=dict(imports=['mmcls.models', 'mine.hooks']))
    renew_imports(cfg, False, Notes())
    assert cfg['custom_imports']['imports'] == ['mine.hooks', 'mmconvnext']
    cfg = dict(model={})
    renew_imports(cfg, False, Notes())
    assert cfg == dict(model={})


def test_settings_of_the_old_generation_in_a_new_config_are_named(mask_rcnn, tmp_path):
    with mask_rcnn.open('a') as file:
        file.write('lr_config = dict(warmup_iters=1000)\n')
    result = migrate(mask_rcnn, tmp_path / 'out.py')
    assert any("['lr_config'] are settings of mmcv 1" in line for line in result.notes.look)


@pytest.mark.parametrize('head', ['default_scope="mmpretrain"', ''])
@pytest.mark.parametrize('kind', ['mmpretrain.ConvNeXt', 'ConvNeXt'])
def test_a_classifier_is_refused_with_its_line(head, kind, write):
    text = f"{head}\nmodel = dict(type='ImageClassifier', backbone=dict(type='{kind}'))\n"
    line = "backbone=dict\\(type='mmconvnext.ConvNeXt', out_indices=-1, gap_before_final_norm=True"
    with pytest.raises(RecipeError, match=f"mine.py: model.type='ImageClassifier' is .*{line}"):
        migrate(write(text))


@pytest.mark.parametrize(
    ('text', 'match'),
    [
        ('x = 1', 'mine.py: no ConvNeXt to migrate: there is no backbone; supp'),
        (
            "model = dict(backbone=dict(type='ResNet'))",
            "mine.py: .* are model.backbone='ResNet'; .*To use ours: backbone=dict",
        ),
        (
            "model = dict(backbone=dict(type='mmconvnext.ConvNeXt'))",
            'mine.py: nothing to migrate: the config already has our ConvNeXt',
        ),
    ],
)
def test_what_holds_no_foreign_convnext_is_told(text, match, write):
    with pytest.raises(RecipeError, match=match):
        migrate(write(text))


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / 'here.py').touch()
    with pytest.raises(RecipeError, match='here.py exists and would be overwritten'):
        refuse_existing(tmp_path / 'here.py')
    with pytest.raises(RecipeError, match='here.py is a file, not a folder'):
        refuse_existing(tmp_path / 'here.py' / 'new' / 'mine.py')
    with pytest.raises(RecipeError, match='a config must be a .py file'):
        refuse_existing('out.yaml')
