# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The text of a config, with the reason of each choice in a comment."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

from ..arch import ARCHS
from .choices import DROP_PATH, VALIDATIONS, Plan, crop_of
from .survey import Survey

WIDTH = 100  # columns, as in this repository
BASES = {
    ('det', 'cpu'): '_base_/faster-rcnn_convnext-atto_cpu.py',
    ('instance', 'cpu'): '_base_/mask-rcnn_convnext-atto_cpu.py',
    ('semantic', 'cpu'): '_base_/segformer-head_convnext-atto_cpu.py',
    ('det', 'gpu'): 'faster_rcnn/faster-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py',
    ('instance', 'gpu'): 'mask_rcnn/mask-rcnn_convnext-t-p4-w7_fpn_amp-1x_coco.py',
    ('semantic', 'gpu'): 'upernet/convnext-tiny_upernet_8xb2-amp-160k_ade20k-512x512.py',
}
SIZE_OF_BASE = dict(cpu='atto', gpu='tiny')
WHAT = dict(det='Detection', instance='Instance segmentation', semantic='Semantic segmentation')
LAST = "__import__('mmconvnext').use_own_data(locals())"


def config_text(survey: Survey, plan: Plan, base: str) -> str:
    """The whole file; ``base`` is the expression of ``_base_``."""
    parts = [_head(survey, plan), f'_base_ = {base}', _own_data(survey.own_data)]
    parts += [_model(plan), _data(plan), _rates(plan), _schedule(plan)]
    parts.append(f'# Applies own_data to the whole config; this must be the last line.\n{LAST}')
    return '\n\n'.join(part for part in parts if part) + '\n'


def base_expression(task: str, device: str, out: Path) -> str:
    """How a config at ``out`` names its base: relative within a checkout, else absolute."""
    package = Path(__file__).resolve().parents[1]
    name, checkout = BASES[task, device], package.parent
    file = checkout / 'configs' / name
    if not file.is_file():
        return f"__import__('mmconvnext').__path__[0] + '/.mim/configs/{name}'"
    place = out.resolve().parent
    inside = place.is_relative_to(checkout)
    return repr(Path(os.path.relpath(file, place)).as_posix() if inside else file.as_posix())


def _comment(text: str) -> str:
    return '\n'.join(textwrap.wrap(text, WIDTH, initial_indent='# ', subsequent_indent='# '))


def _head(survey: Survey, plan: Plan) -> str:
    (w, h), count = survey.sizes[len(survey.sizes) // 2], len(survey.classes)
    classes = f'{count} class{"es" * (count > 1)}'
    many = f', {len(survey.objects)} objects' * (not survey.is_maps)
    device = 'a CPU' if plan.device == 'cpu' else 'one GPU'
    return _comment(
        f'{WHAT[plan.task]} of {classes} on {device}. tools/new_project.py wrote this after a look '
        f'at the data: {survey.images} images to learn from{many}, {survey.val_images} to measure '
        f'with, such as {w} x {h} pixels. Each choice has its reason; change what you know better.'
    )


def _own_data(own_data: dict) -> str:
    lines = []
    for key, value in own_data.items():
        text = f'    {key}={_value(value)},'
        if len(text) > WIDTH:
            text = f'    {key}=[\n{_filled(value)}\n    ],'
        lines.append(text)
    return '\n'.join(['own_data = dict(', *lines, ')'])


def _value(value: object) -> str:
    if isinstance(value, dict):
        return f'dict({", ".join(f"{key}={_value(item)}" for key, item in value.items())})'
    return repr(value)


def _filled(values: list) -> str:
    """A list with as many items on each line as fit."""
    lines = ['']
    for text in (f'{value!r},' for value in values):
        if lines[-1] and 8 + len(lines[-1]) + 1 + len(text) > WIDTH:
            lines.append('')
        lines[-1] += f' {text}' if lines[-1] else text
    return '\n'.join(f'        {line}' for line in lines)


def _model(plan: Plan) -> str:
    backbone, channels = {}, list(ARCHS[plan.size].channels)
    changed = plan.size != SIZE_OF_BASE[plan.device]
    why = [f'Weights: {plan.weights.why}.']
    if changed:
        backbone['arch'] = plan.size
        why.append(f'Size: {plan.size}, as asked for.')
    if plan.size in DROP_PATH:
        backbone['drop_path_rate'] = DROP_PATH[plan.size]
    elif (plan.task, plan.device) == ('det', 'gpu'):
        backbone['drop_path_rate'] = 0.2  # that base is for a schedule three times as long
    if plan.weights.value:
        backbone['init_cfg'] = dict(type='Pretrained', checkpoint=plan.weights.value)
    elif plan.device == 'gpu':
        backbone['init_cfg'] = None
    lines = [f'backbone={_value(backbone)},'] * bool(backbone)
    if lines and len(lines[0]) + 4 > WIDTH:
        lines = ['backbone=dict(', *(f'    {k}={_value(v)},' for k, v in backbone.items()), '),']
    if plan.task == 'semantic':
        lines += _segmentor(plan, channels if changed else None, why)
    else:
        lines += [f'neck=dict(in_channels={channels}),'] * changed
        lines += _detector(plan, why)
    if not lines:
        return '\n'.join(map(_comment, why))
    body = [f'    {line}' for line in lines]
    return '\n'.join([*map(_comment, why), 'model = dict(', *body, ')'])


def _detector(plan: Plan, why: list[str]) -> list[str]:
    scale, ratios = plan.anchors.value
    why.append(f'Anchors: {plan.anchors.why}.')
    why.append(f'Crowding: {plan.detections.why}.')
    generator = dict(scales=[scale], **({} if len(ratios) == 3 else dict(ratios=list(ratios))))
    kept = plan.detections.value
    lines = [f'rpn_head=dict(anchor_generator={_value(generator)}),']
    return [*lines, f'test_cfg=dict(rcnn=dict(max_per_img={kept})),']


def _segmentor(plan: Plan, channels: list[int] | None, why: list[str]) -> list[str]:
    head, auxiliary = {}, {}
    if channels:
        head['in_channels'], auxiliary['in_channels'] = channels, channels[2]
    if plan.device == 'gpu':
        why.append('Norms: the recipe normalises over the images of 8 GPUs; GN needs no batch.')
        norm = dict(type='GN', num_groups=32)
        head['norm_cfg'], auxiliary['norm_cfg'] = norm, norm
    lines = [f'decode_head={_value(head)},'] * bool(head)
    return lines + [f'auxiliary_head={_value(auxiliary)},'] * (plan.device == 'gpu')


def _data(plan: Plan) -> str:
    side = plan.side.value
    why = [_comment(f'Image size: {plan.side.why}.')]
    loader = f'train_dataloader = dict(batch_size={plan.batch.value}, '
    loader += 'dataset=dict(pipeline=train_pipeline))'
    if plan.task == 'semantic':
        scale, crop = (4 * side, side), crop_of(plan.device)
        steps = [
            "dict(type='LoadAnnotations'),",
            f"dict(type='RandomResize', scale={scale}, ratio_range=(0.75, 1.5), keep_ratio=True),",
            f"dict(type='RandomCrop', crop_size=({crop}, {crop}), cat_max_ratio=0.75),",
            "dict(type='RandomFlip', prob=0.5),",
            "dict(type='PhotoMetricDistortion'),",
            "dict(type='PackSegInputs'),",
        ]
    else:
        scale, masks = (side, side), plan.task == 'instance'
        steps = [
            f"dict(type='LoadAnnotations', with_bbox=True, with_mask={masks}),",
            f"dict(type='Resize', scale={scale}, keep_ratio=True),",
            "dict(type='RandomFlip', prob=0.5),",
            "dict(type='PackDetInputs'),",
        ]
    flip = "direction=['horizontal', 'vertical', 'diagonal'], prob=0.75"
    why.append(
        _comment(
            f'If the images have no upper side (cells, aerial views), use RandomFlip with {flip}.'
        )
    )
    pipeline = ["dict(type='LoadImageFromFile'),", *steps]
    return '\n'.join(
        [
            *why,
            'train_pipeline = [',
            *(f'    {step}' for step in pipeline),
            ']',
            'test_pipeline = _base_.test_pipeline',
            f'test_pipeline[1].update(scale={scale})',
            _comment(f'Batch: {plan.batch.value} images; {plan.batch.why}.'),
            loader,
            'val_dataloader = dict(dataset=dict(pipeline=test_pipeline))',
            'test_dataloader = val_dataloader',
        ]
    )


def _rates(plan: Plan) -> str:
    lr, decay = plan.lr.value
    return '\n'.join(
        [
            _comment(f'Learning rate: {plan.lr.why}.'),
            f'optim_wrapper = dict(optimizer=dict(lr={lr:g}), '
            f'paramwise_cfg=dict(decay_rate={decay}))',
            f'auto_scale_lr = dict(base_batch_size={plan.batch.value})',
        ]
    )


def _schedule(plan: Plan) -> str:
    warmup = min(500, max(1, plan.iterations // 10))
    best = dict(det='coco/bbox_mAP', instance='coco/segm_mAP', semantic='mIoU')[plan.task]
    if plan.task == 'semantic':
        unit, length, by_epoch = 'max_iters', plan.iterations, False
        why = f'{plan.iterations} iterations, {plan.epochs.value} epochs'
    else:
        unit, length, by_epoch = 'max_epochs', plan.epochs.value, True
        why = f'{length} epochs, {plan.iterations} iterations'
    every = max(1, length // VALIDATIONS)
    anneal = f"type='CosineAnnealingLR', begin=0, end={unit}, T_max={unit}, by_epoch={by_epoch},"
    if by_epoch:
        steps = ['    dict(', f'        {anneal}', '        convert_to_iter_based=True,', '    ),']
    else:
        steps = [f'    dict({anneal[:-1]}),']
    return '\n'.join(
        [
            _comment(
                f'Schedule: {why}: {plan.epochs.why}. Validated {VALIDATIONS} times; the best '
                'checkpoint and the last one are kept.'
            ),
            f'{unit} = {length}',
            f'train_cfg = dict({unit}={unit}, val_interval={every})',
            'param_scheduler = [',
            "    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, "
            f'end={warmup}),',
            *steps,
            ']',
            f'default_hooks = dict(checkpoint=dict(interval={every}, max_keep_ckpts=1, '
            f"save_best='{best}'))",
        ]
    )
