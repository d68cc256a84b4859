# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: each published file has one name; facts and sizes are as published or recounted."""

import csv
import dataclasses
import re
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import pytest
import torch
import yaml
from fixtures import LEAVES
from mmengine.config import Config

from mmconvnext import ConvNeXt
from mmconvnext.arch import ARCHS
from mmconvnext.checkpoint import zoo

ROOT = Path(__file__).resolve().parents[2]
ROWS = list(zoo.published().values())
URLS = {row.url for row in ROWS}
MB = 1e6
META = 'https://dl.fbaipublicfiles.com/convnext/'
HF = 'https://huggingface.co/'

CLASSES = {'in1k': 1000, 'in12k': 11821, 'in21k': 21841, 'fcmae': 0, 'lvd1689m': 0}
# timm's LAION towers end in the shared space: 640 of base_w, 768 of large_d, 1024 of xxlarge
# (`embed_dim` in open_clip's model_configs).
TOWERS = {'base': 640, 'large': 768, 'xxlarge': 1024}
SMALLEST = ('atto', 'femto', 'pico')
ZEPTO = dict(depths=[2, 2, 4, 2], channels=[32, 64, 128, 256])
XXLARGE = dict(depths=[3, 4, 30, 3], channels=[384, 768, 1536, 3072])  # timm's convnext_xxlarge
NOT_OURS = re.compile(r'iso-.+')  # a form that mmconvnext has not: no pyramid
# What builds those of timm that ARCHS does not name.
TEST2 = dict(depths=[1, 1, 1, 1], channels=[32, 64, 96, 128])
OTHERS = {
    'xxlarge': dict(arch=XXLARGE),
    **{f'{name}-ols': dict(arch=name, design=dict(stem='overlap_tiered')) for name in SMALLEST},
    'nano-ols': dict(arch='nano', design=dict(stem='overlap')),
    'zepto-rms': dict(arch=ZEPTO, design=dict(norm='SimpleNorm')),
    'zepto-rms-ols': dict(arch=ZEPTO, design=dict(norm='SimpleNorm', stem='overlap_act')),
    'test': dict(arch=dict(depths=[1, 2, 4, 2], channels=[24, 32, 48, 64])),
    'test2': dict(arch=TEST2),
    'test3': dict(arch=TEST2, design=dict(kernel_size=[7, 5, 5, 3])),
}


# The table


def test_names_and_urls_are_unique():
    with zoo.TABLE.open(encoding='ascii') as file:
        lines = list(csv.DictReader(file))
    assert len({line['name'] for line in lines}) == len(lines) == len(ROWS) == len(URLS)
    assert list(lines[0]) == [field.name for field in dataclasses.fields(zoo.PublishedWeights)]


def test_the_table_is_read_once_and_rows_are_constants():
    assert zoo.published() is zoo.published()
    with pytest.raises(dataclasses.FrozenInstanceError):
        ROWS[0].url = ''


def test_cells():
    for row in ROWS:
        assert re.fullmatch(r'[\w./-]+', row.name), row
        assert row.kind in ('backbone', 'detector', 'segmentor'), row
        assert row.arch in (*ARCHS, *OTHERS) or NOT_OURS.fullmatch(row.arch), row
        assert row.arch not in ARCHS or row.version in ARCHS[row.arch].versions, row
        assert row.ema in ('yes', 'no', 'unknown'), row
        assert row.pixels in (160, 176, 224, 256, 320, 384, 512, 640, 800), row
        assert row.mb > 1, row
        url = r'https://[\w.-]+(/[\w.-]+)+\.(pth|pt|bin|safetensors)'
        assert re.fullmatch(url, row.url), row


def test_names_of_files_with_a_hash_end_in_eight_hex_digits():
    """As torch.hub.load_state_dict_from_url(check_hash=True) wants them."""
    hashed = [row for row in ROWS if row.source in ('OpenMMLab', 'torchvision')]
    assert [row.name for row in hashed if not re.search(r'-[0-9a-f]{8}\.pth$', row.url)] == []
    others = [row for row in ROWS if row not in hashed]
    assert [row.name for row in others if re.search(r'-[0-9a-f]{8}\.', row.url)] == []


PREFIXES = {
    'OpenMMLab': 'mm/',
    'timm': 'timm/',
    'Hugging Face': 'hf/',
    'torchvision': 'torchvision/',
    'Meta DINOv3': 'dinov3/',
    'OpenCLIP': 'openclip/',
}


def test_meta_names_tell_the_file():
    for row in ROWS:
        if row.source == 'Meta' and row.kind == 'backbone':
            version = '-v2' if row.version == 'v2' else ''
            pixels = '' if row.pixels == 224 else f'-{row.pixels}'
            ema = '_ema' if row.version == 'v1' and row.ema == 'yes' else ''
            assert row.name == f'convnext{version}-{row.arch}_{row.data}{pixels}{ema}'
            assert (row.ema == 'yes') == ('_ema.' in row.url), row
            assert str(row.pixels) in row.url, row


def test_names_of_other_sources_tell_the_file():
    for row in ROWS:
        if row.source == 'Meta':
            continue
        assert row.name.startswith(PREFIXES[row.source]), row
        own = row.name.partition('/')[2]
        if row.source == 'OpenMMLab':
            assert f'/{own}_20' in row.url, row  # the date
        elif row.source in ('timm', 'Hugging Face', 'OpenCLIP'):
            org = {'timm': 'timm/', 'Hugging Face': '', 'OpenCLIP': 'laion/'}[row.source]
            assert row.url.startswith(f'{HF}{org}{own}/resolve/main/'), row


COUNTS = {
    # READMEs of facebookresearch/ConvNeXt: the tables ImageNet-1K, -22K (two columns), isotropic;
    # the three files without EMA that only the dense tables link; then the dense models.
    ('Meta', 'backbone', 'v1'): 6 + 5 + 10 + 3 + 3,
    ('Meta', 'backbone', 'v2'): 8 + 8 + 10,  # facebookresearch/ConvNeXt-V2: FCMAE, 1K, 22K
    ('Meta', 'detector', 'v1'): 7,
    ('Meta', 'segmentor', 'v1'): 6,
    # mmpretrain 1.2.0: 24; only in mmcls 0.25.0: 4 (tiny and small, with and without EMA);
    # downstream: 6.
    ('OpenMMLab', 'backbone', 'v1'): 24 + 4 + 6,
    ('OpenMMLab', 'backbone', 'v2'): 26,
    ('OpenMMLab', 'detector', 'v1'): 3,
    ('OpenMMLab', 'segmentor', 'v1'): 6,
    # timm 1.0.31: 103 tags, two of them untrained.
    ('timm', 'backbone', 'v1'): 75,
    ('timm', 'backbone', 'v2'): 26,
    # URLs in transformers' two conversion scripts.
    ('Hugging Face', 'backbone', 'v1'): 15,
    ('Hugging Face', 'backbone', 'v2'): 18,
    ('torchvision', 'backbone', 'v1'): 4,
    ('Meta DINOv3', 'backbone', 'v1'): 4,
    ('OpenCLIP', 'backbone', 'v1'): 12,
}


def test_no_file_is_left_out():
    keys = [(row.source, row.kind, row.version) for row in ROWS]
    assert {key: keys.count(key) for key in keys} == COUNTS


# Facts typed by hand: name, kind, version, arch, data, pixels, ema, licence, url.
GOLDEN = [
    # object_detection/README.md of facebookresearch/ConvNeXt, column "Pretrained Model".
    ('convnext-tiny_in1k', 'backbone', 'v1', 'tiny', 'in1k', 224, 'no', 'MIT')
    + (META + 'convnext_tiny_1k_224.pth',),
    # README.md of facebookresearch/ConvNeXt, first table.
    ('convnext-tiny_in1k_ema', 'backbone', 'v1', 'tiny', 'in1k', 224, 'yes', 'MIT')
    + (META + 'convnext_tiny_1k_224_ema.pth',),
    # Second table there.
    ('convnext-base_in21k', 'backbone', 'v1', 'base', 'in21k', 224, 'no', 'MIT')
    + (META + 'convnext_base_22k_224.pth',),
    ('convnext-base_in21k-in1k-384', 'backbone', 'v1', 'base', 'in21k-in1k', 384, 'no', 'MIT')
    + (META + 'convnext_base_22k_1k_384.pth',),
    # README.md of facebookresearch/ConvNeXt-V2, first and third table.
    ('convnext-v2-base_fcmae', 'backbone', 'v2', 'base', 'fcmae', 224, 'no', 'CC-BY-NC-4.0')
    + (META + 'convnextv2/pt_only/convnextv2_base_1k_224_fcmae.pt',),
    ('convnext-v2-huge_fcmae-in21k-in1k-512', 'backbone', 'v2', 'huge', 'fcmae-in21k-in1k')
    + (512, 'yes', 'CC-BY-NC-4.0', META + 'convnextv2/im22k/convnextv2_huge_22k_512_ema.pt'),
    # The tables of object_detection/README.md and semantic_segmentation/README.md.
    ('cascade-mask-rcnn_convnext-base-in21k_coco', 'detector', 'v1', 'base', 'coco', 800, 'no')
    + ('MIT', META + 'coco/cascade_mask_rcnn_convnext_base_22k_3x.pth'),
    ('upernet_convnext-base-in21k_ade20k', 'segmentor', 'v1', 'base', 'ade20k', 640, 'no', 'MIT')
    + (META + 'ade20k/upernet_convnext_base_22k_640x640.pth',),
    # torchvision/models/convnext.py; trained with --train-crop-size 176 --model-ema, says
    # references/classification/README.md.
    ('torchvision/convnext_tiny', 'backbone', 'v1', 'tiny', 'in1k', 176, 'yes', 'BSD-3-Clause')
    + ('https://download.pytorch.org/models/convnext_tiny-983f1562.pth',),
    # timm/models/convnext.py, default_cfgs.
    ('timm/convnext_nano.r384_in12k_ft_in1k', 'backbone', 'v1', 'nano', 'in12k-in1k', 384)
    + ('unknown', 'Apache-2.0')
    + (HF + 'timm/convnext_nano.r384_in12k_ft_in1k/resolve/main/model.safetensors',),
    # README.md of facebookresearch/dinov3.
    ('dinov3/convnext-tiny', 'backbone', 'v1', 'tiny', 'lvd1689m', 224, 'unknown')
    + ('DINOv3 License',)
    + (HF + 'facebook/dinov3-convnext-tiny-pretrain-lvd1689m/resolve/main/model.safetensors',),
]


@pytest.mark.parametrize('golden', GOLDEN, ids=lambda golden: golden[0])
def test_golden_rows(golden):
    row = zoo.find(golden[0])
    assert (row.name, row.kind, row.version, row.arch, row.data) == golden[:5]
    assert (row.pixels, row.ema, row.licence, row.url) == golden[5:]


def test_v2_is_not_for_commercial_use():
    assert {row.licence for row in ROWS if row.version == 'v2'} == {'CC-BY-NC-4.0'}


@pytest.mark.parametrize(
    ('source', 'licences'),
    [
        ('Meta', {'MIT'}),  # facebookresearch/ConvNeXt, section License
        ('OpenMMLab', {'MIT', 'Apache-2.0'}),  # copies of Meta's; trained by OpenMMLab
        # `license` in default_cfgs of timm/models/convnext.py
        ('timm', {'Apache-2.0', 'DINOv3 License', 'FAIR Noncommercial Research License'}),
        ('Hugging Face', {'Apache-2.0'}),  # the model cards
        ('torchvision', {'BSD-3-Clause'}),
        ('Meta DINOv3', {'DINOv3 License'}),
        ('OpenCLIP', {'MIT'}),  # the model cards
    ],
)
def test_licences_of_v1(source, licences):
    rows = [row for row in ROWS if row.source == source and row.version == 'v1']
    assert {row.licence for row in rows} == licences


# What is shipped and installed


def weights_in(node: object) -> set[str]:
    """Every weight file that a config names."""
    if isinstance(node, (list, tuple)):
        return set().union(*map(weights_in, node))
    if not isinstance(node, dict):
        return set()
    found = {node[key] for key in ('checkpoint', 'load_from') if isinstance(node.get(key), str)}
    return found.union(*map(weights_in, node.values()))


@pytest.mark.parametrize('leaf', LEAVES, ids=lambda leaf: leaf.stem)
def test_weights_of_shipped_configs_are_in_the_table(leaf):
    pytest.importorskip('mmdet', reason='the configs are based on those of mmdet and mmseg')
    cfg = Config.fromfile(leaf)
    assert weights_in({key: cfg.get(key) for key in ('model', 'load_from')}) <= URLS | set(
        zoo.published()
    )


def test_shipped_configs_name_weights():
    metafiles = ' '.join(file.read_text() for file in ROOT.glob('configs/*/metafile.yml'))
    official = set(re.findall(r'Weights: (\S+)', metafiles))
    assert len(official) == 13 and official <= URLS
    pytest.importorskip('mmdet', reason='the configs are based on those of mmdet and mmseg')
    v2 = ROOT / 'configs/mask_rcnn/mask-rcnn_convnext-v2-b_fpn_lsj-3x-fcmae_coco.py'
    assert len(weights_in(dict(Config.fromfile(v2).model))) == 1


@pytest.mark.parametrize(
    ('names', 'package', 'kind'),
    [
        (('mmdet', 'onedl-mmdetection'), 'mmdet', 'detector'),
        (('mmsegmentation', 'onedl-mmsegmentation'), 'mmseg', 'segmentor'),
    ],
)
def test_openmmlab_metafiles_tell_the_same(names, package, kind):
    metafile = None
    for name in names:
        try:
            listed = files(name) or []
        except PackageNotFoundError:
            continue
        wanted = re.compile(rf'{package}/\.mim/configs/convnext/metafile\.ya?ml')
        metafile = next((file for file in listed if wanted.fullmatch(str(file))), metafile)
    if metafile is None:
        pytest.skip(f'no metafile of {package} is installed')
    rows = yaml.safe_load(metafile.locate().read_text())['Models']
    # By file name and hash: onedl has the same files on a host of its own.
    ours = {row.url for row in ROWS if row.source == 'OpenMMLab' and row.kind == kind}
    assert {Path(url).name for url in ours} == {Path(row['Weights']).name for row in rows}


# Sizes


@cache
def parameters(arch: str, version: str) -> tuple[int, int]:
    """Parameters of the stem, downsampling and stages, and the last stage's channels."""
    with torch.device('meta'):
        net = ConvNeXt(**{'arch': arch, 'version': version, **OTHERS.get(arch, {})})
    state = net.state_dict()
    count = sum(v.numel() for k, v in state.items() if not re.match(r'norm\d', k))
    return count, net.arch.channels[-1]


def with_head(row: zoo.PublishedWeights) -> int:
    """Parameters of a classifier's file."""
    count, channels = parameters(row.arch, row.version)
    last = row.data.split('-')[-1]
    classes = TOWERS[row.arch] if last.startswith('laion') else CLASSES[last]
    if last != 'fcmae' and '/downstream/' not in row.url:
        count += channels if 'rms' in row.arch else 2 * channels  # the last norm
    if 'large_mlp' in row.name:
        count += channels * channels + channels  # timm's head_hidden_size=1536
    return count + (channels * classes + classes if classes else 0)


def test_sizes_are_four_bytes_a_parameter():
    counted = 0
    for row in ROWS:
        if row.kind == 'backbone' and row.source != 'OpenCLIP' and not NOT_OURS.fullmatch(row.arch):
            assert row.mb == pytest.approx(4 * with_head(row) / MB, rel=1e-3), row
            counted += 1
    assert counted == 252


def text_tower(width: int, layers: int, shared: int) -> int:
    """CLIP's transformer: tokens, positions, blocks, last norm, projection; and the scale."""
    block = 12 * width * width + 13 * width
    return 49408 * width + 77 * width + layers * block + 2 * width + width * shared + 1


# open_clip's model_configs: text width and layers, shared space; `timm_proj` of large_d is an MLP
# through twice the shared space, of the others one matrix.
CLIPS = {
    'convnext_base-': (512, 12, 512),
    'convnext_base_w': (640, 12, 640),
    'convnext_large_d': (768, 16, 768),
    'convnext_xxlarge': (1024, 24, 1024),
}


@pytest.mark.parametrize('row', [r for r in ROWS if r.source == 'OpenCLIP'], ids=lambda r: r.name)
def test_openclip_sizes_are_those_of_both_towers(row):
    width, layers, shared = next(v for k, v in CLIPS.items() if f'CLIP-{k}' in row.name)
    count, channels = parameters(row.arch, row.version)
    count += 2 * channels + text_tower(width, layers, shared)
    if row.arch == 'large':
        count += channels * 2 * shared + 2 * shared + 2 * shared * shared
    else:
        count += channels * shared
    assert row.mb == pytest.approx(4 * count / MB, rel=1e-3)


# Millions of parameters in Meta's two dense READMEs; 22M, 87M and 306M of the isotropic table.
MILLIONS = {
    'mask-rcnn_convnext-tiny_coco': 48,
    'cascade-mask-rcnn_convnext-tiny_coco': 86,
    'cascade-mask-rcnn_convnext-small_coco': 108,
    'cascade-mask-rcnn_convnext-base_coco': 146,
    'cascade-mask-rcnn_convnext-base-in21k_coco': 146,
    'cascade-mask-rcnn_convnext-large-in21k_coco': 255,
    'cascade-mask-rcnn_convnext-xlarge-in21k_coco': 407,
    'upernet_convnext-tiny_ade20k': 60,
    'upernet_convnext-small_ade20k': 82,
    'upernet_convnext-base_ade20k': 122,
    'upernet_convnext-base-in21k_ade20k': 122,
    'upernet_convnext-large-in21k_ade20k': 235,
    'upernet_convnext-xlarge-in21k_ade20k': 391,
    'convnext-iso-small_in1k_ema': 22,
    'convnext-iso-base_in1k_ema': 87,
    'convnext-iso-large_in1k_ema': 306,
}


@pytest.mark.parametrize('name', MILLIONS)
def test_sizes_of_dense_and_isotropic_models_are_the_published_ones(name):
    assert zoo.find(name).mb / 4 == pytest.approx(MILLIONS[name], abs=0.6)  # rounded, buffers


# In bytes: torchvision's `_file_size`, in MiB there; a public log of the two OpenMMLab downloads;
# the listing of laion's repository (606 MB).
EXACT = {
    'torchvision/convnext_tiny': 109.119 * 2**20,
    'torchvision/convnext_large': 754.537 * 2**20,
    'mm/downstream/convnext-tiny_3rdparty_32xb128-noema_in1k': 114_410_172,
    'mm/mask_rcnn_convnext-t_p4_w7_fpn_fp16_ms-crop_3x_coco': 192_446_607,
    'openclip/CLIP-convnext_base-laion400M-s13B-b51K': 606e6,
}


@pytest.mark.parametrize('name', EXACT)
def test_published_sizes(name):
    assert zoo.find(name).mb == pytest.approx(EXACT[name] / MB, rel=1e-3)


# Look-up


def test_unknown_names():
    assert zoo.find('convnext-tiny') is None
    assert zoo.find(ROWS[0].url) is None
    assert zoo.nearest('convnext-tiny_in1k_emma')[0] == 'convnext-tiny_in1k_ema'
    assert zoo.nearest('convnext-xlarge_in21k-in1k')[0] == 'convnext-xlarge_in21k-in1k_ema'
    assert zoo.nearest('convnext-tiny')[0] == 'convnext-tiny_in1k'
    assert len(zoo.nearest('convnext')) == 3
    assert zoo.nearest('?') == []


def list_weights(*args: str) -> subprocess.CompletedProcess:
    tool = [sys.executable, str(ROOT / 'tools/list_weights.py'), *args]
    return subprocess.run(tool, capture_output=True, text=True, timeout=300)


def test_tool_prints_every_row():
    result = list_weights('--urls')
    assert result.returncode == 0, result.stderr
    header, *lines = result.stdout.splitlines()
    assert header.split() == 'name arch data pixels ema MB licence source url'.split()
    ends = [(line.split()[0], line.split()[-1]) for line in lines]
    assert ends == [(row.name, row.url) for row in ROWS]


def test_tool_filters():
    result = list_weights('v2-base_fcmae-in21k')
    header, *lines = result.stdout.splitlines()
    names = ['convnext-v2-base_fcmae-in21k-in1k', 'convnext-v2-base_fcmae-in21k-in1k-384']
    names += [f'mm/convnext-v2-base_fcmae-in21k-pre_3rdparty_in1k{end}' for end in ('', '-384px')]
    assert [line.split()[0] for line in lines] == names
    assert all('CC-BY-NC-4.0' in line and 'https' not in line for line in lines)
    assert len({line.index('v2 base') for line in lines} | {header.index('arch')}) == 1


def test_tool_aligns_every_column():
    assert list_weights('iso-l').stdout == (
        'name                         arch          data  pixels  ema      MB  licence  source\n'
        'convnext-iso-large_in1k_ema  v1 iso-large  in1k     224  yes  1223.8  MIT      Meta\n'
    )


def test_tool_names_the_nearest():
    result = list_weights('???')
    none = "no name contains '???'; nearest: none; leave the pattern out to list all\n"
    assert (result.returncode, result.stderr) == (1, f'list_weights: {none}')
    result = list_weights('convnxt-tiny')
    assert result.returncode == 1 and result.stdout == ''
    assert "no name contains 'convnxt-tiny'; nearest: convnext-tiny_in1k, " in result.stderr
