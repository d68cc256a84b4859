# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/families: a model's family is recognised by its parts; others are refused."""

import pytest
from fixtures import CASCADE, FASTER_RCNN, MASK_RCNN, UPERNET
from mmengine.config import Config
from mmengine.config.lazy import LazyObject

from mmconvnext.recipe import families
from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.families import FAMILIES, family_of, find_family, has_own_classes
from mmconvnext.recipe.families.family import Family, Input, neck_inputs
from mmconvnext.recipe.toy import make_toy

BACKBONE = dict(type='mmconvnext.ConvNeXt', arch='atto')


def name_of(model: dict, scope='mmdet') -> str:
    model = dict(model, backbone=dict(BACKBONE))
    return family_of(Config(dict(default_scope=scope, model=model))).name


def test_every_family_has_its_settings():
    """Our choice; a rehearsal takes minutes with them, see the class."""
    keys = ('batch_size', 'lr', 'epochs', 'iterations', 'size_multiple', 'pools_to_single_values')
    assert {
        type(family).__name__: [getattr(family, key) for key in keys] for family in FAMILIES
    } == {
        'TwoStage': [2, 6e-4, 7, 1600, 1, False],
        'QueryBased': [2, 2e-4, 7, 1600, 32, False],
        'DenseOneStage': [2, 6e-4, 7, 1600, 32, False],
        'EncoderDecoder': [4, 1e-3, 15, 1600, 1, True],
    }
    assert [family.image_scale for family in FAMILIES] == [0.24, 0.24, 0.24, 0.25]
    assert all(family.name and family.members for family in FAMILIES)


@pytest.mark.parametrize(
    'config, name',
    [
        (MASK_RCNN, 'two-stage detectors'),
        (CASCADE, 'two-stage detectors'),
        (FASTER_RCNN, 'two-stage detectors'),
        (UPERNET, 'encoder-decoder segmentors'),
    ],
)
def test_shipped_recipes(load, config, name):
    assert family_of(load(config)).name == name


@pytest.mark.parametrize(
    'kind, name',
    [
        ('RetinaNet', 'dense one-stage detectors'),
        ('SOLO', 'dense one-stage detectors'),
        ('SparseRCNN', 'two-stage detectors'),
        ('DINO', 'query-based detectors'),
        ('Mask2Former', 'query-based detectors'),  # a subclass of SingleStageDetector
        ('mmseg.CascadeEncoderDecoder', 'encoder-decoder segmentors'),
    ],
)
def test_the_class_counts_in_any_spelling(kind, name):
    scope, _, short = kind.rpartition('.')
    scope = scope or 'mmdet'
    lazy = LazyObject(f'{scope}.models', short)
    for spelling in (short, f'{scope}.{short}', lazy, lazy.build()):
        assert name_of(dict(type=spelling), scope) == name


def test_a_subclass_of_ones_own():
    from mmdet.models import RetinaNet

    assert name_of(dict(type=type('Mine', (RetinaNet,), {}))) == 'dense one-stage detectors'


@pytest.mark.parametrize(
    'parts, name',
    [
        (dict(roi_head=dict(type='A')), 'two-stage detectors'),
        (dict(panoptic_head=dict(type='A')), 'query-based detectors'),
        (dict(num_queries=100, bbox_head=dict(type='A')), 'query-based detectors'),
        (dict(bbox_head=dict(type='A')), 'dense one-stage detectors'),
        (dict(mask_head=dict(type='A')), 'dense one-stage detectors'),
        (dict(decode_head=dict(type='A')), 'encoder-decoder segmentors'),
    ],
)
def test_a_class_that_nobody_knows_is_told_by_its_parts(parts, name):
    assert name_of(dict(type='NoSuchDetector', **parts)) == name


def test_a_wrapper_has_no_say(load):
    cfg = load(MASK_RCNN)
    cfg.model = dict(type='SoftTeacher', detector=cfg.model)
    assert family_of(cfg).name == 'two-stage detectors'


def test_a_model_of_no_family_is_refused_with_the_list():
    with pytest.raises(RecipeError) as caught:
        name_of(dict(type='SemiBaseDetector'))
    message = str(caught.value)
    assert message.startswith("model.type='SemiBaseDetector' belongs to no model family")
    assert all(family.name in message for family in FAMILIES)
    assert 'with own_data' in message and 'docs/recipes.md' in message


@pytest.mark.parametrize('kind, part', [('GLIP', 'language_model'), ('DINO', 'text_encoder')])
def test_models_that_read_text_are_of_no_family(kind, part):
    with pytest.raises(RecipeError, match=f"type='{kind}' belongs to no model family"):
        name_of({'type': kind, part: dict(type='BertModel')})


def test_a_new_family_is_a_class_and_a_line(load, toy_data, monkeypatch):
    """--toy uses a new family without a change anywhere else."""

    class Corners(Family):
        name, members, lr, batch_size = 'corner detectors', 'CornerNet', 5e-4, 3

        def matches(self, bases, model):
            return 'CornerNet' in bases

        def inputs(self, model, count):
            return [Input('bbox_head', model['bbox_head'], [count - 1], [count - 1])]

    monkeypatch.setattr(families, 'FAMILIES', (Corners(), *FAMILIES))
    cfg = load(FASTER_RCNN)
    head = dict(type='CornerHead', num_classes=80, in_channels=768)
    cfg.model = dict(type='CornerNet', backbone=cfg.model.backbone, bbox_head=head)
    cfg.model.data_preprocessor = dict(type='DetDataPreprocessor')
    make_toy(cfg)
    assert cfg.model.bbox_head.in_channels == 320
    assert (cfg.train_dataloader.batch_size, cfg.optim_wrapper.optimizer.lr) == (3, 5e-4)


def test_a_backbone_inside_of_another_backbone_is_named():
    inside = dict(type='STDCContextPathNet', backbone_cfg=dict(BACKBONE))
    model = dict(type='EncoderDecoder', backbone=inside, decode_head=dict(type='FCNHead'))
    with pytest.raises(RecipeError, match=r"model\.backbone\.type='STDCContextPathNet' belongs"):
        family_of(Config(dict(default_scope='mmseg', model=model)))


def test_a_model_without_our_backbone(load):
    cfg = load(MASK_RCNN)
    cfg.model.backbone = dict(type='ResNet', depth=50)
    with pytest.raises(RecipeError, match=r'no ConvNeXt of this package. Write\s+model=dict'):
        family_of(cfg)


def test_nothing_is_found_for_a_model_of_no_family():
    assert find_family(Config(dict(default_scope='mmdet')), dict(type='NoSuchDetector')) is None


# Inputs: which parts take which maps


@pytest.mark.parametrize(
    ('neck', 'path', 'maps', 'used'),
    [
        (dict(in_channels=[1, 2, 3]), 'neck', [0, 1, 2], [0, 1, 2]),
        ([dict(in_channels=[1, 2, 3]), {}], 'neck.0', [0, 1, 2], [0, 1, 2]),
        (dict(in_channels=[1, 2, 3], start_level=1), 'neck', [0, 1, 2], [1, 2]),
        (dict(in_channels=[1, 2, 3], end_level=-1), 'neck', [0, 1, 2], [0, 1, 2]),
        (dict(in_channels=[1, 2, 3], end_level=1), 'neck', [0, 1, 2], [0, 1]),
        (dict(in_channels=(1, 2, 3), start_level=1, end_level=1), 'neck', [0, 1, 2], [1]),
        (dict(in_channels=3), 'neck', [2], [2]),
        (({}, {}), 'neck.0', [0, 1, 2], [0, 1, 2]),
    ],
)
def test_a_neck_takes_all_maps_or_the_last(neck, path, maps, used):
    (part,) = neck_inputs(dict(neck=neck), 3)
    first = neck[0] if isinstance(neck, (list, tuple)) else neck
    assert part == Input(path, first, maps, used, by_index=False)
    assert neck_inputs(dict(), 3) == neck_inputs(dict(neck=None), 3) == []


def test_channels_are_set_as_they_were_given():
    for given, expected in (([1, 2], [8, 16]), ((1, 2), (8, 16)), (2, 16)):
        model = dict(type='A', neck=dict(in_channels=given))
        Family().fit_inputs(model, [8, 16])
        assert model['neck']['in_channels'] == expected


def test_a_model_whose_maps_nothing_is_known_to_take_is_refused():
    for model in (dict(type='CornerNet'), dict(type='CornerNet', neck=dict(type='Pooling'))):
        match = "which part of 'CornerNet' takes .* in dense one-stage detectors it looks for"
        with pytest.raises(RecipeError, match=match):
            FAMILIES[2].fit_inputs(model, [8, 16])


# Classes of their own


@pytest.mark.parametrize(
    'path, node, own',
    [
        ('model.roi_head.semantic_head', dict(num_classes=183), True),
        ('model.semantic_head', dict(num_things_classes=80, num_stuff_classes=53), False),
        ('model.rpn_head', dict(num_classes=1), True),
        ('model.rpn_head', dict(num_classes=2), False),
        ('model.semantic_heads', dict(num_classes=183), False),
        ('model.reid_head', dict(num_classes=380), False),
        ('model.bbox_head', dict(num_classes=1), False),
        ('model.auxiliary_head.2', dict(type='STDCHead', num_classes=2), True),
        ('model.decode_head', dict(type='FCNHead', num_classes=2), False),
        ('model.reid.head', dict(num_classes=380), True),
    ],
)
def test_heads_with_classes_of_their_own(path, node, own):
    assert has_own_classes(path, node) is own
