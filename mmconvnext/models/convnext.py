# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""ConvNeXt V1 and V2 as a multi-scale backbone for detection and segmentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from itertools import chain

from mmengine.logging import MMLogger
from mmengine.model import BaseModule
from torch import Tensor, fx, nn

from ..arch import get_arch
from ..checkpoint.load import (
    adapt_state_dict,
    is_pretrained,
    lenient_loading,
    load_pretrained,
    pretrained_options,
)
from ..kernels.compat import is_compiling
from ..kernels.report import PathReport
from ..kernels.selection import check_setting
from ..registry import MODELS
from .arguments import (
    frozen_stages_in,
    image_channels,
    layer_scale_start,
    rate_in,
    stage_indices,
)
from .design import Design
from .images import check_images
from .initialize import initialize, on_meta, refuse_meta, start_before_loading
from .layer_depth import LayerDepth, get_layer_depth, head_depth
from .layers import build_norm
from .spellings import takes_spellings
from .stages import build_downsampling, build_stages

fx.wrap('check_images')  # torch.fx records the call, so a traced backbone checks its inputs too


@MODELS.register_module()
class ConvNeXt(BaseModule):
    """ConvNeXt backbone.

    "A ConvNet for the 2020s" (arXiv 2201.03545) and "ConvNeXt V2" (arXiv 2301.00808). Parameters
    are named as in Meta's code: ``downsample_layers.<stage>``, ``stages.<stage>.<block>``, and
    ``norm<stage>`` for the norm of each returned map.

    The input (N, in_channels, H, W) becomes a tuple of maps (N, C_i, H // s_i, W // s_i), one for
    each of ``out_indices``, contiguous in memory, with ``out_channels`` C_i and ``out_strides`` s_i
    (4, 8, 16, 32 with the 4x4 stem). Every reduction rounds down, as in the official code: pixels
    beyond the last whole patch are ignored, and so is an odd last row or column of a map. Pad the
    input to a multiple of 32 to avoid both (in mmdet: ``pad_size_divisor=32`` of the data
    preprocessor). H and W must be at least one patch of the stem.

    Args:
        arch: 'atto', 'femto', 'pico', 'nano', 'tiny', 'small', 'base', 'large', 'xlarge' or
            'huge', or dict(depths=[...], channels=[...]) with any number of stages.
        version: 'v1', with layer scale, or 'v2', with global response normalization instead. It is
            one switch, because changing only one of the two silently trains a wrong network.
        in_channels: channels of the input image.
        drop_path_rate: stochastic depth, in [0, 1): the rate of the last block; it rises linearly
            from 0 at the first one.
        layer_scale_init_value: initial value of the layer scale; 0 builds none. None means 1e-6
            (paper, table 5) for V1 and no layer scale for V2. A number builds layer scale in both,
            in V2 in addition to GRN, as mmpretrain's ``use_grn`` does. The dense recipes use 1.
        out_indices: the stages whose maps are returned, in this order: one integer or a sequence,
            negative ones count from the end. None returns all stages, four in the published archs.
        frozen_stages: mmdet's convention: -1 freezes nothing, 0 the stem, k the stem and the first
            k stages with their downsampling layers and output norms. Frozen parts have
            ``requires_grad=False`` and stay in evaluation mode, hence without stochastic depth.
        with_cp: recompute each block's branch in the backward pass, to save memory.
        gap_before_final_norm: for classifiers, as in Meta's code and mmpretrain: average each map
            over its pixels, then normalize, and return (N, C_i). The head then needs no pooling
            neck; pooling after the norm, the order for dense prediction, gives different
            logits.
        design: switches for ablations: a dict of the fields of :class:`Design` that differ from the
            paper.
        kernels: 'auto' takes the fast path where it is compiled and was measured to be faster (on a
            CPU), 'plain' never, 'fast' always; the environment variable MMCONVNEXT_KERNELS replaces
            'auto'. Results are equal up to rounding; parameters and their names are the same.
        init_cfg: None, or dict(type='Pretrained', checkpoint=...) with a path, URL or short name of
            weights in any published format, which must cover the whole backbone except the output
            norms (options: :func:`mmconvnext.checkpoint.load.load_pretrained`), or any other
            initializer of mmengine.

    Arguments of other packages' ConvNeXt are accepted if they mean the same, see
    :mod:`.spellings`.

    Raises:
        ValueError: a value outside the ranges above; the message names the allowed values.
        TypeError: an unknown argument.
    """

    _raw = False  # whether weights that were on the meta device still have no values

    @takes_spellings
    def __init__(
        self,
        arch: str | Mapping = 'tiny',
        version: str = 'v1',
        *,
        in_channels: int = 3,
        drop_path_rate: float = 0.0,
        layer_scale_init_value: float | None = None,
        out_indices: int | Sequence[int] | None = None,
        frozen_stages: int = -1,
        with_cp: bool = False,
        gap_before_final_norm: bool = False,
        design: Design | Mapping | None = None,
        kernels: str = 'auto',
        init_cfg: Mapping | list | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.arch = arch = get_arch(arch, version)
        self.version = version
        self.design = design = Design.of(design)
        self.in_channels = image_channels(in_channels)
        self.gap_before_final_norm = gap_before_final_norm
        self.out_indices = stage_indices(out_indices, len(arch.depths))
        self.frozen_stages = frozen_stages_in(frozen_stages, len(arch.depths))
        self.layer_scale_init_value = layer_scale_start(layer_scale_init_value, version)
        self.out_channels = tuple(arch.channels[i] for i in self.out_indices)
        self.out_strides = tuple(design.stem_stride * 2**i for i in self.out_indices)
        self._report = PathReport()

        self.downsample_layers = build_downsampling(arch, design, in_channels)
        self.stages = build_stages(
            arch,
            design,
            drop_path_rate=rate_in(drop_path_rate),
            grn=version == 'v2',
            layer_scale_init_value=self.layer_scale_init_value,
            with_cp=with_cp,
            kernels=check_setting(kernels),
            report=self._report,
        )
        for i in sorted(set(self.out_indices)):
            self.add_module(f'norm{i}', build_norm(design, arch.channels[i]))

        initialize(self)
        self._raw = bool(on_meta(self))
        self._freeze()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map (N, in_channels, H, W) to one contiguous (N, C_i, H_i, W_i) for each out index."""
        patchify = self.design.stem == 'patchify'
        check_images(x, self.in_channels, self.design.stem_stride if patchify else 1)
        # Channels-last memory, which all layers preserve: LayerNorm and the pointwise layers read
        # rows of channels without a copy. (torch.func.vmap does not support memory_format=.)
        x = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
        maps = {}
        for i, (downsample, stage) in enumerate(zip(self.downsample_layers, self.stages)):
            if i > max(self.out_indices):
                break
            x = stage(downsample(x))
            if i in self.out_indices and self.gap_before_final_norm:
                maps[i] = getattr(self, f'norm{i}')(x.mean((2, 3), keepdim=True)).flatten(1)
            elif i in self.out_indices:
                # mmcv's RoIAlign reads a channels-last map as if it were contiguous, without an
                # error (mmcv issue 2203), so what leaves the backbone must be contiguous.
                maps[i] = getattr(self, f'norm{i}')(x).contiguous()
        if isinstance(x, Tensor) and not is_compiling():  # else it is traced
            self._report.tell(x.device.type)
        return tuple(maps[i] for i in self.out_indices)

    def init_weights(self) -> None:
        """Load the weights named by ``init_cfg``; without it, keep the paper's initialization.

        Random values are drawn at construction, so calling this twice, or after loading weights by
        hand, never overwrites them. A backbone that was built on the meta device is initialized
        here, after ``to_empty(device=...)``, which leaves its memory uninitialized.

        Raises:
            CheckpointMismatch: the tensors of the file do not match the backbone.
            ValueError: ``init_cfg`` lists 'Pretrained' with another initializer; or the backbone is
                on the meta device or contains a module that :func:`.initialize.initialize_layer`
                cannot initialize.
        """
        logger = MMLogger.get_current_instance()
        refuse_meta(self)
        if self._raw:
            initialize(self)
            self._raw = False
        elif self._is_init:
            if self.init_cfg:
                logger.warning('init_weights was called again; the weights are kept')
            return
        initializers = self.init_cfg if isinstance(self.init_cfg, list) else [self.init_cfg or {}]
        if any(map(is_pretrained, initializers)):
            if len(initializers) > 1:
                raise ValueError(
                    f"init_cfg: 'Pretrained' fills the whole backbone, so remove the other "
                    f'initializers; got {self.init_cfg}'
                )
            load_pretrained(self, **pretrained_options(initializers[0]))
        elif self.init_cfg:
            super().init_weights()
        else:
            logger.info(
                f'{type(self).__name__} {self.version}, depths {list(self.arch.depths)}: random '
                'weights (truncated normal, std 0.02), zero biases'
            )
            if self.version == 'v2' and self.layer_scale_init_value > 0:
                logger.warning(  # a base config of V1 may have set it
                    f'layer_scale_init_value={self.layer_scale_init_value:g} together with GRN: '
                    'published V2 models have no layer scale; set it to None to build none'
                )
        self._is_init = True

    def load_state_dict(self, state_dict: Mapping, strict: bool = True, *args, **kwargs):
        """Load weights in any published format, see :func:`.checkpoint.load.adapt_state_dict`.

        Raises:
            CheckpointMismatch: the weights do not fit; with ``strict=False``, a warning instead.
        """
        with nullcontext() if strict else lenient_loading():
            return super().load_state_dict(state_dict, strict, *args, **kwargs)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, metadata: dict, *args) -> None:
        # Called by load_state_dict of any model that contains the backbone, in torch and mmengine.
        if self._raw:
            self._raw = not start_before_loading(self, state_dict, metadata)
        adapt_state_dict(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, metadata, *args)

    def _apply(self, *args, **kwargs) -> ConvNeXt:
        # Moving off the meta device goes through here, also if a parent model is moved.
        self._raw = self._raw or bool(on_meta(self))
        return super()._apply(*args, **kwargs)

    def train(self, mode: bool = True) -> ConvNeXt:
        """Switch between training and evaluation mode; frozen parts stay in evaluation mode."""
        super().train(mode)
        for module in self._frozen_modules():
            module.eval()
        return self

    def fuse(self) -> ConvNeXt:
        """Prepare for repeated inference: fold norms and layer scale into the linear layers once.

        Switches to evaluation mode. The fast path then folds again only after the parameters have
        changed, instead of at each call. The parameters themselves do not change. :meth:`train`
        undoes it. It has no effect on the plain path.
        """
        self.eval()
        for block in chain.from_iterable(self.stages):
            block.fuse()
        return self

    def get_layer_depth(
        self, param_name: str, prefix: str = '', decay_type: str = 'layer_wise'
    ) -> LayerDepth:
        """Depth group of a parameter for layer-wise learning-rate decay (mmpretrain's interface).

        Args:
            param_name: the parameter's name in the model that contains the backbone.
            prefix: the backbone's prefix in that model, such as ``backbone.``. All other parameters
                are in the head's group, the last one.
            decay_type: 'layer_wise', 'stage_wise', 'single' or 'timm', see :mod:`.layer_depth`.

        Raises:
            ValueError: the backbone has no such parameter, or the decay type is unknown.
        """
        if not param_name.startswith(prefix):
            return head_depth(self.arch.depths, decay_type)
        return get_layer_depth(param_name[len(prefix) :], self.arch.depths, decay_type)

    def _frozen_modules(self) -> list[nn.Module]:
        if self.frozen_stages < 0:
            return []
        count = self.frozen_stages
        norms = [getattr(self, f'norm{i}') for i in self.out_indices if i < count]
        # The stem is downsampling layer 0, so freezing 0 or 1 stages freezes one of these.
        return [*self.downsample_layers[: max(count, 1)], *self.stages[:count], *norms]

    def _freeze(self) -> None:
        for module in self._frozen_modules():
            module.eval().requires_grad_(False)
        # Stages after the last returned map are never computed. They exist so that the parameters
        # do not depend on out_indices, but are frozen, because DDP would wait for their gradients.
        last = max(self.out_indices) + 1
        for module in (*self.downsample_layers[last:], *self.stages[last:]):
            module.requires_grad_(False)
