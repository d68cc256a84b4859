# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Translate the steps of mmcv 1's pipelines; some move into the data preprocessor."""

from __future__ import annotations

from mmengine.registry import TRANSFORMS

from ..notes import Notes

# Now done by the data preprocessor, PackDetInputs or PackSegInputs.
PACKING = ('DefaultFormatBundle', 'ImageToTensor', 'Collect', 'ToTensor', 'Transpose')
# What testing needs to know about an image, as in mmdet's own test pipelines.
META_KEYS = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
PACK = {'mmdet': 'PackDetInputs', 'mmseg': 'PackSegInputs'}


class PipelineReader:
    """Translate the pipelines of one config, and collect the settings of the preprocessor.

    Attributes:
        preprocessor: mean, std and padding, from Normalize and Pad.
        masks: whether instance masks are loaded.
    """

    def __init__(self, task: str, notes: Notes) -> None:
        self.task, self.notes = task, notes
        self.preprocessor: dict = {}
        self.masks = False

    def training(self, steps: list) -> list:
        """The training pipeline."""
        new = [made for step in steps for made in self._step(dict(step), test=False)]
        return [*new, dict(type=PACK[self.task])]

    def testing(self, steps: list, annotations: dict | None) -> list:
        """The test pipeline, with the annotations that evaluation reads, and without flips."""
        new = []
        for step in steps:
            if step['type'] == 'MultiScaleFlipAug':
                new += self._unwrapped(dict(step))
            else:
                new += self._step(dict(step), test=True)
        if annotations:
            new = [step for step in new if step['type'] != 'LoadAnnotations'] + [annotations]
        pack = dict(type=PACK[self.task])
        if self.task == 'mmdet':
            pack['meta_keys'] = META_KEYS
        return [*new, pack]

    def _unwrapped(self, step: dict) -> list:
        scale = step.get('img_scale')
        many = isinstance(scale, list) and len(scale) > 1
        if step.get('flip') or many or step.get('img_ratios'):
            self.notes.lose(
                'MultiScaleFlipAug with flips or several scales',
                'write tta_pipeline and tta_model instead; without them one scale is tested',
            )
        scale = scale[0] if isinstance(scale, list) else scale
        new = []
        for inner in step['transforms']:
            if inner['type'] == 'Resize':
                inner = {'img_scale': scale, **inner}
            new += self._step(dict(inner), test=True)
        return new

    def _step(self, step: dict, test: bool) -> list:
        kind = step['type']
        if kind in PACKING or (kind == 'RandomFlip' and test):
            return []
        if kind == 'Normalize':
            self.preprocessor.update(
                mean=list(step['mean']), std=list(step['std']), bgr_to_rgb=step.get('to_rgb', True)
            )
            return []
        if kind == 'Pad':
            return self._pad(step)
        if kind == 'Resize':
            return [self._resize(step)]
        if kind == 'AutoAugment' and 'policies' in step:
            inner = [[m for s in p for m in self._step(dict(s), test)] for p in step['policies']]
            return [dict(type='RandomChoice', transforms=inner)]
        if kind == 'RandomFlip':
            prob = step.pop('flip_ratio', step.pop('prob', None))
            return [{'type': kind, 'prob': prob, **_without(step, 'type')}]
        if kind == 'LoadAnnotations':
            self.masks |= bool(step.get('with_mask'))
        if step.pop('file_client_args', None) not in (None, dict(backend='disk')):
            self.notes.lose(
                f'file_client_args of {kind}', 'now backend_args; without it, local files are read'
            )
        if not self._known(kind):
            self.notes.lose(f'pipeline step {kind}', f'{self.task} has no such transform')
            return []
        return [step]

    def _resize(self, step: dict) -> dict:
        scale, keep = step.pop('img_scale', None), step.pop('keep_ratio', True)
        mode, ratios = step.pop('multiscale_mode', 'range'), step.pop('ratio_range', None)
        several = isinstance(scale, list) and isinstance(scale[0], (list, tuple))
        for name in _without(step, 'type', 'override'):
            self.notes.lose(f'{name}={step[name]!r} of Resize', 'the new Resize has no such option')
        if several and len(scale) == 1:
            several, scale = False, scale[0]
        if ratios is not None:
            return dict(type='RandomResize', scale=scale, ratio_range=ratios, keep_ratio=keep)
        if several and mode == 'value':
            return dict(type='RandomChoiceResize', scales=scale, keep_ratio=keep)
        kind = 'RandomResize' if several else 'Resize'
        return dict(type=kind, scale=scale, keep_ratio=keep)

    def _pad(self, step: dict) -> list:
        if 'size_divisor' in step:
            self.preprocessor['pad_size_divisor'] = step['size_divisor']
            return []
        if self.task == 'mmdet':
            value = step.get('pad_val', 0)
            if not isinstance(value, dict):
                step['pad_val'] = dict(img=value)
            return [step]
        self.preprocessor.update(
            size=step['size'],
            pad_val=step.get('pad_val', 0),
            seg_pad_val=step.get('seg_pad_val', 255),
        )
        return []

    def _known(self, kind: str) -> bool:
        with TRANSFORMS.switch_scope_and_registry(self.task) as registry:
            return registry.get(kind) is not None


def _without(step: dict, *keys: str) -> dict:
    return {key: value for key, value in step.items() if key not in keys}
