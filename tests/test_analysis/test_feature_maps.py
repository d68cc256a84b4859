# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""analysis/feature_maps.py: every map lies over its image, in the right order, without padding."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmconvnext.analysis import feature_maps as module
from mmconvnext.analysis.feature_maps import (
    CELL,
    Features,
    Stage,
    coloured,
    components,
    draw_channels,
    draw_components,
    draw_overview,
    feature_maps,
    strength,
    stretched,
    strongest,
)
from mmconvnext.recipe.errors import RecipeError


class Net(torch.nn.Module):
    """Pads an image of 20 x 28 to 32 x 32; its maps have the strides 4 and 8."""

    def data_preprocessor(self, data, training):
        assert not training
        (image,) = data['inputs']
        height, width = image.shape[1:]
        return dict(inputs=torch.nn.functional.pad(image, (0, 32 - width, 0, 32 - height))[None])

    def backbone(self, images):
        assert not torch.is_grad_enabled()
        images = images.float()
        return images[:, :, ::4, ::4], images[:, :, ::8, ::8].repeat(1, 2, 1, 1)


def model(net=None, image=None):
    if image is None:
        image = torch.zeros(3, 20, 28, dtype=torch.uint8)
        image[0], image[2, 4:] = 250, 10  # BGR

    def load(path):
        if path == 'broken.jpg':
            raise ValueError('broken.jpg: it is cut off')
        return path

    pipeline = SimpleNamespace(load=load, pack=lambda _: dict(inputs=image))
    return SimpleNamespace(net=net or Net(), pipeline=pipeline, scope='mmdet')


def test_maps_have_no_padding_and_the_image_is_rgb():
    found = feature_maps(model(), 'a.jpg')
    assert found.image.shape == (20, 28, 3) and found.image[5, 0].tolist() == [10, 0, 250]
    first, second = found.stages
    assert first.values.shape == (3, 5, 7) and second.values.shape == (6, 3, 4)
    assert first.stride == (4, 4) and second.stride == (8, 8)
    assert first.title() == ['stage 0, stride 4', '3 channels, 8 x 8']
    assert first.values[0, 0, 0] == 250 and first.values[2, :, 0].tolist() == [0, 10, 10, 10, 10]


def test_one_map_that_is_no_tuple():
    net = Net()
    net.backbone = lambda images: images.float()
    (stage,) = feature_maps(model(net), 'a.jpg').stages
    assert stage.values.shape == (3, 20, 28) and stage.title()[0] == 'stage 0, stride 1'


def test_strides_may_differ():
    values = np.zeros((9, 8, 7))
    assert Stage(2, values, (4.0, 4.57), (9, 8, 7)).title()[0] == 'stage 2, stride 4 x 4.6'


def test_titles_tell_of_nan():
    values = np.zeros((1, 2, 4))
    values[0, 0] = np.inf
    title = Stage(0, values, (4, 4), (1, 2, 4)).title()[1]
    assert title == '1 channels, 2 x 4, 50% NaN or inf'


def test_what_has_no_maps():
    with pytest.raises(RecipeError, match='broken.jpg: it is cut off'):
        feature_maps(model(), 'broken.jpg')
    net = Net()
    net.backbone = lambda images: (images.float().mean((2, 3)),)
    with pytest.raises(RecipeError, match='returns no feature maps'):
        feature_maps(model(net), 'a.jpg')
    with pytest.raises(RecipeError, match='Linear has no backbone'):
        feature_maps(model(torch.nn.Linear(1, 1)), 'a.jpg')


def test_components_of_a_map_of_two_kinds():
    """Left and right differ in all channels: one component, the others are grey."""
    values = np.ones((5, 4, 6), np.float32)
    values[:, :, 3:] = np.arange(5)[:, None, None] * 3 + 5
    picture = components(values, np.arange(4), np.arange(6))
    assert picture.shape == (4, 6, 3) and picture.dtype == np.uint8
    assert (picture[:, :3, 0] == 0).all() and (picture[:, 3:, 0] == 255).all()
    assert (components(values, np.arange(4), np.arange(6)) == picture).all()


def test_components_do_not_depend_on_the_order_of_channels():
    values = np.random.default_rng(0).normal(size=(7, 5, 6)).astype(np.float32)
    values *= np.array([9, 5, 3, 1, 1, 1, 1])[:, None, None]
    rows, columns = np.arange(5), np.arange(6)
    first = components(values, rows, columns).astype(int)
    assert np.abs(first - components(values[::-1].copy(), rows, columns)).max() <= 1


@pytest.mark.parametrize('channels', [1, 2, 3])
def test_few_channels(channels):
    values = np.arange(channels * 12, dtype=np.float32).reshape(channels, 3, 4)
    picture = components(values, np.arange(3), np.arange(4))
    assert picture[0, 0, 0] != picture[-1, -1, 0]


def test_maps_of_one_value_and_of_nan():
    for value in (0, 5, np.nan, np.inf):
        values = np.full((4, 3, 2), value, np.float32)
        rows = columns = np.zeros(5, int)
        assert components(values, rows, columns).shape == (5, 5, 3)
        assert strength(values, rows, columns).shape == (5, 5, 3)


def test_rows_and_columns_choose_the_cells():
    values = np.zeros((2, 2, 3), np.float32)
    values[:, 1, 2] = -9  # strong, though negative
    picture = strength(values, np.array([0, 1, 1]), np.array([0, 2])).astype(int).sum(axis=2)
    assert picture[0, 0] == picture[1, 0] == picture[0, 1] < picture[1, 1] == picture[2, 1]


def test_cells_lie_where_the_image_is():
    """Half as many pixels as columns of the map show the same column."""
    features = feature_maps(model(), 'a.jpg')
    rows, columns = module._cells(features, features.stages[0])
    assert len(columns) == CELL and len(rows) == round(CELL * 20 / 28)
    assert columns[0] == 0 and columns[-1] == 6 and rows[-1] == 4
    assert columns[CELL // 7 - 1] == 0 and columns[CELL // 7 + 1] == 1


def test_strongest_channels_vary_most():
    values = np.zeros((4, 2, 3), np.float32)
    values[0], values[1, 0], values[3, 0] = 99, 2, 5
    assert strongest(values, 2) == [3, 1] and strongest(values, 9) == [3, 1, 0, 2]


def test_stretched():
    assert stretched(np.array([[2.0, 4.0]])).tolist() == [[0, 1]]
    assert stretched(np.full((2, 2), 7.0)).tolist() == [[0.5, 0.5]] * 2
    outlier = stretched(np.r_[np.linspace(0, 1, 1000), 1e6].reshape(1, -1))
    assert outlier[0, 500] == pytest.approx(0.5, abs=0.05) and outlier.max() == 1


def test_coloured():
    dark, bright = coloured(np.array([[0.0, 1.0]]), 'viridis')[0]
    assert dark.tolist() == [68, 1, 84] and bright.tolist() == [253, 231, 37]


def test_pictures(monkeypatch):
    titles = []
    draw = module.with_title
    keep = lambda picture, title: titles.append(title) or draw(picture, title)  # noqa: E731
    monkeypatch.setattr(module, 'with_title', keep)
    features = feature_maps(model(), 'a.jpg')
    overview = draw_overview(features)
    assert titles.count('mean strength') == 2 and 'stage 1, stride 8' in titles
    assert '20 x 28 pixels' in titles
    row = draw_components(features)
    assert row.shape[1] == overview.shape[1] > 3 * CELL and row.shape[0] < overview.shape[0]
    titles.clear()
    channels = draw_channels(features, 2)
    assert len([title for title in titles if title.startswith('channel ')]) == 4
    more = draw_channels(features, 99)  # the first stage has 3 channels, the second 6
    assert more.shape[1] > 2 * channels.shape[1]


def test_a_narrow_image_has_room_for_its_titles():
    tall = torch.zeros(3, 32, 4, dtype=torch.uint8)
    features = feature_maps(model(image=tall), 'a.jpg')
    assert draw_components(features).shape[1] >= 3 * module.NARROWEST


def test_grey_images():
    features = feature_maps(model(image=torch.full((1, 20, 28), 9, dtype=torch.uint8)), 'a.jpg')
    assert isinstance(features, Features) and features.image[0, 0].tolist() == [9, 9, 9]
