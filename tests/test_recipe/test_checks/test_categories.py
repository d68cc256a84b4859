# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/checks/categories.py: labels mean the same in all files, or the config is refused.

Each refusal says what to write; with that, the checks pass.
"""

import ast
import json
import random
import re
from pathlib import Path

import pytest
from fixtures import FASTER_RCNN, MASK_RCNN, found, write_coco_file
from mmdet.datasets.api_wrappers import COCO

from mmconvnext.recipe.checks.categories import check_categories
from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.own_data import apply_own_data
from mmconvnext.recipe.walk import LOADERS

FILES = dict(train='train.json', val='val.json')


@pytest.fixture
def own(load, tmp_path):
    """A function: the config of ``classes`` over files with these (id, name) and annotations."""

    def build(classes, train, val=None, objects=None):
        for split, entries in (('train', train), ('val', val or train)):
            write(tmp_path / f'{split}.json', entries, objects)
        cfg = load(FASTER_RCNN)
        cfg.own_data = dict(
            root=str(tmp_path),
            classes=classes,
            **{split: dict(images='.', annotations=file) for split, file in FILES.items()},
        )
        apply_own_data(cfg)
        return cfg

    return build


def write(file: Path, entries, objects=None) -> None:
    entries = [e if isinstance(e, tuple) else (i, e) for i, e in enumerate(entries, 1)]
    ids = [i for i, _ in entries] if objects is None else objects
    content = dict(
        images=[dict(id=1, file_name='a.jpg', width=64, height=64)],
        annotations=[
            dict(id=k, image_id=1, category_id=i, bbox=[0, 0, 9, 9], area=81, iscrowd=0)
            for k, i in enumerate(ids, 1)
        ],
        categories=[dict(id=i, name=name) for i, name in entries],
    )
    file.write_text(json.dumps(content))


def refusal(cfg, loaders=LOADERS) -> str:
    with pytest.raises(RecipeError) as caught:
        found(cfg, check_categories, loaders)
    return str(caught.value)


def classes_to_write(message: str) -> list:
    """The list behind "write classes=" in a message."""
    return ast.literal_eval(re.search(r'write classes=(\[.*?\])', message)[1])


# Order


def test_the_same_order_passes_in_silence(own):
    assert found(own(['cat', 'dog'], ['cat', 'dog']), check_categories) == []


@pytest.mark.parametrize(
    'entries',
    [
        [(0, 'cat'), (1, 'dog')],
        [(18, 'cat'), (3, 'dog')],
        [(5, 'cat'), (90, 'dog')],
        [(0, 'pets'), (1, 'cat'), (2, 'dog')],
        [(1, 'cat'), (7, 'bird'), (2, 'dog')],
    ],
    ids=['from 0', 'unordered', 'gaps', 'dummy first', 'another between'],
)
def test_ids_and_other_categories_do_not_matter(own, entries):
    assert found(own(['cat', 'dog'], entries), check_categories) == []


def test_the_classes_in_another_order_than_all_files(own):
    message = refusal(own(['dog', 'cat'], ['cat', 'dog']))
    assert re.search(
        r"train\.json lists its categories in a different order.*label 0 is 'cat' there and would "
        r"be called 'dog'; write classes=\['cat', 'dog'\]\n\(checks\.class_order=False",
        message,
    )
    assert found(own(classes_to_write(message), ['cat', 'dog']), check_categories) == []


def test_a_file_in_another_order_than_the_other(own, tmp_path):
    message = refusal(own(['cat', 'dog'], ['cat', 'dog'], ['dog', 'cat']))
    assert re.search(
        r'val_dataloader\.dataset: .*; the files differ, so reorder the \"categories\" of '
        r"\S*val\.json to \['cat', 'dog'\] \(the ids can stay\)",
        message,
    )
    assert 'write classes' not in message
    cfg = own(['cat', 'dog'], ['cat', 'dog'], [(2, 'cat'), (1, 'dog')])
    assert found(cfg, check_categories) == []


def test_three_orders(own):
    message = refusal(own(['a', 'b', 'c'], ['b', 'a', 'c'], ['c', 'b', 'a']))
    assert classes_to_write(message) == ['b', 'a', 'c']
    assert re.search(r"reorder the \"categories\" of \S*val\.json to \['b', 'a', 'c'\]", message)
    assert 'train.json to' not in message


def test_classes_of_the_dataset_type(own, load):
    cfg = own(['x'], ['x'])
    names = list(_coco_names(load))
    for loader in LOADERS:
        cfg[loader].dataset.pop('metainfo')
    root = Path(cfg.train_dataloader.dataset.data_root)
    for file in FILES.values():
        write(root / file, names)
    assert found(cfg, check_categories) == []
    write(root / 'val.json', names[::-1])
    assert 'a different order' in refusal(cfg)


def _coco_names(load):
    from mmconvnext.recipe.checks.classes import class_names

    cfg = load(MASK_RCNN)
    return class_names(cfg, cfg.val_dataloader.dataset)


def test_concatenated_and_repeated_datasets(own, tmp_path):
    cfg = own(['cat', 'dog'], ['cat', 'dog'])
    one = cfg.train_dataloader.dataset
    write(tmp_path / 'more.json', ['dog', 'cat'])
    other = dict(type='RepeatDataset', times=2, dataset=dict(one, ann_file='more.json'))
    cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[one, other])
    assert 'train_dataloader.dataset.datasets.1.dataset: ' in refusal(cfg)


def test_the_evaluators_own_file(own, tmp_path):
    cfg = own(['cat', 'dog'], ['cat', 'dog'])
    write(tmp_path / 'other.json', ['dog', 'cat'])
    cfg.val_evaluator.ann_file = str(tmp_path / 'other.json')
    assert re.match(r'val_evaluator: \S*other\.json lists', refusal(cfg))
    assert found(cfg, check_categories, LOADERS[2:]) == []  # a test does not validate
    cfg.test_evaluator = [dict(type='mmdet.CocoMetric', ann_file=str(tmp_path / 'other.json'))]
    assert re.match(r'test_evaluator\.0: ', refusal(cfg, LOADERS[2:]))


def test_types_that_number_otherwise(own, tmp_path):
    cfg = own(['cat', 'dog'], [(2, 'dog'), (1, 'cat')])
    for loader in LOADERS:
        cfg[loader].dataset.type = 'Objects365V1Dataset'  # sorts by id
    cfg.val_evaluator.sort_categories = cfg.test_evaluator.sort_categories = True
    assert found(cfg, check_categories) == []
    cfg.val_evaluator.sort_categories = False
    assert re.match('val_evaluator: ', refusal(cfg))
    for loader in LOADERS:
        cfg[loader].dataset.type = 'LVISV1Dataset'  # takes all categories
    assert re.search('has 2 categories, .* 1 classes', refusal(own_type(cfg, ['cat'])))
    assert 'a different order' not in refusal(own_type(cfg, ['cat', 'dog']))
    assert found(own_type(cfg, ['dog', 'cat']), check_categories, LOADERS[:1]) == []


def test_the_classes_of_lvis_go_by_number_alone(own):
    cfg = own(['x'], [f'{i}' for i in range(1203)])
    cfg.val_evaluator.type = 'LVISMetric'
    for loader in LOADERS:
        cfg[loader].dataset.type = 'LVISV1Dataset'
        cfg[loader].dataset.pop('metainfo')
    assert found(cfg, check_categories, LOADERS[:2]) == []
    for loader in LOADERS:
        cfg[loader].dataset.type = 'LVISV05Dataset'
    assert 'all of which get a label, but there are 1230 classes' in refusal(cfg)


def own_type(cfg, classes):
    for loader in LOADERS:
        cfg[loader].dataset.metainfo = dict(classes=tuple(classes))
    return cfg


def test_readers_that_nobody_knows_are_left_alone(own):
    cfg = own(['cat', 'dog'], ['dog', 'cat'])
    for loader in LOADERS:
        cfg[loader].dataset.type = 'VOCDataset'
    cfg.val_evaluator = cfg.test_evaluator = dict(type='VOCMetric')
    assert found(cfg, check_categories) == []
    for loader in LOADERS:
        cfg[loader].dataset.update(type='CocoDataset', data_root='s3://bucket')
    assert found(cfg, check_categories) == []


# A class that a file does not have


def test_no_name_matches(own):
    message = refusal(own(['person', 'car'], ['tick', 'flea']))
    assert ('train_dataloader.dataset: 0 of 2 class names match a category of ') in message
    assert "no match for ['person', 'car'] in ['tick', 'flea']" in message
    assert classes_to_write(message) == ['tick', 'flea']


def test_no_name_matches_and_a_dummy_category(own):
    message = refusal(own(['person'], ['pests', 'tick'], objects=[2]))
    assert classes_to_write(message) == ['tick']


def test_coco_names_on_a_file_of_other_categories_are_cut_short(own):
    cfg = own(['x'], ['x', 'y'])
    for loader in LOADERS:
        cfg[loader].dataset.pop('metainfo')  # mmdet's default: the 80 names of COCO
    assert re.search(r"0 of 80 .*'motorcycle', 'airplane', \.\.\.\] in \['x', 'y'\]", refusal(cfg))


@pytest.mark.parametrize(
    'theirs', ['Cat', 'cat ', ' cat', 'CAT', 'c\u200bat', '\uff43at', 'cat\xa0'], ids=ascii
)
def test_names_that_a_person_takes_for_the_same(own, theirs):
    message = refusal(own(['cat', 'dog'], [theirs, 'dog']))
    assert '1 of 2 class names match' in message and 'checks.missing_class=False' in message
    assert 'differs from' in message and ascii('cat') in message
    assert classes_to_write(message) == [theirs, 'dog']
    assert found(own([theirs, 'dog'], [theirs, 'dog']), check_categories) == []


def test_the_same_letters_in_two_unicode_forms_are_told_apart(own):
    message = refusal(own(['Gr\xf6\xdfe'], ['Gro\u0308\xdfe']))
    assert r"'Gr\xf6\xdfe' differs from 'Gro\u0308\xdfe'" in message


def test_one_file_spells_it_otherwise(own):
    message = refusal(own(['cat', 'dog'], ['cat', 'dog'], ['Cat', 'dog']))
    assert re.match(r'val_dataloader\.dataset: 1 of 2', message)
    assert re.search(r'give it the \"categories\" of \S*train\.json, in that order', message)


@pytest.mark.parametrize('absent', ['a', 'b', 'c'])
@pytest.mark.parametrize('split', ['train', 'val'])
def test_a_class_is_missing_in_one_split(own, split, absent):
    rest = [name for name in 'abc' if name != absent]
    splits = dict(train=list('abc'), val=list('abc'), **{}) | {split: rest}
    message = refusal(own(list('abc'), splits['train'], splits['val']))
    other = {'train': 'val', 'val': 'train'}[split]
    assert re.match(rf'{split}_dataloader\.dataset: 2 of 3 class names match', message)
    assert re.search(
        rf"\['{absent}'\] in .*; give it the \"categories\" of \S*{other}\.json, in that "
        r"order: \['a', 'b', 'c'\]",
        message,
    )


def test_the_complete_file_has_another_order_than_the_classes(own):
    message = refusal(own(['cat', 'dog'], ['dog', 'cat'], ['cat']))
    assert re.match(r'val_dataloader\.dataset: 1 of 2 class names match', message)
    assert "in that order: ['dog', 'cat'], and write classes=['dog', 'cat']" in message


def test_a_test_file_without_objects_behind_one_file_for_train_and_val(own, tmp_path):
    cfg = own(['cat'], ['cat'])
    write(tmp_path / 'test.json', ['cat'], [])
    for key in ('val_dataloader', 'train_dataloader'):
        cfg[key].dataset.ann_file = 'train.json'
    cfg.test_dataloader.dataset.ann_file = 'test.json'
    cfg.val_evaluator.ann_file = str(tmp_path / 'train.json')
    cfg.test_evaluator.ann_file = str(tmp_path / 'test.json')
    assert re.match(r'test_dataloader: no object of any class in \S*test\.json', refusal(cfg))


def test_a_class_that_is_in_no_file(own):
    message = refusal(own(['cat', 'dig'], ['cat', 'dog']))
    assert '1 of 2 class names match' in message and "['dig'] in ['cat', 'dog']" in message
    assert classes_to_write(message) == ['cat', 'dog']
    message = refusal(own(['cat', 'emu', 'dog'], ['dog', 'cat']))
    assert classes_to_write(message) == ['dog', 'cat']


def test_no_coco_file(own, tmp_path):
    cfg = own(['cat'], ['cat'])
    (tmp_path / 'val.json').write_text('{"images": []}')
    assert re.search(r'val_dataloader.dataset: .*is not a COCO annotation file', refusal(cfg))
    write(tmp_path / 'val.json', [])
    assert re.search(r'val_dataloader.dataset: .*has no "categories"', refusal(cfg))


# A category twice


def test_a_category_twice_of_which_one_is_used(own):
    # What Roboflow writes for a project named as its class.
    entries = [(0, 'apple'), (1, 'apple'), (2, 'pear')]
    message = refusal(own(['apple', 'pear'], entries, objects=[1, 2]))
    assert re.search(
        r"lists the category 'apple' 2 times, with the ids \[0, 1\].*; delete the entry with id 0, "
        r'which no object uses\n\(checks\.double_category',
        message,
    )
    assert found(own(['apple', 'pear'], entries[1:], objects=[1, 2]), check_categories) == []


def test_a_category_twice_and_both_are_used(own):
    message = refusal(own(['apple', 'pear'], [(4, 'apple'), (2, 'pear'), (3, 'apple')]))
    assert 'objects use [3, 4]: give them one id and delete the other entries' in message


def test_an_entry_twice(own):
    message = refusal(own(['cat', 'dog'], [(1, 'cat'), (1, 'cat'), (2, 'dog')]))
    assert 'delete all but one of these entries' in message


def test_an_id_twice(own):
    message = refusal(own(['cat', 'dog'], [(1, 'cat'), (1, 'dog')]))
    assert "'cat' and 'dog' under the same id 1; give each its own id" in message


def test_a_second_spelling_with_objects(own):
    entries = [(1, 'cat'), (2, 'Cat'), (3, 'dog')]
    message = refusal(own(['cat', 'dog'], entries))
    assert "lists 'Cat' as well as 'cat', but only 'cat' is a class" in message
    assert found(own(['cat', 'dog'], entries, objects=[1, 3]), check_categories) == []
    assert found(own(['cat', 'Cat', 'dog'], entries), check_categories) == []


# Objects


def test_a_class_that_nobody_annotated_is_a_warning(own):
    cfg = own(['cat', 'dog', 'emu'], ['cat', 'dog', 'emu'], objects=[1, 3])
    train, val = found(cfg, check_categories)
    assert re.match(r"train_dataloader: no object of \['dog'\] in \S*train\.json: cannot be", train)
    assert re.match(r"val_dataloader: no object of \['dog'\] in \S*val\.json: is left out", val)


def test_a_class_annotated_in_another_file_of_the_loader(own, tmp_path):
    cfg = own(['cat', 'dog'], ['cat', 'dog'])
    one = cfg.train_dataloader.dataset
    write(tmp_path / 'train.json', ['cat', 'dog'], objects=[1])
    write(tmp_path / 'more.json', ['cat', 'dog'], objects=[2])
    more = dict(one, ann_file='more.json')
    cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[one, more])
    assert found(cfg, check_categories) == []


@pytest.mark.parametrize('split', ['train', 'val'])
def test_no_object_at_all(own, tmp_path, split):
    cfg = own(['cat', 'dog'], ['cat', 'dog'])
    write(tmp_path / f'{split}.json', ['cat', 'dog'], objects=[9, 9])
    message = refusal(cfg)
    assert re.match(rf'{split}_dataloader: no object of any class in', message)
    assert 'a "category_id" from [1, 2]' in message


def test_a_test_set_without_annotations_is_for_its_predictions(own, tmp_path):
    cfg = own(['cat', 'dog'], ['cat', 'dog'])
    write(tmp_path / 'hidden.json', ['cat', 'dog'], objects=[])
    cfg.test_dataloader.dataset.ann_file = 'hidden.json'
    cfg.test_evaluator.update(ann_file=str(tmp_path / 'hidden.json'), format_only=True)
    assert found(cfg, check_categories, LOADERS[2:]) == []


# The evaluator's table


def test_a_table_of_classes_needs_ascending_ids(own):
    cfg = own(['cat', 'dog'], [(2, 'cat'), (1, 'dog')])
    assert found(cfg, check_categories) == []
    cfg.val_evaluator.classwise = True
    message = refusal(cfg)
    assert re.match(r'val_evaluator: classwise=True would print the AP of one class next', message)
    cfg.checks = dict(classwise=False)
    (warning,) = found(cfg, check_categories)
    assert warning.endswith('(passed by checks.classwise=False)')


# All together: the check against what mmdet makes of the files


@pytest.mark.parametrize('seed', range(60))
def test_what_passes_has_the_same_labels_everywhere(own, seed):
    draw = random.Random(seed)
    classes = draw.sample(['cat', 'dog', 'Cat', 'emu'], draw.randint(1, 3))
    splits = []
    for _ in range(2):
        names = [*classes, *draw.sample(['pets', 'DOG'], draw.randint(0, 2))]
        for change in draw.sample(['shuffle', 'drop', 'double', '', '', ''], 1):
            if change == 'shuffle':
                draw.shuffle(names)
            elif change == 'drop':
                names.pop(0)
            elif change == 'double':
                names.append(draw.choice(names))
        ids = draw.sample(range(12), len(names)) if draw.random() < 0.9 else [1] * len(names)
        splits.append(list(zip(ids, names)))
    cfg = own(classes, *splits)
    root = Path(cfg.train_dataloader.dataset.data_root)
    right = True
    for file in FILES.values():
        coco = COCO(str(root / file))
        ids = coco.get_cat_ids(cat_names=tuple(classes))
        right &= [coco.cats[i]['name'] for i in ids] == classes and len(set(ids)) == len(ids)
    try:
        found(cfg, check_categories)
        passed = True
    except RecipeError as error:
        passed = False
        # Right for mmdet, but an object of 'DOG' beside the class 'dog' is background.
        right &= 'as well as' not in str(error)
        right &= 'under the same id' not in str(error)
    assert passed == right


@pytest.mark.parametrize(
    'name', ['missing_class', 'double_category', 'class_order', 'no_objects', 'classwise']
)
def test_each_refusal_has_a_way_round(own, name, tmp_path):
    case = dict(
        missing_class=(['cat', 'emu'], ['cat', 'dog']),
        double_category=(['cat'], [(1, 'cat'), (2, 'cat')]),
        class_order=(['dog', 'cat'], ['cat', 'dog']),
        no_objects=(['cat'], ['cat'], None, [5]),
        classwise=(['cat', 'dog'], [(2, 'cat'), (1, 'dog')]),
    )[name]
    cfg = own(*case)
    cfg.val_evaluator.classwise = True
    assert f'checks.{name}=False' in refusal(cfg)
    cfg.checks = {name: False}
    warnings = found(cfg, check_categories)
    assert warnings and all(f'checks.{name}=False' in warning for warning in warnings)


def test_a_file_of_the_fixture_passes(load, coco_data):
    cfg = load(MASK_RCNN)
    cfg.own_data = coco_data
    apply_own_data(cfg)
    write_coco_file(Path(coco_data['root']) / 'val.json', ('bird',))
    assert '0 of 2 class names match' in refusal(cfg)
