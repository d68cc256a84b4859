# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/checks/variables.py: options that set a variable of the config are refused."""

import pytest
from fixtures import NUCLEI, UPERNET
from mmengine.config import Config

from mmconvnext.recipe.checks.variables import VARIABLES, check_variables
from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.prepare import prepare_config


@pytest.mark.parametrize('option', ['max_epochs', 'train_pipeline.2.scale', 'crop_size', 'base_lr'])
def test_a_variable_is_refused_with_what_to_set(option):
    (finding,) = check_variables(Config(dict(model=dict())), [option, 'train_cfg.max_epochs'])
    name = option.partition('.')[0]
    assert finding.check == 'variables'
    assert finding.text.startswith(f'--cfg-options {option}=... has no effect: {name} is a variab')
    assert VARIABLES[name] in finding.text and f'{name} = ... into your config' in finding.text


def test_what_is_read_is_taken():
    cfg = Config(dict(model=dict()))
    options = ['train_cfg.max_epochs', 'model.data_preprocessor.size', 'data_preprocessor.size']
    assert not [*check_variables(cfg, [*options, 'default_hooks.logger.interval', 'my_own'])]
    cfg = Config(dict(model=dict(data_preprocessor=dict())))
    assert [*check_variables(cfg, ['data_preprocessor.size'])]


def test_tools_refuse_it_unless_it_is_let_pass(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match=r'(?s)max_epochs=\.\.\. has no effect.*variables=F'):
        prepare_config(NUCLEI, {'max_epochs': 3})
    with pytest.raises(RecipeError, match=r'max_iters=\.\.\. has no effect'):
        prepare_config(UPERNET, {'max_iters': 3})
    with pytest.raises(RecipeError) as error:  # of the missing data
        prepare_config(NUCLEI, {'max_epochs': 3, 'checks.variables': False})
    assert 'has no effect' not in str(error.value)
