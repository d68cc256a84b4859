# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/load.py: configs are found by path; a wrong path is answered with the nearest names."""

import re
from pathlib import Path

import pytest
from fixtures import CONFIGS, MASK_RCNN, UPERNET
from mmengine.config import Config

from mmconvnext.recipe import load as module
from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.load import load_config, shipped_configs


def test_reads_what_mmengine_reads():
    assert load_config(MASK_RCNN).to_dict() == Config.fromfile(MASK_RCNN).to_dict()


def test_unknown_path_suggests_the_nearest_names():
    wrong = MASK_RCNN.replace('convnext-t-p4', 'convnext-tiny-p4')
    with pytest.raises(RecipeError, match=r'there is no config .*; did you mean\n') as caught:
        load_config(wrong)
    suggested = [Path(line.strip()).name for line in str(caught.value).splitlines()[1:]]
    assert Path(MASK_RCNN).name in suggested
    assert len(suggested) <= 3
    assert all(name.startswith(('mask', 'cascade', 'faster')) for name in suggested)


def test_right_name_in_the_wrong_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match='did you mean\n  ' + re.escape(UPERNET)):
        load_config(f'configs/{Path(UPERNET).name}')


def test_suggestions_can_be_pasted_from_the_working_folder(monkeypatch):
    monkeypatch.chdir(CONFIGS.parent)
    with pytest.raises(RecipeError, match='did you mean') as caught:
        load_config('mask-rcnn_convnext-t.py')
    lines = [line.strip() for line in str(caught.value).splitlines()[1:]]
    assert lines and all(Path(line).is_file() and not Path(line).is_absolute() for line in lines)


def test_a_name_like_no_other_lists_all_of_them():
    with pytest.raises(RecipeError, match='did you mean') as caught:
        load_config('qqqqqqqq.py')
    assert len(str(caught.value).splitlines()) == 1 + len(shipped_configs())


def test_a_folder_is_no_config():
    with pytest.raises(RecipeError, match='there is no config'):
        load_config(str(CONFIGS))


def test_shipped_configs_are_leaves():
    leaves = shipped_configs()
    assert len(leaves) >= 16
    assert all(path.is_file() and '_base_' not in path.parts for path in leaves)
    assert len({path.name for path in leaves}) == len(leaves)


def test_an_installed_package_suggests_from_its_mim_folder(tmp_path, monkeypatch):
    package = tmp_path / 'mmconvnext'
    leaf = package / '.mim/configs/upernet/some_upernet.py'
    leaf.parent.mkdir(parents=True)
    leaf.touch()
    monkeypatch.setattr(module, '__file__', str(package / 'recipe/load.py'))
    monkeypatch.chdir(tmp_path)
    assert shipped_configs() == [leaf.relative_to(tmp_path)]


def test_without_any_configs_there_is_no_suggestion(tmp_path, monkeypatch):
    monkeypatch.setattr(module, '__file__', str(tmp_path / 'mmconvnext/recipe/load.py'))
    assert shipped_configs() == []
    with pytest.raises(RecipeError, match=r"there is no config 'x.py'$"):
        load_config('x.py')
