# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: every recipe holds, on the merged config, exactly what ``data/recipes`` says.

The table is typed from the published files. Parameters and FLOPs are held against it in
``test_metafiles.py``, learning rates over the run in ``test_configs_rates.py``, and what the
pipelines and test settings do in ``test_configs_data.py``.
"""

import functools

import fixtures
import mmengine
import pytest
import recipe_table
import torch
from fixtures import CONFIGS
from mmengine import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope
from recipe_table import PARTS, PUBLISHED, ROWS, differences, expected, leaves, load
from torch import nn

LEAVES = [str(path.relative_to(CONFIGS)) for path in fixtures.LEAVES]
CPU = {
    f'_base_/{model}_convnext-atto_cpu.py'
    for model in ('mask-rcnn', 'faster-rcnn', 'segformer-head')
}
V2 = 'mask_rcnn/mask-rcnn_convnext-v2-b_fpn_lsj-3x-fcmae_coco.py'
FASTER = 'faster_rcnn/faster-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py'


@functools.cache
def build(name: str) -> nn.Module:
    config = load(name)
    with DefaultScope.overwrite_default_scope(config.default_scope), torch.device('meta'):
        return MODELS.build(config.model)


def scopes(value) -> set:
    """All scopes that mmengine wrote into what a config inherits from another package."""
    if isinstance(value, dict):
        own = {value['_scope_']} if '_scope_' in value else set()
        return own.union(*map(scopes, value.values()))
    return set().union(*map(scopes, value)) if isinstance(value, (list, tuple)) else set()


# --- the table ------------------------------------------------------------------------------------


def test_the_table_has_all_recipes():
    """The CPU bases too: others' configs build on it."""
    assert set(ROWS) == {*LEAVES, *CPU}
    assert len(PUBLISHED) == 13
    assert {part for row in ROWS.values() for part in row['parts']} == set(PARTS)


@pytest.mark.parametrize('name', ROWS)
def test_every_value_is_that_of_the_table(name):
    config = load(name)
    assert not differences(leaves(config.to_dict()), expected(name))
    assert scopes(config.to_dict()) <= {config.default_scope}


def other(value):
    """A value of the same type that nobody could mean."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value * 1.1 if isinstance(value, float) and value else value + 1
    if isinstance(value, str):
        return value + '-'
    if isinstance(value, list):
        return value[1:] or [0]
    return 0 if value is None else None


@pytest.mark.parametrize('name', ROWS)
def test_the_comparison_notices_each_key(name):
    config, table = leaves(load(name).to_dict()), expected(name)
    for key, value in config.items():
        for wrong in (other(value), None if value is not None else ''):
            (line,) = differences({**config, key: wrong}, table)
            assert line.startswith(f'{key} is {wrong!r}, should be ') and table[key].reason in line
        (line,) = differences({k: v for k, v in config.items() if k != key}, table)
        assert line.startswith(f'{key} is missing, should be ')
        (line,) = differences({**config, f'{key}_more': value}, table)
        assert line == f'{key}_more is {value!r}, which tests/data/recipes does not know'


def test_the_comparison_notices_types_order_and_numbers():
    assert leaves(dict(a=(1, (2, 3)), b=[], c={}, d=[dict(e=1, _scope_='x')])) == {
        'a': [1, [2, 3]],
        'b': [],
        'c': {},
        'd[0].e': 1,
    }
    table = {'a': recipe_table.Expected([1, [2, 3]], ''), 'b': recipe_table.Expected('~ [ab]+', '')}
    assert differences({'a': [1, [2, 3]], 'b': 'abba'}, table) == []
    for wrong in (
        [1, [3, 2]],
        [[2, 3], 1],
        [1, [2]],
        [1, [2, 3], 4],
        [1.0, [2, 3]],
        [True, [2, 3]],
    ):
        assert len(differences({'a': wrong, 'b': 'a'}, table)) == 1
    for wrong in ('abc', '', None, 'ab\n'):
        assert len(differences({'a': [1, [2, 3]], 'b': wrong}, table)) == 1


# --- every leaf -----------------------------------------------------------------------------------


@pytest.mark.parametrize('name', LEAVES)
def test_leaf_says_only_what_is_its_own(name):
    lines = (CONFIGS / name).read_text().splitlines()
    assert len(lines) <= 25
    assert lines[0].startswith('# ')


@pytest.mark.parametrize('name', LEAVES)
def test_dump_reloads_equal(name, tmp_path, monkeypatch):
    # yapf only indents, for seconds (onedl's mmengine does without).
    monkeypatch.setattr(mmengine.config.config, 'FormatCode', lambda text, **_: (text, True), False)
    config = load(name)
    config.dump(tmp_path / 'dump.py')
    assert leaves(Config.fromfile(tmp_path / 'dump.py').to_dict()) == leaves(config.to_dict())


@pytest.mark.parametrize('name', LEAVES)
def test_necks_and_heads_take_what_the_backbone_gives(name):
    model, config = build(name), load(name).model
    given = list(model.backbone.out_channels)
    assert type(model.backbone).__module__ == 'mmconvnext.models.convnext'
    assert model.backbone.out_strides == (4, 8, 16, 32)
    if 'neck' in config:
        assert config.neck.in_channels == given
    else:
        assert config.decode_head.in_channels == given
        head = config.auxiliary_head
        assert head is None or head.in_channels == given[head.in_index]


@pytest.mark.parametrize('name', LEAVES)
def test_optimizer_groups_can_be_made(name):
    config = load(name)
    config.optim_wrapper.type = 'OptimWrapper'  # the AMP one needs a GPU
    wrapper = build_optim_wrapper(build(name), config.optim_wrapper)
    assert wrapper.get_lr()['lr'][0] == config.optim_wrapper.optimizer.lr
    given = {id(param) for group in wrapper.optimizer.param_groups for param in group['params']}
    assert given == {id(param) for param in build(name).parameters()}


# --- what the text says ---------------------------------------------------------------------------


@pytest.mark.parametrize('name', PUBLISHED)
def test_first_line_states_the_published_result(name):
    results, table = PUBLISHED[name]['results'], expected(name)
    line = (CONFIGS / name).read_text().splitlines()[0]
    if 'miou' in results:
        result = f'{results["miou"]} mIoU, {results["miou_ms"]} multi-scale and flipped'
    else:
        result = f'{results["box_ap"]} box AP, {results["mask_ap"]} mask AP'
    weights = table['model.backbone.init_cfg.checkpoint'].value
    start = 'ImageNet-1K, non-EMA' if weights.endswith('_1k_224.pth') else 'ImageNet-22K'
    assert f', from {start}: {result}.' in line


def test_v2_marks_what_was_never_published():
    assert build(V2).backbone.stages[0][0].gamma is None
    assert build(V2).backbone.stages[0][0].grn is not None
    guessed = ('drop_path_rate=', 'lr=', 'decay_rate=')
    lines = (CONFIGS / V2).read_text().splitlines()
    marked = [line for line in lines if any(key in line for key in guessed)]
    assert len(marked) == 3
    assert all('# not published' in line for line in marked)
    assert 'CC BY-NC 4.0' in (CONFIGS / V2).read_text()


def test_faster_rcnn_needs_no_masks():
    model = build(FASTER)
    assert type(model).__name__ == 'FasterRCNN'
    assert not model.roi_head.with_mask
