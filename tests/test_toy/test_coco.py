# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The COCO toy dataset: as pycocotools and mmdet read it, and all of it or nothing."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmconvnext.toy import CLASSES, coco, make_scene, mask_to_polygons, mask_to_rle, write_coco

PARAMS = dict(num_train=24, num_val=2, size=96, seed=7)
SPLITS = (('train2017', 24), ('val2017', 2))
TINY = dict(num_train=1, num_val=1, size=64, seed=7)


@pytest.fixture(scope='module')
def root(tmp_path_factory) -> Path:
    return write_coco(tmp_path_factory.mktemp('toy') / 'coco', **PARAMS)


def scene_of(split: int, index: int):
    return make_scene((PARAMS['seed'], split, index), PARAMS['size'], crowd=index == 0)


def tree(root: Path) -> dict:
    """{relative path: bytes} of all files."""
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob('*') if p.is_file()}


def test_same_seed_same_bytes(tmp_path):
    one, two = (tree(write_coco(tmp_path / name, **TINY)) for name in 'ab')
    assert one == two
    other = tree(write_coco(tmp_path / 'c', **dict(TINY, seed=8)))
    assert other.keys() == one.keys()
    assert all(other[name] != one[name] for name in one)


def test_fewer_images_are_a_prefix(tmp_path, root):
    few = write_coco(tmp_path / 'few', **dict(PARAMS, num_train=2))
    for path in (few / 'train2017').iterdir():
        assert path.read_bytes() == (root / 'train2017' / path.name).read_bytes()


def test_layout(root):
    names = {str(path.relative_to(root)) for path in root.rglob('*') if path.is_file()}
    images = {f'train2017/{i:012d}.png' for i in range(1, 25)}
    images |= {f'val2017/{i:012d}.png' for i in (25, 26)}
    annotations = {f'annotations/instances_{name}.json' for name, _ in SPLITS}
    assert names == images | annotations | {'toy.json'}
    assert [path.name for path in root.parent.iterdir()] == ['coco']  # no temporary folder left


@pytest.mark.parametrize('split, name, count', [(i, *s) for i, s in enumerate(SPLITS)])
def test_pycocotools_reads_the_scenes(root, split, name, count):
    coco = pytest.importorskip('pycocotools.coco').COCO(
        root / 'annotations' / f'instances_{name}.json'
    )
    assert [(c['id'], c['name']) for c in coco.loadCats(coco.getCatIds())] == [
        *enumerate(CLASSES, 1)
    ]
    assert len(coco.getImgIds()) == count
    for index, image in enumerate(coco.loadImgs(coco.getImgIds())):
        scene = scene_of(split, index)
        pixels = np.asarray(Image.open(root / name / image['file_name']))
        np.testing.assert_array_equal(pixels, scene.image)
        assert pixels.shape == (image['height'], image['width'], 3)
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=image['id']))
        assert [a['category_id'] - 1 for a in annotations] == scene.labels.tolist()
        assert [a['iscrowd'] for a in annotations] == scene.crowd.tolist()
        for annotation, mask in zip(annotations, scene.instance_masks):
            read = coco.annToMask(annotation).astype(bool)
            assert (read & mask).sum() / (read | mask).sum() > 0.99
            y, x = np.nonzero(mask)
            width, height = np.ptp(x) + 1, np.ptp(y) + 1
            assert annotation['bbox'] == [x.min(), y.min(), width, height]
            assert annotation['area'] == mask.sum()


def test_kinds_of_segmentation_and_ids(root):
    contents = [
        json.loads((root / 'annotations' / f'instances_{name}.json').read_text())
        for name, _ in SPLITS
    ]
    for content in contents:
        crowds = [a for a in content['annotations'] if a['iscrowd']]
        assert len(crowds) == 1
        assert isinstance(crowds[0]['segmentation']['counts'], list)
        assert content['info']['version'] == '1' and content['licenses'][0]['id'] == 1
    annotations = sum((content['annotations'] for content in contents), [])
    single = [a['segmentation'] for a in annotations if not a['iscrowd']]
    assert {type(segmentation) for segmentation in single} == {list, dict}
    assert any(len(s) > 1 for s in single if isinstance(s, list))  # split by an object in front
    assert [a['id'] for a in annotations] == [*range(1, len(annotations) + 1)]


def test_mmdet_ignores_crowds_only(root):
    pytest.importorskip('mmcv')
    pytest.importorskip('mmdet')
    from mmdet.datasets import CocoDataset
    from mmdet.datasets.transforms import LoadAnnotations

    dataset = CocoDataset(
        ann_file='annotations/instances_train2017.json',
        data_root=str(root),
        data_prefix=dict(img='train2017/'),
        metainfo=dict(classes=CLASSES),
        pipeline=[],
    )
    load = LoadAnnotations(with_bbox=True, with_mask=True)
    assert len(dataset) == 24
    for index in range(len(dataset)):
        scene = scene_of(0, index)
        info = dataset.get_data_info(index)
        loaded = load(dict(info, ori_shape=(info['height'], info['width'])))
        np.testing.assert_array_equal(loaded['gt_ignore_flags'], scene.crowd)
        np.testing.assert_array_equal(loaded['gt_bboxes_labels'], scene.labels)
        np.testing.assert_array_equal(loaded['gt_masks'].masks, scene.instance_masks)


def rows(*lines: str) -> np.ndarray:
    return np.array([[char == '#' for char in line] for line in lines])


@pytest.mark.parametrize(
    'mask, polygons',
    [
        (rows('##.', '##.'), [[2, 0, 2, 2, 0, 2, 0, 0]]),
        (rows('...', '.##', '.#.'), [[3, 1, 3, 2, 2, 2, 2, 3, 1, 3, 1, 1]]),
        (rows('#.', '.#'), [[1, 0, 1, 1, 0, 1, 0, 0], [2, 1, 2, 2, 1, 2, 1, 1]]),
        (rows('.#', '#.'), [[1, 1, 1, 2, 0, 2, 0, 1], [2, 0, 2, 1, 1, 1, 1, 0]]),
        (rows('###', '#.#', '###'), []),
        (rows('....', '....'), []),
    ],
)
def test_polygons(mask, polygons):
    assert mask_to_polygons(mask) == polygons


@pytest.mark.parametrize(
    'mask, counts',
    [(rows('.#', '.#'), [2, 2]), (rows('##', '..'), [0, 1, 1, 1, 1]), (rows('..'), [2])],
)
def test_rle_is_column_major_and_starts_with_zeros(mask, counts):
    assert mask_to_rle(mask) == dict(size=list(mask.shape), counts=counts)


def test_polygons_and_rle_of_noise_come_back():
    coding = pytest.importorskip('pycocotools.mask')
    rng = np.random.default_rng(0)
    traced = 0
    for _ in range(50):
        mask = rng.uniform(size=(9, 13)) < 0.4
        rle = coding.frPyObjects(mask_to_rle(mask), *mask.shape)
        np.testing.assert_array_equal(coding.decode(rle), mask)
        polygons = mask_to_polygons(mask)
        if polygons:
            rle = coding.merge(coding.frPyObjects(polygons, *mask.shape))
            np.testing.assert_array_equal(coding.decode(rle), mask)
            traced += 1
    assert 5 <= traced < 50


def test_equal_parameters_write_nothing(tmp_path):
    root = write_coco(tmp_path / 'coco', **TINY)
    (root / 'val2017' / '000000000002.png').write_bytes(b'changed')
    before = tree(root)
    assert write_coco(root, **TINY) == root
    assert tree(root) == before


def test_empty_folder_and_missing_parents_are_filled(tmp_path):
    (tmp_path / 'empty').mkdir()
    assert (write_coco(tmp_path / 'empty', **TINY) / 'toy.json').is_file()
    assert (write_coco(tmp_path / 'a' / 'b', **TINY) / 'toy.json').is_file()


def test_a_file_is_written_with_sorted_keys(tmp_path):
    coco.write_json(tmp_path / 'a.json', dict(b=[1], a=dict(d=2, c=3)))
    assert (tmp_path / 'a.json').read_text() == '{"a": {"c": 3, "d": 2}, "b": [1]}\n'


ONE = dict(task='coco', num_train=1, num_val=1, size=64, seed=0)  # the least that is allowed


def test_a_link_and_a_relative_path_are_followed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'my disk').mkdir()
    (tmp_path / 'link').symlink_to('my disk')
    fill = lambda folder: (folder / 'x').touch()  # noqa: E731
    assert coco.write_once('link', ONE, fill) == Path('link')
    assert Path('link').is_symlink() and Path('my disk/x').is_file()
    assert coco.write_once('link/../a b', ONE, fill) == Path('link/../a b')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a b', 'link', 'my disk']


def test_nothing_is_left_of_an_interrupted_writing(tmp_path):
    def fill(folder):
        assert folder.parent == tmp_path and folder.name.startswith('.coco.')
        (folder / 'x').touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        coco.write_once(tmp_path / 'coco', ONE, fill)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('seed', [0, 1])
def test_another_process_was_faster(tmp_path, seed):
    """With the same data nothing is wrong; with others the error says what is there."""

    def fill(folder):
        coco.write_once(
            tmp_path / 'coco', dict(ONE, seed=seed), lambda other: (other / 'x').touch()
        )
        (folder / 'y').touch()

    if seed == ONE['seed']:
        assert coco.write_once(tmp_path / 'coco', ONE, fill) == tmp_path / 'coco'
    else:
        with pytest.raises(FileExistsError, match='its seed is 1 instead of 0'):
            coco.write_once(tmp_path / 'coco', ONE, fill)
    assert [path.name for path in tmp_path.iterdir()] == ['coco']
    assert sorted(path.name for path in (tmp_path / 'coco').iterdir()) == ['toy.json', 'x']


def test_an_error_of_the_disk_is_told(tmp_path):
    with pytest.raises(NotADirectoryError):
        (tmp_path / 'file').touch()
        coco.write_once(tmp_path / 'file/coco', ONE, lambda folder: None)


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        (dict(version=0), 'its version is 0 instead of 1'),
        (dict(version=2), 'its version is 2 instead of 1'),
        (dict(version=None), 'its version is None instead of 1'),
        (dict(colours=16), 'its colours is 16 instead of None'),
        (
            dict(num_train=2, size=96),
            'its num_train is 2 instead of 1, its size is 96 instead of 64',
        ),
    ],
    ids=lambda value: ''.join(value) if isinstance(value, dict) else '',
)
def test_data_of_another_version_are_in_the_way(tmp_path, change, reason):
    root = coco.write_once(tmp_path / 'coco', ONE, lambda folder: None)
    marker = json.loads((root / 'toy.json').read_text())
    assert marker == dict(ONE, version=1)
    marker.update(change)
    if change.get('version', 0) is None:
        del marker['version']
    (root / 'toy.json').write_text(json.dumps(marker))
    before = tree(root)
    with pytest.raises(FileExistsError, match=f'{reason}. Nothing was changed there'):
        coco.write_once(root, ONE, lambda folder: None)
    assert tree(root) == before


def test_a_file_is_in_the_way(tmp_path):
    (tmp_path / 'coco').write_text('mine')
    with pytest.raises(FileExistsError, match='coco is in the way: it holds no readable toy.json'):
        write_coco(tmp_path / 'coco', **TINY)
    assert (tmp_path / 'coco').read_text() == 'mine'


@pytest.mark.parametrize('marker', [None, '{', '[1]'])
def test_foreign_folder_is_kept(tmp_path, marker):
    (tmp_path / 'photo.png').write_bytes(b'mine')
    if marker:
        (tmp_path / 'toy.json').write_text(marker)
    before = tree(tmp_path)
    with pytest.raises(FileExistsError, match=f'{tmp_path.name}.*no readable toy.json.*another'):
        write_coco(tmp_path, **TINY)
    assert tree(tmp_path) == before


@pytest.mark.parametrize('name, value', [('seed', 8), ('num_val', 2), ('size', 65)])
def test_other_parameters_are_named(tmp_path, name, value):
    root = write_coco(tmp_path / 'coco', **TINY)
    before = tree(root)
    match = f'coco is in the way: its {name} is {TINY[name]} instead of {value}. .*delete'
    with pytest.raises(FileExistsError, match=match):
        write_coco(root, **{**TINY, name: value})
    assert tree(root) == before
