# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""A dataset of small dicts, with the methods of mmengine's that reading a sample needs."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset


class Given(BaseDataset):
    """Lists what it is given, a dict for each image."""

    def __init__(self, infos, pipeline, **kwargs):
        self.infos = infos
        super().__init__(pipeline=pipeline, **kwargs)

    def load_data_list(self):
        return self.infos


class Load:
    """Boxes of the listed objects; those with ignore_flag are flagged."""

    def __call__(self, results):
        flags = [one['ignore_flag'] for one in results['instances']]
        results['gt_ignore_flags'] = np.array(flags, bool)
        return results


class Pack:
    def __init__(self, value=200):
        self.value = value

    def __call__(self, results):
        usable = int((~results['gt_ignore_flags']).sum())
        return dict(
            inputs=torch.full((3, 4, 5), self.value, dtype=torch.uint8),
            data_samples=SimpleNamespace(gt_instances=list(range(usable))),
        )


def image(number, objects=2, crowds=0):
    flags = [0] * objects + [1] * crowds
    return dict(img_path=f'{number}.png', instances=[dict(ignore_flag=flag) for flag in flags])


@pytest.fixture
def dataset():
    """A function: the dataset of images with these steps between loading and packing."""

    def build(images, *steps, value=200):
        return Given(images, [Load(), *steps, Pack(value)], test_mode=False)

    return build
