# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: ``decay_type`` 'single' and 'timm' give every parameter the rate and decay of
ConvNeXt-V2's code and of timm's.

As in ``test_layer_decay_golden.py``, three tables must be equal: the two rules, written out again
below with the names of their models; the golden files in ``tests/data/layer_decay/by_block``; and
what our constructor passes to the optimizer. Run as a program, this file writes the golden files.
"""

import re
from pathlib import Path

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from mmconvnext.models import ConvNeXt

GOLDEN = Path(__file__).resolve().parents[1] / 'data' / 'layer_decay' / 'by_block'
PAGE = (Path(__file__).parents[2] / 'docs/learning_rates.md').read_text().splitlines()
RATE, DECAY, LR = 0.8, 0.05, 1e-3
# golden file: arch, version, and the groups that timm 1.0.31 makes of the classifier
TABLES = {
    'tiny': ('tiny', 'v1', 20),
    'small': ('small', 'v1', 38),
    'v2-base': ('base', 'v2', 38),
    'v2-atto': ('atto', 'v2', 14),
}
HEADER = """\
# Depth and learning-rate scale by two rules, and weight decay, of every parameter of
# ConvNeXt(arch={arch!r}, version={version!r}), at a rate of 0.8 and a weight decay of 0.05:
# single: get_num_layer_for_convnext_single of facebookresearch/ConvNeXt-V2, optim_factory.py;
# timm: param_groups_layer_decay of timm 1.0.31 with the group_matcher of timm/models/convnext.py.
# Neither has norm0 to norm2; norm3 is the classifiers' final norm.
# Made by `python tests/test_optim/test_layer_decay_by_block.py`, from those rules as written there.
# name single_depth single_scale timm_depth timm_scale weight_decay
"""


def single_depth(name: str, depths: list[int]) -> int:
    """By ConvNeXt-V2: downsampling layers and the stem have the depth of the block after them."""
    kind, *numbers = name.split('.')
    if kind == 'downsample_layers':
        return sum(depths[: int(numbers[0])]) + 1
    if kind == 'stages':
        return sum(depths[: int(numbers[0])]) + int(numbers[1]) + 1
    return sum(depths) + 1


def timm_name(name: str) -> str:
    """What timm's classifier calls a module of ours."""
    name = name.replace('downsample_layers.0.', 'stem.')
    name = re.sub(r'^downsample_layers\.(\d)\.', r'stages.\1.downsample.', name)
    name = re.sub(r'^stages\.(\d)\.(\d+)\.', r'stages.\1.blocks.\2.', name)
    return re.sub(r'^norm\d\.', 'head.norm.', name)


def timm_depths(names: list[str]) -> dict[str, int]:
    """By timm: stem, blocks in their order, all the rest; what sorts alike is one group."""

    def order(name: str) -> tuple:
        if name.startswith('stem'):
            return (0,)
        stage, block = re.match(r'stages\.(\d+)\.(?:downsample|blocks\.(\d+))|', name).groups()
        return (2,) if stage is None else (1, int(stage), int(block or 0))

    ranks = sorted({order(name) for name in names})
    return {name: ranks.index(order(name)) for name in names}


def official_table(model: nn.Module) -> list[tuple]:
    depths = [len(stage) for stage in model.stages]
    timm = timm_depths([timm_name(name) for name, _ in model.named_parameters()])
    last = sum(depths) + 1
    assert max(timm.values()) == last
    table = []
    for name, param in model.named_parameters():
        single, rank = single_depth(name, depths), timm[timm_name(name)]
        # Both: no decay of one dimension; ConvNeXt-V2 names .gamma and .beta of GRN besides.
        decay = 0.0 if param.ndim == 1 or name.endswith(('.gamma', '.beta')) else DECAY
        table.append((name, single, RATE ** (last - single), rank, RATE ** (last - rank), decay))
    return table


def build(arch: str, version: str) -> nn.Module:
    with torch.device('meta'):
        return ConvNeXt(arch, version, out_indices=(0, 1, 2, 3))


def read_golden(table: str) -> list[tuple]:
    lines = (GOLDEN / f'{table}.txt').read_text().splitlines()
    rows = [line.split() for line in lines if not line.startswith('#')]
    return [(name, int(a), float(b), int(c), float(d), float(e)) for name, a, b, c, d, e in rows]


@pytest.mark.parametrize('table', sorted(TABLES))
def test_golden_file_is_what_both_codes_say(table):
    arch, version, groups = TABLES[table]
    official, golden = official_table(build(arch, version)), read_golden(table)
    assert [(row[0], row[1], row[3], row[5]) for row in golden] == [
        (row[0], row[1], row[3], row[5]) for row in official
    ]
    for ours, theirs in zip(golden, official, strict=True):
        assert ours[2::2] == pytest.approx(theirs[2::2], rel=1e-9), ours[0]
    assert len({row[3] for row in golden}) == groups
    assert len({row[1] for row in golden}) == groups - 1  # the stem has no group of its own


@pytest.mark.parametrize('decay_type', ['single', 'timm'])
@pytest.mark.parametrize('table', sorted(TABLES))
def test_constructor_gives_the_golden_rates_and_decays(table, decay_type):
    arch, version, _ = TABLES[table]
    model = nn.ModuleDict(dict(backbone=build(arch, version), head=nn.Linear(2, 2)))
    cfg = dict(
        constructor='mmconvnext.LayerDecayOptimWrapperConstructor',
        optimizer=dict(type='AdamW', lr=LR, weight_decay=DECAY),
        paramwise_cfg=dict(decay_rate=RATE, decay_type=decay_type),
    )
    groups = build_optim_wrapper(model, cfg).optimizer.param_groups
    settings = {
        id(param): (group['lr'] / LR, group['weight_decay'])
        for group in groups
        for param in group['params']
    }
    column = 1 if decay_type == 'single' else 3
    golden = {row[0]: (row[column], row[column + 1], row[-1]) for row in read_golden(table)}
    last = max(depth for depth, _, _ in golden.values())
    assert dict(model.backbone.named_parameters()).keys() == golden.keys()
    for name, param in model.backbone.named_parameters():
        depth, scale, decay = golden[name]
        assert model.backbone.get_layer_depth(name, '', decay_type) == (depth, last + 1), name
        assert settings[id(param)] == (pytest.approx(scale, rel=1e-9), decay), name
    assert settings[id(model.head.weight)] == (1.0, DECAY)


def test_golden_folder_holds_these_tables_and_no_others():
    assert {path.name for path in GOLDEN.iterdir()} == {f'{table}.txt' for table in TABLES}


def test_the_two_codes_differ_in_the_stem_alone():
    for table in TABLES:
        for name, single, single_scale, timm, timm_scale, _ in read_golden(table):
            stem = name.startswith('downsample_layers.0.')
            assert (single, timm) == (1, 0) if stem else single == timm, name
            assert timm_scale == pytest.approx(single_scale * (RATE if stem else 1)), name


def test_power_of_the_rate_at_which_the_stem_learns():
    """The tables of the docstring of ``layer_depth.py`` and of ``docs/learning_rates.md``."""
    from mmconvnext.models import layer_depth

    for arch, size in (('tiny', '3, 3, 9, 3'), ('small', '3, 3, 27, 3')):
        model, powers = build(arch, 'v1'), []
        for decay_type in layer_depth.DECAY_TYPES:
            depth, count = model.get_layer_depth('downsample_layers.0.0.weight', '', decay_type)
            powers.append(str(count - depth - 1))
        (line,) = [line for line in layer_depth.__doc__.splitlines() if size in line]
        assert line.split()[-4:] == powers, line
        (row,) = [row for row in PAGE if row.startswith(f'| {size}')]
        assert re.findall(r'\d+', row.partition(')')[2]) == powers
        shares = [float(f'{0.8 ** int(power):.2g}') for power in powers]
        (row,) = [row for row in PAGE if row.startswith(f'| {arch} | 0')]
        assert [float(cell) for cell in row.split('|')[2:-1]] == shares
    assert 0.8**19 == pytest.approx((0.8 ** (19 / 7)) ** 7) == pytest.approx(0.0144, rel=1e-2)


def write_golden() -> None:
    for table, (arch, version, _) in TABLES.items():
        lines = [
            f'{name} {single} {a:.10g} {timm} {b:.10g} {decay:g}\n'
            for name, single, a, timm, b, decay in official_table(build(arch, version))
        ]
        header = HEADER.format(arch=arch, version=version)
        (GOLDEN / f'{table}.txt').write_text(header + ''.join(lines))


if __name__ == '__main__':
    write_golden()
