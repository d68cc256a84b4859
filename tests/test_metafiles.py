# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Metafiles, README tables, the table of published results and the configs agree."""

import re
from pathlib import Path

import pytest
import yaml
from recipe_table import PUBLISHED, load

from mmconvnext.analysis.flops import count_flops

ROOT = Path(__file__).resolve().parents[1]
IMPORTS = yaml.safe_load((ROOT / 'model-index.yml').read_text())['Import']
METAFILES = {Path(file).parent.name: yaml.safe_load((ROOT / file).read_text()) for file in IMPORTS}
MODELS_OF = {folder: metafile['Models'] for folder, metafile in METAFILES.items()}
ROWS = {row['Config']: row for rows in MODELS_OF.values() for row in rows}
each_row = pytest.mark.parametrize('config', ROWS, ids=lambda config: Path(config).stem)

V2 = 'configs/mask_rcnn/mask-rcnn_convnext-v2-b_fpn_lsj-3x-fcmae_coco.py'
MMDET = 'https://github.com/open-mmlab/mmdetection/tree/main/'
META = 'https://github.com/facebookresearch/ConvNeXt/blob/main/'
SIZES = dict(tiny='T', small='S', base='B', large='L', xlarge='XL')
PAPERS = {  # arXiv: title
    '2201.03545': 'A ConvNet for the 2020s',
    '2301.00808': 'ConvNeXt V2: Co-designing and Scaling ConvNets with Masked Autoencoders',
    '1703.06870': 'Mask R-CNN',
    '1906.09756': 'Cascade R-CNN: High Quality Object Detection and Instance Segmentation',
    '1506.01497': 'Faster R-CNN: Towards Real-Time Object Detection with Region Proposal Networks',
    '1807.10221': 'Unified Perceptual Parsing for Scene Understanding',
}
# By folder: the collection's name, its paper, the parts of its models.
COLLECTIONS = {
    'mask_rcnn': ('Mask R-CNN', '1703.06870', ['ConvNeXt', 'FPN', 'RPN', 'RoIAlign']),
    'cascade_mask_rcnn': (
        'Cascade Mask R-CNN',
        '1906.09756',
        ['ConvNeXt', 'FPN', 'RPN', 'RoIAlign', 'Cascade R-CNN'],
    ),
    'faster_rcnn': ('Faster R-CNN', '1506.01497', ['ConvNeXt', 'FPN', 'RPN', 'RoIAlign']),
    'upernet': ('UPerNet', '1807.10221', ['ConvNeXt', 'UPerNet']),
}
# Meta's name of a result: the metafile's, and the column of the README.
METRICS = {
    'box_ap': ('box AP', 'box AP'),
    'mask_ap': ('mask AP', 'mask AP'),
    'miou': ('mIoU', 'mIoU ss'),
    'miou_ms': ('mIoU(ms+flip)', 'ms+flip'),
}


def metrics(row: dict) -> dict[str, float]:
    return {k: v for result in row.get('Results', []) for k, v in result['Metrics'].items()}


def paper(number: str) -> dict[str, str]:
    return dict(URL=f'https://arxiv.org/abs/{number}', Title=PAPERS[number])


def table_row(config: str) -> dict[str, str]:
    """The README's only row that links the config, by the names of its columns."""
    file = ROOT / config
    lines = (file.parent / 'README.md').read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]
    (i,) = [i for i, line in enumerate(lines) if f'({file.name})' in line]
    head = max(j for j in range(i) if cells[j][0] == 'recipe')
    return dict(zip(cells[head], cells[i], strict=True))


def link(cell: str) -> tuple[str, str | None]:
    """The text and the address of a cell."""
    return re.fullmatch(r'\[?([^\[\]]+)\]?(?:\((.+)\))?', cell).groups()


def test_the_index_names_all_folders():
    assert set(METAFILES) == set(COLLECTIONS)


@pytest.mark.parametrize('folder', COLLECTIONS)
def test_a_metafile_lists_the_folder(folder):
    leaves = {str(p.relative_to(ROOT)) for p in (ROOT / 'configs' / folder).glob('*.py')}
    assert sorted(row['Config'] for row in MODELS_OF[folder]) == sorted(leaves)
    name, number, parts = COLLECTIONS[folder]
    assert METAFILES[folder]['Collections'] == [
        {
            'Name': name,
            'License': 'Apache License 2.0',
            'Metadata': {
                'Training Data': 'ADE20K' if folder == 'upernet' else 'COCO',
                'Training Techniques': ['AdamW', 'Layer-wise Learning Rate Decay'],
                'Architecture': parts,
            },
            'Paper': paper(number),
            'README': f'configs/{folder}/README.md',
            'Frameworks': ['PyTorch'],
        }
    ]
    assert set(METAFILES[folder]) == {'Collections', 'Models'}
    assert {row['In Collection'] for row in MODELS_OF[folder]} == {name}


@each_row
def test_a_row_of_the_metafile_is_complete(config):
    row, number = ROWS[config], '2301.00808' if config == V2 else '2201.03545'
    assert row['Name'] == Path(config).stem and row['Paper'] == paper(number)
    data, tasks = 'COCO', {'box AP': 'Object Detection', 'mask AP': 'Instance Segmentation'}
    if 'upernet' in config:
        data, tasks = 'ADE20K', dict.fromkeys(('mIoU', 'mIoU(ms+flip)'), 'Semantic Segmentation')
    for result in row.get('Results', ()):
        assert {tasks[name] for name in result['Metrics']} == {result['Task']}
        assert result['Dataset'] == data and set(result) == {'Task', 'Dataset', 'Metrics'}
    assert set(metrics(row)) in (set(), set(tasks))
    optional = {'Results', 'Weights'}
    assert set(row) - optional == {'Name', 'In Collection', 'Config', 'Metadata', 'Paper'}
    duration = 'Iterations' if 'upernet' in config else 'Epochs'
    memory = {'Training Memory (GB)'} if config == V2 else set()
    assert set(row['Metadata']) == {duration, 'Architecture', 'Parameters', 'FLOPs'} | memory


@each_row
def test_the_readme_tells_the_same(config):
    row, cells = ROWS[config], table_row(config)
    # FLOPs are written in G, parameters in M, results with one decimal.
    assert cells['params'] == f'{row["Metadata"]["Parameters"] / 1e6:.0f}M'
    assert row['Metadata']['FLOPs'] == int(cells['FLOPs'].removesuffix('G')) * 10**9
    assert cells['config'] == f'[config]({Path(config).name})'
    for name, column in METRICS.values():
        value = metrics(row).get(name)
        assert cells.get(column, '-') == ('-' if value is None else f'{value:.1f}')
    assert cells['weights'] == (f'[official]({row["Weights"]})' if 'Weights' in row else '-')


@each_row
def test_the_config_tells_the_same(config):
    """Size, schedule, precision, pretrained file and hyper-parameters of the README's row."""
    cfg, cells = load(config.removeprefix('configs/')), table_row(config)
    meta = ROWS[config]['Metadata']
    backbone, wrapper = cfg.model.backbone, cfg.optim_wrapper
    size = (' V2-' if config == V2 else '-') + SIZES[backbone.arch]
    assert link(cells.pop('recipe'))[0] == f'ConvNeXt{size}'
    assert meta['Architecture'] == [f'ConvNeXt{size}']
    assert cfg.train_cfg.get('max_epochs') == meta.get('Epochs')
    assert cfg.train_cfg.get('max_iters') == meta.get('Iterations')
    amp = wrapper.type == 'AmpOptimWrapper'
    # The V2 recipe keeps the name that mmdet's project gave it.
    assert amp == ('amp' in Path(config).name or config == V2)
    assert cells.get('AMP', 'on') == ('on' if amp else 'off')
    numbers = [wrapper.optimizer.lr, wrapper.paramwise_cfg.decay_rate, backbone.drop_path_rate]
    if 'upernet' in config:  # the decay of all rows is in the text above the table
        stated = cells['lr / drop path'].split(' / ')
        del numbers[1]
        assert cells['crop'] == str(cfg.model.data_preprocessor['size'][0])
    else:
        stated = cells['lr / decay / drop path'].split(' / ')
        schedule = {12: '1x', 36: '3x'}[cfg.train_cfg.max_epochs]
        assert cells['schedule'] == ('LSJ ' if config == V2 else '') + schedule
    assert [float(number) for number in stated] == numbers
    label, address = link(cells['pretrained on'])
    weights = backbone.init_cfg.checkpoint
    assert address == weights or address is None and config.endswith('_amp-1x_coco.py')
    start = 'ImageNet-22K' if '_22k_' in weights else 'ImageNet-1K'
    assert label == start + (', FCMAE' if config == V2 else '')


@pytest.mark.parametrize('name', PUBLISHED, ids=lambda name: Path(name).stem)
def test_published_figures(name):
    row, results = ROWS[f'configs/{name}'], PUBLISHED[name]['results']
    figures = {METRICS[key][0]: value for key, value in results.items() if key in METRICS}
    assert len(figures) == 2 and metrics(row) == figures
    assert f'{row["Metadata"]["Parameters"] / 1e6:.0f}' == f'{results["params"]:g}'
    assert row['Metadata']['FLOPs'] == results['flops'] * 10**9
    assert row['Weights'] == PUBLISHED[name]['weights']
    # The recipe's name is a link to the file that the table was typed from.
    source = PUBLISHED[name]['groups'][0]['source']
    assert link(table_row(f'configs/{name}')['recipe'])[1] == META + source


def test_no_other_row_has_weights_or_figures_of_meta():
    others = set(ROWS) - {f'configs/{name}' for name in PUBLISHED}
    assert all('Weights' not in ROWS[config] for config in others)
    assert {config for config in others if metrics(ROWS[config])} == {V2}
    # mmdet's project: projects/ConvNeXt-V2/README.md.
    assert metrics(ROWS[V2]) == {'box AP': 52.9, 'mask AP': 46.4}
    assert ROWS[V2]['Metadata']['Training Memory (GB)'] == 22.5
    addresses = {config: link(table_row(config)['recipe'])[1] for config in others}
    assert addresses.pop(V2) == f'{MMDET}projects/ConvNeXt-V2'
    assert set(addresses.values()) == {None}


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
    counted = count_flops(cfg)
    side = 640 if '640x640' in config else 512
    assert counted.shape == ((side, 4 * side) if 'upernet' in config else (800, 1280))
    assert counted.parameters == meta['Parameters']
    # Neither norms nor RoIAlign are counted, which the paper's counter does: up to 1G.
    assert meta['FLOPs'] - 1e9 <= counted.flops <= meta['FLOPs'] + 0.5e9
    size = SIZES[cfg.model.backbone.arch] + (f' {side}' if 'upernet' in config else '')
    stated, flops = columns(config), f'{counted.flops / 1e9:.1f}G'
    if stated:
        assert stated[size] == flops
    elif config != V2:  # which the README does not tell
        assert flops in (ROOT / config).with_name('README.md').read_text()
