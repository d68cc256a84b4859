# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: the snippets in README and docs work, and their lists agree with the code."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS
from torch import nn

from mmconvnext import ConvNeXt
from mmconvnext.arch import ARCHS
from mmconvnext.checkpoint import zoo
from mmconvnext.checkpoint.load import load_pretrained
from mmconvnext.models.design import Design

ROOT = Path(__file__).resolve().parents[1]


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding='utf-8')


def blocks(page: str) -> list[str]:
    return re.findall(r'```python\n(.*?)```', read(page), re.DOTALL)


README = read('README.md')


def block(part: str) -> str:
    (found,) = (text for text in blocks('README.md') if part in text)
    return found


@pytest.mark.slow
def test_the_backbone_in_plain_pytorch_prints_the_shapes_in_its_comments(tmp_path):
    file = tmp_path / 'plain.py'
    file.write_text(block('import torch'))
    done = subprocess.run([sys.executable, file], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    shapes = [line for line in done.stdout.splitlines() if line.startswith('(')]
    assert shapes == re.findall(r'^# (\(.*)$', file.read_text(), re.MULTILINE)
    assert len(shapes) == 4


def test_the_lines_for_ones_own_project_build_and_fit_together():
    names = {}
    exec(block("constructor='mmconvnext.LayerDecay"), {}, names)
    model, wrapper = ConfigDict(names['model']), ConfigDict(names['optim_wrapper'])
    for node in (model.backbone, wrapper.optimizer):
        assert node.pop('_delete_')
    assert zoo.find(model.backbone.init_cfg.checkpoint).arch == model.backbone.arch
    backbone = MODELS.build(model.backbone)
    assert list(backbone.out_channels) == model.neck.in_channels
    groups = build_optim_wrapper(
        nn.ModuleDict(dict(backbone=backbone)), dict(type='OptimWrapper', **wrapper)
    ).optimizer.param_groups
    assert len({group['lr'] for group in groups}) == 8  # of depth 9, as the published recipes have


CONFIGS = [text for text in blocks('docs/own_data.md') if 'own_data = dict(' in text]


@pytest.mark.parametrize('text', CONFIGS)
def test_the_configs_for_ones_own_data_reach_loaders_and_evaluators(text, tmp_path):
    root = re.search(r"root='(.*)'", text)[1]
    file = tmp_path / 'own.py'
    file.write_text(text.replace("'../", f"'{ROOT}/configs/"))
    cfg = Config.fromfile(file)
    assert cfg.own_data.applied
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        assert loader.dataset.data_root == root
    classes = (*cfg.own_data.classes, *cfg.own_data.get('stuff_classes', ()))
    assert tuple(cfg.train_dataloader.dataset.metainfo.classes) == classes


LINES = [
    line
    for text in blocks('docs/ablations.md')
    for line in text.splitlines()
    if line.startswith('model = ')
]


@pytest.mark.parametrize('line', LINES)
def test_each_ablation_of_one_line_builds_another_network(line):
    base = dict(model=dict(backbone=dict(type='mmconvnext.ConvNeXt', arch='tiny')))
    names = {}
    exec(line, {}, names)
    model = Config._merge_a_into_b(names, ConfigDict(base))['model']
    with torch.device('meta'):
        ours, paper = MODELS.build(model['backbone']), ConvNeXt()
        maps = ours(torch.zeros(1, 3, 64, 64))
    assert [m.shape[:2] for m in maps] == [(1, c) for c in (96, 192, 384, 768)]
    assert str(ours) != str(paper) or ours.design.act_after != paper.design.act_after


def test_every_switch_has_a_line_and_a_row_with_its_default():
    switches = {name for line in LINES for name in re.findall(r'(\w+)=', design_in(line))}
    assert switches == set(Design.__dataclass_fields__)
    rows = re.findall(r'^\| .*? \| `(\w+)` \| `(.*?)` \|', read('docs/ablations.md'), re.MULTILINE)
    defaults = {name: repr(getattr(Design(), name)) for name in switches}
    assert dict(rows) == {'arch': "'tiny'", **defaults}


def design_in(line: str) -> str:
    found = re.search(r'design=dict\((.*?)\)\)\)', line)
    return found[1] if found else ''  # the stage ratio is arch


def test_sizes_are_those_of_the_code():
    listed = re.search(r'`arch` is (.*?), or\s+`dict\(depths', README, re.DOTALL)[1]
    told = re.findall(r'(\w+)(?: \((V[12])\))?(?:,| or|$)', listed.replace('\n', ' '))
    assert [name for name, _ in told] == list(ARCHS)
    for name, version in told:
        only = (version.lower(),) if version else ('v1', 'v2')
        assert ARCHS[name].versions == only, name


def test_options_of_init_cfg_are_those_of_the_code():
    told = set(re.findall(r'^\| `(\w+)=', read('docs/checkpoints.md'), re.MULTILINE))
    taken = set(inspect.signature(load_pretrained).parameters)
    assert told == taken - {'backbone', 'checkpoint', 'map_location'}


def test_the_line_about_what_was_loaded_counts_right():
    loaded, count = map(int, re.search(r'Loaded (\d+) of (\d+) tensors from', README).groups())
    with torch.device('meta'):
        own = ConvNeXt('tiny').state_dict()
    assert count == len(own)
    assert loaded == len([name for name in own if not name.startswith('norm')])


@pytest.mark.parametrize(
    'name', re.findall(r'[\'` ]((?:mask-rcnn_|convnext-)[\w-]+_(?:in1k|coco))\b', README)
)
def test_short_names_are_published(name):
    assert zoo.find(name), name


@pytest.mark.parametrize(
    'tool', sorted((ROOT / 'tools').glob('[!_]*.py')), ids=lambda path: path.stem
)
def test_every_tool_answers_help_and_does_nothing_else(tool, tmp_path):
    command = [sys.executable, str(tool), '--help']
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.startswith(f'usage: {tool.name}')
    assert list(tmp_path.iterdir()) == []


def test_readme_is_short():
    """Details belong in docs/."""
    assert len(README.splitlines()) <= 200
