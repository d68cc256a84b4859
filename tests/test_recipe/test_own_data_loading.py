# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/own_data/loading.py: bits and channels reach all pipelines, the model and the drawings."""

import pytest
from fixtures import FASTER_RCNN, UPERNET
from mmengine.config import Config

from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.own_data import use_own_data
from mmconvnext.recipe.walk import pipelines, unimported_name

SPLIT = dict(images='images', annotations='labels')
OWN = dict(root='data', classes=['a', 'b'], train=SPLIT, val=SPLIT)


@pytest.fixture(params=[FASTER_RCNN, UPERNET], ids=['detector', 'segmentor'])
def recipe(request):
    return request.param


def applied(recipe, **options):
    cfg = Config.fromfile(recipe)
    cfg.own_data = {**OWN, **options}
    use_own_data(cfg)
    return cfg


def loaders(cfg):
    return [node for node in pipelines(cfg) if unimported_name(node).startswith('LoadImage')]


def types(cfg):
    return {dict.get(node, 'type') for node in pipelines(cfg)}


def test_by_default_nothing_changes(recipe):
    cfg, base = applied(recipe), Config.fromfile(recipe)
    assert loaders(cfg) == loaders(base)
    assert cfg.model.data_preprocessor == base.model.data_preprocessor
    assert cfg.default_hooks == base.default_hooks and types(cfg) == types(base)
    assert applied(recipe, bits=None, channels=None).default_hooks == base.default_hooks


def test_bits(recipe):
    cfg, base = applied(recipe, bits=12), Config.fromfile(recipe)
    assert len(loaders(cfg)) == len(loaders(base)) >= 3
    for new, old in zip(loaders(cfg), loaders(base)):
        assert new == {**old, 'type': 'mmconvnext.LoadImage', 'bits': 12}
    assert cfg.model.data_preprocessor == base.model.data_preprocessor
    picture = dict(backend='mmconvnext.Picture', bits=12)
    assert cfg.default_hooks.visualization.backend_args == picture


def test_test_time_augmentation_too():
    cfg = applied(UPERNET, bits=12)
    assert cfg.tta_pipeline[0].type == 'mmconvnext.LoadImage' and cfg.tta_pipeline[0].bits == 12


def test_what_mmseg_reads_besides_the_loaders():
    """Its inference_model takes `test_pipeline`, its test-time augmentation `data_preprocessor`."""
    cfg = Config.fromfile(UPERNET)
    cfg.model.data_preprocessor.update(mean=[1.0] * 4, std=[1.0] * 4)
    cfg.own_data = {**OWN, 'channels': 4}
    use_own_data(cfg)
    assert cfg.test_pipeline[0].channels == cfg.train_pipeline[0].channels == 4
    assert cfg.data_preprocessor == cfg.model.data_preprocessor
    assert cfg.data_preprocessor.type == 'mmconvnext.SegDataPreProcessor'
    assert cfg.data_preprocessor.mean == [1.0] * 4


def test_the_pipeline_that_a_hook_switches_to():
    cfg = Config.fromfile(FASTER_RCNN)
    step = dict(type='LoadImageFromFile', color_type='color')
    cfg.custom_hooks = [dict(type='PipelineSwitchHook', switch_pipeline=[step])]
    cfg.own_data = {**OWN, 'bits': 10}
    use_own_data(cfg)
    assert cfg.custom_hooks[0].switch_pipeline[0].bits == 10


@pytest.mark.parametrize(
    ('channels', 'color_type'), [(1, 'grayscale'), (2, 'unchanged'), (3, 'color'), (4, 'unchanged')]
)
def test_channels(recipe, channels, color_type):
    cfg, base = applied(recipe, channels=channels), Config.fromfile(recipe)
    for node in loaders(cfg):
        assert (node.type, node.channels, node.color_type) == (
            'mmconvnext.LoadImage',
            channels,
            color_type,
        )
    theirs = base.model.data_preprocessor.type
    expected = theirs if channels in (1, 3) else f'mmconvnext.{theirs}'
    assert cfg.model.data_preprocessor == {**base.model.data_preprocessor, 'type': expected}


@pytest.mark.parametrize(
    ('channels', 'expected'), [(3, 'color'), (1, 'grayscale'), (4, 'unchanged')]
)
def test_images_that_are_not_turned_stay_so(channels, expected):
    cfg = Config.fromfile(UPERNET)
    for node in loaders(cfg):
        node.color_type = 'color_ignore_orientation'
    cfg.own_data = {**OWN, 'channels': channels}
    use_own_data(cfg)
    ending = '_ignore_orientation' * (channels != 4)
    assert {node.color_type for node in loaders(cfg)} == {expected + ending}


@pytest.mark.parametrize(
    ('options', 'name'),
    [
        ({}, 'PhotoMetricDistortion'),
        (dict(bits=12), 'mmconvnext.PhotoMetricDistortion'),
        (dict(channels=4), 'mmconvnext.PhotoMetricDistortion'),
    ],
)
def test_mmsegs_distortion_is_replaced(options, name):
    assert [t for t in types(applied(UPERNET, **options)) if t.endswith('Distortion')] == [name]


@pytest.mark.parametrize(
    ('options', 'prefix'), [(dict(bits=12), ''), (dict(channels=4), 'mmconvnext.')]
)
def test_mmdets_distortion_takes_floats(options, prefix):
    cfg = Config.fromfile(FASTER_RCNN)
    cfg.train_dataloader.dataset.pipeline.append(dict(type='PhotoMetricDistortion', hue_delta=9))
    cfg.own_data = {**OWN, **options}
    use_own_data(cfg)
    step = cfg.train_dataloader.dataset.pipeline[-1]
    assert step == dict(type=f'{prefix}PhotoMetricDistortion', hue_delta=9)


def test_other_bits_afterwards(recipe):
    cfg = applied(recipe, bits=12, channels=4)
    cfg.own_data.bits = 16
    use_own_data(cfg)
    assert {(node.bits, node.channels) for node in loaders(cfg)} == {(16, 4)}


def test_the_last_line_of_a_config_writes_all(tmp_path, recipe):
    file = tmp_path / 'config.py'
    file.write_text(
        f'_base_ = {recipe!r}\nown_data = { ({**OWN, "bits": 12})!r}\n'
        "__import__('mmconvnext').use_own_data(locals())\n"
    )
    cfg = Config.fromfile(file)
    assert {node.type for node in loaders(cfg)} == {'mmconvnext.LoadImage'}
    assert cfg.default_hooks.visualization.backend_args.bits == 12
    assert cfg.default_hooks.checkpoint == Config.fromfile(recipe).default_hooks.checkpoint


@pytest.mark.parametrize(
    ('option', 'value', 'low', 'high'),
    [
        ('bits', 7, 8, 16),
        ('bits', 17, 8, 16),
        ('bits', '12', 8, 16),
        ('bits', True, 8, 16),
        ('channels', 0, 1, 1024),
        ('channels', 1025, 1, 1024),
        ('channels', 4.0, 1, 1024),
    ],
)
def test_wrong_values(recipe, option, value, low, high):
    message = rf'own_data\.{option}={value!r}: choose a number from {low} to {high}'
    with pytest.raises(RecipeError, match=message):
        applied(recipe, **{option: value})
