# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""mutation/configs.py: the faults that ``make mutants`` puts into recipes."""

import sys
from collections import Counter

from fixtures import CONFIGS, ROOT

sys.path.append(str(ROOT / 'tests/mutation'))

import configs as mutation  # noqa: E402

SOURCE = """\
# A comment.
_base_ = './base.py'

model = dict(
    depths=[3, 9, 3],
    flag=True,  # on
    none=None,
    rate=dict(lr=1e-4, least=0.0),
)
"""
RECIPE = 'configs/upernet/convnext-small_upernet_8xb2-amp-160k_ade20k-512x512.py'


def test_each_value_keyword_element_and_statement_has_a_fault():
    found = list(mutation.faults_of('configs/x.py', SOURCE))
    assert [(fault.line, fault.kind) for fault in found] == [
        (2, "'./base.py' for './base.pyx'"),
        (2, 'without the statement'),
        (4, 'without the statement'),
        (5, '3 for 4'),
        (5, '3 for 4'),
        (5, '9 for 10'),
        (5, 'elements 0 and 1 swapped'),
        (5, 'elements 1 and 2 swapped'),
        (5, 'without depths='),
        (5, 'without element 0'),
        (5, 'without element 1'),
        (5, 'without element 2'),
        (6, 'True for False'),
        (6, 'without flag='),
        (7, 'None for 0'),
        (7, 'without none='),
        (8, '0.0 for 0.1'),
        (8, '0.0001 for 0.00011000000000000002'),
        (8, 'without least='),
        (8, 'without lr='),
        (8, 'without rate='),
    ]
    values = []
    for fault in found:
        assert fault.path == 'configs/x.py' and '# A comment.' in fault.source
        scope = {}
        exec(compile(fault.source, 'x', 'exec'), scope)
        values.append(repr({k: scope.get(k) for k in ('_base_', 'model')}))
    assert len(set(values)) == len(values) == len({fault.key for fault in found})
    assert "'depths': [9, 3, 3]" in values[6] and "'depths': [3, 3, 9]" in values[7]
    assert "'depths': [3, 3]" in values[10] and "'depths'" not in values[8]
    assert "'least'" not in values[18] and "'lr': 0.0001" in values[18]


def test_a_fault_is_noticed_missed_or_changes_nothing(tmp_path, monkeypatch):
    check = mutation.Checker(tmp_path)
    source = (ROOT / RECIPE).read_text()
    faults = {fault.kind: fault for fault in mutation.faults_of(RECIPE, source)}
    name, key = RECIPE.removeprefix('configs/'), 'model.backbone.drop_path_rate'
    outcome, why = check(faults['0.3 for 0.33'])
    wanted = f'{name}: {key} is 0.33, should be 0.3 (its own row, source: semantic_segmentation/'
    assert outcome == 'noticed' and why.startswith(wanted)
    assert check(faults['without lr='])[0] == 'noticed'
    unreadable = mutation.ConfigFault(RECIPE, 1, '', 'model = (', '')
    assert check(unreadable) == ('noticed', f'{name}: SyntaxError')
    comment = mutation.ConfigFault(RECIPE, 1, '', source + '# The end.', '')
    assert check(comment)[0] == 'same'
    monkeypatch.setattr('recipe_table.differences', lambda config, table: [])
    assert check(faults['0.3 for 0.33']) == ('missed', name)
    assert (tmp_path / RECIPE).read_text() == source


def test_a_file_is_tried_with_all_recipes_that_use_it(tmp_path):
    users = mutation.Checker(tmp_path).users
    count = Counter(str(file.relative_to(tmp_path)) for files in users.values() for file in files)
    assert count['configs/_base_/upernet_convnext_ade20k.py'] == 9
    assert count['configs/_base_/convnext_coco.py'] == 14
    assert count['configs/_base_/mask-rcnn_convnext-atto_cpu.py'] == 4
    assert {file for file in count} == {
        str(file.relative_to(ROOT)) for file in CONFIGS.glob('*/*.py')
    }


def test_faults_of_a_folder_are_tried_and_recorded():
    faults = mutation.config_faults([ROOT / RECIPE])
    assert len(mutation.config_faults([(ROOT / RECIPE).parent])) > 5 * len(faults)
    assert {fault.path.split('/')[0] for fault in mutation.config_faults()} == {'configs'}
    recorded = []
    mutation.try_faults(faults[:2], lambda *row: recorded.append(row))
    assert [(fault, outcome) for fault, outcome, _, _ in recorded] == [
        (faults[0], 'noticed'),
        (faults[1], 'noticed'),
    ]
