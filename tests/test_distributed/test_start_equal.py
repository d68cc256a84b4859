# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Two processes compute what one computes on the same images, to rounding; and evaluate the same.

The recipes' own random numbers (crops, flips, dropout, RoI samples) are turned off: each process
draws its own. Samples that stochastic depth skips are chosen by what is in the image.
"""

import contextlib
import os
import pickle
from pathlib import Path

import processes
import pytest
import torch
from fixtures import MASK_RCNN, TINY_DETECTOR, TINY_SEGMENTOR, UPERNET, tiny_runs_at

pytestmark = pytest.mark.slow
STEPS, EPOCHS = 20, 3
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
    f'train_cfg.max_epochs={EPOCHS}',
    f'train_cfg.val_interval={EPOCHS}',
    f'default_hooks.checkpoint.interval={EPOCHS}',
    # Two-stage heads divide their losses by what a process has, so each gets the same objects.
    f'train_dataloader.dataset.indices={[5] * 8}'.replace(' ', ''),
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


def _work(rank, root, out, batch) -> None:
    """Train, if there is a batch size, and evaluate; a start of processes takes seconds."""
    from mmconvnext.distributed import process

    torch.set_num_threads(1)
    count = os.environ['WORLD_SIZE']
    launcher = ['--launcher', 'pytorch'] if count != '1' else []
    skip_by_image()  # also where nothing is trained: it is the plain path
    if batch:
        torch.save(train(root, out, batch, launcher), f'{out}/{batch}_{rank}.pt')
    metrics = evaluate(root, out, count, launcher)
    if rank == 0:
        Path(out, f'metrics_{count}.pkl').write_bytes(pickle.dumps(metrics))
    process._leave()
    process._end(0)


def train(root, out, batch, launcher) -> dict:
    """The losses and the gradients of each step of both tasks."""
    from mmconvnext.cli.train import main

    found = {}
    for task, (_, options) in TASKS.items():
        own = [*options, f'train_dataloader.batch_size={batch}']
        argv = [f'{out}/{task}.py', '--toy', '--work-dir', f'{out}/{task}_{batch}', *launcher]
        with tiny_runs_at(root), kept_gradients() as grads:
            runner = main([*argv, '--cfg-options', *own])
        losses = runner.message_hub.get_scalar('train/loss').data[0]
        found[task] = dict(losses=torch.as_tensor(losses), grads=torch.stack(grads))
    return found


def evaluate(root, out, count, launcher) -> dict:
    """Metrics of what one process has trained, on five images and on one; keeps predictions."""
    from mmconvnext.cli.test import main

    found = {}
    for task, (config, options) in TASKS.items():
        (checkpoint,) = Path(out, f'{task}_4').glob('*.pth')
        own = [option for option in options if 'indices' not in option]
        for images in (5, 1):
            name = f'{out}/{task}_{images}_on_{count}'
            argv = [config, str(checkpoint), '--toy', '--work-dir', name, *launcher]
            argv += ['--out', f'{name}_out{".pkl" if task == "detector" else ""}']
            own += [f'test_dataloader.dataset.indices={images}']
            with tiny_runs_at(root):
                found[f'{task} {images}'] = main([*argv, '--cfg-options', *own])
    return found


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
    """One process with four images, two with two each; four that evaluate only."""
    out = tmp_path_factory.mktemp('equal')
    for task, (config, _) in TASKS.items():
        dataset = f'dict(dataset=dict(pipeline={PIPELINES[task]!r}))'
        (out / f'{task}.py').write_text(f'_base_ = {config!r}\ntrain_dataloader = {dataset}\n')
    for count, batch in ((1, 4), (2, 2), (4, None)):
        done = processes.launch(_work, shared_root, str(out), batch, count=count, folder=out)
        assert [one.returncode for one in done] == [0] * count, [one.stderr for one in done]
    return dict(out=out, **{name: torch.load(out / f'{name}.pt') for name in ('4_0', '2_0', '2_1')})


@pytest.mark.parametrize(('task', 'steps'), [('segmentor', STEPS), ('detector', 2 * EPOCHS)])
def test_losses_and_gradients(runs, task, steps):
    """The segmentor has SyncBN, which one process takes for batch norm."""
    one, first, second = (runs[name][task] for name in ('4_0', '2_0', '2_1'))
    assert len(one['grads']) == len(one['losses']) == steps
    assert torch.equal(first['grads'], second['grads']) and one['grads'].any(1).all()
    assert difference(one['grads'], first['grads']) < 1e-5  # 3e-7 were seen
    assert not torch.allclose(first['losses'], second['losses']) or task == 'detector'
    losses = (first['losses'] + second['losses']) / 2
    assert torch.allclose(losses, one['losses'], rtol=1e-6)


def test_each_image_is_evaluated_once(runs):
    """Five images on two and four processes; fewer images than processes."""
    out = runs['out']
    one, two, four = (
        pickle.loads((out / f'metrics_{count}.pkl').read_bytes()) for count in (1, 2, 4)
    )
    assert repr(one) == repr(two) == repr(four)  # nan, of a class without objects, is not itself
    assert one['segmentor 5']['mIoU'] > 0
    assert one['segmentor 5'] != one['segmentor 1']
    for images in (5, 1):
        for count in (1, 2, 4):
            maps = Path(out, f'segmentor_{images}_on_{count}_out').iterdir()
            assert len(list(maps)) == images
        rows = [
            pickle.loads(Path(out, f'detector_{images}_on_{count}_out.pkl').read_bytes())
            for count in (1, 2, 4)
        ]
        ids = [[row['img_id'] for row in each] for each in rows]
        assert ids == [sorted({*ids[0]})] * 3 and len(ids[0]) == images
        for each in zip(*rows):
            boxes = [row['pred_instances']['bboxes'] for row in each]
            assert len(boxes[0]) and all(torch.equal(boxes[0], other) for other in boxes)
