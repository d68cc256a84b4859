# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Run the ConvNeXts of other repositories and keep what they compute, and how they name weights.

For each family, <out>/<family>.safetensors holds a small network of that source: its weights under
their own names below 'weights/', an 'image', and 'map0' to 'map3', which are the outputs of the
four stages before any output norm. <keys>/<family>.txt lists names and shapes of the real size.

Every parameter is drawn from N(0, 0.3), weights of norms and layer scales from N(1, 0.3), with a
seed of the family's name: the tensors come out the same each time, while safetensors keeps no
order of the metadata. The sources are not part of this repository:

    python make_sources.py --convnext CHECKOUT --convnext-v2 CHECKOUT --dinov3 CHECKOUT \
        --site FOLDER [FOLDER ...] [--out FOLDER] [--keys FOLDER] [--only FAMILY ...]

where the folders of --site hold timm, torchvision, open_clip and mmpretrain. MinkowskiEngine is
not needed: its layers are stood in for by modules with the same parameters, because the sparse
network only names weights here. Meta's remap_checkpoint_keys makes them dense, then they are run.
"""

import argparse
import importlib
import json
import math
import sys
import types
import zlib
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import wrap
from unittest import mock

import torch
from safetensors.torch import load_file, save_file
from torch import nn

HERE = Path(__file__).resolve().parent
SMALL = ((1, 1, 2, 1), (4, 8, 12, 16))
ZEPTO = ((2, 2, 4, 2), (32, 64, 128, 256))
ATTO = ((2, 2, 6, 2), (40, 80, 160, 320))
NANO = ((2, 2, 8, 2), (80, 160, 320, 640))
TINY = ((3, 3, 9, 3), (96, 192, 384, 768))
TEST = ((1, 2, 4, 2), (24, 32, 48, 64))
TEST3 = ((1, 1, 1, 1), (32, 64, 96, 128))
ONES = ('weight', 'gamma', 'layer_scale', 'layer_scale_parameter')
V1_COMMIT = 'facebookresearch/ConvNeXt 06f7b05'
V2_COMMIT = 'facebookresearch/ConvNeXt-V2 d7cc26f'
DINO_COMMIT = 'facebookresearch/dinov3, as in kunlin596/dinov3 1bde4ea'

FAMILIES = {}
FOLDERS = {}


@dataclass
class Source:
    """A built network, the modules whose outputs are the maps, and what holds the weights."""

    net: nn.Module
    stages: list
    holder: nn.Module = None  # the net, unless given
    weights: object = nn.Module.state_dict  # from the holder to its tensors by name
    link: object = None  # carries the holder's weights over to the net
    norm_maps: object = None  # from the output of the net to normed maps

    def __post_init__(self):
        self.holder = self.net if self.holder is None else self.holder


@dataclass
class Family:
    """How to build a family, and what is to be known about it."""

    build: object
    source: object
    file: str  # the published file that the key list describes
    made: str = ''
    eps: str = '1e-6'
    act: str = 'GELU, exact'
    real: tuple = field(default=TINY)


def family(name, source, file, **facts):
    """Register the decorated builder, which takes depths, channels and a number of classes."""

    def register(build):
        FAMILIES[name] = Family(build, source, file, **facts)
        return build

    return register


def package(name, folder):
    """Make a folder importable as a package, without running its __init__.py."""
    module = types.ModuleType(name)
    module.__path__ = [str(folder)]
    sys.modules[name] = module
    return module


def version(name):
    """The version of an installed package, as a source is cited."""
    return f'{name} {importlib.import_module(name).__version__}'


class Kernel(nn.Module):
    """The parameters of a sparse convolution: (volume, in, out), or (volume, channels)."""

    def __init__(self, *channels, kernel_size, dimension, stride=1, bias=True):
        super().__init__()
        self.kernel = nn.Parameter(torch.empty(kernel_size**dimension, *channels))
        self.bias = nn.Parameter(torch.empty(1, channels[-1])) if bias else None


class SparseLinear(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)


def meta_v2(module):
    """A module of the checkout of ConvNeXt V2: of models/, or its utils.py."""
    if 'meta_v2' not in sys.modules:
        engine = types.ModuleType('MinkowskiEngine')
        # Two classes, because the source tells them apart.
        engine.MinkowskiConvolution = type('MinkowskiConvolution', (Kernel,), {})
        engine.MinkowskiDepthwiseConvolution = type('MinkowskiDepthwise', (Kernel,), {})
        engine.MinkowskiLinear = SparseLinear
        engine.MinkowskiGELU = nn.GELU
        engine.SparseTensor = None
        for name in ('MinkowskiOps', 'tensorboardX'):
            sys.modules[name] = mock.MagicMock()
        sys.modules['MinkowskiEngine'] = engine
        package('meta_v2', FOLDERS['convnext_v2'])
        package('meta_v2.models', FOLDERS['convnext_v2'] / 'models')
    return importlib.import_module(f'meta_v2.{module}')


@family(
    'meta_v1',
    V1_COMMIT + ', models/convnext.py',
    "convnext_tiny_1k_224_ema.pth, below 'model'",
)
def _meta_v1(depths, channels, classes):
    package('meta_v1', FOLDERS['convnext'] / 'models')
    net = importlib.import_module('meta_v1.convnext').ConvNeXt(
        depths=depths, dims=channels, num_classes=classes
    )
    return Source(net, net.stages)


@family(
    'meta_v2',
    V2_COMMIT + ', models/convnextv2.py',
    "convnextv2_tiny_1k_224_ema.pt, below 'model'",
)
def _meta_v2(depths, channels, classes):
    net = meta_v2('models.convnextv2').ConvNeXtV2(depths=depths, dims=channels, num_classes=classes)
    return Source(net, net.stages)


@family(
    'meta_fcmae',
    V2_COMMIT + ', models/convnextv2.py',
    "convnextv2_tiny_1k_224_fcmae.pt of pt_only/, below 'model'. By issues 39, 47, 65 and 81 of "
    'the repository, it is the encoder alone, dense. The shape of GRN is a guess: (1, C) is the '
    "one that the fine-tuning script's remap_checkpoint_keys turns into (1, 1, 1, C)",
    made='ConvNeXtV2 without norm and head, GRN as (1, C)',
)
def _meta_fcmae(depths, channels, classes):
    source = _meta_v2(depths, channels, classes)
    source.weights = lambda net: {
        name: tensor.reshape(1, -1) if '.grn.' in name else tensor
        for name, tensor in net.state_dict().items()
        if name.startswith(('downsample_layers.', 'stages.'))
    }
    return source


@family(
    'meta_fcmae_sparse',
    V2_COMMIT + ', models/fcmae.py',
    "what main_pretrain.py saves, below 'model'; not published",
    made='FCMAE on stand-ins for MinkowskiEngine, made dense by remap_checkpoint_keys of utils.py, '
    'then run by ConvNeXtV2',
)
def _meta_fcmae_sparse(depths, channels, classes):
    source = _meta_v2(depths, channels, classes)
    small = dict(decoder_embed_dim=4, patch_size=2) if (depths, channels) == SMALL else {}
    source.holder = meta_v2('models.fcmae').FCMAE(depths=depths, dims=channels, **small)

    def link(holder, net):
        # As main_finetune.py does: the decoder goes first.
        encoder = {
            name: tensor
            for name, tensor in holder.state_dict().items()
            if not any(part in name for part in ('decoder', 'mask_token', 'proj', 'pred'))
        }
        dense = meta_v2('utils').remap_checkpoint_keys(encoder)
        result = net.load_state_dict(dense, strict=False)
        assert not result.unexpected_keys, result
        assert {name.split('.')[0] for name in result.missing_keys} == {'norm', 'head'}, result

    source.link = link
    return source


def mmpretrain(use_grn, scale, depths, channels, classes):
    """A classifier of mmpretrain, which does not import beside today's packages."""
    folder = FOLDERS['mmpretrain']
    if 'mmpretrain.models' not in sys.modules:
        package('mmpretrain', folder)
        package('mmpretrain.models', folder / 'models')
        package('mmpretrain.models.backbones', folder / 'models/backbones')
        utils = package('mmpretrain.models.utils', folder / 'models/utils')
        norm = importlib.import_module('mmpretrain.models.utils.norm')
        utils.GRN, utils.build_norm_layer = norm.GRN, norm.build_norm_layer
    backbone = importlib.import_module('mmpretrain.models.backbones.convnext').ConvNeXt(
        arch=dict(depths=depths, channels=channels),
        use_grn=use_grn,
        layer_scale_init_value=scale,
    )
    head = nn.ModuleDict({'fc': nn.Linear(channels[-1], classes)})
    return Source(
        backbone, backbone.stages, holder=nn.ModuleDict({'backbone': backbone, 'head': head})
    )


for name, use_grn, scale, file in (
    ('mmpretrain_v1', False, 1e-6, 'convnext-tiny_32xb128_in1k_20221207-998cf3e9.pth'),
    ('mmpretrain_v2', True, 0.0, 'convnext-v2-tiny_fcmae-pre_3rdparty_in1k_20230104-471a86de.pth'),
    (
        'mmpretrain_v2_scale',
        True,
        1e-6,
        "none: what use_grn=True gives with the layer scale's default",
    ),
):
    family(
        name,
        'mmpretrain 1.2.0, models/backbones/convnext.py',
        file + ", below 'state_dict'",
        made='the backbone with a linear head beside it, as ImageClassifier names them',
    )(partial(mmpretrain, use_grn, scale))


def timm(name, depths, channels, classes):
    """A model of timm, with other depths and channels."""
    create = importlib.import_module('timm').create_model
    net = create(name, depths=depths, dims=channels, num_classes=classes)
    return Source(net, net.stages)


SILU = dict(eps='1e-5', act='SiLU')
TANH = dict(eps='1e-5', act='GELU, by tanh')
for name, model, file, real, facts in (
    ('timm_v1', 'convnext_tiny', 'convnext_tiny.in12k_ft_in1k', TINY, {}),
    ('timm_v1_conv_mlp', 'convnext_nano', 'convnext_nano.d1h_in1k', NANO, {}),
    ('timm_hnf', 'convnext_tiny_hnf', 'convnext_tiny_hnf.a2h_in1k', TINY, {}),
    ('timm_v2', 'convnextv2_tiny', 'convnextv2_tiny.fcmae_ft_in1k', TINY, {}),
    ('timm_ols_tiered', 'convnext_atto_ols', 'convnext_atto_ols.a2_in1k', ATTO, {}),
    ('timm_ols', 'convnext_nano_ols', 'convnext_nano_ols.d1h_in1k', NANO, {}),
    ('timm_rms', 'convnext_zepto_rms', 'convnext_zepto_rms.ra4_e3600_r224_in1k', ZEPTO, {}),
    ('timm_rms_ols', 'convnext_zepto_rms_ols', 'convnext_zepto_rms_ols.ra4_e3600_r224_in1k')
    + (ZEPTO, {}),
    ('timm_test', 'test_convnext', 'test_convnext.r160_in1k', TEST, TANH),
    ('timm_test3', 'test_convnext3', 'test_convnext3.r160_in1k', TEST3, SILU),
):
    family(
        name,
        partial(version, 'timm'),
        f'model.safetensors of timm/{file}',
        made=f'create_model({model!r})',
        real=real,
        **facts,
    )(partial(timm, model))


@family(
    'timm_features',
    partial(version, 'timm'),
    'none: what state_dict() of a model made with features_only=True gives',
    made="create_model('convnext_tiny', features_only=True)",
)
def _timm_features(depths, channels, classes):
    create = importlib.import_module('timm').create_model
    net = create('convnext_tiny', features_only=True, depths=depths, dims=channels)
    return Source(net, [getattr(net, f'stages_{i}') for i in range(4)])


@family('torchvision', partial(version, 'torchvision'), 'convnext_tiny-983f1562.pth, no envelope')
def _torchvision(depths, channels, classes):
    convnext = importlib.import_module('torchvision.models.convnext')
    outputs = (*channels[1:], None)
    blocks = [convnext.CNBlockConfig(*block) for block in zip(channels, outputs, depths)]
    net = convnext.ConvNeXt(blocks, num_classes=classes)
    return Source(net, net.features[1::2])


def huggingface(name, depths, channels, classes, **options):
    """A model of transformers."""
    model = getattr(importlib.import_module('transformers'), name)
    options.update(depths=list(depths), hidden_sizes=list(channels), num_labels=classes)
    return model(model.config_class(**options))


@family(
    'hf_v1',
    partial(version, 'transformers'),
    'model.safetensors of facebook/convnext-tiny-224',
    made='ConvNextForImageClassification',
    eps='1e-6; layer_norm_eps, 1e-12, is for the pooled norm alone',
)
def _hf_v1(depths, channels, classes):
    net = huggingface('ConvNextForImageClassification', depths, channels, classes)
    return Source(net, net.convnext.encoder.stages)


@family(
    'hf_v2',
    partial(version, 'transformers'),
    'model.safetensors of facebook/convnextv2-tiny-1k-224',
    made='ConvNextV2ForImageClassification',
    eps='1e-6; layer_norm_eps, 1e-12, is for the pooled norm alone',
)
def _hf_v2(depths, channels, classes):
    net = huggingface('ConvNextV2ForImageClassification', depths, channels, classes)
    return Source(net, net.convnextv2.encoder.stages)


@family(
    'hf_backbone',
    partial(version, 'transformers'),
    'none: what save_pretrained() of a ConvNextBackbone writes',
    made='ConvNextBackbone with four out_features; norm_map0 to norm_map3 are its feature maps',
)
def _hf_backbone(depths, channels, classes):
    names = [f'stage{i}' for i in range(1, 5)]
    net = huggingface('ConvNextBackbone', depths, channels, classes, out_features=names)
    return Source(net, net.encoder.stages, norm_maps=lambda output: output.feature_maps)


@family(
    'hf_dinov3',
    partial(version, 'transformers'),
    'model.safetensors of facebook/dinov3-convnext-tiny-pretrain-lvd1689m',
    made='DINOv3ConvNextModel, weights as save_pretrained() writes them',
)
def _hf_dinov3(depths, channels, classes):
    net = huggingface('DINOv3ConvNextModel', depths, channels, classes)

    def weights(net):
        with TemporaryDirectory() as folder:
            net.save_pretrained(folder)
            return load_file(Path(folder, 'model.safetensors'))

    return Source(net, net.model.stages, weights=weights)


@family(
    'dinov3',
    DINO_COMMIT + ', dinov3/models/convnext.py',
    'dinov3_convnext_tiny_pretrain_lvd1689m-21b726bb.pth, no envelope',
)
def _dinov3(depths, channels, classes):
    package('dinov3_models', FOLDERS['dinov3'] / 'dinov3/models')
    convnext = importlib.import_module('dinov3_models.convnext')
    net = convnext.ConvNeXt(depths=depths, dims=channels)
    return Source(net, net.stages)


@family(
    'openclip',
    lambda: f'open_clip {importlib.import_module("open_clip.version").__version__}',
    'open_clip_model.safetensors of a CLIP with model_configs/convnext_tiny.json',
    made='CLIP with timm convnext_tiny as its image tower',
)
def _openclip(depths, channels, classes):
    if 'open_clip' not in sys.modules:
        with mock.patch.dict(sys.modules):  # what CLIP does not need
            sys.modules.setdefault('ftfy', mock.MagicMock())
            sys.modules.setdefault('regex', mock.MagicMock())
            importlib.import_module('open_clip.model')
            kept = {name: sys.modules[name] for name in sys.modules if 'open_clip' in name}
        sys.modules.update(kept)
    tower = importlib.import_module('timm')
    create = partial(tower.create_model, depths=depths, dims=channels)
    vision = dict(timm_model_name='convnext_tiny', timm_pool='', timm_proj='linear')
    text = dict(context_length=77, vocab_size=49408, width=512, heads=8, layers=12)
    size = 1024
    if (depths, channels) == SMALL:
        text = dict(context_length=4, vocab_size=16, width=8, heads=1, layers=1)
        size = 8
    with mock.patch.object(tower, 'create_model', create):
        net = sys.modules['open_clip.model'].CLIP(size, vision, text)
    return Source(net.visual, net.visual.trunk.stages, holder=net)


def randomise(module, generator):
    """Draw every parameter anew."""
    for name, tensor in module.named_parameters():
        vector = tensor.numel() == max(tensor.shape, default=1)
        scale = vector and 'grn' not in name and name.split('.')[-1] in ONES
        noise = torch.randn(tensor.shape, generator=generator)
        tensor.data = 0.3 * noise + (1.0 if scale else 0.0)


@torch.inference_mode()
def small(name):
    """The tensors and the metadata of a small network of a family."""
    about = FAMILIES[name]
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    source = about.build(*SMALL, classes=5)
    randomise(source.holder, generator)
    if source.link:
        source.link(source.holder, source.net)
    image = torch.randn(1, 3, 38, 46, generator=generator)
    maps = {}

    def keep(number, module, inputs, output):
        maps[f'map{number}'] = output

    for number, stage in enumerate(source.stages):
        stage.register_forward_hook(partial(keep, number))
    source.net.eval()  # mmpretrain's does not return the network
    output = source.net(image)
    if source.norm_maps:
        maps.update({f'norm_map{i}': out for i, out in enumerate(source.norm_maps(output))})
    tensors = {f'weights/{key}': tensor for key, tensor in source.weights(source.holder).items()}
    tensors.update(maps, image=image)
    assert all(math.isfinite(tensor.abs().max()) for tensor in tensors.values()), name
    metadata = dict(
        source=cite(about),
        made=about.made or 'as the source builds it',
        depths=json.dumps(SMALL[0]),
        channels=json.dumps(SMALL[1]),
        act=about.act,
        eps=about.eps,
    )
    return {key: tensor.clone().contiguous() for key, tensor in tensors.items()}, metadata


def cite(about):
    """The source of a family, with its version."""
    return about.source() if callable(about.source) else about.source


def key_list(name):
    """The lines of the key list of a family."""
    about = FAMILIES[name]
    source = about.build(*about.real, classes=1000)
    for title, text in (('Source', cite(about)), ('Made', about.made), ('File', about.file)):
        if text:
            yield from wrap(f'# {title}: {text}', 100, subsequent_indent='#   ')
    for key, tensor in source.weights(source.holder).items():
        yield f'{key} {"x".join(map(str, tensor.shape)) or "scalar"}'


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--only', nargs='+', choices=FAMILIES, metavar='FAMILY', default=FAMILIES)
    for name in ('convnext', 'convnext-v2', 'dinov3'):
        parser.add_argument(f'--{name}', type=Path, metavar='CHECKOUT')
    parser.add_argument('--site', type=Path, nargs='+', default=[], metavar='FOLDER')
    parser.add_argument('--out', type=Path, default=HERE, metavar='FOLDER')
    parser.add_argument('--keys', type=Path, default=HERE.parent / 'keys', metavar='FOLDER')
    args = parser.parse_args()
    sys.path[:0] = map(str, args.site)
    FOLDERS.update(convnext=args.convnext, convnext_v2=args.convnext_v2, dinov3=args.dinov3)
    holders = [folder / 'mmpretrain' for folder in args.site]
    FOLDERS['mmpretrain'] = next((folder for folder in holders if folder.is_dir()), None)
    for folder in (args.out, args.keys):
        folder.mkdir(parents=True, exist_ok=True)
    for name in args.only:
        tensors, metadata = small(name)
        path = args.out / f'{name}.safetensors'
        save_file(tensors, path, metadata)
        lines = '\n'.join(key_list(name))
        (args.keys / f'{name}.txt').write_text(lines + '\n')
        print(f'{name}: {len(tensors)} tensors, {path.stat().st_size} bytes')


if __name__ == '__main__':
    main()
