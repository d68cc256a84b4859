# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Metafiles, README tables, the table of published results and the configs agree."""

import re
from pathlib import Path

import pytest
import torch
import yaml
from mmengine.registry import MODELS, init_default_scope
from recipe_table import PUBLISHED, load
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).resolve().parents[1]
IMPORTS = yaml.safe_load((ROOT / 'model-index.yml').read_text())['Import']
METAFILES = {Path(file).parent.name: yaml.safe_load((ROOT / file).read_text()) for file in IMPORTS}
MODELS_OF = {folder: metafile['Models'] for folder, metafile in METAFILES.items()}
ROWS = {row['Config']: row for rows in MODELS_OF.values() for row in rows}
FOLDERS = {'mask_rcnn', 'cascade_mask_rcnn', 'faster_rcnn', 'upernet'}
each_row = pytest.mark.parametrize('config', ROWS, ids=lambda config: Path(config).stem)

V2 = 'configs/mask_rcnn/mask-rcnn_convnext-v2-b_fpn_lsj-3x-fcmae_coco.py'
META = 'https://github.com/facebookresearch/ConvNeXt/blob/main/'
OFFICIAL = 'https://dl.fbaipublicfiles.com/convnext/'
SIZES = dict(tiny='T', small='S', base='B', large='L', xlarge='XL')
# Meta's name of a column: the metafile's.
METRICS = {
    'box_ap': 'box AP',
    'mask_ap': 'mask AP',
    'miou': 'mIoU',
    'miou_ms': 'mIoU(ms+flip)',
}


def metrics(row: dict) -> dict[str, float]:
    return {k: v for result in row.get('Results', []) for k, v in result['Metrics'].items()}


def table_row(config: str) -> list[str]:
    """The cells of the README row that links the config; raises if there are more or fewer."""
    file = ROOT / config
    lines = (file.parent / 'README.md').read_text().splitlines()
    (line,) = [line for line in lines if f'({file.name})' in line]
    return [cell.strip() for cell in line.strip('|').split('|')]


def test_the_index_names_all_folders():
    assert set(METAFILES) == FOLDERS


@pytest.mark.parametrize('folder', sorted(FOLDERS))
def test_a_metafile_lists_the_folder(folder):
    leaves = {str(p.relative_to(ROOT)) for p in (ROOT / 'configs' / folder).glob('*.py')}
    assert sorted(row['Config'] for row in MODELS_OF[folder]) == sorted(leaves)
    collections = {entry['Name'] for entry in METAFILES[folder]['Collections']}
    readmes = {entry['README'] for entry in METAFILES[folder]['Collections']}
    assert readmes == {f'configs/{folder}/README.md'}
    assert {row['In Collection'] for row in MODELS_OF[folder]} == collections


@each_row
def test_names_and_weights(config):
    row = ROWS[config]
    assert row['Name'] == Path(config).stem
    kind = 'ade20k' if 'upernet' in config else 'coco'
    assert row.get('Weights', f'{OFFICIAL}{kind}/').startswith(f'{OFFICIAL}{kind}/')


@each_row
def test_the_readme_tells_the_same(config):
    row, cells = ROWS[config], table_row(config)
    # FLOPs are written in G, parameters in M, results with one decimal.
    assert f'{row["Metadata"]["Parameters"] / 1e6:.0f}M' in cells
    assert f'{row["Metadata"]["FLOPs"] / 1e9:.0f}G' in cells
    size = SIZES[load(config.removeprefix('configs/')).model.backbone.arch]
    name = f'ConvNeXt V2-{size}' if '-v2-' in config else f'ConvNeXt-{size}'
    assert re.sub(r'\[(.+)\]\(.+\)', r'\1', cells[0]) == name
    assert row['Metadata']['Architecture'] == [name]
    results = [cell for cell in cells if re.fullmatch(r'\d\d\.\d', cell)]
    assert results == [f'{value:.1f}' for value in metrics(row).values()]
    links = re.findall(r'\[official\]\((.+?)\)', ' '.join(cells))
    assert links == ([row['Weights']] if 'Weights' in row else [])


@each_row
def test_the_config_tells_the_same(config):
    """Schedule, precision in the file name, pretrained file and hyper-parameters of the README."""
    cfg, cells = load(config.removeprefix('configs/')), table_row(config)
    meta = ROWS[config]['Metadata']
    assert cfg.train_cfg.get('max_epochs') == meta.get('Epochs')
    assert cfg.train_cfg.get('max_iters') == meta.get('Iterations')
    amp = cfg.optim_wrapper.type == 'AmpOptimWrapper'
    # The V2 recipe keeps the name that mmdet's project gave it.
    assert amp == ('amp' in Path(config).name or '-v2-' in config)
    if 'on' in cells or 'off' in cells:
        assert ('on' if amp else 'off') in cells
    backbone, wrapper = cfg.model.backbone, cfg.optim_wrapper
    numbers = [wrapper.optimizer.lr, wrapper.paramwise_cfg.decay_rate, backbone.drop_path_rate]
    if 'upernet' in config:  # the decay of all rows is in the text above the table
        del numbers[1]
    (stated,) = [cell for cell in cells if ' / ' in cell]
    assert [float(number) for number in stated.split(' / ')] == numbers
    label, link = re.fullmatch(r'\[?(.+?)\]?(?:\((.+)\))?', cells[1]).groups()
    weights = backbone.init_cfg.checkpoint
    assert link == weights or link is None and config.endswith('_amp-1x_coco.py')
    start = 'ImageNet-22K' if '_22k_' in weights else 'ImageNet-1K'
    assert label == start + (', FCMAE' if 'fcmae' in weights else '')
    if 'upernet' in config:
        assert cells[2] == str(cfg.model.data_preprocessor['size'][0])
    else:
        schedule = {12: '1x', 36: '3x'}[cfg.train_cfg.max_epochs]
        assert cells[2] == ('LSJ ' if '-v2-' in config else '') + schedule


@pytest.mark.parametrize('name', PUBLISHED, ids=lambda name: Path(name).stem)
def test_published_figures(name):
    row, results = ROWS[f'configs/{name}'], PUBLISHED[name]['results']
    figures = {METRICS[key]: value for key, value in results.items() if key in METRICS}
    assert len(figures) == 2 and metrics(row) == figures
    assert f'{row["Metadata"]["Parameters"] / 1e6:.0f}' == f'{results["params"]:g}'
    assert row['Metadata']['FLOPs'] == results['flops'] * 10**9
    assert row['Weights'] == PUBLISHED[name]['weights']
    # The recipe's name is a link to the file that the table was typed from.
    source = PUBLISHED[name]['groups'][0]['source']
    assert f'({META}{source})' in table_row(f'configs/{name}')[0]


def test_no_other_row_has_weights_or_figures_of_meta():
    others = set(ROWS) - {f'configs/{name}' for name in PUBLISHED}
    assert all('Weights' not in ROWS[config] for config in others)
    assert {config for config in others if metrics(ROWS[config])} == {V2}
    # mmdet's project: projects/ConvNeXt-V2/README.md.
    assert metrics(ROWS[V2]) == {'box AP': 52.9, 'mask AP': 46.4}
    assert ROWS[V2]['Metadata']['Training Memory (GB)'] == 22.5


def forward(model, image: torch.Tensor) -> None:
    """Count as in the paper: 1000 proposals in each box head, 100 in each mask head."""
    features = model.backbone(image)
    if not hasattr(model, 'roi_head'):
        model.decode_head(features)
        return
    model.rpn_head(model.neck(features))
    for name, proposals, size in (('bbox_head', 1000, 7), ('mask_head', 100, 14)):
        head = getattr(model.roi_head, name, None)
        stages = head if isinstance(head, torch.nn.ModuleList) else [head] if head else []
        for stage in stages:
            stage(image.new_zeros(proposals, 256, size, size))


def columns(config: str) -> dict[str, str]:
    """What the README's small table says under each size; empty if it has none."""
    lines = (ROOT / config).with_name('README.md').read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]
    for names, values in zip(cells, cells[2:]):
        if names[0].split()[0:1] == ['T'] and len(names) > 1:
            return dict(zip(names, values, strict=True))
    return {}


@each_row
def test_parameters_and_flops_are_counted(config):
    """On the meta device, which computes shapes only."""
    cfg, meta = load(config.removeprefix('configs/')), ROWS[config]['Metadata']
    init_default_scope(cfg.default_scope)
    with torch.device('meta'):
        model = MODELS.build(cfg.model).eval()
    assert sum(p.numel() for p in model.parameters()) == meta['Parameters']
    side = 640 if '640x640' in config else 512
    height, width = (side, 4 * side) if 'upernet' in config else (800, 1280)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        forward(model, torch.zeros(1, 3, height, width, device='meta'))
    # It counts a multiply-add as two, and neither norms nor RoIAlign, which the paper's counter
    # does: up to 1G.
    flops = counter.get_total_flops() / 2
    assert meta['FLOPs'] - 1e9 <= flops <= meta['FLOPs'] + 0.5e9
    size = SIZES[cfg.model.backbone.arch] + (f' {side}' if 'upernet' in config else '')
    counted = columns(config)
    if counted:
        assert counted[size] == f'{flops / 1e9:.1f}G'
    elif config != V2:  # which the README does not tell
        assert f'{flops / 1e9:.1f}G' in (ROOT / config).with_name('README.md').read_text()
