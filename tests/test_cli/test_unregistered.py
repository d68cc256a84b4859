# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/unregistered.py: a type that nothing registers is one message with the nearest names."""

import pytest
from mmengine.registry import HOOKS, MODELS

from mmconvnext.cli.run import run_tool
from mmconvnext.cli.unregistered import unregistered


def test_the_nearest_names_are_told(capsys):
    with pytest.raises(SystemExit, match='^2$'):
        run_tool(lambda: HOOKS.build(dict(type='EMAHok')))
    said = capsys.readouterr().err
    assert said.startswith(
        "error: type='EMAHok' is not in the registry 'hook'; did you mean EMAHook"
    )
    assert said.endswith('name its module in custom_imports\n')


def test_nothing_is_near():
    with pytest.raises(KeyError) as caught:
        MODELS.build(dict(type='Zzzzzzzz'))
    text = unregistered(caught.value)
    assert text.startswith(
        "type='Zzzzzzzz' is not in the registry 'model'. If it is code of your own"
    )


def test_a_registry_of_a_project():
    text = unregistered(KeyError("'mmdet.FPNN is not in the mmdet::hook registry. Please check'"))
    assert text.startswith("type='mmdet.FPNN' is not in the registry 'hook'")


@pytest.mark.parametrize('text', ['a', '', 'x is not in the list'])
def test_other_errors_stay(text):
    assert unregistered(KeyError(text)) == ''
    with pytest.raises(KeyError):
        run_tool(lambda: {}[text])
