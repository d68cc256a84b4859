# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: every row of `zoo.csv` says what the name of its file says, and has its own file.

The rules here read the publishers' URLs alone, never the short names.
"""

import re

import pytest

from mmconvnext.checkpoint import zoo

ROWS = list(zoo.published().values())
META = 'https://dl.fbaipublicfiles.com/convnext/'
OPENMMLAB = 'https://download.openmmlab.com/'
HF = 'https://huggingface.co/'
SETS = {'1k': 'in1k', '22k': 'in21k', '22k_1k': 'in21k-in1k', '22k-1k': 'in21k-in1k'}
V2_SETS = {'pt_only': 'fcmae', 'im1k': 'fcmae-in1k', 'im22k': 'fcmae-in21k-in1k'}
NC = 'CC-BY-NC-4.0'


def averaged(version: str, arch: str, data: str, pixels: int) -> str:
    """Whether Meta's file of these facts, from which others are copied, is the averaged one.

    READMEs of both repositories; V2's fine-tuned files all are.
    """
    if version == 'v2':
        return 'no' if data == 'fcmae' else 'yes'
    if data == 'in21k-in1k':
        return 'yes' if arch == 'xlarge' else 'no'
    return 'yes' if (data, pixels) == ('in1k', 224) else 'no'


def of_meta(path: str) -> tuple:
    classifier = re.fullmatch(
        r'(?:convnextv2/(\w+)/)?convnext(v2)?_(iso_)?([a-z]+)_(22k_1k|22k|1k)_(\d+)(_\w+)?\.pth?',
        path,
    )
    if classifier:
        folder, v2, iso, arch, sets, pixels, end = classifier.groups()
        data = V2_SETS[folder] if v2 else SETS[sets]
        version, arch = 'v2' if v2 else 'v1', 'iso-' + arch if iso else arch
        ema = 'yes' if end == '_ema' else 'no'
        assert (data == 'fcmae') == (end == '_fcmae')
        return 'backbone', version, arch, data, int(pixels), ema, NC if v2 else 'MIT'
    dense = re.fullmatch(r'(coco|ade20k)/\w+_convnext_([a-z]+)_(22k|1k)_(3x|\d+x\d+)\.pth', path)
    data, arch, _, size = dense.groups()
    kind, pixels = ('detector', 800) if data == 'coco' else ('segmentor', int(size.split('x')[0]))
    return kind, 'v1', arch, data, pixels, 'no', 'MIT'


def of_openmmlab(path: str) -> tuple:
    name = re.search(r'/([^/]+)_20\d{6}(_\d{6})?-[0-9a-f]{8}\.pth$', path)[1]
    if path.startswith('mmclassification/'):
        own = re.fullmatch(r'convnext(-v2)?-([a-z]+)_(.*)', name)
        version, arch, rest = 'v2' if own[1] else 'v1', own[2], own[3]
        data = (
            'in21k' if rest.endswith('_in21k') else 'in21k-in1k' if 'in21k-pre' in rest else 'in1k'
        )
        if own[1]:
            data = 'fcmae' if '3rdparty-fcmae' in rest else 'fcmae-' + data
        found = re.search(r'-(\d+)px$', rest)
        pixels = int(found[1]) if found else 224
        ema = 'no' if 'noema' in rest else averaged(version, arch, data, pixels)
        licence = NC if own[1] else 'MIT' if '3rdparty' in rest else 'Apache-2.0'
        return 'backbone', version, arch, data, pixels, ema, licence
    arch = re.search('convnext[-_](tiny|small|base|large|xlarge|[ts])_', name)[1]
    arch = {'t': 'tiny', 's': 'small'}.get(arch, arch)
    if path.startswith('mmdetection/'):
        return 'detector', 'v1', arch, 'coco', 800, 'no', 'Apache-2.0'
    pixels = int(re.search(r'_(\d+)x\1_', name)[1])
    return 'segmentor', 'v1', arch, 'ade20k', pixels, 'no', 'Apache-2.0'


def of_timm(repository: str) -> tuple:
    model, _, tag = repository.partition('.')
    v2, test = model.startswith('convnextv2_'), model.startswith('test_')
    version, arch = 'v2' if v2 else 'v1', re.sub('^(test_convnext|convnext(v2)?_)', '', model)
    arch = 'test' + arch if test else arch.replace('_', '-')
    arch = {'tiny-hnf': 'tiny', 'large-mlp': 'large'}.get(arch, arch)  # the classifier is another
    sets = re.findall('fcmae|laion2b|laiona|lvd1689m|in12k|in22k|in1k', tag)
    data = '-'.join(sets).replace('in22k', 'in21k')
    found = re.search(r'_(320|384|512)$', tag) or re.search(r'(?:^|_)r(\d+)_', tag)
    large = 'clip' in tag or 'eupe' in tag  # their default
    pixels = int(found[1]) if found else 256 if large else 224
    copied = v2 or tag.startswith('fb_')
    ema = averaged(version, arch, data, pixels) if copied else 'unknown'
    licence = NC if v2 else 'Apache-2.0'
    licence = 'DINOv3 License' if 'dinov3' in tag else licence
    licence = 'FAIR Noncommercial Research License' if 'eupe' in tag else licence
    return 'backbone', version, arch, data, pixels, ema, licence


def of_facebook(repository: str) -> tuple:
    found = re.fullmatch(r'dinov3-convnext-([a-z]+)-pretrain-lvd1689m', repository)
    if found:
        return 'backbone', 'v1', found[1], 'lvd1689m', 224, 'unknown', 'DINOv3 License'
    found = re.fullmatch(r'convnextv2-([a-z]+)-(1k|22k)-(\d+)', repository)
    if found:
        data = {'1k': 'fcmae-in1k', '22k': 'fcmae-in21k-in1k'}[found[2]]
        return 'backbone', 'v2', found[1], data, int(found[3]), 'yes', NC
    arch, pixels, sets = re.fullmatch(
        r'convnext-([a-z]+)-(\d+)(?:-(22k-1k|22k))?', repository
    ).groups()
    data, pixels = SETS[sets or '1k'], int(pixels)
    return 'backbone', 'v1', arch, data, pixels, averaged('v1', arch, data, pixels), 'Apache-2.0'


def of_laion(repository: str) -> tuple:
    arch = re.match('CLIP-convnext_(base|large|xxlarge)[_.-]', repository)[1]
    data = re.search('laion400M|laion2B|laion_aesthetic', repository)[0]
    data = {'laion_aesthetic': 'laiona'}.get(data, data.lower())
    pixels = 320 if '_320' in repository else 224 if data == 'laion400m' else 256
    return 'backbone', 'v1', arch, data, pixels, 'unknown', 'MIT'


def told(url: str) -> tuple:
    """Source, kind, version, arch, data, pixels, ema and licence of a file, by its URL."""
    if url.startswith(META):
        return 'Meta', *of_meta(url.removeprefix(META))
    if url.startswith(OPENMMLAB):
        return 'OpenMMLab', *of_openmmlab(url.removeprefix(OPENMMLAB))
    found = re.fullmatch('https://download.pytorch.org/models/convnext_([a-z]+)-.{8}.pth', url)
    if found:
        return 'torchvision', 'backbone', 'v1', found[1], 'in1k', 176, 'yes', 'BSD-3-Clause'
    owner, repository, place = re.fullmatch(f'{HF}([^/]+)/([^/]+)/(.*)', url).groups()
    read = {'timm': of_timm, 'facebook': of_facebook, 'laion': of_laion}[owner]
    dinov3 = repository.startswith('dinov3')
    file = {'timm': 'model.safetensors', 'laion': 'open_clip_pytorch_model.bin'}.get(owner)
    assert (
        place == f'resolve/main/{file or ("model.safetensors" if dinov3 else "pytorch_model.bin")}'
    )
    source = 'Meta DINOv3' if dinov3 else 'Hugging Face' if owner == 'facebook' else owner
    return source.replace('laion', 'OpenCLIP'), *read(repository)


@pytest.mark.parametrize('source', sorted({row.source for row in ROWS}))
def test_rows_say_what_their_files_are_called(source):
    for row in ROWS:
        if row.source == source:
            facts = row.source, row.kind, row.version, row.arch, row.data, row.pixels, row.ema
            assert (*facts, row.licence) == told(row.url), row


def test_names_of_dense_and_small_sources_tell_the_file():
    """Those of the other sources are compared in `test_zoo.py`."""
    for row in ROWS:
        if row.source == 'Meta' and row.kind != 'backbone':
            head, arch, sets = re.search(r'/(\w+)_convnext_([a-z]+)_(1k|22k)_', row.url).groups()
            sets = '' if sets == '1k' else '-in21k'
            assert row.name == f'{head.replace("_", "-")}_convnext-{arch}{sets}_{row.data}'
        elif row.source == 'torchvision':
            assert row.name == f'torchvision/convnext_{row.arch}'
        elif row.source == 'Meta DINOv3':
            assert row.name == f'dinov3/convnext-{row.arch}'
        elif row.source == 'OpenMMLab':
            assert ('/downstream/' in row.name) == ('/downstream/' in row.url)


# The last 8 digits of the files' names, in the order of their short names. From the metafiles of
# mmpretrain 1.2.0 and mmcls 0.25.0, of the configs of mmdet 3.3.0 and mmseg 1.2.2 (downstream), and
# torchvision/models/convnext.py. With them, two files of one publisher cannot change places.
HASHES = {
    'mm/convnext-tiny': '5d4509c7 2908964a 998cf3e9 18abde00 7501e534 c1182362',
    'mm/convnext-small': '4a618995 fa001ca5 4ab7052c d39b5192 aeca4c93 96f0bb87',
    'mm/convnext-base': 'f8182678 dba4f95f fbdb5eb9 d0915162 c8f1dc2b 13b83eec eb2d6ada 4570f792',
    'mm/convnext-large': 'f8a0ded0 6dd29d10 41b5a79f 2412403d 6d38dd66',
    'mm/convnext-xlarge': 'f909bad7 76b6863d b161bc14',
    'mm/downstream/': '795e9634 303e75e3 2a0ee547 262fd037 e6e0ea0a 08aa5ddc',
    'mm/convnext-v2-atto': '07514db4 23765f83',
    'mm/convnext-v2-femto': 'adbe2082 92a75d75',
    'mm/convnext-v2-pico': '147b1b59 d20263ca',
    'mm/convnext-v2-nano': '3dd1f29e fe1aaaf2 91fa8ae2 f951ae87',
    'mm/convnext-v2-tiny': '80513adc 471a86de 8cc8b8f2 d8579f84',
    'mm/convnext-v2-base': '8a798eaf 00a70fa4 c48d16a5 379425cc',
    'mm/convnext-v2-large': 'bf38df92 ef393013 d9c4dc0c 9139a1f3',
    'mm/convnext-v2-huge': 'fe43ae6c f795e5b8 02a4eb35 ce32e63c',
    'torchvision/': '983f1562 0c510722 6075fbad ea097f82',
}


@pytest.mark.parametrize('start', HASHES)
def test_hashes_are_the_published_ones(start):
    assert [row.url[-12:-4] for row in ROWS if row.name.startswith(start)] == HASHES[start].split()
