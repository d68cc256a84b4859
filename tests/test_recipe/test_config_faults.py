# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: a config that cannot be read is one message with the file, the line and the fault."""

import re

import pytest

from mmconvnext.recipe.config_faults import circle
from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.load import load_config

# (content, what is said after the name of the file)
FAULTS = {
    'syntax.py': ('a = 1\nb = dict(\n', r', line 2: SyntaxError: .*closed.*\n  b = dict\(\n +\^'),
    'name.py': ('a = 1\nb = dict(c=nope)\n', r", line 2: NameError: name 'nope' .*\n  b = dict"),
    'key.py': ("b = dict()['c']\n", r", line 1: KeyError: c\n  b = dict\(\)\['c'\]"),
    'bare.py': ('assert 1 > 2\n', r', line 1: AssertionError\n  assert 1 > 2'),
    'file.py': ("a = 1\n\nopen('not-there.json')\n", r', line 3: FileNotFoundError: .*not-there'),
    'base.py': (
        "_base_ = '../moved.py'\n",
        r': its _base_ .*moved.py does not exist; paths',
    ),
    'package.py': ("_base_ = 'mmdet::no/such.py'\n", r': its _base_ .*such.py does not exist'),
    'double.py': ("_base_ = ['one.py', 'two.py']\n", r": KeyError: Duplicate key .*\{'a'\}"),
    'attribute.py': (
        "_base_ = 'one.py'\nb = _base_.nope\n",
        r", line 2: AttributeError: .*'nope'\n  b = _base_.nope",
    ),
    'open.json': ('{"a":', r': JSONDecodeError: Expecting value: line 1'),
    'open.yml': ('a: [1\n', r': ParserError: .*line 1'),
}


@pytest.fixture(autouse=True)
def bases(tmp_path):
    (tmp_path / 'one.py').write_text('a = 1\n')
    (tmp_path / 'two.py').write_text('a = 2\n')


@pytest.mark.parametrize('name', FAULTS)
def test_file_line_and_fault_are_told(tmp_path, name):
    content, said = FAULTS[name]
    file = tmp_path / name
    file.write_text(content)
    expected = f'^the config cannot be read: {re.escape(str(file))}{said}'
    with pytest.raises(RecipeError, match=re.compile(expected, re.DOTALL)):
        load_config(str(file))


@pytest.mark.parametrize('name', [name for name in FAULTS if name.endswith('.py')])
def test_of_two_files_the_faulty_one_is_named(tmp_path, name):
    content, said = FAULTS[name]
    (tmp_path / name).write_text(content)
    top = tmp_path / 'top.py'
    top.write_text(f'c = 3\n_base_ = {name!r}\n')
    expected = f'^the config cannot be read: {re.escape(str(tmp_path / name))}{said}'
    with pytest.raises(RecipeError, match=re.compile(expected, re.DOTALL)):
        load_config(str(top))


def test_a_lazy_config_with_a_missing_base(tmp_path):
    file = tmp_path / 'lazy.py'
    file.write_text(
        'from mmengine.config import read_base\nwith read_base():\n    from .nope import *\n'
    )
    with pytest.raises(RecipeError, match=r'lazy\.py: ConfigParsingError: .*nope\.py not found'):
        load_config(str(file))


def test_what_a_config_calls_keeps_its_traceback(tmp_path, monkeypatch):
    """A fault of a module is not one of the config."""
    (tmp_path / 'my_module_of_faults.py').write_text('def fail():\n    return 1 / 0\n')
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / 'calls.py'
    file.write_text("a = __import__('my_module_of_faults').fail()\n")
    with pytest.raises(ZeroDivisionError):
        load_config(str(file))


def test_bases_that_lead_back_are_found_without_mmengine(tmp_path):
    """Which takes ten seconds or more; a base that two configs share is no circle."""

    def write(**bases):
        for name, value in bases.items():
            kind = 'yaml' if name == 'y' else 'py'
            text = f'_base_: {value}\n' if name == 'y' else f'x = 1\n_base_ = {value!r}\n'
            (tmp_path / f'{name}.{kind}').write_text(text)
        return [path.name for path in circle(tmp_path / 'a.py')]

    assert write(a=['b.py', './c.py'], b='d.py', c=['d.py'], d=[]) == []
    assert write(d='y.yaml', y='b.py') == ['b.py', 'd.py', 'y.yaml']
    assert write(y='../nowhere.py') == []
    assert write(a=('mmdet::a.py', 3)) == []
    assert write(a='a.py') == ['a.py']
    (tmp_path / 'a.py').write_text('_base_ = [f(1)]\n')
    assert circle(tmp_path / 'a.py') == ()
    (tmp_path / 'a.py').write_text('_base_ = [\n')
    assert circle(tmp_path / 'a.py') == circle(tmp_path / 'none.py') == ()
