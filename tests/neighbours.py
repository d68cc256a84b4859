# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Files and models of other packages, for tests that this package leaves them alone."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

WEIGHTS = {'weight': torch.arange(6.0).reshape(2, 3), 'bias': torch.ones(2)}


def contents(convnext: dict) -> dict[str, object]:
    """Contents for torch.save that are not a checkpoint with exactly one ConvNeXt."""
    tensor = torch.arange(3)
    return {
        'tensor': tensor,
        'list': [tensor, {'a': tensor}],
        'tuple': (1, tensor),
        'string': 'text',
        'number': 3.5,
        'no tensors': {'epoch': 3},
        'empty': {},
        'other network': WEIGHTS,
        'other network in an envelope': {'model': WEIGHTS, 'epoch': 3},
        'other network of mmengine': {'state_dict': WEIGHTS, 'meta': {'epoch': 3}},
        'without a meta': {'state_dict': WEIGHTS},
        'numbers as keys': {0: tensor, 1: {'a': tensor}},
        'teacher and student': {'teacher': convnext, 'student': convnext, 'epoch': 3},
        'teacher and student of others': {'teacher': WEIGHTS, 'student': WEIGHTS},
        'teacher alone': {'teacher': convnext},
        'teacher in mmengine': {'state_dict': WEIGHTS, 'teacher': convnext},
        'lists of a dict': {'boxes': [tensor, tensor], 'names': ['a']},
        'ordered': OrderedDict(model=OrderedDict(WEIGHTS)),
    }


def same(found: object, given: object) -> bool:
    """Compare the contents of files, types included."""
    if type(found) is not type(given):
        return False
    if isinstance(given, Tensor):
        return torch.equal(found, given)
    if isinstance(given, dict):
        return list(found) == list(given) and all(same(found[k], given[k]) for k in given)
    if isinstance(given, (list, tuple)):
        return len(found) == len(given) and all(map(same, found, given))
    return found == given


def pidnet(**options: object) -> nn.Module:
    """A segmentor of mmseg that loads its own ``init_cfg``."""
    from mmseg.models.backbones import PIDNet

    sizes = dict(channels=8, ppm_channels=8, num_stem_blocks=1, num_branch_blocks=1)
    return PIDNet(**sizes, **options)


def san_text(**options: object) -> nn.Module:
    """The text encoder of mmseg's SAN, which loads the keys under 'text_encoder' in its file."""
    from mmseg.models.text_encoder import CLIPTextEncoder

    sizes = dict(total_vocab_size=10, context_length=4, embed_dims=8, output_dims=8)
    return CLIPTextEncoder(
        vocabulary=['a'], num_layers=1, num_heads=2, cat_bg=False, **sizes, **options
    )


def san_head(**options: object) -> nn.Module:
    """The head of mmseg's SAN, which loads the keys under 'rec_with_attnbias' in its file."""
    from mmengine.config import ConfigDict
    from mmseg.models.decode_heads import SideAdapterCLIPHead

    width = dict(embed_dims=8, norm_cfg=dict(type='LN'))
    decoder = dict(num_heads=2, num_layers=1, embed_channels=8, mlp_channels=8, num_mlp=1)
    side = dict(
        in_channels=3,
        clip_channels=8,
        num_queries=2,
        fusion_index=[0],
        cfg_encoder=dict(num_encode_layer=1, num_heads=2, mlp_ratio=1),
        cfg_decoder=dict(decoder, rescale=True),
    )
    mask = dict(sos_token_num=2, num_layers=1, num_heads=2, mlp_ratio=1, out_dims=8)
    return SideAdapterCLIPHead(
        num_classes=3,
        san_cfg=ConfigDict(side, **width),
        maskgen_cfg=ConfigDict(mask, **width),
        deep_supervision_idxs=[1],
        train_cfg={},
        **options,
    )


def random_weights(module: nn.Module) -> dict:
    """A state dict with values that no initialization produces."""
    return {
        name: torch.rand_like(value) if value.is_floating_point() else value
        for name, value in module.state_dict().items()
    }


def lost_by_init_weights(folder: object) -> list[str]:
    """Let PIDNet and SAN load their own files; return what then differs from the file."""
    from mmengine.registry import DefaultScope

    path, lost = str(folder / 'neighbour.pth'), []

    def check(make: object, kind: str, part: str, prefix: str) -> None:
        whole = make()
        given = random_weights(getattr(whole, part) if part else whole)
        torch.save({f'{prefix}{name}': value for name, value in given.items()}, path)
        model = make(init_cfg=dict(type=kind, checkpoint=path))
        model.init_weights()
        found = (getattr(model, part) if part else model).state_dict()
        lost.extend(f'{make.__name__}.{k}' for k in given if not torch.equal(found[k], given[k]))

    with DefaultScope.overwrite_default_scope('mmseg'):
        check(pidnet, 'Pretrained', '', '')
        check(san_text, 'Pretrained_Part', '', 'text_encoder.')
        check(san_head, 'Pretrained_Part', 'rec_with_attnbias', 'decode_head.rec_with_attnbias.')
    return lost
