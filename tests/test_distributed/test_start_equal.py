# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Two processes compute what one computes on the same images, to rounding; and evaluate the same.

The recipes' own random numbers (crops, flips, dropout, RoI samples) are turned off: each process
draws its own. Samples that stochastic depth skips are chosen by what is in the image.
"""

import contextlib
import os
from pathlib import Path

import processes
import pytest
import torch
from fixtures import MASK_RCNN, TINY_DETECTOR, TINY_SEGMENTOR, UPERNET, tiny_runs_at

pytestmark = pytest.mark.slow
STEPS = 20
SAME = [
    'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False',
    'val_dataloader.num_workers=0',
    'val_dataloader.persistent_workers=False',
    'test_dataloader.num_workers=0',
    'test_dataloader.persistent_workers=False',
    'model.backbone.drop_path_rate=0.3',
]
SEGMENTOR = [
    *TINY_SEGMENTOR,
    *SAME,
    'model.decode_head.dropout_ratio=0',
    'model.auxiliary_head.dropout_ratio=0',
    f'train_cfg.max_iters={STEPS}',
    f'train_cfg.val_interval={STEPS}',
    f'default_hooks.checkpoint.interval={STEPS}',
]
DETECTOR = [
    *TINY_DETECTOR,
    *SAME,
    # All RoIs instead of random ones.
    'model.train_cfg.rpn.sampler.num=100000',
    'model.train_cfg.rcnn.sampler.num=100000',
    f'train_cfg.max_epochs={STEPS // 2}',
    f'train_cfg.val_interval={STEPS // 2}',
    f'default_hooks.checkpoint.interval={STEPS // 2}',
]
TASKS = dict(segmentor=(UPERNET, SEGMENTOR), detector=(MASK_RCNN, DETECTOR))
SEG_PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', reduce_zero_label=True),
    dict(type='Resize', scale=(512, 512), keep_ratio=False),
    dict(type='PackSegInputs'),
]
DET_PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', scale=(800, 800), keep_ratio=True),
    dict(type='PackDetInputs'),
]
# --toy divides the scales: 64 and 96 pixels.
PIPELINES = dict(segmentor=SEG_PIPELINE, detector=DET_PIPELINE)


def skip_by_image() -> None:
    """Stochastic depth decides by the values of a sample, so in any process alike."""
    from mmconvnext.models import block

    def draw(self, x):
        if not self.active:
            return None
        marks = x.detach().double().abs().mean(dim=(1, 2, 3)) * 1e6
        return (marks.long() % 10).float() / 10 >= self.rate

    def forward(self, x):
        out, keep = self._branch(x), draw(self.drop_path, x)
        if keep is not None:
            out = out * keep.to(out.dtype).view(-1, 1, 1, 1) / (1 - self.drop_path.rate)
        return out + x

    block.ConvNeXtBlock.forward = forward


def _train(rank, root, out, batch) -> None:
    """Train both tasks; keep the losses and the gradients of each step."""
    import torch.distributed as dist

    from mmconvnext.cli.train import main

    torch.set_num_threads(1)
    skip_by_image()
    launcher = ['--launcher', 'pytorch'] if os.environ['WORLD_SIZE'] != '1' else []
    found = {}
    for task, (config, options) in TASKS.items():
        own = [*options, f'train_dataloader.batch_size={batch}']
        file = Path(out, f'{task}.py')
        file.write_text(
            f'_base_ = {config!r}\n'
            f'train_dataloader = dict(dataset=dict(pipeline={PIPELINES[task]!r}))\n'
        )
        argv = [str(file), '--toy', '--work-dir', f'{out}/{task}_{batch}', *launcher]
        with tiny_runs_at(root), kept_gradients() as grads:
            runner = main([*argv, '--cfg-options', *own])
        losses = runner.message_hub.get_scalar('train/loss').data[0]
        found[task] = dict(losses=torch.tensor(losses), grads=torch.stack(grads))
    torch.save(found, f'{out}/{batch}_{rank}.pt')
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()
    os._exit(0)


@contextlib.contextmanager
def kept_gradients():
    """The gradients of all parameters at each step of the optimizer, as one row."""
    from mmengine.optim import OptimWrapper

    rows, step = [], OptimWrapper.step

    def keep(self, **options):
        groups = self.optimizer.param_groups
        rows.append(torch.cat([p.grad.flatten() for g in groups for p in g['params']]))
        step(self, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OptimWrapper, 'step', keep)
        yield rows


def difference(one, other) -> float:
    """The largest difference, relative to the largest value of the step."""
    return ((one - other).abs().amax(1) / one.abs().amax(1)).max().item()


@pytest.fixture(scope='module')
def runs(shared_root, tmp_path_factory):
    """Losses and gradients of one process with four images, and of two with two each."""
    out = tmp_path_factory.mktemp('equal')
    for count in (1, 2):
        done = processes.launch(_train, shared_root, str(out), 4 // count, count=count, folder=out)
        assert [one.returncode for one in done] == [0] * count, [one.stderr for one in done]
    files = {name: torch.load(out / f'{name}.pt') for name in ('4_0', '2_0', '2_1')}
    return out, files


def test_a_segmentor_with_sync_bn(runs):
    _, files = runs
    one, first, second = (files[name]['segmentor'] for name in ('4_0', '2_0', '2_1'))
    assert torch.equal(first['grads'], second['grads']) and len(one['grads']) == STEPS
    assert difference(one['grads'][:5], first['grads'][:5]) < 1e-4
    losses = torch.tensor([first['losses'], second['losses']]).mean(0)
    assert torch.allclose(losses, torch.tensor(one['losses']), rtol=1e-3)
