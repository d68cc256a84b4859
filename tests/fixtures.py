# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What the tests of recipes and tools share: configs, tiny data, a place to run in."""

import contextlib
import copy
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
LEAVES = sorted(
    path
    for folder in ('mask_rcnn', 'cascade_mask_rcnn', 'faster_rcnn', 'upernet')
    for path in (CONFIGS / folder).glob('*.py')
)

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
    """The id of a parametrized test: no paths of a machine in reports."""
    return Path(config).stem


def tiny_options(config) -> tuple:
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
    """Let --toy take the tiny data below ``root`` instead of writing its own 200 images."""
    from mmconvnext import toy

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toy, 'write_coco', lambda *args, **kwargs: root / 'coco')
        patch.setattr(toy, 'write_ade', lambda *args, **kwargs: root / 'ade')
        patch.setattr(toy, 'write_panoptic', lambda *args, **kwargs: root / 'panoptic')
        yield


@contextlib.contextmanager
def tiny_runs_at(root: Path):
    """Besides, input sizes as small as these images, and nothing left of earlier runs."""
    import torch
    from mmengine.config import config

    from mmconvnext.recipe.checks import label_maps
    from mmconvnext.recipe.families.encoder_decoder import EncoderDecoder
    from mmconvnext.recipe.families.family import Family

    forget_runs()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # operations this small only wait for each other on a busy machine
    with toy_data_at(root), pytest.MonkeyPatch.context() as patch:
        patch.setattr(label_maps, 'cache_root', lambda: root / 'cache')
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


@pytest.fixture(scope='session')
def toy_root(tmp_path_factory):
    """Four training and three validation images of 96 pixels, in every layout."""
    from mmconvnext import toy

    root = tmp_path_factory.mktemp('toy')
    toy.write_coco(root / 'coco', num_train=4, num_val=3, size=96, seed=0)
    toy.write_ade(root / 'ade', num_train=4, num_val=3, size=96, seed=0)
    toy.write_panoptic(root / 'panoptic', num_train=4, num_val=3, size=96, seed=0)
    return root


@pytest.fixture
def toy_data(tmp_path, monkeypatch, toy_root):
    """An empty working folder in which --toy finds the tiny data; yields the folder."""
    monkeypatch.chdir(tmp_path)
    with toy_data_at(toy_root):
        yield tmp_path


@pytest.fixture
def workplace(tmp_path, monkeypatch, toy_root):
    """An empty working folder for runs on the tiny data; yields the folder."""
    monkeypatch.chdir(tmp_path)
    with tiny_runs_at(toy_root):
        yield tmp_path


@pytest.fixture(scope='session')
def config_cache():
    return {}


@pytest.fixture
def load(config_cache):
    """Reads a config as the tools do; a fresh copy at each call."""
    from mmconvnext.recipe.load import load_config

    def read(path):
        if path not in config_cache:
            config_cache[path] = load_config(path)
        return copy.deepcopy(config_cache[path])

    return read


def found(cfg, check, loaders=None) -> list:
    """What a check finds: warnings; raises what it refuses."""
    from mmconvnext.recipe.checks.finding import settle
    from mmconvnext.recipe.walk import LOADERS

    return settle(cfg, check(cfg, loaders or LOADERS))


def warnings(log_records) -> list:
    """The texts of the warnings among mmengine's log records."""
    return [r.getMessage() for r in log_records if r.levelno == logging.WARNING]


@pytest.fixture(autouse=True)
def label_map_cache(tmp_path_factory, monkeypatch):
    """An empty folder for what is remembered of label maps, so that nothing lands in a home."""
    from mmconvnext.recipe.checks import label_maps

    root = tmp_path_factory.mktemp('cache')
    monkeypatch.setattr(label_maps, 'cache_root', lambda: root)
    return root


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
                id=i,
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


@pytest.fixture
def coco_data(tmp_path):
    """``own_data`` for detection; its files exist."""
    root = tmp_path / 'own_coco'
    for split in ('train', 'val'):
        write_image(root / split / '0.jpg', np.full((64, 64, 3), 90))
        write_coco_file(root / f'{split}.json')
    return dict(
        root=str(root),
        classes=list(COCO_CLASSES),
        train=dict(images='train', annotations='train.json'),
        val=dict(images='val', annotations='val.json'),
    )


@pytest.fixture
def seg_data(tmp_path):
    """``own_data`` for segmentation; its files exist, with the ids 0, 1, 2 and 255."""
    root = tmp_path / 'own_seg'
    labels = np.zeros((64, 64))
    labels[:, 20:40], labels[:, 40:60], labels[:, 60:] = 1, 2, 255
    for split in ('train', 'val'):
        write_image(root / split / 'images/a.jpg', np.full((64, 64, 3), 90))
        write_image(root / split / 'labels/a.png', labels)
    return dict(
        root=str(root),
        classes=list(SEG_CLASSES),
        train=dict(images='train/images', annotations='train/labels'),
        val=dict(images='val/images', annotations='val/labels'),
    )
