# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: the learning rates are the official ones from the first iteration to the last.

The optimizer, the scaling to another batch and the schedulers are made by mmengine's Runner. The
reference is the policies of mmcv 1, which the official configs use, written out here. Run lengths
are those of 8 GPUs: 117,266 images of COCO have objects; ADE20K is counted in iterations.
"""

import logging
import math

import pytest
from mmengine.hooks import ParamSchedulerHook
from mmengine.registry import LOOPS, MODELS, DefaultScope
from mmengine.runner import Runner
from recipe_table import PUBLISHED, load
from torch import device, nn
from torch.utils.data import DataLoader

from mmconvnext.cli.options import train_parser
from mmconvnext.cli.train import apply_flags

MASK_RCNN = 'mask_rcnn/mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py'
UPERNET = 'upernet/convnext-tiny_upernet_8xb2-amp-160k_ade20k-512x512.py'
V2 = 'mask_rcnn/mask-rcnn_convnext-v2-b_fpn_lsj-3x-fcmae_coco.py'
ONE_X = 'mask_rcnn/mask-rcnn_convnext-t-p4-w7_fpn_amp-1x_coco.py'
FASTER = 'faster_rcnn/faster-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py'
CPU = '_base_/mask-rcnn_convnext-atto_cpu.py'
IMAGES = 117_266


class Run:
    """A run of a recipe without its iterations: optimizer and schedulers as the Runner has them."""

    def __init__(self, name, *flags, gpus=8, batch=None, images=IMAGES, groups=False):
        cfg = load(name)
        apply_flags(cfg, train_parser().parse_args([name, *flags]))
        cfg.optim_wrapper.type = 'OptimWrapper'  # the AMP one needs a GPU
        batch = batch or cfg.train_dataloader.batch_size
        runner = object.__new__(Runner)
        runner.logger, runner._world_size, runner.param_schedulers = logging.getLogger(), gpus, None
        if groups:
            with DefaultScope.overwrite_default_scope(cfg.default_scope), device('meta'):
                self.model = MODELS.build(cfg.model)
        else:
            self.model = nn.Linear(1, 1)
            for key in ('constructor', 'paramwise_cfg'):
                cfg.optim_wrapper.pop(key)
        loader = DataLoader(range(math.ceil(images / gpus)), batch_size=batch)
        runner.model, runner._train_dataloader = self.model, loader
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            runner._train_loop = LOOPS.build(
                cfg.train_cfg, default_args=dict(runner=runner, dataloader=loader)
            )
            # In the order of Runner.train.
            runner.optim_wrapper = runner.build_optim_wrapper(cfg.optim_wrapper)
            runner.scale_lr(runner.optim_wrapper, cfg.auto_scale_lr)
            runner.param_schedulers = runner.build_param_scheduler(cfg.param_scheduler)
        self.runner, self.hook, self.cfg, self.iteration = runner, ParamSchedulerHook(), cfg, 0
        self.epoch = len(loader)
        self.by_epoch = any(scheduler.by_epoch for scheduler in runner.param_schedulers)
        self.length = runner._train_loop.max_iters

    @property
    def rates(self) -> list[float]:
        return [group['lr'] for group in self.runner.optim_wrapper.optimizer.param_groups]

    def __call__(self, iteration: int) -> float:
        """The rate of the last group in an iteration, which is not before those asked already."""
        while self.iteration < iteration:
            until = min(iteration, self.iteration - self.iteration % self.epoch + self.epoch)
            for scheduler in self.runner.param_schedulers:
                if not scheduler.by_epoch and scheduler.last_step > scheduler.end:
                    scheduler.last_step += until - self.iteration - 1  # it is over and does nothing
                elif not scheduler.by_epoch:
                    until = self.iteration + 1
            self.hook.after_train_iter(self.runner, 0)
            if self.by_epoch and until % self.epoch == 0:
                self.hook.after_train_epoch(self.runner)
            self.iteration = until
        return self.rates[-1]

    def jump(self, iteration: int, factor: float) -> None:
        """Go on as if the iterations up to this one had left the given part of the first rates."""
        for group in self.runner.optim_wrapper.optimizer.param_groups:
            group['lr'] = group['initial_lr'] * factor
        for scheduler in self.runner.param_schedulers:
            scheduler.last_step = iteration
        self.iteration = iteration


def warm_up(iteration: float, iterations: int, ratio: float) -> float:
    """mmcv 1's linear warm-up: the part of the regular rate."""
    return 1 - max(0, 1 - iteration / iterations) * (1 - ratio)


def check(run: Run, iteration: int, rate: float, up, down=lambda i: 1.0) -> None:
    """The rate is ``rate * up * down`` by the official ramps, in this iteration or the next.

    mmengine's ramps reach their ends one iteration earlier, and are straight in between.
    """
    lowest, highest = up(iteration) * down(iteration + 1), up(iteration + 1) * down(iteration)
    assert rate * lowest * (1 - 1e-9) <= run(iteration) <= rate * highest * (1 + 1e-9), iteration


COCO = [
    *((name, 500, (27, 33, 36)) for name in (*PUBLISHED, FASTER) if 'rcnn' in name),
    (ONE_X, 500, (8, 11, 12)),
    (V2, 1000, (27, 33, 36)),  # the warm-up of mmdet's project
]


@pytest.mark.parametrize(('name', 'warmup', 'epochs'), COCO, ids=[row[0] for row in COCO])
def test_rates_on_coco(name, warmup, epochs):
    images = 4 if name == V2 else 2
    cascade_1k = name.startswith('cascade') and 'in21k' not in name
    rate = 2e-4 if cascade_1k else 1e-4  # README tables and configs of object_detection
    run = Run(name)
    assert run.epoch == {2: 7330, 4: 3665}[images] == math.ceil(IMAGES / (8 * images))
    assert run.length == epochs[-1] * run.epoch
    assert run(0) == pytest.approx(rate * 0.001)
    for iteration in (1, warmup // 2, warmup - 2):
        check(run, iteration, rate, lambda i: warm_up(i, warmup, 0.001))
    assert run(warmup - 1) == pytest.approx(rate)
    for epoch, before, after in ((epochs[0], 1, 0.1), (epochs[1], 0.1, 0.01)):
        assert run(epoch * run.epoch - 1) == pytest.approx(rate * before)
        assert run(epoch * run.epoch) == pytest.approx(rate * after)
    assert run(run.length - 1) == pytest.approx(rate * 0.01)


@pytest.mark.parametrize('name', [name for name in PUBLISHED if 'upernet' in name])
def test_rates_on_ade(name):
    """mmcv 1's poly policy of power 1 decays under the warm-up: both work from the start."""

    def up(iteration: int) -> float:
        return warm_up(iteration, 1500, 1e-6)

    def down(iteration: int) -> float:
        return 1 - iteration / 160_000

    rate = 8e-5 if 'xlarge' in name else 1e-4
    run = Run(name)
    assert run.length == 160_000
    assert run(0) == pytest.approx(rate * 1e-6)
    for iteration in (1, 750, 1498, 1499, 1500, 1510):
        check(run, iteration, rate, up, down)
    # A step takes away 1 / n of what is left, n steps before the end: no need to take them all.
    for iteration in (80_000, 159_980):
        run.jump(iteration - 10, down(iteration - 10))
        check(run, iteration, rate, up, down)
    for iteration in range(159_981, 160_000):
        check(run, iteration, rate, up, down)


def test_rates_of_the_cpu_recipe():
    """Warm-up and a cosine over the iterations, however many an epoch has."""
    run = Run(CPU, gpus=1, images=14)
    assert (run.epoch, run.length) == (7, 210)
    for iteration in (0, 1, 50, 98, 99, 100, 150, 209):
        ramp = 0.001 + 0.999 * min(iteration, 99) / 99
        cosine = (1 + math.cos(math.pi * iteration / 210)) / 2
        assert run(iteration) == pytest.approx(6e-4 * ramp * cosine, rel=1e-6)


@pytest.mark.parametrize(
    ('name', 'gpus', 'batch', 'ratio'),
    [
        (MASK_RCNN, 8, 2, 1.0),
        (MASK_RCNN, 1, 2, 0.125),
        (MASK_RCNN, 4, 8, 2.0),
        (UPERNET, 8, 2, 1.0),
        (UPERNET, 3, 4, 0.75),
        (V2, 8, 4, 1.0),
        (V2, 8, 2, 0.5),
        (CPU, 1, 2, 1.0),
        (CPU, 1, 5, 2.5),
    ],
)
def test_rates_under_another_batch(name, gpus, batch, ratio):
    """In proportion under --auto-scale-lr, from first to last; else as they are."""
    scaled = Run(name, '--auto-scale-lr', gpus=gpus, batch=batch, images=8000)
    plain = Run(name, gpus=gpus, batch=batch, images=8000)
    assert plain.cfg.optim_wrapper.optimizer.lr == (6e-4 if name == CPU else 1e-4)
    for iteration in (0, 1, 100, *(() if name == UPERNET else (1100, scaled.epoch * 28))):
        assert scaled(iteration) == pytest.approx(ratio * plain(iteration))
        assert plain(iteration) <= plain.cfg.optim_wrapper.optimizer.lr * (1 + 1e-9)
    assert scaled.length == plain.length


@pytest.mark.parametrize(
    ('name', 'rate', 'scales'),
    [
        # layer_wise: stem, 6 groups of blocks, heads. stage_wise: the stem has all downsampling
        # layers; four stages; heads.
        (MASK_RCNN, 1e-4, [0.95**n for n in (7, 6, 5, 4, 3, 2, 1, 0)]),
        (UPERNET, 1e-4, [0.9**n for n in (7, 6, 5, 4, 3, 0)]),
    ],
)
def test_each_group_keeps_its_part_of_the_rate(name, rate, scales):
    run = Run(name, '--auto-scale-lr', gpus=4, groups=True)  # half of the recipe's batch
    depths = [group['lr'] for group in run.runner.optim_wrapper.optimizer.param_groups]
    ramp = 0.001 if name == MASK_RCNN else 1e-6
    wanted = [rate / 2 * ramp * scale for scale in scales]
    assert sorted(set(depths)) == pytest.approx(wanted, rel=1e-6)
    stem, *_, head = run.model.parameters()
    places = {
        id(p): g for g in run.runner.optim_wrapper.optimizer.param_groups for p in g['params']
    }
    run(600)
    part = 1.0 if name == MASK_RCNN else (1 - 600 / 159_999) * (1e-6 + (1 - 1e-6) * 600 / 1499)
    assert places[id(stem)]['lr'] == pytest.approx(rate / 2 * part * scales[0], rel=1e-6)
    assert places[id(head)]['lr'] == pytest.approx(rate / 2 * part, rel=1e-6)
    assert sorted(set(run.rates)) == pytest.approx([rate / 2 * part * scale for scale in scales])
