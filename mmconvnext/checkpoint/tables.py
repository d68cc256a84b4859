# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The names and layouts of every published ConvNeXt format, one row of a table each.

A template stands for many names: {i} is a stage, {j} a block, {k} 0 or 1, {s} a layer of the stem,
{n} 1 or 2, {p} weight or bias. :mod:`.formats` reads the tables, in both directions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

SIGNATURE = 'stages.0.0.dwconv.weight'  # each format has its own name for it
FIELDS = dict(i=r'\d+', j=r'\d+', k='[01]', s='[0-3]', n='[12]', p='weight|bias')


@dataclass(frozen=True)
class Format:
    """One way to name the tensors of a ConvNeXt.

    Args:
        name: as the report and the tools spell it.
        source: the code that writes and reads such names.
        rows: templates, ours -> theirs; the first one that fits a name counts.
        final_norm: template of a classifier's norm, which works on pooled features.
        others: patterns of what such files hold besides the network; it is dropped and reported.
        layouts: pattern of our name -> the layout theirs has, see :mod:`.layouts`.
        envelope: the key under which their files keep the tensors, '' for none.
        prefix: what their files put before every name.
        builds: what shows of a design in the tensors (:func:`.structure.design_of`) and may, in
            their code, be other than the paper's; 'both' are GRN and layer scale.
    """

    name: str
    source: str
    rows: Mapping[str, str]
    final_norm: str
    others: tuple[str, ...]
    layouts: Mapping[str, str] = field(default_factory=dict)
    envelope: str = ''
    prefix: str = ''
    builds: tuple[str, ...] = ()

    @cached_property
    def signature(self) -> re.Pattern:
        return re.compile(rf'(?P<prefix>(?:.*\.)?){re.escape(self.theirs(SIGNATURE))}')

    @cached_property
    def _compiled(self) -> list[tuple[re.Pattern, str, re.Pattern, str]]:
        return [(_compile(a), a, _compile(b), b) for a, b in self.rows.items()]

    def ours(self, name: str) -> str | None:
        """Our name of their tensor; None if it is not one of the network."""
        return _rename(name, ((theirs, to) for _, to, theirs, _ in self._compiled))

    def theirs(self, name: str) -> str | None:
        """Their name of our tensor; None if the format has no place for it."""
        return _rename(name, ((own, to) for own, _, _, to in self._compiled))

    def final_norm_part(self, name: str) -> str | None:
        """'weight' or 'bias' if the name is of the classifier's norm."""
        match = _compile(self.final_norm).fullmatch(name)
        return match and match['p']

    def is_other(self, name: str) -> bool:
        return any(re.match(pattern, name) for pattern in self.others)


def _compile(template: str) -> re.Pattern:
    pattern = re.escape(template)
    for key, expression in FIELDS.items():
        pattern = pattern.replace(rf'\{{{key}\}}', f'(?P<{key}>{expression})')
    return re.compile(pattern)


def _rename(name: str, rows: Iterable[tuple[re.Pattern, str]]) -> str | None:
    for pattern, template in rows:
        match = pattern.fullmatch(name)
        if match:
            return template.format(**match.groupdict())
    return None


# facebookresearch/ConvNeXt and ConvNeXt-V2, models/convnext.py and convnextv2.py: the names of this
# package. The others: classifier; FCMAE's decoder (V2, models/fcmae.py); DINOv3's list of norms,
# three identities and the final norm again (facebookresearch/dinov3, models/convnext.py), and the
# heads of EUPE, distilled in that code.
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
    envelope='state_dict',
    builds=('stem', 'stem_patch_size', 'kernel_size', 'norm', 'both'),
)
META = replace(
    NATIVE,
    name='meta',
    builds=(),
    source='facebookresearch/ConvNeXt, facebookresearch/ConvNeXt-V2, facebookresearch/dinov3',
    layouts={r'.*\.grn\..*': '(1, 1, 1, C)'},  # convnextv2.py, class GRN of models/utils.py
    envelope='model',
)
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
    others=(r'norm\.', r'head\.', r'mask_token$', r'proj\.', r'decoder\.', r'pred\.'),
    layouts={
        r'.*\.grn\..*': '(1, C)',
        r'.*\.dwconv\.bias': '(1, C)',
        r'downsample_layers\.[1-9]\d*\.1\.bias': '(1, C)',
        r'.*\.dwconv\.weight': '(kernel, C)',
        r'downsample_layers\.[1-9]\d*\.1\.weight': '(kernel, I, O)',
    },
    envelope='model',
    prefix='encoder.',
)
# Its classifiers keep the final norm as norm3, see fit.py.
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
    envelope='state_dict',
    prefix='backbone.',
    builds=('stem_patch_size', 'both'),
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
)
# Its variants atto to nano have 1x1 convolutions for linear layers (conv_mlp=True).
TIMM_CONV = replace(TIMM, name='timm-conv', layouts={r'.*\.pwconv\d\.weight': '(O, I, 1, 1)'})
# features_only=True flattens: stages_0, stem_0.
TIMM_FEATURES = replace(
    TIMM,
    name='timm-features',
    rows={k: re.sub(r'^(stem|stages)\.', r'\1_', v) for k, v in TIMM.rows.items()},
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
)
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
)
# One list of modules: the stem, then stage and downsampling in turn; four stages.
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
        *(TIMM, TIMM_CONV, TIMM_FEATURES),
        *(HF, HF_DINOV3, TORCHVISION),
    )
}
