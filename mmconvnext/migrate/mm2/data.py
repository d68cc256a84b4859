# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Turn ``data`` and ``evaluation`` into dataloaders and evaluators."""

from __future__ import annotations

from mmengine.registry import DATASETS

from ..notes import Notes
from .pipeline import PipelineReader
from .schedule import length

# Where the files are: the keys of an old dataset -> the keys of data_prefix.
PREFIXES = {'mmdet': {'img_prefix': 'img', 'seg_prefix': 'seg'}, 'mmseg': {}}
PREFIXES['mmseg'] = {'img_dir': 'img_path', 'ann_dir': 'seg_map_path'}
# Options with the same name and meaning.
KEPT = ('type', 'img_suffix', 'seg_map_suffix', 'reduce_zero_label', 'ignore_index', 'data_root')
EVALUATORS = {'VOCDataset': 'VOCMetric', 'LVISV1Dataset': 'LVISMetric', 'LVISDataset': 'LVISMetric'}
WORKERS = 2  # mmdet 2's configs
SAME_METRIC_OPTIONS = ('classwise', 'proposal_nums', 'iou_thrs', 'metric_items')
# How evaluation is run, not what it measures: not options of a metric in mmengine.
RUN_OPTIONS = ('interval', 'metric', 'save_best', 'pre_eval', 'by_epoch', 'rule', 'start')


class DataReader:
    """Translate the datasets of one config."""

    def __init__(self, cfg: dict, task: str, pipelines: PipelineReader, notes: Notes) -> None:
        self.cfg, self.task, self.notes, self.pipelines = cfg, task, notes, pipelines
        self.data = cfg.get('data') or {}
        self.root = str(cfg.get('data_root') or '')

    def loaders(self) -> dict:
        """``train_dataloader``, ``val_dataloader``, ``test_dataloader`` and both pipelines."""
        train = self._training()
        val, test = self._testing('val'), self._testing('test')
        new = dict(train_dataloader=train, val_dataloader=val, test_dataloader=test)
        new = {key: value for key, value in new.items() if value}
        for key, name in (('train_dataloader', 'train'), ('test_dataloader', 'test')):
            if pipeline := _pipeline(new.get(key, {}).get('dataset', {})):
                new[f'{name}_pipeline'] = pipeline
        return new

    def evaluators(self) -> dict:
        """``val_evaluator`` and ``test_evaluator``."""
        asked = dict(self.cfg.get('evaluation') or {})
        new = {}
        for split in ('val', 'test'):
            dataset = innermost(self.data.get(split))
            if dataset:
                new[f'{split}_evaluator'] = self._evaluator(asked, dataset)
        for key in set(asked) - {*RUN_OPTIONS, *SAME_METRIC_OPTIONS}:
            self.notes.lose(
                f'evaluation.{key}={asked[key]!r}', 'the new metrics have no such option'
            )
        return new

    def _evaluator(self, asked: dict, dataset: dict) -> dict:
        metric = asked.get('metric')
        if self.task == 'mmseg':
            metric = metric or 'mIoU'
            return dict(
                type='IoUMetric', iou_metrics=[metric] if isinstance(metric, str) else metric
            )
        kind = EVALUATORS.get(dataset['type'], 'CocoMetric')
        extra = {key: asked[key] for key in SAME_METRIC_OPTIONS if key in asked}
        if kind == 'VOCMetric':
            return dict(type=kind, metric='mAP', eval_mode='11points', **extra)
        path = _join(dataset.get('data_root') or '', dataset['ann_file'])
        return dict(type=kind, ann_file=path, metric=metric, format_only=False, **extra)

    def _training(self) -> dict:
        dataset = self.data.get('train')
        if not dataset:
            self.notes.lose('data.train', 'not in the config: write train_dataloader yourself')
            return {}
        if isinstance(dataset, (list, tuple)):
            dataset = dict(type='ConcatDataset', datasets=list(dataset))
        iterations = length(self.cfg)[0] == 'max_iters'
        loader = self._loader(self.data.get('samples_per_gpu', 1), 'train_dataloader')
        loader['sampler'] = dict(
            type='InfiniteSampler' if iterations else 'DefaultSampler', shuffle=True
        )
        if self.task == 'mmdet':
            loader['batch_sampler'] = dict(type='AspectRatioBatchSampler')
        loader['dataset'] = self._dataset(dict(dataset), test=False)
        return loader

    def _testing(self, split: str) -> dict:
        dataset = self.data.get(split)
        if not dataset:
            return {}
        if isinstance(dataset, (list, tuple)):
            dataset = dict(type='ConcatDataset', datasets=list(dataset))
        loader = self._loader(1, f'{split}_dataloader')
        loader['sampler'] = dict(type='DefaultSampler', shuffle=False)
        if self.task == 'mmdet':
            loader['drop_last'] = False
        loader['dataset'] = self._dataset(dict(dataset), test=True)
        return loader

    def _loader(self, batch: int, own: str) -> dict:
        own_options = self.data.get(own) or {}
        workers = own_options.get('workers_per_gpu', self.data.get('workers_per_gpu', WORKERS))
        return dict(
            batch_size=own_options.get('samples_per_gpu', batch),
            num_workers=workers,
            persistent_workers=workers > 0,
        )

    def _dataset(self, old: dict, test: bool) -> dict:
        for key in ('dataset', 'datasets'):  # wrappers: RepeatDataset, ConcatDataset, ...
            if key in old:
                inner = old[key]
                many = isinstance(inner, (list, tuple))
                old[key] = [self._dataset(dict(d), test) for d in (inner if many else [inner])]
                old[key] = old[key] if many else old[key][0]
                if 'pipeline' in old:
                    old['pipeline'] = self.pipelines.training(old['pipeline'])
                return old
        new = {key: old.pop(key) for key in KEPT if key in old}
        new['data_root'] = new.get('data_root') or self._common_root(old)
        if split := old.pop('split', None):
            old['ann_file'] = split
        prefixes = {
            ours: self._inside(old.pop(theirs), new)
            for theirs, ours in PREFIXES[self.task].items()
            if old.get(theirs) is not None
        }
        if 'ann_file' in old:
            new['ann_file'] = self._inside(old.pop('ann_file'), new)
        if not new['data_root']:
            del new['data_root']
        new['data_prefix'] = prefixes
        self._metainfo(old, new)
        steps = old.pop('pipeline')
        if test:
            if self.task == 'mmdet':  # mmseg's own configs omit it
                new['test_mode'] = True
            new['pipeline'] = self.pipelines.testing(steps, self._annotations(new))
        else:
            if self.task == 'mmdet':
                empty = old.pop('filter_empty_gt', True)
                new['filter_cfg'] = dict(filter_empty_gt=empty, min_size=32)  # mmdet 2's
            new['pipeline'] = self.pipelines.training(steps)
        for key in old:
            if key not in ('test_mode', 'filter_empty_gt', 'img_prefix', 'seg_prefix', 'ann_dir'):
                self.notes.lose(f'{key} of the dataset', f'{new["type"]} has no such option')
        self._check_type(new['type'])
        return new

    def _annotations(self, new: dict) -> dict | None:
        """The step that loads annotations for evaluation: boxes for mmdet, label maps for mmseg."""
        if self.task == 'mmdet':
            return dict(type='LoadAnnotations', with_bbox=True, with_mask=self.pipelines.masks)
        reduce = self.pipelines_reduce(new)
        return dict(type='LoadAnnotations', **reduce)

    def pipelines_reduce(self, new: dict) -> dict:
        """The ``reduce_zero_label`` of the training pipeline."""
        train = innermost(self.data.get('train')) or {}
        for step in train.get('pipeline', []):
            if step['type'] == 'LoadAnnotations' and 'reduce_zero_label' in step:
                return dict(reduce_zero_label=step['reduce_zero_label'])
        return {k: v for k, v in new.items() if k == 'reduce_zero_label'}

    def _metainfo(self, old: dict, new: dict) -> None:
        metainfo = {key: old.pop(key) for key in ('classes', 'palette') if old.get(key) is not None}
        if isinstance(metainfo.get('classes'), str):
            self.notes.lose(
                f'classes={metainfo.pop("classes")!r}',
                'is a file; write its class names into metainfo',
            )
        if metainfo:
            new['metainfo'] = metainfo

    def _common_root(self, old: dict) -> str:
        """The config's own data_root, if all paths of the dataset begin with it; else ''."""
        paths = [old.get(key) for key in ('ann_file', *PREFIXES[self.task])]
        paths = [path for path in paths if isinstance(path, str)]
        inside = self.root and all(path.startswith(self.root) for path in paths)
        return self.root if inside and paths else ''

    @staticmethod
    def _inside(path: str, new: dict) -> str:
        root = new['data_root']
        if root and isinstance(path, str) and path.startswith(root):
            return path[len(root) :].lstrip('/')
        return path

    def _check_type(self, kind: str) -> None:
        with DATASETS.switch_scope_and_registry(self.task) as registry:
            if registry.get(kind) is None:
                self.notes.lose(
                    f'dataset {kind}',
                    f'{self.task} has no such dataset: port the class, or use one that it has, '
                    'with your classes in its metainfo',
                )


def innermost(dataset: object) -> dict | None:
    """The dataset inside RepeatDataset and other wrappers; None if there is none."""
    while isinstance(dataset, (dict, list, tuple)):
        if isinstance(dataset, (list, tuple)):
            dataset = dataset[0]
        elif 'dataset' in dataset:
            dataset = dataset['dataset']
        elif 'datasets' in dataset:
            dataset = dataset['datasets'][0]
        else:
            return dataset
    return None


def _pipeline(dataset: dict) -> list | None:
    return (innermost(dataset) or {}).get('pipeline') if dataset else None


def _join(root: str, path: str) -> str:
    return path if not root or path.startswith(('/', root)) else f'{root.rstrip("/")}/{path}'
