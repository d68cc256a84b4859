# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: malformed inputs end in a message that names the fault, and in nothing else.

Each of tests/malformed goes through the function that the tools call.
"""

import copy
import logging
import re

import coco_files
import malformed
import pytest
from fixtures import MASK_RCNN
from malformed import annotations, checkpoints, configs, images

from mmconvnext.checkpoint.errors import CheckpointError
from mmconvnext.checkpoint.read import read_checkpoint
from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.own_data import apply_own_data
from mmconvnext.recipe.prepare import prepare_config, run_checks

HEAD = """_base_ = [{recipe!r}]
own_data = dict(root={root!r}, classes=('cat', 'dog'),
                train=dict(images='.', annotations='a.json'),
                val=dict(images='.', annotations='a.json'))
"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / 'ran').exists()


def cases(kind, table='CASES') -> pytest.MarkDecorator:
    rows = getattr(kind, table).items()
    return pytest.mark.parametrize('case', [pytest.param(case, id=name) for name, case in rows])


def test_there_are_many():
    kinds = (configs, annotations, images, checkpoints)
    assert sum(len(kind.CASES) for kind in kinds) + len(configs.OTHERS) >= 80
    assert all(isinstance(c, malformed.Case) for kind in kinds for c in kind.CASES.values())


def prepare(tmp_path, case, name='c.py') -> None:
    coco_files.pictures(tmp_path)
    coco_files.write(tmp_path, coco_files.content())
    head = HEAD.format(recipe=MASK_RCNN, root=str(tmp_path))
    content = case.content
    if isinstance(content, str):
        content = content.replace('{head}', head).encode()
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RecipeError, match=case.told):
        prepare_config(str(tmp_path / name))


@cases(configs)
def test_configs(case, tmp_path):
    prepare(tmp_path, case)


@pytest.mark.parametrize('name', configs.OTHERS)
def test_configs_of_other_suffixes(name, tmp_path):
    prepare(tmp_path, configs.OTHERS[name], name)


def test_a_config_that_is_its_own_base(tmp_path):
    (tmp_path / 'c.py').write_text("_base_ = 'd.py'\n")
    (tmp_path / 'd.py').write_text("_base_ = 'c.py'\n")
    with pytest.raises(RecipeError, match=r'its _base_ leads back to itself, by .*c\.py, .*d\.py'):
        prepare_config('c.py')


@pytest.fixture
def checked(load, tmp_path):
    """A function that checks a recipe with these data; returns what the user is told."""

    def check() -> str:
        cfg = copy.deepcopy(load(MASK_RCNN))
        split = dict(images='.', annotations='a.json')
        cfg.own_data = dict(
            root=str(tmp_path), classes=coco_files.CLASSES, train=split, val=dict(split)
        )
        apply_own_data(cfg)
        told = []
        run_checks(cfg, ('train_dataloader',), lambda line, level=logging.INFO: told.append(line))
        return '\n'.join(told)

    return check


def expect(case, check) -> None:
    if case.refused:
        with pytest.raises(RecipeError, match=case.told):
            check()
    else:
        assert re.search(case.told, check())


@cases(annotations)
def test_annotations(case, tmp_path, checked):
    coco_files.pictures(tmp_path)
    coco_files.write(tmp_path, case.content)
    expect(case, checked)


@cases(images)
def test_images(case, tmp_path, checked):
    coco_files.pictures(tmp_path)
    coco_files.write(tmp_path, coco_files.content())
    file = tmp_path / '1.png'
    file.unlink()
    file.mkdir() if case.content is None else file.write_bytes(case.content)
    expect(case, checked)


@pytest.mark.filterwarnings('ignore')  # of torch: TorchScript is deprecated
@cases(checkpoints)
def test_checkpoints(case, tmp_path):
    content = case.content if isinstance(case.content, bytes) else case.content(tmp_path)
    file = tmp_path / 'a.pth'
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=case.told):
        read_checkpoint(file)
    assert file.read_bytes() == content
