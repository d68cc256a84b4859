# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/load_label_map.py: it loads what mmseg loads, and translates the rest."""

import copy
import io
import warnings

import cv2
import numpy as np
import pytest
from mmengine.registry import init_default_scope
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS as MMSEGS
from PIL import Image

from mmconvnext.recipe.load_label_map import LoadLabelMap
from mmconvnext.registry import TRANSFORMS

IDS = np.array([[0, 1, 1, 2], [7, 1, 255, 254]], dtype=np.uint8)


def palette(ids):
    image = Image.fromarray(ids, mode='P')
    image.putpalette([9, 0, 0, 0, 9, 0, 0, 0, 9] + [0] * 759)
    return image


IMAGES = {
    'grey': Image.fromarray(IDS),
    'palette': palette(IDS),
    '16 bit': Image.fromarray(IDS.astype(np.uint16)),
    '32 bit': Image.fromarray(IDS.astype(np.int32)),
    '1 bit': Image.fromarray(IDS > 1),
}


def results(file, reduces=False, label_map=None) -> dict:
    return dict(
        seg_map_path=str(file), reduce_zero_label=reduces, label_map=label_map, seg_fields=[]
    )


@pytest.fixture
def saved(tmp_path):
    def save(image, name='a.tif', **options):
        image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return save


def load(file, **arguments):
    return LoadLabelMap(**arguments)(results(file))['gt_seg_map'].tolist()


@pytest.mark.parametrize('image', IMAGES.values(), ids=IMAGES)
@pytest.mark.parametrize('reduces', [False, True])
@pytest.mark.parametrize('label_map', [None, {0: 255, 1: 0, 2: 1, 7: 2}])
def test_it_loads_what_mmseg_loads(saved, image, reduces, label_map):
    given = results(saved(image), reduces, label_map)
    theirs = LoadAnnotations()(copy.deepcopy(given))
    ours = LoadLabelMap()(copy.deepcopy(given))
    assert list(ours) == list(theirs)
    assert ours['gt_seg_map'].dtype == theirs['gt_seg_map'].dtype == np.uint8
    assert np.array_equal(ours.pop('gt_seg_map'), theirs.pop('gt_seg_map'))
    assert ours == theirs and ours['seg_fields'] == ['gt_seg_map']


@pytest.mark.parametrize('backend', ['cv2', 'tifffile'])
def test_other_decoders_as_in_mmseg(saved, backend):
    file = saved(IDS.astype(np.uint16))
    pytest.importorskip('tifffile' if backend == 'tifffile' else 'cv2')
    theirs = LoadAnnotations(imdecode_backend=backend)(results(file))['gt_seg_map']
    assert load(file, imdecode_backend=backend) == theirs.tolist()


def test_colours_by_cv2_are_rgb_too(saved):
    colours = [(9, 0, 0), (0, 9, 0), (0, 0, 9)]
    pixels = np.array([[colours[0], colours[2], colours[1]]], dtype=np.uint8)
    for image in (pixels, np.dstack([pixels, np.full((1, 3), 255, np.uint8)])):
        file = saved(image, 'a.png')
        for backend in ('pillow', 'cv2'):
            assert load(file, colours=colours, imdecode_backend=backend) == [[0, 2, 1]]


def test_files_are_read_by_the_backend(saved, tmp_path):
    file = saved(IDS)
    backend = dict(backend='local')
    transform = LoadLabelMap(backend_args=backend)
    assert transform(results(file))['gt_seg_map'].tolist() == IDS.tolist()
    assert transform.backend_args == backend and transform.backend_args is not backend
    broken = LoadLabelMap(backend_args=dict(backend='nothing'))
    with pytest.raises(Exception, match='nothing'):
        broken(results(file))


def test_reduce_zero_label_is_that_of_the_dataset(saved):
    file = saved(IDS)
    reduced = [[255, 0, 0, 1], [6, 0, 255, 253]]
    for given in (None, True):
        transform = LoadLabelMap(reduce_zero_label=given)
        assert transform(results(file, True))['gt_seg_map'].tolist() == reduced
    with pytest.raises(ValueError, match='reduce_zero_label=False of LoadLabelMap, but True of'):
        LoadLabelMap(reduce_zero_label=False)(results(file, True))


@pytest.mark.parametrize('form', ['RGB', 'RGBA', 'LA', 'npy', 'npy of colours'])
def test_ids_in_forms_that_mmseg_cannot_read(saved, tmp_path, form):
    equal, alpha = np.dstack([IDS] * 3), np.full_like(IDS, 255)
    if 'npy' in form:
        np.save(tmp_path / 'a.npy', equal if 'colours' in form else IDS.astype(np.int64))
        file = tmp_path / 'a.npy'
    else:
        image = {'RGB': equal, 'RGBA': np.dstack([equal, alpha]), 'LA': np.dstack([IDS, alpha])}
        file = saved(image[form], 'a.png')
    found = LoadLabelMap()(results(file))['gt_seg_map']
    assert found.dtype == np.uint8 and found.tolist() == IDS.tolist()


def test_ids_of_the_classes(saved):
    file = saved(np.array([[0, 127, 254, 11]], np.uint8), 'a.png')
    assert load(file, ids=[254, 0, 127], ignore_ids=[11]) == [[1, 2, 0, 255]]
    file = saved(np.array([[0, 300, 70000, 11]], np.int32))
    assert load(file, ids=[70000, 300, 0], ignore_ids=[11]) == [[2, 1, 0, 255]]


def test_palettes_by_colour(saved):
    image = palette(np.array([[2, 0, 1]], np.uint8))
    assert load(saved(image), colours=[(9, 0, 0), (0, 0, 9), (0, 9, 0)]) == [[1, 0, 2]]
    assert load(saved(image)) == [[2, 0, 1]]


def test_black_and_white_by_colour(saved):
    colours = [(255, 255, 255), (0, 0, 0)]
    assert load(saved(np.array([[0, 255]], np.uint8)), colours=colours) == [[1, 0]]
    assert load(saved(np.array([[False, True]])), colours=colours) == [[1, 0]]


@pytest.mark.parametrize(
    ('image', 'arguments', 'error'),
    [
        (IDS, dict(ids=[0, 1]), 'the value 2,'),
        (IDS.astype(np.int32) + 2, {}, 'the value 257,'),
        (np.array([[0, 256]], np.int32), {}, 'the value 256,'),
        (np.dstack([IDS, IDS, IDS + 1]), {}, r'colours such as \(0, 0, 1\), not ids'),
        (np.dstack([IDS] * 3), dict(colours=[(0, 0, 0)]), r'the colour \(1, 1, 1\),'),
    ],
)
def test_no_unknown_value_becomes_a_class(saved, image, arguments, error):
    file = saved(image)
    with pytest.raises(
        ValueError, match=rf'^{file} cannot be used as a label map: it holds {error}'
    ):
        load(file, **arguments)


def test_a_broken_file_is_named(tmp_path):
    (tmp_path / 'a.png').write_bytes(b'no image')
    with pytest.raises(ValueError, match=r'a\.png cannot be used as a label map: cannot identify'):
        load(tmp_path / 'a.png')
    with pytest.raises(FileNotFoundError, match=r'b\.png'):
        load(tmp_path / 'b.png')


def test_a_config_finds_it_by_its_name(saved):
    init_default_scope('mmseg')
    config = dict(type='mmconvnext.LoadLabelMap', ids=[1, 0])
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        transform = MMSEGS.build(config)
    assert type(transform) is LoadLabelMap and TRANSFORMS.get('LoadLabelMap') is LoadLabelMap
    assert 'LoadLabelMap' not in MMSEGS._module_dict
    assert 'LoadLabelMap(ids=[1, 0], ignore_ids=(), colours=None, reduce_zero_label=None' in repr(
        transform
    )


def test_16_bits_in_each_channel_are_refused(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.dstack([IDS] * 3).astype(np.uint16))
    with pytest.raises(ValueError, match='channels have 16 bits'):
        load(tmp_path / 'a.png')


def test_it_can_be_sent_to_workers(saved):
    import pickle

    transform = pickle.loads(pickle.dumps(LoadLabelMap(ids=[1, 0])))
    image = io.BytesIO()
    Image.fromarray(np.array([[1, 0]], np.uint8)).save(image, format='PNG')
    assert transform._labels(image.getvalue()).tolist() == [[0, 1]]
