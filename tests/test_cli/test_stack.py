# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/stack.py: the error for a broken MM stack says how to fix it."""

import pytest

from mmconvnext.cli import stack
from mmconvnext.recipe.errors import RecipeError


def test_a_whole_stack_passes():
    assert stack.require_stack() is None


@pytest.mark.parametrize(
    'module, error',
    [
        ('mmcv.ops', ModuleNotFoundError("No module named 'mmcv._ext'")),
        ('mmcv.ops', OSError('libtorch.so: cannot open shared object file')),
        ('mmcv.ops', ImportError('_ext.so: undefined symbol: _ZN3c10')),
        ('mmdet', AssertionError('MMCV==2.2.0 is used but incompatible')),
        ('mmseg', ModuleNotFoundError("No module named 'ftfy'")),
    ],
)
def test_what_breaks_is_named_with_the_remedy(monkeypatch, module, error):
    def broken(name):
        if name == module:
            raise error

    monkeypatch.setattr(stack, 'import_module', broken)
    with pytest.raises(RecipeError, match=f'cannot import {module}: ') as caught:
        stack.require_stack()
    message = str(caught.value)
    assert str(error) in message
    assert 'mmcv==2.1.0' in message and '--no-build-isolation' in message
    assert 'make setup' in message
    assert caught.value.__cause__ is error


def test_mistakes_in_code_are_not_hidden(monkeypatch):
    def broken(name):
        raise TypeError('a bug')

    monkeypatch.setattr(stack, 'import_module', broken)
    with pytest.raises(TypeError, match='a bug'):
        stack.require_stack()


def test_a_missing_package_of_the_extra_is_named():
    stack.require_extra('json', 'csv')
    with pytest.raises(RecipeError, match=r'cannot import no_such: .*mmconvnext\[tools\]'):
        stack.require_extra('json', 'no_such')
