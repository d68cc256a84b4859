# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""ConvNeXt V1 and V2 as a backbone of multi-scale features for detection and segmentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from itertools import chain, count

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
from .arguments import frozen_stages_in, image_channels, layer_scale_start, stage_indices
from .block import ConvNeXtBlock
from .design import Design
from .images import check_images
from .initialize import initialize, on_meta, refuse_meta, start_before_loading
from .layer_depth import LayerDepth, get_layer_depth, head_depth
from .layers import Downsample, build_norm, build_stem
from .spellings import takes_spellings

fx.wrap('check_images')  # symbolic tracing keeps the call: the inputs are checked, not the tracer's


@MODELS.register_module()
class ConvNeXt(BaseModule):
    """ConvNeXt backbone.

    "A ConvNet for the 2020s" (arXiv 2201.03545) and "ConvNeXt V2" (arXiv 2301.00808). Parameters
    carry the names of Meta's code: ``downsample_layers.<stage>``, ``stages.<stage>.<block>``, and
    ``norm<stage>`` for the norm of each returned map.

    The input (N, in_channels, H, W) becomes a tuple of maps (N, C_i, H // s_i, W // s_i), one for
    each of ``out_indices``, contiguous in memory, with ``out_channels`` C_i and ``out_strides`` s_i
    (4, 8, 16, 32 with the 4x4 stem). Every reduction rounds down, as in the official code: pixels
    beyond the last whole patch are not seen at all, and an odd last row or column of a map has no
    cell of its own in the next one. Pad the input to a multiple of 32 to avoid both (mmdet's
    preprocessor does: ``pad_size_divisor=32``). Any H and W of at least the stem's patch are
    accepted.

    Args:
        arch: 'atto', 'femto', 'pico', 'nano', 'tiny', 'small', 'base', 'large', 'xlarge' or
            'huge', or dict(depths=[...], channels=[...]) with any number of stages.
        version: 'v1', with layer scale, or 'v2', with global response normalization instead. One
            switch, because only one half of the change trains a wrong net without a word.
        in_channels: channels of the input image.
        drop_path_rate: stochastic depth, 0 to below 1: the rate of the last block; it rises
            linearly from 0 at the first one.
        layer_scale_init_value: start of the layer scale; 0 builds none. None is the version's own:
            1e-6 (paper, table 5) for V1, no layer scale for V2; a number is taken as it is, in V2
            beside GRN, as mmpretrain's ``use_grn`` has them. The dense recipes start at 1.
        out_indices: the stages whose maps are returned, in this order: one integer or a sequence,
            negative ones count from the end. None returns all stages, four in the published archs.
        frozen_stages: mmdet's convention: -1 freezes nothing, 0 the stem, k the stem and the first
            k stages with their downsampling layers and output norms. Frozen parts have
            ``requires_grad=False`` and stay in evaluation mode, hence without stochastic depth.
        with_cp: recompute each block's branch in the backward pass, to save memory.
        gap_before_final_norm: a classifier's backbone, as Meta's and mmpretrain's: returns norms of
            globally averaged maps, (N, C_i), so the head takes no pooling neck. After such a neck
            the norms of maps, which dense prediction needs, give other logits.
        design: switches for ablations, see :class:`Design`: a dict of what departs from the paper.
        kernels: 'auto' takes the fast path where it is compiled and measured to be faster (a CPU),
            'plain' never, 'fast' always; the environment variable MMCONVNEXT_KERNELS stands in for
            'auto'. Results are equal up to rounding, parameters and names the same.
        init_cfg: None, or dict(type='Pretrained', checkpoint=...), a path, URL or short name of
            weights in any published format, which must fill the whole backbone but the output
            norms (options: :func:`mmconvnext.checkpoint.load.load_pretrained`), or any other
            initializer of mmengine.

    Other packages' arguments are taken where they mean the same, see :mod:`.spellings`.

    Raises:
        ValueError: a value outside the ranges above; the message names the allowed ones.
        TypeError: an argument that no ConvNeXt has.
    """

    _raw = False  # whether the weights were on the meta device, and got no values since

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
        self.arch = get_arch(arch, version)
        self.version = version
        self.design = design = Design.of(design)
        kernels = check_setting(kernels)
        depths, channels = self.arch.depths, self.arch.channels
        if not 0 <= drop_path_rate < 1:
            raise ValueError(f'drop_path_rate must be in [0, 1), got {drop_path_rate!r}')
        self.in_channels = image_channels(in_channels)
        self.gap_before_final_norm = gap_before_final_norm
        self.out_indices = stage_indices(out_indices, len(depths))
        self.frozen_stages = frozen_stages_in(frozen_stages, len(depths))
        self.layer_scale_init_value = layer_scale_start(layer_scale_init_value, version)

        self.out_channels = tuple(channels[i] for i in self.out_indices)
        self.out_strides = tuple(design.stem_stride * 2**i for i in self.out_indices)

        self.downsample_layers = nn.ModuleList([build_stem(design, in_channels, channels[0])])
        for before, after in zip(channels, channels[1:]):
            self.downsample_layers.append(Downsample(before, after, design))
        last_block = max(sum(depths) - 1, 1)
        rates = (drop_path_rate * i / last_block for i in count())
        self._report = PathReport()
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(
                    ConvNeXtBlock(
                        width,
                        stage_design,
                        grn=version == 'v2',
                        layer_scale_init_value=self.layer_scale_init_value,
                        drop_path_rate=next(rates),
                        with_cp=with_cp,
                        kernels=kernels,
                        name=f'stages.{stage}.{block}',
                        report=self._report,
                    )
                    for block in range(depth)
                )
            )
            for stage, (depth, width, stage_design) in enumerate(
                zip(depths, channels, design.of_stages(len(depths)))
            )
        )
        for i in sorted(set(self.out_indices)):
            self.add_module(f'norm{i}', build_norm(design, channels[i]))

        initialize(self)
        self._raw = bool(on_meta(self))
        self._freeze()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map (N, in_channels, H, W) to one contiguous (N, C_i, H_i, W_i) for each out index."""
        patchify = self.design.stem == 'patchify'
        check_images(x, self.in_channels, self.design.stem_stride if patchify else 1)
        # All layers then give channels-last memory, which LayerNorm and the pointwise layers read
        # as rows of channels, without a copy. (torch.func.vmap has no argument memory_format.)
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
        """Load what ``init_cfg`` names; without one, keep the paper's initialization.

        The random initialization happens at construction, so calling this twice, or after weights
        were loaded by hand, never draws new values. What was built on the meta device is
        initialized here, after ``to_empty(device=...)``, which leaves the memory as it finds it.

        Raises:
            CheckpointMismatch: the file does not fill the backbone.
            ValueError: another initializer stands beside 'Pretrained', the backbone is on the meta
                device, or holds a module that :func:`.initialize.initialize_layer` refuses.
        """
        logger = MMLogger.get_current_instance()
        refuse_meta(self)
        if self._raw:
            initialize(self)
            self._raw = False
        elif self._is_init:
            if self.init_cfg:
                logger.warning('init_weights was called again: the weights stay as they are')
            return
        initializers = self.init_cfg if isinstance(self.init_cfg, list) else [self.init_cfg or {}]
        if any(map(is_pretrained, initializers)):
            if len(initializers) > 1:
                raise ValueError(
                    f"init_cfg: 'Pretrained' fills the whole backbone and stands alone, got "
                    f'{self.init_cfg}'
                )
            load_pretrained(self, **pretrained_options(initializers[0]))
        elif self.init_cfg:
            super().init_weights()
        else:
            logger.info(
                f'{type(self).__name__} {self.version}, depths {list(self.arch.depths)}: random '
                'weights, truncated normal of std 0.02, zero biases'
            )
            if self.version == 'v2' and self.layer_scale_init_value > 0:
                logger.warning(  # a base config of V1 may have set it
                    f'layer_scale_init_value={self.layer_scale_init_value:g} beside GRN: published '
                    'V2 models have no layer scale; None builds none'
                )
        self._is_init = True

    def load_state_dict(self, state_dict: Mapping, strict: bool = True, *args, **kwargs):
        """Load weights in any published format, see :func:`.checkpoint.load.adapt_state_dict`.

        Raises:
            CheckpointMismatch: they are not this backbone's; ``strict=False`` makes that a warning.
        """
        with nullcontext() if strict else lenient_loading():
            return super().load_state_dict(state_dict, strict, *args, **kwargs)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, metadata: dict, *args) -> None:
        # Reached from the load_state_dict of any model around the backbone, torch's or mmengine's.
        if self._raw:
            self._raw = not start_before_loading(self, state_dict, metadata)
        adapt_state_dict(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, metadata, *args)

    def _apply(self, *args, **kwargs) -> ConvNeXt:
        # What leaves the meta device comes this way, also where a model around it does.
        self._raw = self._raw or bool(on_meta(self))
        return super()._apply(*args, **kwargs)

    def train(self, mode: bool = True) -> ConvNeXt:
        """Switch between training and evaluation; frozen parts stay in evaluation mode."""
        super().train(mode)
        for module in self._frozen_modules():
            module.eval()
        return self

    def fuse(self) -> ConvNeXt:
        """Prepare for many inferences: layer scale and norms are folded into the layers once.

        Switches to evaluation. Without it the fast path folds at each call; with it, whenever the
        parameters have changed. They stay as they are; :meth:`train` ends it. Has no effect on the
        plain path.
        """
        self.eval()
        for block in chain.from_iterable(self.stages):
            block.fuse()
        return self

    def get_layer_depth(
        self, param_name: str, prefix: str = '', decay_type: str = 'layer_wise'
    ) -> LayerDepth:
        """Depth group of a parameter for layer-wise learning-rate decay, as mmpretrain asks it.

        Args:
            param_name: the parameter's name in the model that holds the backbone.
            prefix: where the backbone lies in that model, such as ``backbone.``. Parameters
                outside of it are the head's: the last group.
            decay_type: 'layer_wise', 'stage_wise', 'single' or 'timm', see :mod:`.layer_depth`.

        Raises:
            ValueError: a name that is not the backbone's, or an unknown decay type.
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
        # Stages behind the last returned map are never computed. They are kept, so that the
        # parameters do not depend on out_indices, but must not wait for gradients (DDP would).
        last = max(self.out_indices) + 1
        for module in (*self.downsample_layers[last:], *self.stages[last:]):
            module.requires_grad_(False)
