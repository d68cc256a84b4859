# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: the published recipes give every parameter the rate and decay of the official code.

Three tables must be equal: the official rule, written out again below; the golden file in
``tests/data/layer_decay``; and what our constructor passes to the optimizer for the whole detector
or segmentor of the recipe. ``python tests/test_optim/test_layer_decay_golden.py`` rewrites the
golden files from the rule below, without using the package's own arithmetic.
"""

from pathlib import Path

import pytest
import torch
from mmengine import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / 'tests' / 'data' / 'layer_decay'
COCO = 'convnext-{}_fpn_4conv1fc-giou_amp-ms-crop-3x_coco.py'
# golden file: recipe, decay type, decay rate, and `num_layers` as the official config has it
TABLES = {
    'mask-rcnn-t_layer-wise-0.95': (
        'mask_rcnn/mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py',
        'layer_wise',
        0.95,
        6,
    ),
    'cascade-t_layer-wise-0.7': (
        f'cascade_mask_rcnn/cascade-mask-rcnn_{COCO.format("t-p4-w7")}',
        'layer_wise',
        0.7,
        6,
    ),
    'cascade-s_layer-wise-0.7': (
        f'cascade_mask_rcnn/cascade-mask-rcnn_{COCO.format("s-p4-w7")}',
        'layer_wise',
        0.7,
        12,
    ),
    'cascade-b_layer-wise-0.8': (
        f'cascade_mask_rcnn/cascade-mask-rcnn_{COCO.format("b-p4-w7")}',
        'layer_wise',
        0.8,
        12,
    ),
    'upernet-t_stage-wise-0.9': (
        'upernet/convnext-tiny_upernet_8xb2-amp-160k_ade20k-512x512.py',
        'stage_wise',
        0.9,
        6,
    ),
    'upernet-s_stage-wise-0.9': (
        'upernet/convnext-small_upernet_8xb2-amp-160k_ade20k-512x512.py',
        'stage_wise',
        0.9,
        12,
    ),
}
HEADER = """\
# Learning-rate scale and weight decay of every parameter of
# configs/{recipe}
# by the rule of facebookresearch/ConvNeXt (object_detection and semantic_segmentation,
# mmcv_custom/layer_decay_optimizer_constructor.py) with decay_type={decay_type!r},
# decay_rate={rate}, num_layers={num_layers}, weight_decay=0.05 of the official config.
# Made by `python tests/test_optim/test_layer_decay_golden.py`, from that rule as written there.
# name depth scale weight_decay
"""


def official_group(name: str, decay_type: str, num_layers: int) -> int:
    """The group that the official constructor gives a parameter of a detector or segmentor."""
    words = name.split('.')
    part = '.'.join(words[:2])
    if part == 'backbone.downsample_layers':
        by_stage = {0: 0, 1: 2, 2: 3, 3: num_layers}
        return by_stage[int(words[2])] if decay_type == 'layer_wise' else 0
    if part == 'backbone.stages':
        stage, block = int(words[2]), int(words[3])
        by_stage = {0: 1, 1: 2, 2: 3 + block // 3, 3: num_layers}
        return by_stage[stage] if decay_type == 'layer_wise' else stage + 1
    return num_layers + 1  # heads, necks, and the backbone's own output norms


def official_table(
    model: nn.Module, decay_type: str, rate: float, num_layers: int
) -> list[tuple[str, int, float, float]]:
    table = []
    for name, param in model.named_parameters():
        group = official_group(name, decay_type, num_layers)
        flat = param.ndim == 1 or name.endswith('.bias')
        table.append((name, group, rate ** (num_layers + 1 - group), 0.0 if flat else 0.05))
    return table


def build(recipe: str) -> tuple[Config, nn.Module]:
    config = Config.fromfile(ROOT / 'configs' / recipe)
    with DefaultScope.overwrite_default_scope(config.default_scope), torch.device('meta'):
        return config, MODELS.build(config.model)


def read_golden(name: str) -> list[tuple[str, int, float, float]]:
    lines = (GOLDEN / f'{name}.txt').read_text().splitlines()
    rows = [line.split() for line in lines if not line.startswith('#')]
    return [(name, int(depth), float(scale), float(decay)) for name, depth, scale, decay in rows]


def assert_same(actual: list, expected: list) -> None:
    assert [row[0] for row in actual] == [row[0] for row in expected]
    for ours, theirs in zip(actual, expected, strict=True):
        assert ours == (*theirs[:2], pytest.approx(theirs[2], rel=1e-9), theirs[3])


@pytest.mark.parametrize('name', sorted(TABLES))
def test_official_rule_golden_file_and_constructor_agree(name):
    pytest.importorskip('mmdet', reason='the tables are of whole detectors and segmentors')
    recipe, decay_type, rate, num_layers = TABLES[name]
    config, model = build(recipe)
    official = official_table(model, decay_type, rate, num_layers)
    assert_same(read_golden(name), official)

    config.optim_wrapper.type = 'OptimWrapper'  # the AMP one needs a GPU
    optimizer = build_optim_wrapper(model, config.optim_wrapper).optimizer
    settings = {
        id(param): (group['lr'] / config.optim_wrapper.optimizer.lr, group['weight_decay'])
        for group in optimizer.param_groups
        for param in group['params']
    }
    ours = []
    for key, param in model.named_parameters():
        depth = num_layers + 1
        if key.startswith('backbone.'):
            depth, num_depths = model.backbone.get_layer_depth(key, 'backbone.', decay_type)
            assert num_depths == num_layers + 2
        ours.append((key, depth, *settings.pop(id(param))))
    assert settings == {}
    assert_same(ours, official)


def test_golden_folder_holds_these_tables_and_no_others():
    assert {path.stem for path in GOLDEN.glob('*.txt')} == set(TABLES)


# Rates over the head's of the segmentation recipes, to three digits: all downsampling layers, then
# stages 0 to 3; 0.9 to the powers of 7, 6, 5, 4, 3 and of 13, 12, 11, 10, 9.
QUIRK = {
    'upernet-t_stage-wise-0.9': (0.478, 0.531, 0.590, 0.656, 0.729),
    'upernet-s_stage-wise-0.9': (0.254, 0.282, 0.314, 0.349, 0.387),
}


@pytest.mark.parametrize('name', sorted(QUIRK))
def test_stage_wise_rates_hang_on_the_depth_of_the_network(name):
    scales: dict[str, set[float]] = {}
    for key, _, scale, _ in read_golden(name):
        words = key.split('.')
        part = 'stage' + words[2] if words[1] == 'stages' else words[1]
        scales.setdefault(part, set()).add(round(scale, 3))
    parts = ['downsample_layers', 'stage0', 'stage1', 'stage2', 'stage3']
    assert [scales[part] for part in parts] == [{scale} for scale in QUIRK[name]]
    assert scales['norm0'] == scales['norm3'] == {1.0}


def write_golden() -> None:
    for name, (recipe, *rule) in TABLES.items():
        decay_type, rate, num_layers = rule
        header = HEADER.format(
            recipe=recipe, decay_type=decay_type, rate=rate, num_layers=num_layers
        )
        rows = official_table(build(recipe)[1], *rule)
        lines = [f'{key} {depth} {scale:.10g} {decay:g}\n' for key, depth, scale, decay in rows]
        (GOLDEN / f'{name}.txt').write_text(header + ''.join(lines))


if __name__ == '__main__':
    write_golden()
