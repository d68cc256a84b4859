# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Constants and functions for the tests of recipes and tools; the fixtures are in conftest.py."""

import contextlib
import json
import logging
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / 'configs'
MASK_RCNN = str(CONFIGS / 'mask_rcnn/mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py')
FASTER_RCNN = str(CONFIGS / 'faster_rcnn/faster-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py')
CASCADE = str(
    CONFIGS / 'cascade_mask_rcnn/'
    'cascade-mask-rcnn_convnext-t-p4-w7_fpn_4conv1fc-giou_amp-ms-crop-3x_coco.py'
)
UPERNET = str(CONFIGS / 'upernet/convnext-tiny_upernet_8xb2-amp-160k_ade20k-512x512.py')
NUCLEI = str(CONFIGS / 'own_data/mask-rcnn_convnext-atto_nuclei.py')
# The configs that a user trains with.
LEAVES = sorted(path for path in CONFIGS.glob('*/*.py') if path.parent.name != '_base_')

# For --cfg-options: a network and a schedule of seconds. `_delete_` because arch is a name.
TINY = (
    'model.backbone.arch._delete_=True',
    'model.backbone.arch.depths=[1,1,2,1]',
    'model.backbone.arch.channels=[8,16,32,64]',
    'train_dataloader.batch_size=2',
    'default_hooks.logger.interval=1',
    'env_cfg.cudnn_benchmark=False',
    'randomness.seed=0',
)
TINY_DETECTOR = (
    *TINY,
    'model.neck.in_channels=[8,16,32,64]',
    'model.neck.out_channels=64',
    'model.test_cfg.rcnn.max_per_img=5',
    'train_cfg.max_epochs=1',
    'train_cfg.val_interval=1',
)
TINY_SEGMENTOR = (
    *TINY,
    'model.decode_head.in_channels=[8,16,32,64]',
    'model.decode_head.channels=16',
    'model.auxiliary_head.in_channels=32',
    'model.auxiliary_head.channels=16',
    'train_cfg.max_iters=2',
    'train_cfg.val_interval=2',
    'default_hooks.checkpoint.interval=2',
)


def public_config(name) -> str:
    """The path of a config that another project ships: 'mmseg::_base_/models/upernet_r50.py'.

    mmengine resolves 'mmseg::' in one of the two stacks only.
    """
    package, _, file = name.partition('::')
    return str(Path(import_module(package).__file__).parent / '.mim/configs' / file)


def stem(config) -> str:
    """The id of a parametrized test, so that reports contain no machine's paths."""
    return Path(config).stem


def tiny_options(config) -> tuple:
    if 'segformer' in str(config):  # one head; its 16 groups need 2 channels for maps of 1 pixel
        one_head = (option for option in TINY_SEGMENTOR if 'auxiliary_head' not in option)
        return (*one_head, 'model.decode_head.channels=32')
    return TINY_SEGMENTOR if 'upernet' in str(config) else TINY_DETECTOR


def forget_runs() -> None:
    """Drop mmengine's named singletons: a second run in a process would log into the first's."""
    from mmdet.visualization import DetLocalVisualizer
    from mmengine.logging import MessageHub
    from mmengine.visualization import Visualizer
    from mmseg.visualization import SegLocalVisualizer

    for kind in (Visualizer, DetLocalVisualizer, SegLocalVisualizer, MessageHub):
        kind._instance_dict.clear()


@contextlib.contextmanager
def toy_data_at(root: Path):
    """Make --toy use the tiny data below ``root`` instead of writing its own 200 images."""
    from mmconvnext import toy

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toy, 'write_coco', lambda *args, **kwargs: root / 'coco')
        patch.setattr(toy, 'write_ade', lambda *args, **kwargs: root / 'ade')
        patch.setattr(toy, 'write_panoptic', lambda *args, **kwargs: root / 'panoptic')
        yield


@contextlib.contextmanager
def tiny_runs_at(root: Path):
    """Like ``toy_data_at``, with input sizes that fit these images and no trace of earlier runs."""
    import torch
    from mmengine.config import config

    from mmconvnext.recipe.families.encoder_decoder import EncoderDecoder
    from mmconvnext.recipe.families.family import Family

    forget_runs()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # operations this small only wait for each other on a busy machine
    with toy_data_at(root), pytest.MonkeyPatch.context() as patch:
        patch.setenv('XDG_CACHE_HOME', str(root / 'cache'))
        patch.setattr(Family, 'image_scale', 96 / 800)
        patch.setattr(EncoderDecoder, 'image_scale', 64 / 512)
        # Half of such a run is yapf, which mmengine calls five times to indent the config
        # (onedl's does not).
        patch.setattr(config, 'FormatCode', lambda text, **_: (text, True), raising=False)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            forget_runs()


def found(cfg, check, loaders=None) -> list:
    """Return the warnings of a check; raise its errors."""
    from mmconvnext.recipe.checks.finding import settle
    from mmconvnext.recipe.walk import LOADERS

    return settle(cfg, check(cfg, loaders or LOADERS))


def warnings(log_records) -> list:
    """The texts of the warnings among mmengine's log records."""
    return [r.getMessage() for r in log_records if r.levelno == logging.WARNING]


def as_lazy(cfg, file: Path, scope: str) -> None:
    """Write a config in mmengine's newer style: with imports, and classes as types."""
    from mmengine import registry

    kinds = [
        getattr(registry, name)
        for name in ('MODELS', 'TRANSFORMS', 'DATASETS', 'DATA_SAMPLERS', 'METRICS', 'HOOKS')
    ]
    imports = {}

    def text(node) -> str:
        if isinstance(node, dict):
            rows = (f'{k!r}: {kind(v) if k == "type" else text(v)}' for k, v in node.items())
            return '{' + ', '.join(rows) + '}'
        if isinstance(node, (list, tuple)):
            rows = ''.join(f'{text(item)}, ' for item in node)
            return f'[{rows}]' if isinstance(node, list) else f'({rows})'
        return repr(node)

    def kind(name) -> str:
        for of_kind in kinds if isinstance(name, str) else ():
            with of_kind.switch_scope_and_registry(scope) as scoped:
                found = scoped.get(name)
            if isinstance(found, type) and found.__name__ == name.rpartition('.')[2]:
                imports[found.__name__] = found.__module__
                return found.__name__
        return repr(name)

    rows = [f'{key} = {text(value)}' for key, value in cfg.items()]
    head = [f'from {module} import {name}' for name, module in sorted(imports.items())]
    file.write_text('\n'.join([*head, *rows]) + '\n')


COCO_CLASSES = ['cat', 'dog']
SEG_CLASSES = ['grass', 'road', 'sky']


def write_image(file: Path, array) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, dtype=np.uint8)).save(file)


def write_coco_file(file: Path, categories=tuple(COCO_CLASSES), images: int = 1) -> None:
    """A COCO file with one square object of the first category in each image."""
    file.parent.mkdir(parents=True, exist_ok=True)
    content = dict(
        images=[dict(id=i, file_name=f'{i}.jpg', width=64, height=64) for i in range(images)],
        annotations=[
            dict(
                id=i + 1,
                image_id=i,
                category_id=1,
                bbox=[8, 8, 40, 40],
                area=1600,
                iscrowd=0,
                segmentation=[[8, 8, 48, 8, 48, 48, 8, 48]],
            )
            for i in range(images)
        ],
        categories=[dict(id=i, name=name) for i, name in enumerate(categories, 1)],
    )
    file.write_text(json.dumps(content))
