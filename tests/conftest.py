# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Fixtures for all tests: seeds, a tiny network, the log, configs, tiny data, working folders."""

# isort: off
import isolation  # first: it sets what torch reads at its import

# isort: on
import copy
import importlib.util
import itertools
import logging
import random
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from fixtures import (
    COCO_CLASSES,
    MASK_RCNN,
    ROOT,
    SEG_CLASSES,
    UPERNET,
    tiny_options,
    tiny_runs_at,
    toy_data_at,
    write_coco_file,
    write_image,
)

# Last, so that the packages themselves come first where they are installed.
sys.path.append(str(Path(__file__).parent / 'stand_ins'))


def pytest_configure(config):
    config.pluginmanager.register(isolation)
    # pytest-randomly orders the tests; their random numbers are the same in every run.
    config.option.randomly_reset_seed = False


def seed() -> None:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """Make fixtures of a module or a session independent of the tests before."""
    seed()


@pytest.fixture(autouse=True)
def _seeds():
    """Make every test independent of those before it."""
    seed()


@pytest.fixture
def tiny_arch() -> dict:
    """Four stages, five blocks, 0.1M parameters."""
    return dict(depths=[1, 1, 2, 1], channels=[8, 16, 32, 64])


@pytest.fixture
def log_records():
    """The records that mmengine's current logger receives during the test, from INFO up."""
    from mmengine.logging import MMLogger

    class Keep(logging.Handler):
        def emit(self, record):
            records.append(record)

    records: list[logging.LogRecord] = []
    logger, handler = MMLogger.get_current_instance(), Keep(logging.INFO)
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)


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


Run = namedtuple('Run', 'config options work_dir checkpoint runner')


def _train(config, root, work_dir) -> Run:
    from mmconvnext.cli.train import main

    options = tiny_options(config)
    with tiny_runs_at(root):
        runner = main([config, '--toy', '--work-dir', str(work_dir), '--cfg-options', *options])
    (checkpoint,) = work_dir.glob('*.pth')
    return Run(config, options, work_dir, str(checkpoint), runner)


@pytest.fixture(scope='session')
def detector_run(toy_root, tmp_path_factory):
    """Two iterations of Mask R-CNN; its folder is shared, so do not write into it."""
    return _train(MASK_RCNN, toy_root, tmp_path_factory.mktemp('detector'))


@pytest.fixture(scope='session')
def segmentor_run(toy_root, tmp_path_factory):
    """Two iterations of UPerNet; its folder is shared, so do not write into it."""
    return _train(UPERNET, toy_root, tmp_path_factory.mktemp('segmentor'))


@pytest.fixture(scope='module')
def setup_env():
    """tools/setup_env.py as a module; it is a script for machines without this package."""
    spec = importlib.util.spec_from_file_location('setup_env', ROOT / 'tools/setup_env.py')
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / 'tools')  # as python does for a script
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='session')
def config_cache():
    return {}


@pytest.fixture
def load(config_cache):
    """A function that reads a config as the tools do; each call returns a fresh copy."""
    from mmconvnext.recipe.load import load_config

    def read(path):
        if path not in config_cache:
            config_cache[path] = load_config(path)
        return copy.deepcopy(config_cache[path])

    return read


@pytest.fixture(scope='session')
def caches(tmp_path_factory):
    """The numbered paths of the users' caches."""
    root = tmp_path_factory.mktemp('caches')
    return (root / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def cache_home(caches, monkeypatch):
    """The path of our empty folder in the user's cache: no test reads what another wrote."""
    home = next(caches)  # a folder for each of 7000 tests would take a minute
    monkeypatch.setenv('XDG_CACHE_HOME', str(home))
    return home / 'mmconvnext'


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
