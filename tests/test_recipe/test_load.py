# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/load.py: configs are found by path; the error for a wrong path lists the nearest."""

import logging
import re
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from fixtures import CONFIGS, MASK_RCNN, UPERNET
from mmengine.config import Config

from mmconvnext.recipe import load as module
from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.load import load_config, shipped_configs


def test_reads_what_mmengine_reads(tmp_path, monkeypatch):
    assert load_config(MASK_RCNN).to_dict() == Config.fromfile(MASK_RCNN).to_dict()
    # The text is not indented with yapf, which takes up to a second each time.
    lazy = 'from mmengine.hooks import EMAHook\nhook = dict(type=EMAHook)\n'
    for lines in ("hook = dict(type='EMAHook')\n", lazy):
        assert load_config(written(tmp_path, lines))._format_python_code is False


def test_unknown_path_suggests_the_nearest_names():
    wrong = MASK_RCNN.replace('convnext-t-p4', 'convnext-tiny-p4')
    with pytest.raises(RecipeError, match=r'there is no config .*; did you mean\n') as caught:
        load_config(wrong)
    suggested = [Path(line.strip()).name for line in str(caught.value).splitlines()[1:]]
    assert Path(MASK_RCNN).name in suggested
    assert len(suggested) == 3
    assert all(name.startswith(('mask', 'cascade', 'faster')) for name in suggested)
    with pytest.raises(RecipeError, match=r'(?s)did you mean\n.*/upernet/') as caught:
        load_config('convnext_upernet.py')  # far from any name, but not from all alike
    assert 1 <= len(str(caught.value).splitlines()) - 1 <= 3


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


def test_what_cannot_be_a_path_is_no_config():
    for name in ('a' * 5000, 'a\0.py'):
        with pytest.raises(RecipeError, match='there is no config'):
            load_config(name)


def test_a_folder_is_no_config(tmp_path):
    with pytest.raises(RecipeError, match='is a folder, where a config file is expected$'):
        load_config(str(CONFIGS))
    (tmp_path / 'mine.py').touch()
    with pytest.raises(RecipeError, match=f'is expected; it holds {tmp_path / "mine.py"}$'):
        load_config(str(tmp_path))


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
    monkeypatch.setattr(module, '__file__', 'mmconvnext/recipe/load.py')  # as Python may have it
    assert shipped_configs() == [leaf.relative_to(tmp_path)]
    monkeypatch.chdir(package)
    monkeypatch.setattr(module, '__file__', str(package / 'recipe/load.py'))
    for name in ('b.py', 'a.py', '_base_/c.py', 'notes.md'):
        (tmp_path / 'configs' / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'configs' / name).touch()
    assert shipped_configs() == [tmp_path / 'configs/a.py', tmp_path / 'configs/b.py']


def test_without_any_configs_there_is_no_suggestion(tmp_path, monkeypatch):
    monkeypatch.setattr(module, '__file__', str(tmp_path / 'mmconvnext/recipe/load.py'))
    assert shipped_configs() == []
    with pytest.raises(RecipeError, match=r"there is no config 'x.py'$"):
        load_config('x.py')


# Packages that custom_imports names

MMDET = "_base_ = 'mmdet::convnext/mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py'\n"
OURS = "model = dict(backbone=dict(_delete_=True, type='mmconvnext.ConvNeXt'))\n"


def written(folder, *lines):
    (folder / 'mine.py').write_text(''.join(lines))
    return str(folder / 'mine.py')


@pytest.mark.skipif(find_spec('mmpretrain') is not None, reason='mmpretrain is installed')
def test_a_config_of_mmpretrains_convnext_is_ported_by_the_type(tmp_path, log_records):
    cfg = load_config(written(tmp_path, MMDET, OURS))
    assert (cfg.model.backbone.type, cfg.custom_imports) == ('mmconvnext.ConvNeXt', None)
    (record,) = log_records
    assert record.levelno == logging.WARNING
    assert record.getMessage().endswith(
        "mine.py: custom_imports has ['mmpretrain.models'], which is not installed, but the "
        'config does not use it; write\n  custom_imports = None'
    )
    assert load_config(written(tmp_path, MMDET, OURS, 'custom_imports = None\n')) is not None
    assert len(log_records) == 1


@pytest.mark.skipif(find_spec('mmcls') is not None, reason='mmcls is installed')
def test_the_older_name_of_mmpretrain_counts_too(tmp_path, log_records):
    cfg = load_config(written(tmp_path, OURS, "custom_imports = dict(imports='mmcls.models')\n"))
    assert cfg.custom_imports is None and len(log_records) == 1


@pytest.mark.skipif(find_spec('mmpretrain') is not None, reason='mmpretrain is installed')
def test_imports_beside_that_of_mmpretrain_are_made(tmp_path):
    lines = MMDET, OURS, "custom_imports = dict(imports=['mmpretrain.models', 'colorsys'])\n"
    sys.modules.pop('colorsys', None)
    cfg = load_config(written(tmp_path, *lines))
    assert cfg.custom_imports == dict(imports=['colorsys'], allow_failed_imports=False)
    assert 'colorsys' in sys.modules


@pytest.mark.parametrize(
    ('model', 'said'),
    [
        (
            "dict(backbone=dict(type='gone_away.ConvNeXt'), neck=dict(type='gone_away.Neck'))",
            "model.backbone.type='gone_away.ConvNeXt', model.neck.type='gone_away.Neck'; for its "
            "ConvNeXt write type='mmconvnext.ConvNeXt', or install it",
        ),
        ("dict(type='gone_away.Neck')", "model.type='gone_away.Neck', or install it"),
        ("dict(type='Neck', _scope_='gone_away')", "model.type='Neck', or install it"),
    ],
)
def test_an_import_of_what_is_not_installed_but_used(tmp_path, model, said):
    imports = "custom_imports = dict(imports=['gone_away.a', 'gone_away.b', 'mmconvnext'])\n"
    path = written(tmp_path, imports, f'model = {model}\n')
    with pytest.raises(RecipeError) as caught:
        load_config(path)
    assert str(caught.value) == (
        f"{path}: custom_imports has ['gone_away.a', 'gone_away.b'], which is not installed, but "
        f'the config uses {said}'
    )


def test_other_imports_stay(tmp_path):
    lines = (
        "custom_imports = dict(imports=['gone_away.models', 'mmconvnext'])\n",
        'model = dict()',
    )
    match = (
        r"write\n  custom_imports = dict\(imports=\['mmconvnext'\], allow_failed_imports=False\)"
    )
    with pytest.raises(RecipeError, match=match):
        load_config(written(tmp_path, *lines))


def test_other_failures_to_import_are_told_as_they_are(tmp_path, log_records):
    with pytest.raises(ImportError, match=r'mmconvnext\.gone'):
        load_config(written(tmp_path, "custom_imports = dict(imports='mmconvnext.gone')\n"))
    assert log_records == []


# Lazy configs


def test_a_lazy_config_gets_the_scope_of_its_model(tmp_path):
    lines = ('from mmseg.models import EncoderDecoder\n', 'model = dict(type=EncoderDecoder)\n')
    assert load_config(written(tmp_path, *lines)).default_scope == 'mmseg'
    lines += ("default_scope = 'mmdet'\n",)
    assert load_config(written(tmp_path, *lines)).default_scope == 'mmdet'
    assert load_config(written(tmp_path, 'model = dict()\n')).get('default_scope') is None


def test_a_checkpoint_in_the_place_of_the_config(tmp_path):
    (tmp_path / 'a.pth').touch()
    with pytest.raises(RecipeError, match='is no config .*; the config comes first'):
        load_config(str(tmp_path / 'a.pth'))
