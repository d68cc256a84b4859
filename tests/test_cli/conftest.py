# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Fixtures for the tests of the tools: one short run of each kind, and fake programs."""

from collections import namedtuple

import pytest
from fixtures import MASK_RCNN, UPERNET, tiny_options, tiny_runs_at

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


@pytest.fixture
def fake_program(tmp_path, monkeypatch):
    """A function that puts a program first on PATH; it only prints its arguments, one per line."""

    def put(name):
        folder = tmp_path / 'fake bin'
        folder.mkdir(exist_ok=True)
        file = folder / name
        file.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        file.chmod(0o755)
        monkeypatch.setenv('PATH', f'{folder}:/usr/bin:/bin')

    return put
