# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""FLOPs and parameters of a model's parts.

A FLOP is a multiply-add, counted once, as in the paper and in mmengine's and fvcore's counters.
torch's FlopCounterMode sees the products (convolutions, matrix products, attention); norms,
activations, pooling, sampling and RoIAlign are not counted. In the published recipes that is at
most 0.5 % of the published figures.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from ..recipe.errors import RecipeError
from ..recipe.walk import backbones, task

if TYPE_CHECKING:
    from torch.utils.flop_counter import FlopCounterMode

# Detectors whose heads are fed with as many regions as their test settings allow; what else has
# regions is run as a whole.
REGION_HEADS = ('StandardRoIHead', 'CascadeRoIHead')


class Part(NamedTuple):
    """A part of a model."""

    name: str
    parameters: int
    flops: int  # multiply-adds for one image


class Counted(NamedTuple):
    """What was counted of a model."""

    parts: list[Part]
    shape: tuple[int, int]  # height, width
    notes: list[str]  # what the figures do not include

    @property
    def parameters(self) -> int:
        return sum(part.parameters for part in self.parts)

    @property
    def flops(self) -> int:
        return sum(part.flops for part in self.parts)


def default_shape(cfg: Config) -> tuple[int, int]:
    """Height and width of the published figures: 800 x 1280, or a crop and four times its width."""
    if task(cfg) == 'mmdet':
        return 800, 1280
    size = (cfg.model.get('data_preprocessor') or {}).get('size') or (512, 512)
    side = size if isinstance(size, int) else size[0]
    return side, 4 * side


def count_flops(
    cfg: Config,
    shape: tuple[int, int] | None = None,
    tell: Callable[[str], object] | None = None,
) -> Counted:
    """Count for one image of ``shape`` (height, width), by default :func:`default_shape`.

    The model is built on the meta device, which computes shapes and no values; one that needs
    values runs on the CPU, with random weights. A detector with box heads gets as many proposals
    and masks as its ``test_cfg`` allows: 1000 and 100 in the published recipes. ``tell`` gets a
    line before something that takes long.

    Raises:
        RecipeError: the model can be run on neither device.
    """
    cfg = copy.deepcopy(cfg)
    shape = shape or default_shape(cfg)
    for _, node in list(backbones(cfg)):
        node.kernels = 'plain'  # the counter does not know our kernels
    init_default_scope(task(cfg))
    try:
        return _count(cfg.model, shape, torch.device('meta'))
    except Exception as fault:  # whatever a model does to a tensor without values
        first = fault
    if tell:
        tell('this model needs values, so it runs on the CPU; that may take minutes')
    try:
        counted = _count(cfg.model, shape, torch.device('cpu'))
    except Exception as fault:
        raise RecipeError(
            f'cannot count {dict.get(cfg.model, "type")} at {shape[0]} x {shape[1]}: it runs '
            f'neither without values ({_text(first)}) nor on the CPU ({_text(fault)}); try another '
            '--shape'
        ) from fault
    counted.notes.append(f'computed on the CPU, because it needs values ({_text(first)})')
    return counted


@torch.no_grad()
def _count(model_cfg: dict, shape: tuple[int, int], device: torch.device) -> Counted:
    # Here, because this import fills tables of torch.jit.
    from torch.utils.flop_counter import FlopCounterMode

    with device, warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of losses and pretrained weights, which are not used here
        model = MODELS.build(copy.deepcopy(model_cfg)).eval()  # some change their config
    model.requires_grad_(False)  # the counter would put hooks on gradients
    image = torch.zeros(1, _channels(model), *shape, device=device)
    parts, notes = _parts(model), []
    with FlopCounterMode(display=False) as counter, _attributed(parts, counter) as flops:
        if _has_known_regions(model):
            _run_two_stage(model, image)
        else:
            _run(model, image)
            if hasattr(model, 'roi_head'):
                notes.append('the number of regions is what random weights propose')
    # The counter counts a multiply-add as two.
    rest = counter.get_total_flops() // 2 - sum(flops.values())
    rows = [
        Part(name, sum(p.numel() for p in module.parameters()), flops[name])
        for name, module in parts.items()
    ]
    own = sum(p.numel() for p in model.parameters()) - sum(row.parameters for row in rows)
    if own or rest:
        rows.append(Part('other', own, rest))
    foreign = sorted(_uncounted(model))
    if foreign:
        notes.append(f'not counted: {", ".join(foreign)} (operators of mmcv)')
    if any(row.parameters and not row.flops for row in rows if 'aux' in row.name):
        notes.append('auxiliary heads work in training only')
    return Counted([row for row in rows if row.parameters or row.flops], shape, notes)


def _parts(model: nn.Module) -> dict[str, nn.Module]:
    """The parts in a table: the model's children, and those of the head of regions."""
    parts = {}
    for name, child in model.named_children():
        if name == 'roi_head':
            parts |= {f'{name}.{key}': part for key, part in child.named_children()}
        else:
            parts[name] = child
    return parts


@contextmanager
def _attributed(parts: dict[str, nn.Module], counter: FlopCounterMode) -> Iterator[dict[str, int]]:
    """Count the multiply-adds of each part while it runs, whether it is called or its forward."""
    flops, running = dict.fromkeys(parts, 0), []

    def count(name, forward):
        def wrapped(*args, **kwargs):
            if running:  # a part inside a part
                return forward(*args, **kwargs)
            running.append(name)
            before = counter.get_total_flops()
            try:
                return forward(*args, **kwargs)
            finally:
                running.pop()
                flops[name] += (counter.get_total_flops() - before) // 2

        return wrapped

    for name, part in parts.items():
        for module in part if isinstance(part, nn.ModuleList) else [part]:
            module.forward = count(name, module.forward)
    yield flops


def _has_known_regions(model: nn.Module) -> bool:
    head = getattr(model, 'roi_head', None)
    if type(head).__name__ not in REGION_HEADS or getattr(head, 'shared_head', None):
        return False
    return hasattr(model, 'rpn_head')


def _run(model: nn.Module, image: Tensor) -> None:
    """The whole model, up to the outputs of its heads where it says how."""
    shape = tuple(image.shape[2:])
    facts = dict.fromkeys(('img_shape', 'ori_shape', 'pad_shape', 'batch_input_shape'), shape)
    facts['scale_factor'] = (1.0, 1.0)
    if hasattr(model, 'encode_decode'):  # of mmseg; Mask2Former has no other way
        model.encode_decode(image, [facts])
    else:
        model(image, [BaseDataElement(metainfo=facts)], mode='tensor')


def _run_two_stage(model: nn.Module, image: Tensor) -> None:
    """Backbone, neck and RPN on the image; each box and mask head on regions of zeros."""
    features = model.backbone(image)
    if getattr(model, 'with_neck', True):
        features = model.neck(features)
    model.rpn_head(features)
    limits = model.test_cfg
    for kind, regions in (('bbox', limits.rpn.max_per_img), ('mask', limits.rcnn.max_per_img)):
        heads = _listed(getattr(model.roi_head, f'{kind}_head', None))
        extractors = _listed(getattr(model.roi_head, f'{kind}_roi_extractor', None))
        if kind == 'mask' and not extractors:
            extractors = _listed(model.roi_head.bbox_roi_extractor)
        for head, extractor in zip(heads, extractors):
            height, width = extractor.roi_layers[0].output_size
            head(image.new_zeros(regions, extractor.out_channels, height, width))


def _listed(module: nn.Module | None) -> list[nn.Module]:
    if module is None:
        return []
    return list(module) if isinstance(module, nn.ModuleList) else [module]


def _channels(model: nn.Module) -> int:
    """Channels of the images, which the data preprocessor normalizes one by one."""
    mean = getattr(model.data_preprocessor, 'mean', None)
    return len(mean) if mean is not None and len(mean) > 1 else 3


def _uncounted(model: nn.Module) -> set[str]:
    kinds = {type(module) for module in model.modules()}
    return {
        kind.__name__
        for kind in kinds
        if kind.__module__.startswith('mmcv.ops')
        and not ('RoI' in kind.__name__ or 'Norm' in kind.__name__)
    }


def _text(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f'{type(error).__name__}: {lines[0] if lines else ""}'[:200]
