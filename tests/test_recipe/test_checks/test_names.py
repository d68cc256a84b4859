# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/checks/names.py: our classes need their scope, and the error has the line; others pass."""

import pytest
from fixtures import MASK_RCNN, UPERNET
from mmengine.config import Config
from mmengine.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS, Registry

from mmconvnext.recipe.checks import check_recipe
from mmconvnext.recipe.checks.names import check_names
from mmconvnext.recipe.errors import RecipeError

BACKBONE, CONSTRUCTOR = 'ConvNeXt', 'LayerDecayOptimWrapperConstructor'
WAY_OUT = r"write type='mmconvnext\.ConvNeXt'; a class of another package needs custom_imports"


@pytest.mark.parametrize('config', [MASK_RCNN, UPERNET], ids=['mmdet', 'mmseg'])
def test_plain_names_are_answered_with_the_line_to_write(config, load):
    cfg = load(config)
    check_names(cfg)
    cfg.optim_wrapper.constructor = CONSTRUCTOR
    match = (
        r"optim_wrapper\.constructor='LayerDecayOptimWrapperConstructor' is not registered.*"
        r"write constructor='mmconvnext\.LayerDecayOptimWrapperConstructor'"
    )
    with pytest.raises(RecipeError, match=match):
        check_names(cfg)
    check_names(cfg, training=False)  # it is not built then
    cfg.model.backbone.type = BACKBONE
    match = rf"model\.backbone\.type='ConvNeXt' is not registered.*{WAY_OUT}"
    with pytest.raises(RecipeError, match=match):
        check_recipe(cfg, ())


def test_a_backbone_in_a_wrapped_detector():
    cfg = Config(dict(model=dict(detector=dict(backbone=dict(type=BACKBONE)))))
    with pytest.raises(RecipeError, match=r"model\.detector\.backbone\.type='ConvNeXt'"):
        check_names(cfg)


@pytest.mark.parametrize('where', ['root', 'scope'])
def test_a_class_of_somebody_else_keeps_its_name(where, monkeypatch):
    """Registered by custom_imports, say: in the root registries, or in the config's scope."""
    scope = Registry('model', parent=MODELS, scope='mmnames', locations=[])
    registry = MODELS if where == 'root' else scope
    monkeypatch.setitem(registry.module_dict, BACKBONE, dict)
    monkeypatch.setitem(OPTIM_WRAPPER_CONSTRUCTORS.module_dict, CONSTRUCTOR, dict)
    wrapper = dict(constructor=CONSTRUCTOR)
    try:
        cfg = dict(default_scope='mmnames', optim_wrapper=wrapper)
        check_names(Config(dict(cfg, model=dict(backbone=dict(type=BACKBONE)))))
    finally:
        del MODELS._children['mmnames']


def test_other_names_and_classes_are_none_of_our_business():
    for kind in ('ResNet', 'mmpretrain.ConvNeXt', dict):
        check_names(Config(dict(model=dict(backbone=dict(type=kind)))))
    check_names(Config(dict(model=dict(), optim_wrapper=None)))


PARTS = ['neck', 'rpn_head', 'roi_head', 'bbox_head', 'mask_head', 'panoptic_head', 'decode_head']


@pytest.mark.parametrize('part', [*PARTS, 'auxiliary_head', 'roi_head.bbox_head'])
def test_a_part_that_the_base_lacks_is_named(part):
    """As `neck=dict(in_channels=...)` over Mask2Former, which has no neck."""
    node = dict(in_channels=[40, 80, 160, 320])
    model = dict(type='MaskRCNN', neck=dict(type='FPN', **node))
    if '.' in part:
        model['roi_head'] = dict(type='StandardRoIHead', bbox_head=[dict(type='Shared2FC')])
    model['bbox_head'] = model['mask_head'] = None
    cfg = Config(dict(default_scope='mmdet', model=model))
    check_names(cfg)
    cfg.merge_from_dict({f'model.{part}': [node] if '.' in part else dict(node, _delete_=True)})
    name = part.rpartition('.')[2]
    match = rf'model\.{part}=.*40, 80.* has no type: the base config has no {name}\. Take it out'
    with pytest.raises(RecipeError, match=match):
        check_names(cfg)
    cfg.model = dict(type=dict, inner=cfg.model)  # inside somebody's own class
    with pytest.raises(RecipeError, match=match.replace('model', 'model.inner', 1)):
        check_names(cfg)
    cfg.model = cfg.model.inner
    cfg.model.type = dict  # somebody's own class, whose parts are its own matter
    if '.' not in part:
        check_names(cfg)
