# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Every published ConvNeXt format: one :class:`.format_spec.Format` each, all quirks included.

:mod:`.formats` reads the table, in both directions. The names of this package are Meta's.
"""

from __future__ import annotations

import re
from dataclasses import replace

from .format_spec import CLASSIFIER_HEADS, Format

# facebookresearch/ConvNeXt and ConvNeXt-V2, models/convnext.py and convnextv2.py: the names of this
# package. ``others`` are the classifier; FCMAE's decoder (V2, models/fcmae.py); DINOv3's list of
# norms, which is three identities and the final norm again (facebookresearch/dinov3,
# models/convnext.py); and the heads of EUPE, which was distilled with DINOv3's code.
NATIVE = Format(
    name='native',
    source='mmconvnext',
    rows={
        'downsample_layers.0.{s}.{p}': 'downsample_layers.0.{s}.{p}',
        'downsample_layers.{i}.{k}.{p}': 'downsample_layers.{i}.{k}.{p}',
        'stages.{i}.{j}.dwconv.{p}': 'stages.{i}.{j}.dwconv.{p}',
        'stages.{i}.{j}.norm.{p}': 'stages.{i}.{j}.norm.{p}',
        'stages.{i}.{j}.pwconv{n}.{p}': 'stages.{i}.{j}.pwconv{n}.{p}',
        'stages.{i}.{j}.grn.gamma': 'stages.{i}.{j}.grn.gamma',
        'stages.{i}.{j}.grn.beta': 'stages.{i}.{j}.grn.beta',
        'stages.{i}.{j}.gamma': 'stages.{i}.{j}.gamma',
        'norm{i}.{p}': 'norm{i}.{p}',
    },
    final_norm='norm.{p}',
    others=(
        r'head\.',
        r'norm\.',
        r'norms\.',
        r'projectors\.',
        r'mask_token$',
        r'proj\.',
        r'decoder\.',
        r'pred\.',
    ),
    marked_by=('stages.0.0.grn.gamma', 1),  # Meta's has four axes
    checkpoint_key='state_dict',
    builds=('stem', 'stem_patch_size', 'kernel_size', 'norm', 'both'),
    our_names=True,
    our_code=True,
    target=True,
)
META = replace(
    NATIVE,
    name='meta',
    source='facebookresearch/ConvNeXt, facebookresearch/ConvNeXt-V2, facebookresearch/dinov3',
    layouts={r'.*\.grn\..*': '(1, 1, 1, C)'},  # convnextv2.py, class GRN of models/utils.py
    marked_by=None,
    checkpoint_key='model',
    builds=(),
    our_code=False,
)
# The encoder has a norm and a head; mask token and decoder are beside it (models/fcmae.py).
FCMAE = (r'norm\.', r'head\.', r'mask_token$', r'proj\.', r'decoder\.', r'pred\.')
# Self-supervised V2 before Meta's own utils.remap_checkpoint_keys: MinkowskiEngine's names.
META_SPARSE = Format(
    name='meta-sparse',
    source='facebookresearch/ConvNeXt-V2, models/convnextv2_sparse.py',
    rows={
        'downsample_layers.0.{k}.{p}': 'downsample_layers.0.{k}.{p}',  # the stem is dense
        'downsample_layers.{i}.0.{p}': 'downsample_layers.{i}.0.ln.{p}',
        'downsample_layers.{i}.1.weight': 'downsample_layers.{i}.1.kernel',
        'downsample_layers.{i}.1.bias': 'downsample_layers.{i}.1.bias',
        'stages.{i}.{j}.dwconv.weight': 'stages.{i}.{j}.dwconv.kernel',
        'stages.{i}.{j}.dwconv.bias': 'stages.{i}.{j}.dwconv.bias',
        'stages.{i}.{j}.norm.{p}': 'stages.{i}.{j}.norm.ln.{p}',
        'stages.{i}.{j}.pwconv{n}.{p}': 'stages.{i}.{j}.pwconv{n}.linear.{p}',
        'stages.{i}.{j}.grn.gamma': 'stages.{i}.{j}.grn.gamma',
        'stages.{i}.{j}.grn.beta': 'stages.{i}.{j}.grn.beta',
    },
    final_norm='norm.ln.{p}',
    others=FCMAE,
    beside=(*CLASSIFIER_HEADS, *FCMAE),
    layouts={
        r'.*\.grn\..*': '(1, C)',
        r'.*\.dwconv\.bias': '(1, C)',
        r'downsample_layers\.[1-9]\d*\.1\.bias': '(1, C)',
        r'.*\.dwconv\.weight': '(kernel, C)',
        r'downsample_layers\.[1-9]\d*\.1\.weight': '(kernel, I, O)',
    },
    checkpoint_key='model',
    prefix='encoder.',
)
# Its classifiers store the final norm as norm3, see final_norm.py.
MMPRETRAIN = Format(
    name='mmpretrain',
    source='open-mmlab/mmpretrain, models/backbones/convnext.py; also the mmdet and mmseg zoos',
    rows={
        'downsample_layers.{i}.{k}.{p}': 'downsample_layers.{i}.{k}.{p}',
        'stages.{i}.{j}.dwconv.{p}': 'stages.{i}.{j}.depthwise_conv.{p}',
        'stages.{i}.{j}.norm.{p}': 'stages.{i}.{j}.norm.{p}',
        'stages.{i}.{j}.pwconv{n}.{p}': 'stages.{i}.{j}.pointwise_conv{n}.{p}',
        'stages.{i}.{j}.grn.gamma': 'stages.{i}.{j}.grn.gamma',
        'stages.{i}.{j}.grn.beta': 'stages.{i}.{j}.grn.beta',
        'stages.{i}.{j}.gamma': 'stages.{i}.{j}.gamma',
        'norm{i}.{p}': 'norm{i}.{p}',
    },
    final_norm='norm3.{p}',
    others=(r'head\.',),
    checkpoint_key='state_dict',
    prefix='backbone.',
    builds=('stem_patch_size', 'both'),
    target=True,
)
# OpenCLIP's image tower is timm's, below `visual.trunk.`.
TIMM = Format(
    name='timm',
    source='huggingface/pytorch-image-models 1.0, timm/models/convnext.py',
    rows={
        'downsample_layers.0.{s}.{p}': 'stem.{s}.{p}',
        'downsample_layers.{i}.{k}.{p}': 'stages.{i}.downsample.{k}.{p}',
        'stages.{i}.{j}.dwconv.{p}': 'stages.{i}.blocks.{j}.conv_dw.{p}',
        'stages.{i}.{j}.norm.{p}': 'stages.{i}.blocks.{j}.norm.{p}',
        'stages.{i}.{j}.pwconv{n}.{p}': 'stages.{i}.blocks.{j}.mlp.fc{n}.{p}',
        'stages.{i}.{j}.grn.gamma': 'stages.{i}.blocks.{j}.mlp.grn.weight',
        'stages.{i}.{j}.grn.beta': 'stages.{i}.blocks.{j}.mlp.grn.bias',
        'stages.{i}.{j}.gamma': 'stages.{i}.blocks.{j}.gamma',
    },
    final_norm='head.norm.{p}',
    others=(r'head\.', r'norm_pre\.'),
    builds=('stem', 'stem_patch_size', 'kernel_size', 'norm', 'both'),
    target=True,
    trained_with=(  # OpenCLIP's xxlarge is timm's
        (dict(channels=(384, 768, 1536, 3072)), dict(norm_eps=1e-5)),  # convnext_xxlarge
        (dict(channels=(24, 32, 48, 64)), dict(norm_eps=1e-5, act='GELU_tanh')),  # test_convnext
        (dict(channels=(32, 64, 96, 128)), dict(norm_eps=1e-5, act='GELU_tanh')),  # test_convnext2
        # test_convnext3, which has the channels of test_convnext2
        (dict(kernel_size=[7, 5, 5, 3]), dict(norm_eps=1e-5, act='SiLU')),
    ),
    simple_norm_channels=(32, 64, 128, 256),  # convnext_zepto_rms and convnext_zepto_rms_ols
)
# timm's variants zepto to nano, recognised here by their first and last channels, use 1x1
# convolutions as pointwise layers (conv_mlp=True).
TIMM_CONV = replace(
    TIMM,
    name='timm-conv',
    layouts={r'.*\.pwconv\d\.weight': '(O, I, 1, 1)'},
    marked_by=('stages.0.0.pwconv1.weight', 4),
    target=False,
    written_for=('timm', ((32, 256), (40, 320), (48, 384), (64, 512), (80, 640))),
)
# features_only=True flattens the names: stages_0, stem_0.
TIMM_FEATURES = replace(
    TIMM,
    name='timm-features',
    rows={k: re.sub(r'^(stem|stages)\.', r'\1_', v) for k, v in TIMM.rows.items()},
    target=False,
)
HF = Format(
    name='hf',
    source='huggingface/transformers 5, models/convnext and models/convnextv2',
    rows={
        'downsample_layers.0.0.{p}': 'embeddings.patch_embeddings.{p}',
        'downsample_layers.0.1.{p}': 'embeddings.layernorm.{p}',
        'downsample_layers.{i}.{k}.{p}': 'encoder.stages.{i}.downsampling_layer.{k}.{p}',
        'stages.{i}.{j}.dwconv.{p}': 'encoder.stages.{i}.layers.{j}.dwconv.{p}',
        'stages.{i}.{j}.norm.{p}': 'encoder.stages.{i}.layers.{j}.layernorm.{p}',
        'stages.{i}.{j}.pwconv{n}.{p}': 'encoder.stages.{i}.layers.{j}.pwconv{n}.{p}',
        'stages.{i}.{j}.grn.gamma': 'encoder.stages.{i}.layers.{j}.grn.weight',
        'stages.{i}.{j}.grn.beta': 'encoder.stages.{i}.layers.{j}.grn.bias',
        'stages.{i}.{j}.gamma': 'encoder.stages.{i}.layers.{j}.layer_scale_parameter',
        # Stages count from 1 in the backbone class.
        **{f'norm{i}.{{p}}': f'hidden_states_norms.stage{i + 1}.{{p}}' for i in range(4)},
    },
    final_norm='layernorm.{p}',
    others=(r'layernorm\.', r'classifier\.'),
    layouts={r'.*\.grn\..*': '(1, 1, 1, C)'},
    builds=('stem_patch_size',),
    target=True,
)
# Here layer_norm_eps is that of all norms; in transformers' V1 and V2, only of the final norm.
HF_DINOV3 = Format(
    name='hf-dinov3',
    source='huggingface/transformers 5, models/dinov3_convnext',
    rows={
        'downsample_layers.{i}.{k}.{p}': 'stages.{i}.downsample_layers.{k}.{p}',
        'stages.{i}.{j}.dwconv.{p}': 'stages.{i}.layers.{j}.depthwise_conv.{p}',
        'stages.{i}.{j}.norm.{p}': 'stages.{i}.layers.{j}.layer_norm.{p}',
        'stages.{i}.{j}.pwconv{n}.{p}': 'stages.{i}.layers.{j}.pointwise_conv{n}.{p}',
        'stages.{i}.{j}.gamma': 'stages.{i}.layers.{j}.gamma',
    },
    final_norm='layer_norm.{p}',
    others=(r'layer_norm\.',),
    config_eps=('layer_norm_eps',),
)
# One list of modules: the stem, then stages and downsampling layers in turn; four stages.
TORCHVISION = Format(
    name='torchvision',
    source='pytorch/vision, torchvision/models/convnext.py',
    rows={
        **{f'downsample_layers.{i}.{{k}}.{{p}}': f'features.{2 * i}.{{k}}.{{p}}' for i in range(4)},
        **{
            f'stages.{i}.{{j}}.{ours}': f'features.{2 * i + 1}.{{j}}.{theirs}'
            for i in range(4)
            for ours, theirs in {
                'dwconv.{p}': 'block.0.{p}',
                'norm.{p}': 'block.2.{p}',
                'pwconv1.{p}': 'block.3.{p}',
                'pwconv2.{p}': 'block.5.{p}',
                'gamma': 'layer_scale',
            }.items()
        },
    },
    final_norm='classifier.0.{p}',
    others=(r'classifier\.',),
    layouts={r'stages\.\d+\.\d+\.gamma': '(C, 1, 1)'},
)
FORMATS = {
    row.name: row
    for row in (
        *(NATIVE, META, META_SPARSE, MMPRETRAIN),
        *(TIMM_CONV, TIMM, TIMM_FEATURES),
        *(HF, HF_DINOV3, TORCHVISION),
    )
}
TARGETS = tuple(row.name for row in FORMATS.values() if row.target)
