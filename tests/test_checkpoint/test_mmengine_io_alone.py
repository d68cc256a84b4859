# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: without ``install``, init_cfg reads just as safely and does not change mmengine.

The first ``install`` logs what it replaces.
"""

import json
import logging
import re
from pathlib import Path

import mmengine.runner.checkpoint as mmengine_checkpoint
import pytest
import torch
from mmengine.fileio.backends.registry_utils import backends
from mmengine.runner.checkpoint import CheckpointLoader

from mmconvnext import ConvNeXt
from mmconvnext.checkpoint import mmengine_io


@pytest.mark.parametrize('where', ['bucket', 'table'])
def test_init_cfg_reads_by_mmengines_schemes_without_installing(
    where, tiny_arch, monkeypatch, mmengine_state, tmp_path, alone, bucket, unsafe_default
):
    convnext = {f'backbone.{k}': v for k, v in ConvNeXt(tiny_arch).state_dict().items()}
    monkeypatch.setenv('MMENGINE_HOME', str(tmp_path))
    (tmp_path / 'open_mmlab.json').write_text(json.dumps({'model': 'w.pth'}))
    source = {'bucket': f's3://{tmp_path / "w.pth"}', 'table': 'openmmlab://model'}[where]
    torch.save({'state_dict': convnext}, tmp_path / 'w.pth')
    before = mmengine_state()
    net = ConvNeXt(tiny_arch, init_cfg=dict(type='Pretrained', checkpoint=source))
    net.init_weights()
    assert all(torch.equal(v, convnext[f'backbone.{k}']) for k, v in net.state_dict().items())
    assert mmengine_state() == before


def test_a_malicious_file_in_a_bucket_without_installing(
    evil, tiny_arch, mmengine_state, alone, bucket, unsafe_default
):
    path, trace = evil
    before = mmengine_state()
    net = ConvNeXt(tiny_arch, init_cfg=dict(type='Pretrained', checkpoint=f's3://{path}'))
    match = r'Weights only load failed|Unsupported GLOBAL|getattr\(.*is not safe'
    with pytest.raises(Exception, match=match):
        net.init_weights()
    assert not trace.exists() and mmengine_state() == before


def test_mmengine_is_as_it_was_while_init_cfg_reads(tiny_arch, mmengine_state, alone, monkeypatch):
    """Code that loads at the same time, as in another thread, gets mmengine's own loaders.

    So does code that loads after an error.
    """
    seen, before, schemes = [], mmengine_state(), CheckpointLoader._schemes

    class Interrupted:
        def __init__(self, **options: object) -> None:
            pass

        def get(self, filepath: str) -> bytes:
            seen.append(mmengine_state())
            raise KeyboardInterrupt

    monkeypatch.setitem(backends, 'petrel', Interrupted)
    net = ConvNeXt(tiny_arch, init_cfg=dict(type='Pretrained', checkpoint='s3://bucket/w.pth'))
    with pytest.raises(KeyboardInterrupt):
        net.init_weights()
    assert [*seen, mmengine_state()] == [before, before]
    assert CheckpointLoader._schemes is schemes


def test_a_loader_of_somebody_else_is_called_as_it_is(tiny_arch, alone):
    weights = ConvNeXt(tiny_arch).state_dict()
    CheckpointLoader.register_scheme('mine://', lambda filename, map_location: weights)
    net = ConvNeXt(tiny_arch, init_cfg=dict(type='Pretrained', checkpoint='mine://w'))
    net.init_weights()
    assert all(torch.equal(value, weights[name]) for name, value in net.state_dict().items())


def test_the_first_installing_logs_one_line_that_names_what_it_replaces(alone, caplog):
    caplog.set_level('DEBUG', 'mmconvnext')
    line = mmengine_io.install()
    assert re.fullmatch(
        "mmconvnext replaced in mmengine, in this process only: CheckpointLoader's loaders for "
        r"torchvision://, .*https://, http://, .*s3://, .*, paths; the storage backend 'local'",
        line,
    )
    assert mmengine_io.install() == ''
    ((name, level, message),) = caplog.record_tuples
    assert (name, logging.getLevelName(level), message) == ('mmconvnext', 'DEBUG', line)


def test_a_loader_that_came_later_is_replaced_alone(alone):
    mmengine_io.install()
    CheckpointLoader.register_scheme('http://', mmengine_checkpoint.load_from_http, force=True)
    assert mmengine_io.install().endswith("only: CheckpointLoader's loaders for http://")
    assert CheckpointLoader._schemes['http://'] is mmengine_io.load_from_http


def test_the_tools_that_run_a_runner_install():
    package = Path(mmengine_io.__file__).parents[1]
    users = [p for p in package.rglob('*.py') if re.search(r'\binstall\(', p.read_text('utf-8'))]
    users = [path.relative_to(package) for path in users]
    assert {str(path) for path in users if path.parts[0] != '.mim'} == {  # copies of tools
        'checkpoint/mmengine_io.py',
        'cli/train.py',
        'cli/test.py',
        'cli/analyze.py',
        'cli/repeat_step.py',
    }
