# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/check_config.py: all that comes before training, and nothing is written."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from fixtures import MASK_RCNN, NUCLEI, TINY_DETECTOR, TINY_SEGMENTOR, UPERNET

from mmconvnext.checkpoint.errors import CheckpointNotFound
from mmconvnext.cli import check_config
from mmconvnext.cli.check_config import main
from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.preflight.measure import CPU, Measured

DETECTOR = [MASK_RCNN, '--toy', '--cfg-options', *TINY_DETECTOR]
SEGMENTOR = [UPERNET, '--toy', '--cfg-options', *TINY_SEGMENTOR]


def as_json(capsys) -> dict:
    return json.loads(capsys.readouterr().out)


def refused(capsys, match, argv, error=RecipeError) -> dict:
    with pytest.raises(error, match=match):
        main([*argv, '--json', '--steps', '0'])
    facts = as_json(capsys)
    assert facts['verdict'] == 'refused' and facts['error']
    return facts


def test_the_report_of_a_detector(workplace, capsys):
    before = {path for path in workplace.rglob('*')}
    main([*DETECTOR, '--steps', '1', '--work-dir', 'run'])
    said = capsys.readouterr()
    assert said.err == 'measuring 1 training step ...\n'
    rows = {line[:10].strip(): line[10:] for line in said.out.splitlines() if line[0] != ' '}
    assert rows['config'].endswith('(work dir run)')
    assert rows['model'].startswith('MaskRCNN, ConvNeXt v1 (depths 1 1 2 1), random weights')
    assert '4 of 4' in said.out and 'train: 4 read in ' in rows['samples']
    assert rows['schedule'].startswith('1 epoch of 2 iterations (2), 2 images each; 1 validation')
    assert 'AdamW, learning rate 0.0006; LinearLR to 50 iterations, ' in said.out
    # Two of them are those between, see recipe/preflight/disk.py.
    assert rows['disk'].startswith('3 checkpoints of ') and rows['disk'].endswith(' free in run')
    assert ' of the process at its peak; of these weights ' in rows['memory']
    assert ' an iteration on this CPU (1 step measured), ' in rows['time']
    assert 'val has 3 images, so its metrics are noisy' in said.out
    assert rows['verdict'].startswith('it can train; read the warnings above (')
    assert {path for path in workplace.rglob('*')} == before  # nothing is written
    assert 'loading annotations' not in said.out and 'mmengine' not in said.out


def test_the_report_of_a_segmentor_as_json(workplace, capsys):
    main([*SEGMENTOR, '--json', '--steps', '1', '--samples', '3'])
    facts = as_json(capsys)
    assert facts['verdict'] == 'warnings' and facts['error'] == ''
    assert [row['name'] for row in facts['data']] == ['train', 'val', 'test']
    train, val = facts['samples']
    assert (train['read'], train['listed'], val['read']) == (3, 0, 1)
    assert 0 < train['objects'] < 3 * 64 * 64 and train['channels'] == 3
    assert facts['schedule']['iterations'] == 2 and facts['schedule']['validations'] == 1
    model, found = facts['model'], facts['estimates']
    assert model['weights'] > 4 * model['parameters'] and model['optimizer'] > model['gradients']
    assert found['memory'] > 1e8 and found['measured_steps'] == 1
    whole = 2 * found['seconds_per_iteration'] + found['seconds_per_validation']
    assert found['seconds'] == pytest.approx(whole)
    assert facts['disk']['each'] > model['weights'] + model['optimizer']
    assert any('SyncBN becomes BN over a batch of 2' in line for line in facts['notes'])
    assert not any(line.startswith('data ') for line in facts['notes'])
    assert any('val has 3 images' in line for line in facts['warnings'])


def test_steps_are_left_out_and_strict_counts_warnings(workplace, capsys):
    with pytest.raises(SystemExit, match='^1$'):
        main([*SEGMENTOR, '--steps', '0', '--strict'])
    said = capsys.readouterr()
    assert said.err == '' and '\nmemory' not in said.out and '\nschedule' in said.out


# Refusals: the way out is that of training


def test_what_training_refuses(workplace, capsys):
    facts = refused(capsys, "arch='tinny' is unknown", [*DETECTOR, 'model.backbone.arch=tinny'])
    assert 'tinny' in facts['error'] and facts['data'] == []
    refused(capsys, "there is no config 'gone.py'", ['gone.py'])
    used = workplace / 'used'
    used.mkdir()
    (used / 'epoch_1.pth').touch()
    refused(capsys, 'used holds another run', [*DETECTOR, 'work_dir=used'])


ZERO = 'optim_wrapper.optimizer.type=ZeroRedundancyOptimizer'


@pytest.mark.parametrize(
    ('option', 'match'),
    [
        ([ZERO, 'optim_wrapper.optimizer.optimizer_type=Adem'], 'optimizer_type=.Adem.; choose'),
        (['model_wrapper_cfg.type=MMFullyShardedDataParallel'], 'is FSDP1'),
    ],
)
def test_what_several_processes_would_refuse(workplace, capsys, option, match):
    refused(capsys, match, [MASK_RCNN, '--json', '--toy', '--cfg-options', *option])


def test_weights_that_are_not_there(workplace, capsys):
    name = ['model.backbone.init_cfg.type=Pretrained']
    name += ['model.backbone.init_cfg.checkpoint=convnext-tinny_in1k']
    facts = refused(
        capsys, 'did you mean convnext-tiny_in1k', [*DETECTOR, *name], CheckpointNotFound
    )
    assert facts['data'][0]['images'] == 4  # what was known is told
    match = "'gone.pth' is neither a file"
    refused(capsys, match, [*DETECTOR, 'load_from=gone.pth'], CheckpointNotFound)


def test_samples_that_cannot_be_read(workplace, capsys, monkeypatch):
    def fail(self, results):
        raise OSError('of no use')

    monkeypatch.setattr('mmdet.datasets.transforms.RandomFlip.transform', fail)
    match = r'train_dataloader: sample 0 \(.*1\.png\) fails in RandomFlip: OSError: of no use'
    facts = refused(capsys, match, DETECTOR)
    assert facts['samples'][0]['fault']
    main([*DETECTOR, 'checks.samples=False', '--json', '--steps', '0'])
    assert any('checks.samples=False' in line for line in as_json(capsys)['warnings'])


def test_means_of_other_values(workplace, capsys):
    mean = 'model.data_preprocessor.mean=[0.485,0.456,0.406]'
    std = 'model.data_preprocessor.std=[0.229,0.224,0.225]'
    refused(capsys, 'belong to values of 0 to 1; multiply both by 255', [*DETECTOR, mean, std])


def test_a_disk_without_room(workplace, capsys, monkeypatch):
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: SimpleNamespace(free=1000))
    refused(capsys, r'0 MB are free, but a checkpoint takes \d+ MB', DETECTOR)


def test_a_training_step_that_fails(workplace, capsys, monkeypatch):
    def fail(*args, **kwargs):
        raise IndexError('label 4 is out of range')

    monkeypatch.setattr('mmdet.models.roi_heads.bbox_heads.BBoxHead.loss', fail)
    match = 'a training step fails: IndexError: label 4 is out of range'
    with pytest.raises(RecipeError, match=match):
        main([*DETECTOR, '--steps', '1'])
    assert 'refused: tools/train.py would not start' in capsys.readouterr().out


def test_a_step_that_does_not_fit_into_memory(workplace, capsys, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes")

    monkeypatch.setattr('mmdet.models.roi_heads.bbox_heads.BBoxHead.loss', fail)
    with pytest.raises(RecipeError, match=r'(?s)does not fit into the memory .*batch_size=1'):
        main([*DETECTOR, '--steps', '1'])


def test_own_data_and_a_test_without_a_val_loader(workplace, capsys, coco_data):
    config = workplace / 'mine.py'
    config.write_text(
        f'_base_ = {NUCLEI!r}\nown_data = {coco_data!r}\n'
        'val_dataloader = None\nval_cfg = None\nval_evaluator = None\n'
        "__import__('mmconvnext').use_own_data(locals())\n"
    )
    options = ['--cfg-options', *TINY_DETECTOR, 'val_dataloader=None', 'val_cfg=None']
    main([str(config), '--json', '--steps', '0', *options, 'val_evaluator=None'])
    facts = as_json(capsys)
    assert [found['loader'] for found in facts['samples']] == ['train_dataloader']
    assert facts['schedule']['validations'] == 0


def test_averaged_weights_take_memory_and_disk(workplace, capsys, monkeypatch):
    measured = Measured(1, CPU, 0.1, 0.2, 0.2, 500_000_000)
    monkeypatch.setattr(check_config, 'measure_steps', lambda *args: measured)
    monkeypatch.setattr(check_config, 'measure_validation', lambda *args: 0.5)
    reports = []
    for hooks in ('[]', '[{"type": "EMAHook"}]'):
        config = workplace / 'mine.py'
        config.write_text(f'_base_ = {UPERNET!r}\ncustom_hooks = {hooks}\n')
        main([str(config), '--json', *SEGMENTOR[1:]])
        reports.append(as_json(capsys))
    plain, averaged = reports
    weights = plain['model']['weights']
    assert averaged['estimates']['memory'] - 500_000_000 == weights
    assert averaged['disk']['each'] - plain['disk']['each'] == weights
    assert plain['estimates']['seconds_per_validation'] == 1.5  # three images


def test_seeds_are_those_of_no_run(workplace, capsys):
    """The same samples each time, so that two reports can be compared."""
    reports = []
    for _ in range(2):
        main([*SEGMENTOR, '--json', '--steps', '0'])
        (report,) = [found for found in as_json(capsys)['samples'] if found['read'] > 1]
        reports.append(report['objects'])
        torch.rand(3)
    assert reports[0] == reports[1]
    assert not list(Path().iterdir())
