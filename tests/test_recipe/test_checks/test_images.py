# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/checks/images.py: all images of a folder are looked at before training."""

import pytest
from image_files import colours, encoded, turned, write
from mmengine.config import Config
from PIL import Image

from mmconvnext.recipe.checks import check_recipe
from mmconvnext.recipe.checks.images import check_images
from mmconvnext.recipe.errors import RecipeError

LOADER = ('train_dataloader',)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A cache folder of the test's own."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


def config(root, kind='mmseg.BaseSegDataset', **dataset):
    prefix = 'img_path' if kind.startswith('mmseg') else 'img'
    dataset = {
        'type': kind,
        'data_root': str(root),
        'data_prefix': {prefix: 'images'},
        'pipeline': [dict(type='LoadImageFromFile')],
        **dataset,
    }
    scope = 'mmseg' if kind.startswith('mmseg') else 'mmdet'
    return Config(dict(default_scope=scope, model={}, train_dataloader=dict(dataset=dataset)))


def picture(root, name, kind='JPEG', mode='RGB'):
    content = encoded(Image.fromarray(colours()).convert(mode), kind)
    return write(root / 'images' / name, content)


@pytest.mark.parametrize('kind', ['mmseg.BaseSegDataset', 'mmconvnext.ImageFolder'])
def test_sound_images_are_left_alone(tmp_path, kind):
    picture(tmp_path, 'a.jpg')
    picture(tmp_path, 'sub/b.jpg', mode='L')
    write(tmp_path / 'images/c.txt', b'')
    assert [*check_images(config(tmp_path, kind), LOADER)] == []


@pytest.mark.parametrize('kind', ['mmseg.BaseSegDataset', 'mmconvnext.ImageFolder'])
def test_images_that_cannot_be_read_are_counted_and_named(tmp_path, kind):
    picture(tmp_path, 'a.jpg')
    write(tmp_path / 'images/b.jpg', b'not an image')
    write(tmp_path / 'images/sub/c.jpg', picture(tmp_path, 'd.jpg').read_bytes()[:-40])
    (finding,) = check_images(config(tmp_path, kind), LOADER)
    assert finding.check == 'image_files'
    assert finding.text.startswith('train_dataloader.dataset: 2 of 4 images cannot be read (')
    assert 'b.jpg: it is no image' in finding.text and 'c.jpg: it is cut off' in finding.text
    assert finding.text.endswith('replace or remove them')


@pytest.mark.parametrize(('link', 'target'), [('self', 'self'), ('up', '..')])
def test_links_on_which_mmseg_fails(tmp_path, link, target):
    picture(tmp_path, 'a.jpg')
    (tmp_path / 'images' / link).symlink_to(target)
    (finding,) = check_images(config(tmp_path), LOADER)
    assert finding.check == 'image_files'
    assert f'fails at links that lead to themselves or to a folder above ({link})' in finding.text
    assert [*check_images(config(tmp_path, 'mmconvnext.ImageFolder'), LOADER)] == []
    (tmp_path / 'list.txt').write_text('a\n')
    assert [*check_images(config(tmp_path, ann_file='list.txt'), LOADER)] == []


@pytest.mark.parametrize('kind', ['mmseg.BaseSegDataset', 'mmconvnext.ImageFolder'])
def test_links_to_images(tmp_path, kind):
    picture(tmp_path, 'a.jpg')
    write(tmp_path / 'away/b.jpg', (tmp_path / 'images/a.jpg').read_bytes())
    (tmp_path / 'images/b.jpg').symlink_to('../away/b.jpg')
    (tmp_path / 'images/all').symlink_to('../away')
    assert [*check_images(config(tmp_path, kind), LOADER)] == []
    (tmp_path / 'away/b.jpg').unlink()
    (finding,) = check_images(config(tmp_path, kind), LOADER)
    assert '1 of 2 images cannot be read' in finding.text
    assert 'b.jpg: it is a link to ../away/b.jpg: no such file' in finding.text


def test_suffix_and_list_are_those_of_the_dataset(tmp_path):
    for name in ('a.jpg', 'b.png', 'c_x.png'):
        write(tmp_path / 'images' / name, b'')
    (tmp_path / 'list.txt').write_text('b\nc_x\n\n')

    def count(**dataset):
        findings = [*check_images(config(tmp_path, **dataset), LOADER)]
        return int(findings[0].text.split(': ')[1].split()[0]) if findings else 0

    assert count() == 1
    assert count(img_suffix='.png') == 2
    assert count(img_suffix='_x.png') == 1
    assert count(img_suffix='.png', ann_file='list.txt') == 2
    assert count(img_suffix='.tif') == 0
    assert count(img_suffix='.png', ann_file='none.txt') == 2


def test_listed_images_that_are_missing(tmp_path):
    picture(tmp_path, 'a.jpg')
    (tmp_path / 'list.txt').write_text('a\ngone\n')
    (finding,) = check_images(config(tmp_path, ann_file='list.txt'), LOADER)
    assert '1 of 2 images cannot be read' in finding.text
    assert 'gone.jpg: no such file or directory' in finding.text


def test_the_suffix_of_the_type(tmp_path):
    """CityscapesDataset has its own img_suffix."""
    write(tmp_path / 'images/a_leftImg8bit.png', b'')
    write(tmp_path / 'images/a.jpg', b'')
    (finding,) = check_images(config(tmp_path, 'mmseg.CityscapesDataset'), LOADER)
    assert '1 of 1 images' in finding.text and 'a_leftImg8bit.png' in finding.text


def test_several_images_in_a_file_are_a_warning(tmp_path):
    images = [Image.fromarray(colours()).convert(mode) for mode in ('RGB', 'L')]
    content = encoded(images[0], 'TIFF', save_all=True, append_images=images[1:])
    write(tmp_path / 'images/a.tif', content)
    (finding,) = check_images(config(tmp_path, img_suffix='.tif'), LOADER)
    assert not finding.check and '1 files hold several images, of which the first' in finding.text


def test_bits_and_channels_are_checked(tmp_path):
    write(tmp_path / 'images/a.jpg', encoded(Image.new('I;16', (9, 9), 4000), 'PNG'))
    (finding,) = check_images(config(tmp_path), LOADER)
    assert finding.check == 'image_bits' and 'bits=12' in finding.text


@pytest.mark.parametrize(
    'change',
    [
        dict(type='mmdet.CocoDataset'),
        dict(backend_args=dict(backend='petrel')),
        dict(data_prefix={}),
        dict(data_prefix=dict(img_path='none')),
    ],
)
def test_other_datasets_are_not_listed(tmp_path, change):
    write(tmp_path / 'images/a.jpg', b'')
    assert [*check_images(config(tmp_path, **change), LOADER)] == []


def test_other_ranks_leave_it_to_the_first(tmp_path, monkeypatch):
    write(tmp_path / 'images/a.jpg', b'')
    cfg = config(tmp_path)
    cfg.launcher = 'pytorch'
    monkeypatch.setenv('RANK', '1')
    assert [*check_images(cfg, LOADER)] == []
    monkeypatch.setenv('RANK', '0')
    assert len([*check_images(cfg, LOADER)]) == 1


def test_turned_images_are_no_fault_here(tmp_path):
    write(tmp_path / 'images/a.jpg', turned('JPEG', 6))
    assert [*check_images(config(tmp_path), LOADER)] == []


def test_it_is_one_of_the_checks(tmp_path, monkeypatch):
    write(tmp_path / 'images/a.jpg', b'')
    cfg = config(tmp_path)
    cfg.model = dict(
        type='EncoderDecoder', data_preprocessor=dict(type='SegDataPreProcessor', mean=[1], std=[])
    )
    with pytest.raises(
        RecipeError, match='1 values in mean and 0 in std.*\n.*checks.image_channels=False'
    ):
        check_recipe(cfg, ('test_dataloader',))
    cfg.model.data_preprocessor.std = [1]
    cfg.test_dataloader = cfg.pop('train_dataloader')
    with pytest.raises(
        RecipeError, match='1 of 1 images cannot be read.*\n.*checks.image_files=False'
    ):
        check_recipe(cfg, ('test_dataloader',))


def test_an_image_of_which_nothing_is_left(tmp_path):
    write(tmp_path / 'images/thin.jpg', encoded(Image.new('RGB', (3000, 1)), 'JPEG'))
    picture(tmp_path, 'a.jpg')
    resize = dict(type='Resize', scale=(1333, 800), keep_ratio=True)
    cfg = config(tmp_path, pipeline=[dict(type='LoadImageFromFile'), resize])
    (found,) = check_images(cfg, LOADER)
    assert found.check == 'thin_images' and 'images/thin.jpg, 3000 pixels long' in found.text
