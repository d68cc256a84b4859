# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/annotations.py: a config reads the sound form of its files; what was mended is told."""

import copy
import os
from pathlib import Path

import coco_files as files
import pytest
from coco_files import CLASSES
from fixtures import FASTER_RCNN, MASK_RCNN, as_lazy, found, warnings
from mmengine.config import Config, ConfigDict
from PIL import Image

from mmconvnext.data.coco import kept
from mmconvnext.recipe import annotations
from mmconvnext.recipe.annotations import LISTED, mend_annotations, restore_listed
from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.own_data import apply_own_data
from mmconvnext.recipe.prepare import prepare_config, run_checks
from mmconvnext.recipe.walk import LOADERS, dicts

TRAIN, VAL, TEST = LOADERS


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


def odd():
    """Two defects: an id 0, and no area."""
    content = files.content()
    content['annotations'][0]['id'] = 0
    for entry in content['annotations']:
        del entry['area']
    return content


@pytest.fixture
def own(load, tmp_path):
    """A function: a recipe on these files for training and validation."""

    def build(train, val=None, recipe=MASK_RCNN, **options):
        files.pictures(tmp_path)
        files.write(tmp_path, train, 'train.json')
        files.write(tmp_path, train if val is None else val, 'val.json')
        cfg = load(recipe)
        split = dict(images='.')
        cfg.own_data = dict(
            root=str(tmp_path),
            classes=CLASSES,
            train=dict(split, annotations='train.json'),
            val=dict(split, annotations='val.json'),
            **options,
        )
        apply_own_data(cfg)
        return cfg

    return build


def mended(cfg, loaders=LOADERS) -> tuple[list, list]:
    """The warnings, and the rows of the table."""
    table = []
    return found(cfg, lambda cfg, loaders: mend_annotations(cfg, loaders, table), loaders), table


def refusal(cfg, loaders=LOADERS) -> str:
    with pytest.raises(RecipeError) as caught:
        mended(cfg, loaders)
    return str(caught.value)


def nodes(cfg) -> list:
    """All that reads annotations."""
    owners = [*LOADERS, 'val_evaluator', 'test_evaluator']
    return [n for key in owners for _, n in dicts(cfg.get(key), key) if n.get('ann_file')]


def test_a_sound_file_is_read_as_it_is(own):
    cfg = own(files.content())
    before = cfg.to_dict()
    lines, table = mended(cfg)
    assert lines == [] and cfg.to_dict() == before
    assert [(row.name, row.images_used, row.objects_used) for row in table] == [
        ('train', 3, 7),
        ('val', 3, 7),
        ('test', 3, 7),
    ]


def test_all_that_read_a_file_get_the_sound_form(own, tmp_path):
    cfg = own(odd(), files.content())
    lines, table = mended(cfg)
    assert [line.replace(str(tmp_path), '.') for line in lines] == [
        './train.json: mended: 7 values of "area" that are missing or not positive, computed '
        '(0, 2, 3, 4, 5, ...)',
        './train.json: mended: 1 ids of objects that are 0, missing, not unique or no integers: '
        'numbered from 1, because pycocotools takes id 0 for "no match" (0)',
    ]
    assert cfg.train_dataloader.dataset.ann_file.endswith('.sound.json')
    assert [Path(n.ann_file).name for n in nodes(cfg)[1:]] == ['val.json'] * 4
    assert sum(table[0].mended.values()) == 8 and table[0].file == str(tmp_path / 'train.json')
    cfg = own(files.content(), odd())
    mended(cfg)
    sound = {n.ann_file for n in nodes(cfg)[1:]}
    assert len(sound) == 1 and sound.pop().endswith('.sound.json')
    assert cfg.train_dataloader.dataset.ann_file == 'train.json'


def test_a_test_reads_its_own_files_only(own):
    cfg = own('no JSON', odd())
    mended(cfg, (TEST,))
    assert cfg.test_dataloader.dataset.ann_file == cfg.test_evaluator.ann_file != 'val.json'
    assert cfg.val_dataloader.dataset.ann_file == 'val.json'


@pytest.mark.parametrize('relative', [False, True])
def test_a_saved_config_reads_the_listed_files_again(own, tmp_path, monkeypatch, relative):
    cfg = own(odd())
    if relative:
        monkeypatch.chdir(tmp_path.parent)
        cfg.own_data.root = tmp_path.name
        cfg.own_data.pop('applied')
        apply_own_data(cfg)
    before = copy.deepcopy(cfg.to_dict())
    mended(cfg)
    assert cfg.to_dict() != before
    cfg.dump(tmp_path / 'saved.py')
    for file in (tmp_path / 'cache').rglob('*.json'):
        file.unlink()
    saved = Config.fromfile(tmp_path / 'saved.py')
    restore_listed(saved)
    assert [n.ann_file for n in nodes(saved)] == [n.ann_file for n in nodes(Config(before))]
    assert LISTED not in saved
    lines, _ = mended(saved)
    assert len(lines) == 4 and all(Path(n.ann_file).is_file() for n in nodes(saved))


def test_a_file_that_was_named_later_stays(own):
    cfg = own(odd())
    mended(cfg)
    cfg.train_dataloader.dataset.ann_file = 'other.json'
    restore_listed(cfg)
    assert [n.ann_file for n in nodes(cfg)][0] == 'other.json'
    assert [Path(n.ann_file).name for n in nodes(cfg)][1:] == ['val.json'] * 4


def test_a_saved_config_is_checked_with_the_listed_files(own, tmp_path):
    """Else they would call files of a cleared cache missing."""
    cfg = own(odd())
    run_checks(cfg, LOADERS)
    cfg.dump(tmp_path / 'saved.py')
    for file in (tmp_path / 'cache').rglob('*.json'):
        file.unlink()
    again = prepare_config(str(tmp_path / 'saved.py'))
    assert [n.ann_file for n in nodes(again)] == [n.ann_file for n in nodes(cfg)]


def test_a_saved_config_finds_the_parts_in_another_cache(own, tmp_path, monkeypatch):
    content = files.content(8)
    content['annotations'][0]['id'] = 0
    files.pictures(tmp_path, 8)
    cfg = own(content)
    cfg.own_data.val = 0.25
    apply_own_data(cfg)
    run_checks(cfg, LOADERS)
    cfg.dump(tmp_path / 'saved.py')
    (tmp_path / 'cache').rename(tmp_path / 'gone')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'other'))
    again = prepare_config(str(tmp_path / 'saved.py'))
    read = [Path(n.ann_file) for n in nodes(again)]
    assert [file.name for file in read] == [Path(n.ann_file).name for n in nodes(cfg)]
    assert all(file.is_file() and tmp_path / 'other' in file.parents for file in read)


@pytest.mark.parametrize('option', annotations.OPTIONS)
def test_options_of_own_data(own, monkeypatch, option):
    seen = []
    real = annotations.sound_file
    monkeypatch.setattr(annotations, 'sound_file', lambda *a: seen.append(a[1]) or real(*a))
    mended(own(files.content()))
    mended(own(files.content(), **{option: True}))
    assert [getattr(wanted, option) for wanted in seen] == [False, False, True, True]
    with pytest.raises(RecipeError, match=rf"own_data\.{option}='no': choose True or False"):
        mended(own(files.content(), **{option: 'no'}))


def test_what_a_recipe_wants(own, monkeypatch):
    seen = []
    real = annotations.sound_file
    monkeypatch.setattr(annotations, 'sound_file', lambda *a: seen.append(a[1]) or real(*a))
    cfg = own(files.content())
    mended(cfg)
    train, val = seen
    assert (train.learnt, train.measured, val.learnt, val.measured) == (True, False, False, True)
    assert train.masks and val.masks and train.classes == CLASSES
    assert train.drop_empty and train.min_size == 32 and train.turns and not train.polygons
    assert not val.drop_empty and val.min_size == 0 and train.passed == ()
    seen.clear()
    cfg = own(files.content(), recipe=FASTER_RCNN)
    cfg.checks = dict(boxes=False, crowd=True)
    cfg.train_dataloader.dataset.filter_cfg = None
    mended(cfg)
    train, val = seen
    assert not train.masks and not val.masks and train.passed == ('boxes',)
    assert not train.drop_empty and train.min_size == 0
    seen.clear()
    cfg = own(files.content())
    for _, node in dicts(cfg.train_dataloader):
        if node.get('with_mask'):
            node.poly2mask = False
        if node.get('type') == 'LoadImageFromFile':
            node.color_type = 'unchanged'
    mended(cfg)
    assert seen[0].polygons and not seen[0].turns and seen[1].turns
    assert not seen[1].polygons


def test_one_file_for_training_and_validation_is_read_once(own, monkeypatch):
    seen = []
    real = annotations.sound_file
    monkeypatch.setattr(annotations, 'sound_file', lambda *a: seen.append(a[1]) or real(*a))
    cfg = own(odd())
    for split in ('val_dataloader', 'test_dataloader'):
        cfg[split].dataset.ann_file = 'train.json'
    for split in ('val_evaluator', 'test_evaluator'):
        cfg[split].ann_file = cfg.train_dataloader.dataset.data_root + '/./train.json'
    lines, table = mended(cfg)
    (wanted,) = seen
    assert wanted.learnt and wanted.measured and wanted.min_size == 32
    assert len(lines) == 2 and len(table) == 3 and len({n.ann_file for n in nodes(cfg)}) == 1


def empty(content):
    content['annotations'] = []


def crowds(content):
    for entry in content['annotations']:
        entry['iscrowd'] = 1


@pytest.mark.parametrize(('change', 'name'), [(empty, 'no_objects'), (crowds, 'crowd')])
def test_validation_is_looked_at_before_training(own, change, name):
    content = files.content()
    change(content)
    text = refusal(own(files.content(), content))
    assert text.startswith('val_dataloader.dataset: ') and f'checks.{name}=False' in text
    assert '/val.json: ' in text
    cfg = own(files.content(), content)
    cfg.checks = {name: False}
    assert any(line.endswith(f'(passed by checks.{name}=False)') for line in mended(cfg)[0])


def test_format_only_and_no_evaluator_need_no_objects(own):
    content = dict(files.content(), annotations=[])
    del content['annotations']
    for evaluator in (None, dict(type='CocoMetric', format_only=True, outfile_prefix='x')):
        cfg = own(files.content(), content)
        cfg.test_evaluator = evaluator and ConfigDict(
            evaluator, ann_file=cfg.test_evaluator.ann_file
        )
        assert mended(cfg, (TEST,))[0] == []
    # The truth of the dataset counts for a metric that reads no file.
    cfg = own(files.content(), dict(content, annotations=[]))
    cfg.test_evaluator = ConfigDict(type='CocoMetric')
    assert 'none of 0 objects is left' in refusal(cfg, (TEST,))


def test_an_evaluator_with_the_file_of_another_split(own, tmp_path):
    other = files.content()
    for entry in other['images']:
        entry['file_name'] = 'other/' + entry['file_name'].replace('.png', 'b.png')
    files.pictures(tmp_path / 'other')
    for file in (tmp_path / 'other').iterdir():
        file.rename(file.with_name(f'{file.stem}b.png'))
    cfg = own(files.content(), other)
    cfg.val_dataloader.dataset.ann_file = 'train.json'
    text = refusal(cfg, (TRAIN, VAL))
    assert text.startswith('val_evaluator.ann_file: ') and 'lists other images' in text
    assert '(checks.evaluated_images=False in the config lets this pass)' in text
    cfg = own(files.content(), odd())  # another file of the same images
    cfg.val_dataloader.dataset.ann_file = 'train.json'
    mended(cfg, (TRAIN, VAL))


def wrapped(node, kind):
    if kind == 'concat':
        second = copy.deepcopy(node)
        return ConfigDict(type='ConcatDataset', datasets=[node, second])
    return ConfigDict(type='RepeatDataset', times=2, dataset=node)


@pytest.mark.parametrize('kind', ['concat', 'repeat'])
def test_wrapped_datasets(own, kind):
    cfg = own(odd())
    for loader in LOADERS:
        cfg[loader].dataset = wrapped(cfg[loader].dataset, kind)
    mended(cfg)
    assert len(nodes(cfg)) == (8 if kind == 'concat' else 5)
    assert all(node.ann_file.endswith('.sound.json') for node in nodes(cfg))


@pytest.mark.parametrize('kind', ['LVISV1Dataset', 'Objects365V2Dataset', 'CocoPanopticDataset'])
def test_datasets_with_their_own_format_are_left_alone(own, kind):
    cfg = own(odd())
    cfg.train_dataloader.dataset.type = kind
    lines, table = mended(cfg, (TRAIN,))
    assert lines == table == [] and cfg.train_dataloader.dataset.ann_file == 'train.json'


@pytest.mark.parametrize('change', [dict(backend_args=dict(backend='petrel')), dict(ann_file='')])
def test_remote_and_missing_files_are_left_alone(own, change):
    cfg = own(odd())
    cfg.train_dataloader.dataset.update(change)
    assert mended(cfg, (TRAIN,)) == ([], [])


def test_a_metric_reads_what_a_remote_dataset_reads(own):
    """Else the metric would number the classes in another order."""
    other = files.content()
    other['categories'].reverse()
    cfg = own(files.content(), other)
    cfg.val_dataloader.dataset.backend_args = dict(backend='petrel')
    assert mended(cfg, (VAL,)) == ([], [])
    assert Path(cfg.val_evaluator.ann_file).name == 'val.json'


def test_the_backend_of_local_files_is_not_remote(own):
    cfg = own(odd(), odd())
    for loader in (TRAIN, VAL):
        cfg[loader].dataset.backend_args = dict(backend='local')
    mended(cfg, (TRAIN, VAL))
    read = [cfg[loader].dataset.ann_file for loader in (TRAIN, VAL)]
    assert all(name.endswith('.sound.json') for name in read)
    assert cfg.val_evaluator.ann_file == read[1]


def test_other_metrics_are_left_alone(own):
    cfg = own(files.content(), odd())
    cfg.val_evaluator = ConfigDict(type='LVISMetric', ann_file=cfg.val_evaluator.ann_file)
    mended(cfg, (VAL,))
    assert Path(cfg.val_evaluator.ann_file).name == 'val.json'


def test_a_lazy_config(own, tmp_path):
    cfg = own(odd())
    as_lazy(cfg, tmp_path / 'lazy.py', 'mmdet')
    lazy = Config.fromfile(tmp_path / 'lazy.py')
    assert len(mended(lazy)[0]) == 4
    assert all(node.ann_file.endswith('.sound.json') for node in nodes(lazy))


def test_a_cache_that_cannot_be_written(own, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', os.devnull)
    with pytest.raises(RecipeError, match=r'train\.json was mended, but .* XDG_CACHE_HOME to a'):
        mended(own(odd()))
    assert mended(own(files.content()))[0] == []


def test_a_folder_instead_of_a_file(own, tmp_path):
    cfg = own(files.content())
    (tmp_path / 'xml').mkdir()
    (tmp_path / 'xml/1.xml').write_text('<annotation/>')
    cfg.train_dataloader.dataset.ann_file = 'xml'
    text = refusal(cfg)
    assert text.startswith(
        f'train_dataloader.dataset: {tmp_path}/xml is not a COCO annotation file'
    )
    assert 'tools/prepare_data.py' in text


def test_the_second_start_reads_nothing(own, monkeypatch):
    cfg = own(odd())
    mended(copy.deepcopy(cfg))
    monkeypatch.setattr(kept, 'make_sound', lambda *args: 1 / 0)
    assert len(mended(cfg)[0]) == 4


def test_mmdet_learns_and_measures_the_objects(own, tmp_path, log_records):
    """The truth as prediction scores 1 with the datasets and metrics that the config builds."""
    import numpy as np
    from mmdet.registry import DATASETS, METRICS

    cfg = own(odd())
    given = {key: value for key, value in cfg.own_data.to_dict().items() if key != 'applied'}
    config = tmp_path / 'mine.py'
    config.write_text(f'_base_ = {MASK_RCNN!r}\nown_data = {given!r}\n')
    table = []
    cfg = prepare_config(str(config), work_dir=str(tmp_path / 'work'), table=table)
    assert sum('mended' in line for line in warnings(log_records)) == 4
    assert [row.classes for row in table] == [dict(cat=3, dog=4)] * 3
    assert not (tmp_path / 'work').exists()
    truth = files.content()
    for loader in (TRAIN, VAL):
        dataset = DATASETS.build(dict(cfg[loader].dataset, pipeline=[]))
        labels = [
            i['bbox_label'] for row in dataset for i in row['instances'] if not i['ignore_flag']
        ]
        assert sorted(labels) == [0, 0, 0, 1, 1, 1, 1]
    metric = METRICS.build(cfg.val_evaluator)
    metric.dataset_meta = dataset.metainfo
    for row in dataset:
        image = next(i for i in truth['images'] if i['file_name'] == Path(row['img_path']).name)
        entries = [a for a in truth['annotations'] if a['image_id'] == image['id']]
        x, y, w, h = np.array([a['bbox'] for a in entries]).T
        masks = np.array([files.mask(a, image) for a in entries]).astype(bool)
        labels = np.array([a['category_id'] - 1 for a in entries])
        metric.results.append((row, prediction(row['img_id'], (x, y, x + w, y + h), masks, labels)))
    scores = metric.compute_metrics(metric.results)
    assert scores['bbox_mAP'] == scores['segm_mAP'] == 1


def prediction(image, corners, masks, labels) -> dict:
    import numpy as np
    from mmdet.structures.mask import encode_mask_results

    scores = np.full(len(labels), 0.9)
    boxes = np.stack(corners, axis=1)
    rles = encode_mask_results(list(masks))
    return dict(
        img_id=image, bboxes=boxes, scores=scores, labels=labels, masks=rles, mask_scores=scores
    )


def test_an_image_of_which_nothing_is_left_is_refused_unless_it_is_filtered(own, tmp_path):
    content = files.content()
    thin = dict(id=77, file_name='thin.png', width=3000, height=1)
    cfg = own(content, {**content, 'images': [*content['images'], thin]})
    Image.new('RGB', (3000, 1)).save(tmp_path / 'thin.png')
    assert 'val_dataloader.dataset: of thin.png, 3000 pixels long and 1 wide' in refusal(cfg)
    cfg = own({**content, 'images': [*content['images'], thin]}, content)
    assert cfg.train_dataloader.dataset.filter_cfg.min_size == 32
    mended(cfg)
