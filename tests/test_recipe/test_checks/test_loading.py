# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/checks/loading.py: bits and channels of the files, the loader, mean, std and backbone."""

import json
from functools import partial

import cv2
import numpy as np
import pytest
from fixtures import FASTER_RCNN
from image_files import HEIGHT, WIDTH, encoded, noise, tiff, write
from mmengine.config import Config
from PIL import Image

from mmconvnext.data.images import image_kinds, read_headers
from mmconvnext.recipe.annotations import mend_annotations
from mmconvnext.recipe.checks import check_recipe, loading
from mmconvnext.recipe.checks.loading import (
    check_loading,
    check_preprocessor,
    image_loader,
    turns_images,
)
from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.load_image import LoadImage
from mmconvnext.recipe.own_data import use_own_data
from mmconvnext.recipe.walk import LOADERS

IMAGENET = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
NAMES = dict(mmdet='DetDataPreprocessor', mmseg='SegDataPreProcessor')
OURS = dict(mmdet='mmconvnext.DetDataPreprocessor', mmseg='mmconvnext.SegDataPreProcessor')


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A cache folder of the test's own."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


def config(scope='mmdet', loader=None, in_channels=3, steps=(), own=False, **preprocessor):
    preprocessor = {'type': NAMES[scope], 'bgr_to_rgb': True, **IMAGENET, **preprocessor}
    backbone = dict(type='mmconvnext.ConvNeXt', arch='atto', in_channels=in_channels)
    pipeline = [{'type': 'LoadImageFromFile', **(loader or {})}, *({'type': s} for s in steps)]
    return Config(
        dict(
            default_scope=scope,
            model=dict(backbone=backbone, data_preprocessor=preprocessor),
            train_dataloader=dict(dataset=dict(data_root='', pipeline=pipeline)),
            **(dict(own_data={}) if own else {}),
        )
    )


def means(count):
    return dict(mean=[100.0] * count, std=[50.0] * count)


def found(cfg, *files):
    dataset = cfg.train_dataloader.dataset
    kinds = image_kinds(read_headers(files))
    return [
        *check_loading(cfg, 'train_dataloader.dataset', dataset, kinds),
        *check_preprocessor(cfg),
    ]


def only(findings):
    (finding,) = findings
    return finding


def picture(tmp_path, mode='RGB', kind='PNG', name='a'):
    return write(tmp_path / name, encoded(Image.fromarray(noise()).convert(mode), kind))


def deep(tmp_path, most=4021, dtype=np.uint16, channels=1):
    image = np.zeros((HEIGHT, WIDTH, channels), dtype)
    image[-1, -1] = most
    file = tmp_path / f'deep{most}.tif'
    cv2.imwrite(str(file), image)
    return file


# What works


@pytest.mark.parametrize('scope', NAMES)
@pytest.mark.parametrize(
    ('kind', 'mode'),
    [('JPEG', 'RGB'), ('JPEG', 'L'), ('JPEG', 'CMYK'), ('PNG', 'RGBA'), ('PNG', 'LA'), ('PNG', 'P'),
     ('PNG', '1'), ('TIFF', 'RGBA'), ('TIFF', 'CMYK'), ('GIF', 'P'), ('WEBP', 'RGBA')],
)  # fmt: skip
def test_eight_bits_of_any_channels_are_loaded_as_colours(tmp_path, scope, kind, mode):
    assert found(config(scope), picture(tmp_path, mode, kind)) == []


@pytest.mark.parametrize('scope', NAMES)
@pytest.mark.parametrize('channels', [4, 5])
def test_many_channels(tmp_path, scope, channels):
    np.save(tmp_path / 'a.npy', np.zeros((HEIGHT, WIDTH, channels), np.uint8))
    loader = dict(type='mmconvnext.LoadImage', color_type='unchanged')
    cfg = config(scope, loader, channels, type=OURS[scope], **means(channels))
    assert found(cfg, tmp_path / 'a.npy') == []
    one = config(scope, loader, channels, type=OURS[scope], mean=[100.0], std=[50.0])
    assert found(one, tmp_path / 'a.npy') == []


@pytest.mark.parametrize('scope', NAMES)
def test_grey_as_one_channel(tmp_path, scope):
    cfg = config(scope, dict(color_type='grayscale'), 1, bgr_to_rgb=False, **means(1))
    assert found(cfg, picture(tmp_path, 'RGB'), picture(tmp_path, 'L', name='b')) == []


def test_mmseg_spreads_one_channel_over_three_means(tmp_path):
    assert found(config('mmseg', dict(color_type='grayscale')), picture(tmp_path, 'L')) == []
    finding = only(found(config('mmdet', dict(color_type='grayscale')), picture(tmp_path, 'L'))[:1])
    assert 'is loaded with 1 channel, but model.data_preprocessor has 3 means' in finding.text


def test_datasets_that_load_otherwise_are_left_alone(tmp_path):
    file = deep(tmp_path)
    assert found(config(loader=dict(type='LoadImageFromNDArray')), file) == []
    assert found(config()) == []


# Bits


@pytest.mark.parametrize('scope', NAMES)
@pytest.mark.parametrize(
    ('most', 'bits'),
    [(255, 8), (256, 10), (1023, 10), (1024, 12), (4095, 12), (4096, 14), (16384, 16), (65535, 16)],
)
def test_more_bits_than_eight(tmp_path, scope, most, bits):
    finding = only(found(config(scope), deep(tmp_path, most)))
    assert finding.check == 'image_bits'
    assert finding.text.startswith(
        'train_dataloader.dataset: 1 TIFF file of 1 channel with 16 bits'
    )
    assert f'values up to {most} in the first file, which would be divided by 256' in finding.text
    assert (
        f"dict(type='mmconvnext.LoadImage', bits={bits}) instead of LoadImageFromFile"
        in finding.text
    )
    own = only(found(config(scope, own=True), deep(tmp_path, most)))
    assert f'set own_data.bits={bits}' in own.text and 'LoadImageFromFile' not in own.text


@pytest.mark.parametrize(('bits', 'fits'), [(12, True), (10, False), (None, False)])
def test_the_bits_of_load_image(tmp_path, bits, fits):
    loader = dict(type='mmconvnext.LoadImage', **(dict(bits=bits) if bits else {}))
    findings = found(config(loader=loader), deep(tmp_path, 4095))
    assert bool(findings) != fits
    if not fits:
        finding = only(findings)
        assert f'more than bits={bits or 8} allows' in finding.text and 'bits=12' in finding.text


@pytest.mark.parametrize(
    ('most', 'bits', 'fewer'),
    [(4095, 16, 12), (4095, 14, 12), (4096, 14, None), (16383, 16, 14), (255, 12, 8)],
)
def test_more_bits_than_the_values_have_are_told(tmp_path, most, bits, fewer):
    cfg = config(loader=dict(type='mmconvnext.LoadImage', bits=bits), own=True)
    findings = found(cfg, deep(tmp_path, most))
    if fewer is None:
        assert findings == []
        return
    finding = only(findings)
    assert finding.check == ''
    assert f'has values up to {most}, of {2**bits - 1} that bits={bits} allows' in finding.text
    assert finding.text.endswith(f'set own_data.bits={fewer}')


def test_values_of_eight_bits_in_files_of_sixteen_fit(tmp_path):
    loader = dict(type='mmconvnext.LoadImage')
    assert found(config(loader=loader), deep(tmp_path, 255)) == []
    assert only(found(config(loader=loader), deep(tmp_path, 256))).check == 'image_bits'


def test_deep_values_that_stay_need_their_own_mean(tmp_path):
    file = deep(tmp_path, 4021, channels=3)
    finding = only(found(config(loader=dict(color_type='unchanged')), file))
    assert 'but mean and std are those of 8 bits' in finding.text
    large = dict(mean=[1500.0] * 3, std=[700.0] * 3)
    assert found(config(loader=dict(color_type='unchanged'), **large), file) == []


def test_floats_are_no_colours(tmp_path):
    file = deep(tmp_path, 0.5, np.float32, channels=3)
    finding = only(found(config(), file))
    assert finding.check == 'image_bits' and 'not loaded as colours' in finding.text
    finding = only(found(config(own=True), file))
    assert 'set own_data.channels=3 and mean and std' in finding.text
    finding = only(found(config(loader=dict(color_type='unchanged')), file))
    assert not finding.check and 'mean and std must be theirs' in finding.text


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('dtype', [np.float16, np.float32])
def test_the_advice_for_arrays_of_floats_works(tmp_path, channels, dtype):
    np.save(tmp_path / 'a.npy', np.full((HEIGHT, WIDTH, channels), 0.5, dtype))
    refused = found(config(own=True), tmp_path / 'a.npy')
    assert all(f'set own_data.channels={channels}' in finding.text for finding in refused[:2])
    color_type = {1: 'grayscale', 3: 'color'}[channels]
    loader = dict(type='mmconvnext.LoadImage', channels=channels, color_type=color_type)
    cfg = config(loader=loader, in_channels=channels, bgr_to_rgb=channels == 3, **means(channels))
    finding = only(found(cfg, tmp_path / 'a.npy'))
    assert finding.check == '' and 'stay as they are: mean and std must be theirs' in finding.text
    assert LoadImage(**{k: v for k, v in loader.items() if k != 'type'})(
        dict(img_path=str(tmp_path / 'a.npy'))
    )['img'].shape == (HEIGHT, WIDTH, channels)


@pytest.mark.parametrize(
    ('most', 'fits'), [(0.9, False), (63, False), (64, True), (255, True), (256, False)]
)
@pytest.mark.parametrize('name', ['PhotoMetricDistortion', 'mmconvnext.PhotoMetricDistortion'])
def test_distortions_of_values_that_keep_their_range(tmp_path, most, fits, name):
    np.save(tmp_path / 'a.npy', np.full((HEIGHT, WIDTH, 3), most, np.float32))
    loader = dict(type='mmconvnext.LoadImage', color_type='unchanged')
    findings = [
        f for f in found(config(loader=loader, steps=[name]), tmp_path / 'a.npy') if f.check
    ]
    if fits:
        assert findings == []
        return
    finding = only(findings)
    assert finding.check == 'image_bits'
    assert f'with values up to {most:g} in the first file, keep their values' in finding.text
    assert 'PhotoMetricDistortion takes 255 for white' in finding.text


def test_a_distortion_of_deep_values_that_mmcv_leaves(tmp_path):
    large = dict(mean=[1500.0] * 3, std=[700.0] * 3)
    cfg = config(loader=dict(color_type='unchanged'), steps=['PhotoMetricDistortion'], **large)
    finding = only(found(cfg, deep(tmp_path, 4021, channels=3)))
    assert finding.check == 'image_bits' and 'values up to 4021' in finding.text


@pytest.mark.parametrize('scope', NAMES)
def test_mmsegs_distortion_of_floats(tmp_path, scope):
    loader = dict(type='mmconvnext.LoadImage', bits=12)
    findings = found(config(scope, loader, steps=['PhotoMetricDistortion']), deep(tmp_path))
    if scope == 'mmdet':
        assert findings == []
        return
    assert only(findings).check == 'image_bits'
    assert "set its type to 'mmconvnext.PhotoMetricDistortion'" in only(findings).text
    steps = ['mmconvnext.PhotoMetricDistortion']
    assert found(config(scope, loader, steps=steps), deep(tmp_path)) == []
    assert found(config(scope, steps=['PhotoMetricDistortion']), picture(tmp_path)) == []


@pytest.mark.parametrize(('most', 'fits'), [(4095, True), (4096, False)])
def test_integers_of_32_bits_are_scaled_too(tmp_path, most, fits):
    loader = dict(type='mmconvnext.LoadImage', bits=12, color_type='unchanged', channels=1)
    cfg = config('mmseg', loader, 1, **means(1))
    findings = found(cfg, deep(tmp_path, most, np.int32))
    assert fits == (not findings) and all('more than bits=12' in one.text for one in findings)


# Channels


@pytest.mark.parametrize(('type_', 'scope'), [(None, 'mmseg'), (OURS['mmdet'], 'mmdet')])
def test_in_channels_and_means_are_compared_with_the_files(tmp_path, type_, scope):
    kind = dict(type=type_) if type_ else {}
    loader = dict(color_type='unchanged')
    first, second = found(config(scope, loader, **kind), picture(tmp_path, 'RGBA'))
    assert first.check == second.check == 'image_channels'
    assert (
        'a is loaded with 4 channels, but model.data_preprocessor has 3 means; set ' in first.text
    )
    assert (
        'model.backbone.in_channels=4, and model.data_preprocessor.mean and std to 4' in first.text
    )
    assert 'a is loaded with 4 channels, but model.backbone.in_channels=3; set ' in second.text


@pytest.mark.parametrize('scope', NAMES)
def test_only_the_backbone_is_wrong(tmp_path, scope):
    cfg = config(scope, dict(color_type='unchanged'), 3, type=OURS[scope], **means(4))
    texts = [finding.text for finding in found(cfg, picture(tmp_path, 'RGBA'))]
    assert 'but model.backbone.in_channels=3' in texts[0]
    assert texts[1].startswith(
        'model.data_preprocessor has 4 means, but model.backbone.in_channels=3'
    )


@pytest.mark.parametrize(
    ('own', 'way'), [(True, 'own_data.channels=3'), (False, "color_type='color'")]
)
def test_the_way_back_to_three(tmp_path, own, way):
    cfg = config('mmseg', dict(color_type='unchanged'), own=own)
    assert f'or load three channels ({way})' in found(cfg, picture(tmp_path, 'RGBA'))[0].text


def test_different_numbers_of_channels(tmp_path):
    files = picture(tmp_path, 'RGBA'), picture(tmp_path, 'RGB', name='b')
    cfg = config('mmseg', dict(color_type='unchanged'), 4, type=OURS['mmseg'], **means(4))
    finding = found(cfg, *files)[0]
    assert finding.check == 'image_channels'
    assert 'different numbers of channels when they are loaded (3 channels: 1 PNG' in finding.text
    assert found(config('mmseg'), *files) == []


@pytest.mark.parametrize('own', [True, False])
def test_files_that_mmcv_cannot_load(tmp_path, own):
    file = write(tmp_path / 'a.tif', tiff(np.zeros((HEIGHT, WIDTH, 5), np.uint8)))
    finding = found(config(own=own), file)[0]
    assert finding.check == 'image_channels'
    assert 'mmcv cannot load 1 TIFF file of 5 channels with 8 bits' in finding.text
    way = 'set own_data.channels=5' if own else "LoadImage', color_type='unchanged')"
    assert way in finding.text


def test_the_way_out_for_arrays_works(tmp_path):
    """own_data.channels=3 sets color_type='color', with which LoadImage reads arrays too."""
    np.save(tmp_path / 'a.npy', noise())
    assert 'own_data.channels=3' in found(config(own=True), tmp_path / 'a.npy')[0].text
    loader = dict(type='mmconvnext.LoadImage', color_type='color', channels=3)
    assert found(config(loader=loader), tmp_path / 'a.npy') == []


def test_the_way_out_for_floats_works(tmp_path):
    file = write(tmp_path / 'a.tif', tiff(noise().astype(np.float32) / 255))
    refusal = only(found(config(own=True), file))
    assert refusal.check == 'image_bits' and 'own_data.channels=3 and mean' in refusal.text
    settings = dict(color_type='color', channels=3)
    warning = only(found(config(loader=dict(type='mmconvnext.LoadImage', **settings)), file))
    assert warning.check == '' and 'stay as they are: mean and std must be theirs' in warning.text
    image = LoadImage(**settings)(dict(img_path=str(file)))['img']
    assert image.dtype == np.float32 and (image == noise()[..., ::-1] / np.float32(255)).all()
    assert only(found(config(loader=dict(type='mmconvnext.LoadImage', bits=16)), file)).check


@pytest.mark.parametrize('there', [True, False])
def test_many_channels_of_a_tiff_need_a_package(tmp_path, monkeypatch, there):
    monkeypatch.setattr(loading, 'find_spec', lambda name: there and name == 'tifffile')
    file = write(tmp_path / 'a.tif', tiff(np.zeros((HEIGHT, WIDTH, 5), np.uint8)))
    loader = dict(type='mmconvnext.LoadImage', color_type='unchanged')
    findings = found(config(loader=loader, in_channels=5, type=OURS['mmdet'], **means(5)), file)
    assert [finding.check for finding in findings] == ([] if there else ['image_channels'])
    assert there or 'need the package tifffile: pip install tifffile, or' in findings[0].text


def test_a_channel_that_is_not_loaded_is_a_warning(tmp_path):
    file = write(tmp_path / 'a.tif', tiff(np.zeros((HEIGHT, WIDTH, 4), np.uint8)))
    finding = only(found(config(own=True), file))
    assert not finding.check
    assert 'only three channels are loaded of 1 TIFF file of 4 channels' in finding.text
    assert 'for all, set own_data.channels=4' in finding.text


def test_colours_that_cv2_multiplies_by_alpha_are_a_warning(tmp_path):
    half = np.dstack([noise(), np.full((HEIGHT, WIDTH), 128, np.uint8)])
    file = write(tmp_path / 'a.tif', encoded(half, 'TIFF'))
    finding = only(found(config(own=True), file))
    assert not finding.check and 'multiplies the colours by the fourth channel' in finding.text
    assert 'set own_data.channels=4' in finding.text
    loader = dict(type='mmconvnext.LoadImage', color_type='unchanged')
    assert found(config('mmseg', loader, 4, type=OURS['mmseg'], **means(4)), file) == []
    for kind, image in (('PNG', half), ('TIFF', np.dstack([noise(), half[..., 3] * 0 + 255]))):
        write(file, encoded(image, kind))
        assert found(config(), file) == []


# Preprocessors


@pytest.mark.parametrize('count', [2, 4, 5])
def test_mmdets_takes_one_or_three_means(count):
    finding = only(found(config(in_channels=count, **means(count))))
    assert finding.check == 'image_channels'
    assert f"mmdet's DetDataPreprocessor takes 1 or 3 means, not {count}; set" in finding.text
    assert "model.data_preprocessor.type='mmconvnext.DetDataPreprocessor'" in finding.text
    assert found(config('mmseg', in_channels=count, **means(count))) == []


def test_mean_and_std_of_different_length():
    finding = only(found(config(std=[1.0])))
    assert 'has 3 values in mean and 1 in std' in finding.text and finding.check == 'image_channels'


def test_mmdets_conversion_keeps_three_channels(tmp_path):
    cfg = config(loader=dict(color_type='unchanged'), in_channels=4, mean=[1.0], std=[1.0])
    finding = only(found(cfg, picture(tmp_path, 'RGBA')))
    assert "bgr_to_rgb=True of mmdet's DetDataPreprocessor keeps three" in finding.text
    cfg.model.data_preprocessor.bgr_to_rgb = False
    assert found(cfg, picture(tmp_path, 'RGBA')) == []


def test_mmseg_leaves_the_order_of_many_channels(tmp_path):
    cfg = config('mmseg', dict(color_type='unchanged'), 4, **means(4))
    finding = only(found(cfg, picture(tmp_path, 'RGBA')))
    assert not finding.check
    assert (
        "model.data_preprocessor.type='mmconvnext.SegDataPreProcessor' makes it RGB" in finding.text
    )


@pytest.mark.parametrize('name', ['PhotoMetricDistortion', 'YOLOXHSVRandomAug', 'Mosaic'])
def test_transforms_of_three_channels(tmp_path, name):
    loader, ours = dict(color_type='unchanged'), OURS['mmdet']
    cfg = config('mmdet', loader, 4, steps=[name], type=ours, **means(4))
    finding = only(found(cfg, picture(tmp_path, 'RGBA')))
    assert finding.check == 'image_channels' and f'but {name} works on three; ' in finding.text
    assert found(config('mmdet', steps=[name]), picture(tmp_path)) == []


def test_without_a_preprocessor_that_normalizes(tmp_path):
    cfg = config('mmdet', dict(color_type='unchanged'), 4)
    cfg.model.data_preprocessor = dict(type='DetDataPreprocessor', mean=None)
    assert found(cfg, picture(tmp_path, 'RGBA')) == []
    cfg.model.backbone.in_channels = 3
    assert 'model.backbone.in_channels=3' in only(found(cfg, picture(tmp_path, 'RGBA'))).text


# Loaders


@pytest.mark.parametrize(
    ('loader', 'turns'),
    [
        ({}, True),
        (dict(color_type='grayscale'), True),
        (dict(color_type='unchanged'), False),
        (dict(color_type='color_ignore_orientation'), False),
        (dict(type='mmconvnext.LoadImage'), True),
        (dict(type='LoadImageFromNDArray'), True),
    ],
)
def test_which_loaders_turn_images(loader, turns):
    dataset = config(loader=loader).train_dataloader.dataset
    assert turns_images(dataset) is turns
    assert (image_loader(dataset) is None) == ('NDArray' in loader.get('type', ''))
    assert turns_images(dict(type='X')) and image_loader({}) is None


# COCO files

SIDE = 40  # the recipes leave out images under 32 pixels


@pytest.fixture
def coco(tmp_path):
    """A config of a detector whose images a function writes."""

    def make(write_image, **own):
        names = ['0.png', '1.png']
        for name in names:
            write_image(tmp_path / 'images' / name)
        polygon = [[2, 2, 12, 2, 12, 10, 2, 10]]
        content = dict(
            images=[dict(id=i, file_name=n, width=SIDE, height=SIDE) for i, n in enumerate(names)],
            annotations=[
                dict(id=i + 1, image_id=i, category_id=1, bbox=[2, 2, 10, 8], area=80, iscrowd=0,
                     segmentation=polygon)
                for i in range(2)
            ],
            categories=[dict(id=1, name='a')],
        )  # fmt: skip
        (tmp_path / 'a.json').write_text(json.dumps(content))
        cfg = Config.fromfile(FASTER_RCNN)
        split = dict(images='images', annotations='a.json')
        cfg.own_data = dict(root=str(tmp_path), classes=['a'], train=split, val=split, **own)
        use_own_data(cfg)
        return cfg

    return make


def checked(cfg):
    return check_recipe(cfg, LOADERS, partial(mend_annotations, cfg, LOADERS, []))


def twelve_bits(file):
    file.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(file), np.full((SIDE, SIDE), 4000, np.uint16))


def four_channels(file):
    write(file, encoded(Image.new('RGBA', (SIDE, SIDE)), 'PNG'))


def test_images_of_coco_files_are_checked_the_second_time_too(coco):
    cfg = coco(twelve_bits)
    for _ in range(2):
        with pytest.raises(RecipeError, match='up to 4000 in the first file.*own_data.bits=12'):
            checked(cfg)
    cfg.checks = dict(image_bits=False)
    for _ in range(2):
        assert any('passed by checks.image_bits=False' in warning for warning in checked(cfg))
    assert checked(coco(twelve_bits, bits=12)) == []


def test_channels_of_coco_files_are_checked(coco):
    assert checked(coco(four_channels)) == []
    cfg = coco(four_channels, channels=4)
    with pytest.raises(RecipeError, match='0.png is loaded with 4 channels, but model.data_prepro'):
        checked(cfg)
    cfg.model.backbone.in_channels = 4
    cfg.model.data_preprocessor.update(means(4))
    assert checked(cfg) == []
