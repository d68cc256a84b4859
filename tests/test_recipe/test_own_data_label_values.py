# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/own_data/label_values.py: options that say what label maps hold, and their mistakes."""

import re
from pathlib import Path

import pytest
from fixtures import UPERNET
from mmengine.config import Config

from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.own_data import apply_own_data
from mmconvnext.recipe.walk import LOADERS, pipelines

NAMES = ['grass', 'cat', 'sky']  # those of seg_data, in another order of letters than of labels
COLOURS = [(0, 0, 0), (128, 64, 0), (0, 60, 200)]


@pytest.fixture
def own(load, seg_data):
    def build(cfg=None, **options):
        cfg = cfg or load(UPERNET)
        cfg.own_data = {**seg_data, 'classes': NAMES, **options}
        apply_own_data(cfg)
        return cfg

    return build


def loading(cfg) -> list:
    names = ('LoadAnnotations', 'LoadLabelMap')
    found = [dict(t) for t in pipelines(cfg) if t['type'].rpartition('.')[2] in names]
    for transform in found:
        transform.pop('reduce_zero_label', None)
    return found


def test_by_default_mmseg_loads_the_maps(own, load):
    assert loading(own()) == loading(load(UPERNET))
    assert [t['type'] for t in loading(own())] == ['LoadAnnotations'] * 4  # three loaders and TTA


@pytest.mark.parametrize(
    ('options', 'arguments'),
    [
        (dict(ids=[5, 0, 255]), dict(ids=[5, 0, 255])),
        (dict(ids=(5, 0, 255), ignore_ids=[1]), dict(ids=[5, 0, 255], ignore_ids=[1])),
        (dict(ignore_ids=[11, -1]), dict(ignore_ids=[11, -1])),
        (dict(colours=[list(c) for c in COLOURS]), dict(colours=COLOURS)),
        (
            dict(colours=COLOURS, ignore_ids=[[224, 224, 192], 255]),
            dict(colours=COLOURS, ignore_ids=[(224, 224, 192), (255, 255, 255)]),
        ),
        (dict(ids=[], ignore_ids=[]), None),
    ],
)
def test_what_the_transform_gets(own, options, arguments):
    if arguments is None:
        with pytest.raises(RecipeError, match='own_data.ids has 0 entries for 3 classes'):
            own(**options)
        return
    cfg = own(**options)
    assert loading(cfg) == [dict(type='mmconvnext.LoadLabelMap', **arguments)] * 4


def test_no_ignored_ids(own):
    assert loading(own(ignore_ids=[]))[0] == dict(type='mmconvnext.LoadLabelMap', ignore_ids=[])


def test_the_options_may_change(own, tmp_path):
    cfg = own(ids=[5, 6, 7], ignore_ids=[1])
    own(cfg, colours=COLOURS)
    assert loading(cfg)[0] == dict(type='mmconvnext.LoadLabelMap', colours=COLOURS)
    own(cfg)
    assert loading(cfg) == [dict(type='mmseg.LoadAnnotations')] * 4


def test_a_written_config_is_the_same(own, tmp_path):
    cfg = own(colours=COLOURS, ignore_ids=[(1, 2, 3)])
    cfg.dump(tmp_path / 'a.py')
    again = Config.fromfile(tmp_path / 'a.py')
    assert loading(again) == loading(cfg)
    before = Config(again.to_dict())
    apply_own_data(again)
    assert again.to_dict() == before.to_dict()


def test_a_table_of_colours_by_name(own, seg_data):
    file = Path(seg_data['root'], 'sub/labelmap.txt')
    file.parent.mkdir()
    file.write_text('sky:0,60,200::\nother:9,9,9::\ngrass:0,0,0::\ncat:128,64,0::\n')
    assert loading(own(palette_file='sub/labelmap.txt'))[0]['colours'] == COLOURS


@pytest.mark.parametrize(
    ('text', 'error'),
    [
        (None, 'own_data.palette_file: .*labelmap.txt does not exist'),
        ('grass:1,2\n', "labelmap.txt: line 1, 'grass:1,2', is not name:red,green,blue"),
        (
            'Grass:0,0,0\nCat:1,1,1\n',
            r"has no colour for 'grass'; it names \['Grass', 'Cat'\]; spell own_data.classes as in",
        ),
        (
            'grass:0,0,0\ncat:0,0,0\nsky:1,1,1\n',
            r"palette_file gives \(0, 0, 0\) to both 'grass' and 'cat'",
        ),
    ],
)
def test_wrong_tables_of_colours(own, seg_data, text, error):
    if text:
        Path(seg_data['root'], 'labelmap.txt').write_text(text)
    with pytest.raises(RecipeError, match=error):
        own(palette_file='labelmap.txt')


@pytest.mark.parametrize(
    ('options', 'error'),
    [
        (dict(ids=[0, 1]), 'own_data.ids has 2 entries for 3 classes; it needs a whole number for'),
        (dict(ids=[0, 1, 1]), "own_data.ids gives 1 to both 'cat' and 'sky'"),
        (dict(ids=[0, 1, '2']), "own_data.ids has '2', which is not a whole number"),
        (dict(ids=[0, 1, True]), 'own_data.ids has True, which is not'),
        (
            dict(ids=list(range(256)), classes=[str(i) for i in range(256)]),
            'own_data.ids cannot give 256 classes a label: .* so there can be 255 classes',
        ),
        (dict(ids=255), 'own_data.ids must be a list, got 255'),
        (dict(ids={0, 1, 2}), r'own_data.ids must be a list, got \{0, 1, 2\}'),
        (dict(ignore_ids=11), 'own_data.ignore_ids must be a list, got 11'),
        (dict(ignore_ids=['tree']), "own_data.ignore_ids has 'tree'; it holds whole numbers$"),
        (dict(ignore_ids=[(1, 2, 3)]), r'ignore_ids has \(1, 2, 3\); it holds whole numbers$'),
        (dict(ids=[0, 1, 2], ignore_ids=[2]), "ignore_ids has 2, which is the class 'sky'"),
        (dict(colours=COLOURS[:2]), r'has 2 entries for 3 classes; it needs a colour \(R, G, B\)'),
        (dict(colours=[*COLOURS[:2], (0, 0, 256)]), r'colours has \(0, 0, 256\), which is not a'),
        (dict(colours=[*COLOURS[:2], (0, 0)]), r'colours has \(0, 0\), which is not a colour'),
        (dict(colours=[*COLOURS[:2], 7]), 'colours has 7, which is not a colour'),
        (
            dict(colours=COLOURS, ignore_ids=[0]),
            r"ignore_ids has \(0, 0, 0\), which is the class 'grass'",
        ),
        (dict(ids=[0, 1, 2], colours=COLOURS), 'own_data.ids and own_data.colours: set one'),
        (dict(ids=[0, 1, 2], palette_file='x'), 'own_data.ids and own_data.palette_file: set one'),
        (
            dict(ids=[0, 1, 2], reduce_zero_label=True),
            'own_data.ids gives each class its value, so reduce_zero_label=True has no meaning',
        ),
    ],
)
def test_mistakes(own, options, error):
    with pytest.raises(RecipeError, match=error):
        own(**options)


def test_void_ids_with_reduce_zero_label(own):
    cfg = own(ignore_ids=[9], reduce_zero_label=True)
    assert loading(cfg)[0] == dict(type='mmconvnext.LoadLabelMap', ignore_ids=[9])
    assert cfg.train_dataloader.dataset.reduce_zero_label is True


def test_a_test_set_without_labels_loads_none(own):
    cfg = own(ids=[5, 6, 7], test=dict(images='val/images'))
    assert 'LoadLabelMap' in str(cfg.val_dataloader.dataset.pipeline)
    assert 'LoadLabelMap' not in str(cfg.test_dataloader.dataset.pipeline)
    assert not re.search('LoadLabelMap|LoadAnnotations', str(cfg.tta_pipeline))


def color_types(cfg) -> set:
    images = [t for t in pipelines(cfg) if t['type'] == 'LoadImageFromFile']
    assert len(images) == 4
    return {t.get('color_type') for t in images}


def test_images_as_they_are_stored(own, load):
    assert color_types(own()) == {None}
    assert color_types(own(ignore_exif=True)) == {'color_ignore_orientation'}
    cfg = load(UPERNET)
    for loader in LOADERS:
        cfg[loader].dataset.pipeline[0].color_type = 'grayscale'
    cfg.tta_pipeline[0].color_type = 'unchanged'
    own(cfg, ignore_exif=True)
    assert color_types(cfg) == {'grayscale_ignore_orientation', 'unchanged'}
