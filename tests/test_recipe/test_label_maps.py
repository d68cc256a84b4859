# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/label_maps.py: label maps as people's tools write them are learnt whole, or refused.

What runs is compared with the drawn truth: as prediction it has IoU 100 for each class.
"""

import re

import numpy as np
import pytest
from fixtures import UPERNET, warnings
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from PIL import Image

from mmconvnext.recipe.checks import check_recipe
from mmconvnext.recipe.data_table import format_table
from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.label_maps import mend_label_maps
from mmconvnext.recipe.own_data import apply_own_data
from mmconvnext.recipe.prepare import run_checks
from mmconvnext.recipe.walk import LOADERS

H, W = 8, 12
CLASSES = ['soil', 'crop', 'weed']


def drawn(i: int) -> np.ndarray:
    """Ids 0, 1 and 2; each map differs, and none is symmetric."""
    ids = np.zeros((H, W), np.uint8)
    ids[1:4, 2 : 5 + i], ids[5:, 8:] = 1, 2
    return ids


def rgb(ids):
    return np.dstack([ids] * 3)


def palette(ids):
    image = Image.fromarray(ids, mode='P')
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0] + [7] * 759)
    return image


COLOURS = np.array([(0, 0, 0), (128, 64, 0), (0, 60, 200)], np.uint8)


def alpha(ids):
    return np.full_like(ids, 255)


@pytest.fixture
def write(tmp_path, load):
    """A function that writes a data set; it returns its config."""

    def save(image, file):
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == '.npy':
            np.save(file, image)
            return
        image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
        image.save(file)

    def build(
        label=lambda ids: ids,
        image='{}.jpg',
        target='{}.png',
        labels='labels',
        count=4,
        skip=(),
        exif=None,
        **options,
    ):
        for i in range(count):
            picture = Image.fromarray(np.full((H, W, 3), 60 + i, np.uint8))
            file = tmp_path / 'images' / (image(i) if callable(image) else image.format(i))
            file.parent.mkdir(parents=True, exist_ok=True)
            picture.save(file, **({'exif': exif} if exif else {}))
            name = target(i) if callable(target) else target.format(i)
            if i not in skip:
                save(label(drawn(i)), tmp_path / labels / name)
        split = dict(images='images', annotations=labels)
        given = dict(root=str(tmp_path), classes=CLASSES, train=split, val=split)
        cfg = load(UPERNET)
        cfg.own_data = {**given, **options}
        apply_own_data(cfg)
        return cfg

    return build


def checked(cfg):
    """The warnings, and the rows of the table."""
    table = []
    return check_recipe(cfg, LOADERS, lambda: mend_label_maps(cfg, LOADERS, table)), table


def loaded(cfg, loader):
    """What the pipeline packs, less the transforms that change the image."""
    from mmseg.registry import DATASETS

    init_default_scope('mmseg')
    node = cfg[loader].dataset
    steps = ('LoadImageFromFile', 'LoadAnnotations', 'LoadLabelMap', 'PackSegInputs')
    pipeline = [s for s in node.pipeline if s['type'].rpartition('.')[2] in steps]
    assert len(pipeline) == 3
    dataset = DATASETS.build({**node, 'pipeline': pipeline, 'serialize_data': False})
    return [dataset[i]['data_samples'] for i in range(len(dataset))]


def ious(cfg, loader, truth, classes=CLASSES):
    """IoU of each class, with the truth as prediction."""
    import torch
    from mmseg.evaluation import IoUMetric

    metric = IoUMetric(iou_metrics=['mIoU'])
    metric.dataset_meta = dict(classes=classes)
    for sample in loaded(cfg, loader):
        number = int(re.search(r'\d+', sample.img_path.rpartition('/')[2])[0])
        labels = torch.from_numpy(truth(drawn(number)).astype(np.int64))[None]
        assert sample.gt_sem_seg.data.shape == labels.shape
        sample.pred_sem_seg = PixelData(data=labels)
        metric.process({}, [sample.to_dict()])
    areas = [sum(part) for part in zip(*metric.results)]
    return (100 * areas[0] / areas[1]).tolist(), areas[3].tolist()


def is_right(cfg, truth=lambda ids: ids, count=4, classes=CLASSES):
    for loader in LOADERS:
        found, pixels = ious(cfg, loader, truth, classes)
        drawn_pixels = sum(
            np.bincount(truth(drawn(i)).ravel(), minlength=256)[: len(classes)]
            for i in range(count)
        )
        assert found == [100] * len(classes)
        assert pixels == drawn_pixels.tolist()


# What runs


RIGHT = {
    'grey': {},
    'palette': dict(label=palette),
    '16 bit': dict(label=lambda ids: ids.astype(np.uint16)),
    '32 bit': dict(label=lambda ids: ids.astype(np.int32), target='{}.tif', label_suffix='.tif'),
    'same folder': dict(
        image='{}.png',
        target='{}_mask.png',
        labels='images',
        image_suffix='.png',
        label_suffix='_mask.png',
    ),
    'maps below the images': dict(image='{}.png', labels='images/masks', image_suffix='.png'),
    'folders and long suffixes': dict(
        image='town/{}_leftImg8bit.png',
        target='town/{}_ids.png',
        image_suffix='_leftImg8bit.png',
        label_suffix='_ids.png',
    ),
    'images in upper case': dict(image='{}.JPG', image_suffix='.JPG'),
    'ids that are listed': dict(
        label=lambda ids: np.array([0, 255, 127], np.uint8)[ids], ids=[0, 255, 127]
    ),
    'ids over 255': dict(
        label=lambda ids: np.array([0, 256, 1000], np.uint16)[ids], ids=[0, 256, 1000]
    ),
    'colours': dict(label=lambda ids: COLOURS[ids], colours=COLOURS.tolist()),
    'colours and alpha': dict(
        label=lambda ids: np.dstack([COLOURS[ids], alpha(ids)]), colours=COLOURS.tolist()
    ),
    'palette by colour': dict(
        label=lambda ids: palette(2 - ids), colours=[(0, 128, 0), (128, 0, 0), (0, 0, 0)]
    ),
}


@pytest.mark.parametrize('given', RIGHT.values(), ids=RIGHT)
def test_right(write, given):
    cfg = write(**given)
    before = Config(cfg.to_dict())
    told, table = checked(cfg)
    assert told == []
    assert cfg.to_dict() == before.to_dict()
    is_right(cfg)
    for row, name in zip(table, ('train', 'val', 'test')):
        assert (row.name, row.images, row.images_used, row.objects) == (name, 4, 4, None)
        assert row.classes == dict(soil=4, crop=4, weed=4)
        assert row.mended == row.left_out == {}


def test_right_1_bit(write):
    one = lambda ids: Image.fromarray(ids > 0)  # noqa: E731
    cfg = write(one, classes=['soil', 'crop'])
    assert checked(cfg)[0] == []
    is_right(cfg, lambda ids: ids > 0, classes=['soil', 'crop'])


def test_right_reduced(write):
    cfg = write(
        lambda ids: np.where(ids == 0, 0, ids), classes=['crop', 'weed'], reduce_zero_label=True
    )
    told, table = checked(cfg)
    assert told == [] and table[0].classes == dict(crop=4, weed=4)
    truth = lambda ids: np.where(ids == 0, 255, ids.astype(int) - 1)  # noqa: E731
    is_right(cfg, truth, classes=['crop', 'weed'])


@pytest.mark.parametrize('void', [11, 0, 200, 300])
def test_ignored_ids(write, void):
    def label(ids):
        marked = ids.astype(np.int32) + (5 if void == 0 else 0)
        marked[:2] = void
        return marked

    ids = [5, 6, 7] if void == 0 else None
    cfg = write(label, ignore_ids=[void], ids=ids, target='{}.tif', label_suffix='.tif')
    assert checked(cfg)[0] == []

    def truth(ids):
        return np.concatenate([np.full_like(ids[:2], 255), ids[2:]])

    is_right(cfg, truth)


def test_palette_file(write, tmp_path):
    lines = [
        '# label:color_rgb:parts:actions',
        'weed:0,60,200::',
        'soil:0,0,0::',
        'crop:128,64,0::',
    ]
    (tmp_path / 'labelmap.txt').write_text('\n'.join([*lines, 'tree:1,1,1::', '']))
    cfg = write(lambda ids: COLOURS[ids], palette_file='labelmap.txt')
    assert checked(cfg)[0] == []
    is_right(cfg)


# What is mended


MENDED = {
    'R = G = B': (dict(label=rgb), 'label maps hold the id in R = G = B'),
    'R = G = B and alpha': (
        dict(label=lambda ids: np.dstack([rgb(ids), alpha(ids)])),
        'label maps hold the id in R = G = B, and alpha, which is left out',
    ),
    'alpha': (
        dict(label=lambda ids: np.dstack([ids, alpha(ids)])),
        'label maps have an alpha channel, which is left out',
    ),
    'npy': (dict(target='{}.npy', label_suffix='.npy'), 'label maps are .npy files'),
}


@pytest.mark.parametrize(('given', 'form'), MENDED.values(), ids=MENDED)
@pytest.mark.parametrize('tta', [False, True])
def test_mended(write, tmp_path, given, form, tta):
    cfg = write(**given)
    if not tta:
        cfg.pop('tta_pipeline')
    told, table = checked(cfg)
    names = ', '.join(given.get('target', '{}.png').format(i) for i in range(4))
    assert told == [f'{tmp_path}/labels: mended: 4 {form} ({names})']
    is_right(cfg)
    assert [row.mended for row in table] == [{form: 4}] * 3
    if tta:
        assert 'mmconvnext.LoadLabelMap' in str(cfg.tta_pipeline)
    again = Config(cfg.to_dict())
    apply_own_data(again)
    assert checked(again)[0] == told  # it is told each time
    assert again.to_dict() == cfg.to_dict()


def test_only_the_split_that_needs_it_is_mended(write, tmp_path):
    cfg = write(rgb)
    for i in range(4):
        file = tmp_path / f'plain/{i}.png'
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(drawn(i)).save(file)
    cfg.val_dataloader.dataset.data_prefix.seg_map_path = 'plain'
    (warning,), table = checked(cfg)
    assert warning.startswith(f'{tmp_path}/labels: mended: 4')
    assert 'LoadLabelMap' not in str(cfg.val_dataloader)
    assert [len(row.mended) for row in table] == [1, 0, 1]
    is_right(cfg)


def test_every_process_of_a_run_mends(write, monkeypatch):
    cfg = write(rgb)
    cfg.launcher = 'pytorch'
    monkeypatch.setenv('RANK', '1')
    checked(cfg)
    assert 'LoadLabelMap' in str(cfg.train_dataloader)


def test_the_tools_mend_and_print_the_table(write, capsys, log_records):
    cfg = write(rgb)
    rows = run_checks(cfg, LOADERS)
    assert [row.name for row in rows] == ['train', 'val', 'test']
    assert 'LoadLabelMap' in str(cfg.train_dataloader)
    assert 'soil 4, crop 4, weed 4' in capsys.readouterr().out
    (warning,) = [text for text in warnings(log_records) if 'mended' in text]
    assert 'R = G = B' in warning


def test_a_test_reads_its_own_maps_only(write):
    cfg = write(rgb)
    assert [row.name for row in run_checks(cfg, LOADERS[2:])] == ['test']
    assert 'LoadLabelMap' not in str(cfg.train_dataloader)


def test_mmdet_is_left_alone(load, coco_data):
    from fixtures import FASTER_RCNN

    cfg = load(FASTER_RCNN)
    cfg.own_data = coco_data
    apply_own_data(cfg)
    cfg.train_dataloader.dataset.data_prefix.seg_map_path = 'train'
    assert list(mend_label_maps(cfg, LOADERS, [])) == []


# What is refused


REFUSED = {
    'colours': (
        dict(label=lambda ids: COLOURS[ids]),
        r'labels/0\.png has 3 channels with colours; .* \(4 of 4 maps\)\. Say which class '
        r'each colour '
        # No list to copy: the colours found are not in the order of the classes.
        r"is: own_data\.palette_file='labelmap\.txt' \(CVAT's .*, or own_data\.colours=\[\.\.\.\] "
        r'with the colour of each of the 3 classes, in the order of own_data\.classes; found are '
        r'\(0, 0, 0\), \(0, 60, 200\), \(128, 64, 0\)',
    ),
    'half the size': (
        dict(label=lambda ids: Image.fromarray(ids).resize((W // 2, H // 2), 0)),
        r'4 of 4 label maps have another size than their images, .*labels/0\.png has 6x4, its '
        r'image '
        r'12x8 \(also 1\.png, 2\.png, 3\.png\); export them',
    ),
    'JPEG': (
        dict(label=lambda ids: ids * 127, target='{}.jpg', label_suffix='.jpg'),
        r'4 of 4 label maps are JPEG files, the first is \S*labels/0\.jpg \(also .*\); JPEG '
        r'changes '
        r"values near edges \(\d+ values from 0 to 25\d\).* label_suffix|label_suffix='\.png'",
    ),
    'grey levels': (
        dict(label=lambda ids: ids * 127),
        r'contain the ids \{0, 127, 254\}, but 3 classes .* no class has \{127, 254\} \(127 '
        r'in 4, 254 '
        r'in 4 of the maps.*own_data\.ids=\[0, 127, 254\]',
    ),
    'void': (
        dict(label=lambda ids: np.where(ids == drawn(0), ids, 11).astype(np.uint8)),
        r'no class has \{11\} \(11 in 3 of the maps, the first is \S*labels/1\.png \(also 2\.png, '
        r'3\.png\)\); if no class is meant, set own_data\.ignore_ids=\[11\]',
    ),
    'ids that wrap': (
        dict(label=lambda ids: ids.astype(np.uint16) + 256),
        r'no class has \{256, 257, 258\}.*own_data\.ids=\[256, 257, 258\].*\(mmseg would keep '
        r'the low '
        r'8 bits: 258 would be 2\)',
    ),
    'suffix in other case': (
        dict(image='{}.JPG'),
        r"no image in \S*/images ends in '\.jpg', but 4 end in '\.JPG'; set own_data\.image_suffix="
        r"'\.JPG'",
    ),
    'mixed suffixes': (
        dict(image=lambda i: f'{i}.{("jpg", "JPG", "png", "jpg")[i]}'),
        r'2 images with a label map in \S*/images would be left out, because they do not end '
        r"in '\.jpg' "
        r"like 2 others \('\.JPG' 1, '\.png' 1: 1\.JPG, 2\.png\); .* for f in \*\.JPG; do mv "
        r'\"\$f\" '
        r'"\$\{f%\.JPG\}\.jpg"; done',
    ),
    'missing label map': (
        dict(skip=[2]),
        r'1 of 4 images have no label map, the first is \S*labels/2\.png; add them, remove',
    ),
    'label map in other case': (
        dict(target=lambda i: '2.PNG' if i == 2 else f'{i}.png'),
        r'1 of 4 images have no label map, .*labels/2\.png; 2\.PNG differs? in upper and '
        r'lower case',
    ),
    'all label maps in other case': (
        dict(target='{}.PNG'),
        r'no image has a label map: \S*labels/0\.png does not exist; set '
        r"own_data\.label_suffix='\.PNG'",
    ),
    'prefix': (
        dict(target='label_{}.png'),
        r'no image has a label map: .* 4 label maps are called label_\*\.png, their images '
        r'\*\.jpg: '
        r'rename them .* for f in label_\*; do mv "\$f" "\$\{f#label_\}"; done',
    ),
    'suffix': (
        dict(target='{}_mask.png'),
        r"4 label maps are called \*_mask\.png, .*: set own_data\.label_suffix='_mask\.png'",
    ),
    'both suffixes': (
        dict(image='{}_sat.jpg', target='{}_mask.png'),
        r"set own_data\.image_suffix='_sat\.jpg' and own_data\.label_suffix='_mask\.png'",
    ),
    'one class, reduced': (
        dict(label=lambda ids: np.minimum(ids, 1), classes=['crop'], reduce_zero_label=True),
        r"a single class, 'crop', whose softmax is always 1.*classes=\['background', 'crop'\] with "
        r'reduce_zero_label=False',
    ),
    'too many colours': (
        dict(
            label=lambda ids: np.dstack(
                [ids * 90, np.arange(H * W).reshape(H, W) % 256, ids]
            ).astype(np.uint8)
        ),
        r'own_data\.colours=\[\.\.\.\] with the colour of each of the 3 classes, in the order of '
        r'own_data\.classes, and own_data\.ignore_ids',
    ),
    'unlisted colour': (
        dict(label=lambda ids: COLOURS[ids], colours=[(0, 0, 0), (128, 64, 0), (1, 1, 1)]),
        r'contain colours that own_data\.colours does not list: \{\(0, 60, 200\)\} \(\(0, 60, '
        r'200\) in 4 '
        r'of the maps, .*own_data\.ignore_ids=\[\(0, 60, 200\)\]',
    ),
    'unlisted id': (
        dict(label=lambda ids: ids * 2, ids=[0, 2, 5], ignore_ids=[9]),
        r'contain values that own_data\.ids does not list: \{4\} .*own_data\.ignore_ids=\[9, 4\]',
    ),
}


@pytest.mark.parametrize(('given', 'message'), REFUSED.values(), ids=REFUSED)
def test_refused(write, given, message):
    with pytest.raises(RecipeError, match=message) as error:
        checked(write(**given))
    assert '=False in the config lets this pass)' in str(error.value)


def test_black_and_white_is_refused_and_the_line_mends_it(write):
    two = dict(classes=['soil', 'crop'])
    white = lambda ids: np.where(ids > 0, 255, 0).astype(np.uint8)  # noqa: E731
    with pytest.raises(
        RecipeError, match=r'set own_data\.ids=\[0, 255\], which maps black and white'
    ):
        checked(write(white, **two))
    cfg = write(white, **two, ids=[0, 255])
    assert checked(cfg)[0] == []
    is_right(cfg, lambda ids: ids > 0, classes=['soil', 'crop'])


def test_black_and_white_in_three_channels(write):
    two = dict(classes=['soil', 'crop'], ids=[0, 255])
    cfg = write(lambda ids: rgb(np.where(ids > 0, 255, 0).astype(np.uint8)), **two)
    (warning,) = checked(cfg)[0]
    assert 'mended: 4 label maps hold the id in R = G = B' in warning
    is_right(cfg, lambda ids: ids > 0, classes=['soil', 'crop'])


def test_the_line_of_each_refusal_mends_it(write, tmp_path):
    void = REFUSED['void'][0]
    cfg = write(**void, ignore_ids=[11])
    assert checked(cfg)[0] == []
    is_right(cfg, lambda ids: np.where(ids == drawn(0), ids, 255))
    levels = REFUSED['grey levels'][0]
    is_right(write(**levels, ids=[0, 127, 254]))


def test_one_class_and_void(write):
    two = dict(classes=['soil', 'crop'])
    void = lambda ids: np.where(ids > 0, 11, 0).astype(np.uint8)  # noqa: E731
    with pytest.raises(
        RecipeError,
        match=r'if these are the classes in their order, set own_data\.ids=\[0, 11\]; if no class '
        r'is meant, set own_data\.ignore_ids=\[11\]; otherwise',
    ):
        checked(write(void, **two))
    cfg = write(void, **two, ignore_ids=[11])
    assert checked(cfg)[0] == [
        "train_dataloader: no label map contains ['crop']: cannot be learned"
    ]
    cfg = write(void, **two, ids=[0, 11])
    assert checked(cfg)[0] == []
    is_right(cfg, lambda ids: ids > 0, classes=['soil', 'crop'])


def test_a_rare_id_in_the_last_map(write):
    shifts = iter([0] * 23 + [5])
    with pytest.raises(RecipeError, match=r'no class has \{5, 6, 7\} .*the first is \S*/23\.png\)'):
        checked(write(lambda ids: ids + next(shifts), count=24))


def test_a_colour_table_in_the_data_is_named(write, tmp_path):
    (tmp_path / 'labelmap.txt').touch()
    with pytest.raises(RecipeError, match=r"own_data\.palette_file='labelmap\.txt', or own_data"):
        checked(write(lambda ids: COLOURS[ids]))


def test_maps_without_images_are_told_once(write, tmp_path):
    cfg = write()
    Image.fromarray(drawn(0)).save(tmp_path / 'labels/zz.png')
    told, table = checked(cfg)
    assert told == [f'{tmp_path}/labels: left out: 1 label map without an image (zz.png)']
    assert [row.left_out for row in table] == [{'label maps without an image': 1}] * 3
    assert [row.images for row in table] == [4, 4, 4]


def test_the_table_names_maps(write):
    def label(ids):
        return np.minimum(ids, 1) if (ids == drawn(1)).all() else ids

    lines = format_table(checked(write(label))[1]).splitlines()
    assert len(lines) == 7
    assert lines[1].split() == ['train', '4', 'of', '4', 'label', 'maps', '0', '0', '0']
    assert lines[2].strip() == 'soil 4, crop 4, weed 3'
