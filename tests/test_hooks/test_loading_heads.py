# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""hooks/loading.py, hooks/same_classes.py: a test with other classes than the file's is refused."""

from types import SimpleNamespace

import pytest
import torch
from fixtures import MASK_RCNN, TINY_DETECTOR, TINY_SEGMENTOR, UPERNET, public_config
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mmconvnext.cli.test import main as evaluate
from mmconvnext.hooks.loading import Loading
from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.walk import dicts

WIDTHS = [8, 16, 32, 64]
ARCH = dict(depths=[1, 1, 1, 1], channels=WIDTHS)
# For each, a layer whose shape depends on the number of classes.
MODELS_AND_LAYERS = {
    'mmdet::_base_/models/mask-rcnn_r50_fpn.py': 'roi_head.bbox_head.fc_cls.weight',
    'mmdet::_base_/models/cascade-mask-rcnn_r50_fpn.py': 'roi_head.bbox_head.0.fc_cls.weight',
    'mmdet::_base_/models/retinanet_r50_fpn.py': 'bbox_head.retina_cls.weight',
    'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py': 'bbox_head.rtm_cls.0.weight',
    'mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco.py': 'panoptic_head.cls_embed.weight',
    'mmseg::_base_/models/upernet_r50.py': 'decode_head.conv_seg.weight',
    'mmseg::_base_/models/ocrnet_r50-d8.py': 'decode_head.0.conv_seg.weight',
}


def model(file, classes):
    """A small one of this kind; its config and itself."""
    scope = file.partition('::')[0]
    config = Config.fromfile(public_config(file)).model
    indices = (
        config.backbone.get('out_indices', (0, 1, 2, 3)) if 'rtmdet' not in file else (1, 2, 3)
    )
    config.backbone = dict(type='mmconvnext.ConvNeXt', arch=ARCH, out_indices=indices)
    config.pop('pretrained', None)
    if 'panoptic_head' in config:
        config.panoptic_head.in_channels = WIDTHS
    if 'neck' in config:
        config.neck.in_channels = [WIDTHS[i] for i in indices]
    for _, node in dicts(config):
        if 'in_index' in node:
            index = node.in_index
            node.in_channels = (
                [WIDTHS[i] for i in index] if isinstance(index, (list, tuple)) else WIDTHS[index]
            )
        if 'num_things_classes' in node:
            node.num_things_classes = classes
            if 'loss_cls' in node:
                node.loss_cls.class_weight = [1.0] * classes + [0.1]
        elif node.get('num_classes', 1) > 1:
            node.num_classes = classes
    init_default_scope(scope)
    return config, MODELS.build(config)


def load(config, network, checkpoint):
    hook = Loading('test')
    hook.source = 'epoch_1.pth'
    runner = SimpleNamespace(cfg=Config(dict(model=config)), model=network)
    hook.after_load_checkpoint(runner, checkpoint)


@pytest.mark.parametrize('file', MODELS_AND_LAYERS)
def test_heads_of_another_number_of_classes(file):
    layer = MODELS_AND_LAYERS[file]
    checkpoint = dict(meta={}, state_dict=model(file, 80)[1].state_dict())
    config, network = model(file, 2)
    before = network.state_dict()[layer].clone()
    with pytest.raises(RecipeError) as caught:
        load(config, network, checkpoint)
    assert 'does not fill the model' in str(caught.value)
    assert layer.rpartition('.')[0] in str(caught.value)
    assert 'the same heads, the same classes' in str(caught.value)
    assert torch.equal(network.state_dict()[layer], before)
    config, network = model(file, 80)
    load(config, network, checkpoint)
    assert torch.equal(network.state_dict()[layer], checkpoint['state_dict'][layer])


@pytest.mark.parametrize('config', [MASK_RCNN, UPERNET], ids=['detector', 'segmentor'])
def test_the_tool_refuses_as_many_classes_of_other_names(config, request, workplace):
    seg = config == UPERNET
    run = request.getfixturevalue('segmentor_run' if seg else 'detector_run')
    content = torch.load(run.checkpoint, weights_only=False)
    classes = content['meta']['dataset_meta']['classes']
    others = tuple(f'fruit {i}' for i in range(len(classes)))
    content['meta']['dataset_meta']['classes'] = others
    torch.save(content, 'fruit.pth')
    options = TINY_SEGMENTOR if seg else TINY_DETECTOR
    argv = [config, 'fruit.pth', '--toy', '--work-dir', 'test', '--cfg-options', *options]
    with pytest.raises(
        RecipeError,
        match=rf"^the checkpoint was trained with class 0 as 'fruit 0', the config calls it "
        rf"'{classes[0]}'; write classes=\['fruit 0', [^\n]*\n\(checks\.trained_classes=False",
    ):
        evaluate(argv)
    assert evaluate([*argv, 'checks.trained_classes=False'])
