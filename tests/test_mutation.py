# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: `make mutants` makes real faults, tries the right tests, and counts honestly."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from fixtures import ROOT

FOLDER = ROOT / 'tests/mutation'
SOURCE = '''\
"""A docstring 1."""
LIMIT: Literal['a'] = 3


def check(value: int = 2, *, deep: bool = False) -> int | None:
    """A docstring 2."""
    if value > LIMIT:
        raise ValueError(f'{value} > {LIMIT}: give at most', 3)
    log.info('checked', value)
    table.append(value)
    return clip(value, LIMIT, key=abs)
'''


@pytest.fixture(autouse=True)
def _scripts(monkeypatch):
    """The files in tests/mutation are scripts, which import each other by name."""
    monkeypatch.syspath_prepend(str(FOLDER))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(FOLDER) in str(getattr(sys.modules[name], '__file__', '')):
            del sys.modules[name]


@pytest.fixture
def faults():
    pytest.importorskip('cosmic_ray', reason='pip install -r requirements/mutants.txt')
    import faults

    return faults


def every_change(faults) -> set[str]:
    found = [faults.apply(fault, SOURCE) for fault in faults.faults_of('a/b.py', SOURCE, 100)]
    old = SOURCE.splitlines()
    return {
        new.strip() for changed in found if changed for new in set(changed.splitlines()) - set(old)
    }


def test_slips_of_each_kind_are_made(faults):
    assert every_change(faults) == {
        "LIMIT: Literal['a'] = 4",
        'def check(value: int = 3, *, deep: bool = False) -> int | None:',
        'def check(value: int = 2, *, deep: bool = True) -> int | None:',
        'if value >= LIMIT:',
        'if not value > LIMIT:',
        'pass',
        'return clip(LIMIT, value, key=abs)',
        'return clip(value, LIMIT)',
    }


def test_annotations_and_messages_stay(faults):
    changes = ' '.join(every_change(faults))
    assert "'a_'" not in changes and 'raise' not in changes and 'checked' not in changes


def test_the_choice_on_a_line_does_not_depend_on_other_lines(faults):
    chosen = {(f.line, f.kind) for f in faults.faults_of('a/b.py', SOURCE)}
    moved = {(f.line - 1, f.kind) for f in faults.faults_of('a/b.py', '# new\n' + SOURCE)}
    assert chosen == moved
    lines = [line for line, _ in chosen]
    assert len(set(lines)) == len(lines) and {2, 5, 7, 10, 11} <= set(lines)
    more = [(f.line, f.kind) for f in faults.faults_of('a/b.py', SOURCE, 2)]
    assert chosen < set(more) and max(map([line for line, _ in more].count, lines)) == 2


def test_a_changed_module_has_new_faults(faults):
    keys = {fault.key for fault in faults.faults_of('a/b.py', SOURCE)}
    assert not keys & {fault.key for fault in faults.faults_of('a/b.py', SOURCE + 'x = 1\n')}


def test_operators_do_what_their_examples_show(faults):
    from cosmic_ray.mutating import mutate_code
    from operators import OURS

    for operator in OURS:
        for example in operator.examples():
            changed = mutate_code(example.pre_mutation_code, operator(), 0)
            assert changed == example.post_mutation_code, operator.__name__


def selection(tmp_path, **maps):
    from selection import Selection

    for name in ('tests/test_models', 'tests/test_optim', 'mmconvnext/models'):
        (tmp_path / name).mkdir(parents=True)
    chosen = Selection(tmp_path / 'session', tmp_path)
    chosen.maps = maps
    return chosen


def a_map(tests: dict[str, float], lines: dict) -> dict:
    return {'tests': list(tests), 'seconds': list(tests.values()), 'lines': lines}


def test_a_part_of_which_no_test_passed_is_not_kept(tmp_path):
    """With it, every fault would count as missed."""
    chosen = selection(tmp_path, test_optim=a_map({'a': 1.0}, {}))

    def ask(run, paths, out):
        Path(out).write_text(json.dumps(a_map({}, {}) | dict(failed=['a'])))

    with pytest.raises(SystemExit, match='no test of test_models passed'):
        chosen.measure('test_models', SimpleNamespace(ask=ask, log='log.txt'))
    assert not chosen.is_known('test_models')


def test_tests_of_the_module_come_first_and_fast_ones_before_slow_ones(tmp_path):
    own = a_map(
        {
            't/test_block.py::slow': 3.0,
            't/test_block.py::fast': 1.0,
            't/test_a.py::x': 0.1,
            't/test_block.py::cached': 0.1,
            't/test_a.py::elsewhere': 0.1,
        },
        {'mmconvnext/models/block.py': {'7': [0, 1, 2]}},
    )
    other = a_map(
        {'o/test_b.py::other': 0.2, 'o/test_b.py::never': 0.2},
        {'mmconvnext/models/block.py': {'7': [0]}},
    )
    chosen = selection(tmp_path, test_models=own, test_optim=other)
    fault = SimpleNamespace(path='mmconvnext/models/block.py', line=7)
    assert list(chosen.tests(fault)) == [
        (['t/test_block.py::fast', 't/test_block.py::slow'], 4.0),
        (['t/test_block.py::cached'], 0.1),
        (['t/test_a.py::x'], 0.1),
        (['o/test_b.py::other'], 0.2),
    ]


def test_a_line_that_runs_at_import_gets_all_tests_of_its_part(tmp_path):
    own = a_map(
        {
            't/test_z.py::b': 0.5,
            't/test_heads/test_y.py::near': 0.9,
            't/test_block.py::a': 1.0,
            't/test_x.py::runs another line': 2.0,
        },
        {'mmconvnext/models/heads/block.py': {'7': [3]}},
    )
    chosen = selection(tmp_path, test_models=own)
    fault = SimpleNamespace(path='mmconvnext/models/heads/block.py', line=1)
    assert [tests for tests, _ in chosen.tests(fault)] == [
        ['t/test_block.py::a'],
        ['t/test_x.py::runs another line'],
        ['t/test_heads/test_y.py::near'],
        ['t/test_z.py::b'],
    ]


def test_slow_tests_stay_within_the_budget(tmp_path):
    own = a_map(
        {'t/test_block.py::a': 20.0, 't/test_block.py::b': 6.0, 't/test_block.py::c': 1.0},
        {'mmconvnext/models/block.py': {'7': [0, 1, 2]}},
    )
    chosen = selection(tmp_path, test_models=own)
    fault = SimpleNamespace(path='mmconvnext/models/block.py', line=7)
    assert next(chosen.tests(fault)) == (['t/test_block.py::c', 't/test_block.py::b'], 7.0)


def row(path, key, line=1):
    return SimpleNamespace(path=path, key=key, line=line, kind='AddNot')


def test_table_counts_and_results_are_kept(tmp_path, monkeypatch, capsys):
    import report
    from session import Session

    faults = [row('p/models/a.py', str(i), i) for i in range(4)] + [row('p/optim/b.py', '4')]
    session = Session(tmp_path)
    session.set(faults[0], 'noticed', 'tests/a.py::t', 1.0, '-a\n+b')
    session.set(faults[1], 'noticed', 'timeout', 1.0, '-a\n+b')
    session.set(faults[2], 'missed', '', 1.0, '-a\n+c')
    session.set(faults[3], 'missed', '', 1.0, '-a\n+d')
    known = tmp_path / 'known.yml'
    known.write_text(json.dumps([dict(path='p/models/a.py', change='-a\n+d', reason='same')]))
    monkeypatch.setattr(report, 'KNOWN', known)
    report.print_report(Session(tmp_path), faults)
    out = capsys.readouterr().out
    assert '| models | 4 | 2 | 1 | 1 | 1 | 66.7 | 0 |' in out
    assert '| optim | 0 | 0 | 0 | 0 | 0 | - | 1 |' in out
    assert '+c' in out and '+d' not in out
    assert Session(tmp_path).done(again=False) == {'0', '1', '2', '3'}
    assert Session(tmp_path).done(again=True) == {'0', '1'}
    assert Session(tmp_path).done(True, report.known_faults()) == {'0', '1', '3'}


def test_each_known_fault_has_a_reason_and_its_line_exists():
    import report

    for (path, change), reason in report.known_faults().items():
        assert len(reason) > 10, (path, change)
        source = (ROOT / path).read_text(encoding='utf-8')
        for line in change.splitlines():
            assert line[0] != '-' or line[1:] in source.splitlines(), (path, line)


@pytest.mark.slow
def test_worker_runs_chosen_tests_in_forks(tmp_path):
    """One that passes, one that fails, one that does not end, one that kills its process."""
    (tmp_path / 'copy/mmconvnext').mkdir(parents=True)
    (tmp_path / 'copy/mmconvnext/__init__.py').touch()
    (tmp_path / 'copy/mmconvnext/part.py').write_text('def double(x):\n    return 2 * x\n')
    (tmp_path / 'copy/test_a.py').write_text(
        'import os, time\nfrom mmconvnext import part\n'
        'def test_pass(): assert part.double(2) == 4\n'
        'def test_fail(): assert part.double(2) == 5\n'
        'def test_hang(): time.sleep(60)\n'
        'def test_die(): os._exit(3)\n'
    )
    timeouts = {'pass': 60, 'fail': 60, 'hang': 2, 'die': 60}
    asked = [
        dict(run='tests', tests=[f'test_a.py::test_{name}'], timeout=seconds)
        for name, seconds in timeouts.items()
    ]
    code = f'import sys; sys.path.insert(0, {str(FOLDER)!r}); import worker; worker.WARM = []; '
    code += 'worker.main()'
    done = subprocess.run(
        [sys.executable, '-c', code],
        cwd=tmp_path / 'copy',
        input='\n'.join(map(json.dumps, asked)),
        env={'PYTEST_DISABLE_PLUGIN_AUTOLOAD': '1', 'PATH': '/usr/bin:/bin'},
        capture_output=True,
        text=True,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    outcomes = [answer['outcome'] for answer in answers]
    assert outcomes == ['ready', 'passed', *['failed'] * 3], answers
    assert [answer['by'] for answer in answers[2:]] == ['test_a.py::test_fail', 'timeout', 'crash']
