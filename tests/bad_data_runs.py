# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Trainings of milliseconds on images in files, which turn bad while they run."""

import os
import random
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from mmcv.transforms import LoadImageFromFile
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.hooks import Hook
from mmengine.registry import DATASETS
from mmengine.runner import Runner
from PIL import Image
from resume_runs import config, end_workers, forget_runs

from mmconvnext.faults.bad_data import DataSettings
from mmconvnext.faults.hook import BadData, train_naming
from mmconvnext.faults.looks import Expected
from mmconvnext.resume.runner import exact

SIZE = WIDTH, HEIGHT = 9, 6


def pictures(folder, count=10) -> Path:
    """Images 0.png, 1.png, ... that differ."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for i in range(count):
        pixels = np.random.RandomState(i).randint(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        Image.fromarray(pixels).save(f'{folder}/{i}.png')
    return Path(folder)


def pack(results) -> dict:
    """Four numbers for ResumeModel: of the image, and of all random generators."""
    numbers = [results['img'].mean() / 255, random.random(), np.random.rand(), torch.rand(())]
    return dict(inputs=torch.tensor([float(number) for number in numbers]))


@DATASETS.register_module(force=True)
class PictureDataset(BaseDataset):
    """The images of a folder; ``maps`` is a folder of label maps with the same names."""

    METAINFO = dict(classes=('a', 'b'))

    def __init__(self, folder, length=10, pipeline=None, maps='', test_mode=False, sized=True):
        self.folder, self.length, self.maps, self.sized = folder, length, maps, sized
        pipeline = [LoadImageFromFile(), pack] if pipeline is None else pipeline
        super().__init__(serialize_data=False, pipeline=pipeline, test_mode=test_mode)

    def load_data_list(self):
        size = dict(width=WIDTH, height=HEIGHT) if self.sized else {}
        rows = [dict(img_path=f'{self.folder}/{i}.png', **size) for i in range(self.length)]
        for i, row in enumerate(rows):
            if self.maps:
                row.update(seg_map_path=f'{self.maps}/{i}.png', reduce_zero_label=False)
                row.update(seg_fields=[], label_map=None)
        return rows

    def get_cat_ids(self, index):
        return [index % 2]


class Damage(Hook):
    """Does something before an iteration of the training."""

    priority = 'VERY_HIGH'

    def __init__(self, at, action):
        self.at, self.action = at, action

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.at:
            self.action()


def picture_config(work_dir, folder, by_epoch=True, workers=0, length=10, **changes) -> Config:
    cfg = config(work_dir, by_epoch, workers, **changes)
    cfg.train_dataloader.dataset = dict(type='PictureDataset', folder=str(folder), length=length)
    return cfg


def run(cfg, *hooks, policy='stop', waits=(), resume='', expected=Expected()):  # noqa: B008
    """Train as the tool does."""
    if not os.environ.get('OWN_PROCESS'):
        forget_runs()
    if resume:
        cfg = Config({**cfg.to_dict(), 'resume': True, 'load_from': str(resume)})
    object.__setattr__(cfg, '_format_python_code', False)
    runner = exact(Runner).from_cfg(cfg)
    hook = BadData(DataSettings(policy, waits), expected)
    for one in (*hooks, hook):
        runner.register_hook(one)
    try:
        train_naming(runner, hook)
    finally:
        end_workers(runner)
    return runner


def run_rank(rank, folder, policy) -> None:
    """One of two processes; rank 1 is the only one whose next images are bad."""
    os.environ |= dict(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2', OWN_PROCESS='1')
    store = dist.FileStore(f'{folder}/store', 2)
    dist.init_process_group('gloo', store=store, rank=rank, world_size=2)
    wrapper = dict(type='MMDistributedDataParallel', device_ids=None)
    cfg = picture_config(
        f'{folder}/run',
        f'{folder}/of{rank}',
        launcher='pytorch',
        model_wrapper_cfg=wrapper,
        length=12,
    )
    bad = sorted(Path(folder, 'of1').iterdir())[:3] if rank else []
    damage = Damage(1, lambda: [path.write_bytes(b'') for path in bad])
    runner = run(cfg, damage, policy=policy)
    dist.destroy_process_group()
    print(f'rank {rank} ended after {runner.iter}')
