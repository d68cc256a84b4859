# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Parts of gpu_suite.py: the sections that compare the whole backbone with its peers."""

import time
from dataclasses import dataclass
from functools import partial

import gpu_parts
import torch
from gpu_parts import Bench, first_calls, names
from peers import Meta, Mmpretrain, Timm
from torch import Tensor, nn

from mmconvnext import ConvNeXt
from mmconvnext.arch import get_arch

# 'nhwc': parameters and image in channels-last memory. The fast path comes last, so that the others
# are measured even if it breaks the device.
NAMES = ('mmpretrain', 'meta', 'timm', 'timm nhwc', 'plain', 'plain nhwc', 'fast')
TINY = dict(depths=(1, 1, 1, 1), channels=(16, 32, 64, 128))
# Our choice, for ConvNeXt-T on an H100; the bounds follow from its datasheet.
GOALS = (
    'Goals: fwd+bwd 5.2 ms (bound 3.0), inference 1.2 ms (bound 0.59), 2.5 times as fast as timm '
    'nhwc with 0.4 of its saved activations, V2 within 1.15 of V1.'
)


@dataclass
class Row:
    """The figures of a model: milliseconds, those spent on the device, launches, megabytes."""

    step: float
    busy: float
    launches: int
    inference: float
    inference_busy: float
    inference_launches: int
    saved: float
    peak: float


def build(
    bench: Bench, name: str, version: str, arch: str = 'tiny', rate: float = 0.0
) -> nn.Module:
    """A model by its name in ``NAMES``."""
    kind, _, layout = name.partition(' ')
    options = dict(layer_scale_init_value=1.0) if version == 'v1' else {}
    options['kernels'] = 'fast' if kind == 'fast' else 'plain'
    arch = arch if bench.cuda else TINY
    model = ConvNeXt(arch, version, drop_path_rate=rate, **options)
    peer = {'timm': Timm, 'mmpretrain': Mmpretrain, 'meta': Meta}.get(kind)
    model = (peer(model) if peer else model).to(bench.device)
    return model.to(memory_format=torch.channels_last) if layout else model


def images(bench: Bench, name: str = '', height: int = 0, width: int = 0) -> Tensor:
    image = bench.randn(2, 3, height or bench.side[0], width or bench.side[1])
    return image.contiguous(memory_format=torch.channels_last) if name.endswith('nhwc') else image


def forward(model: nn.Module, image: Tensor, dtype: torch.dtype = torch.bfloat16) -> list:
    half = dtype in (torch.bfloat16, torch.float16)
    with torch.autocast(image.device.type, dtype=dtype, enabled=half):
        return model(image)


def step(model: nn.Module, image: Tensor, grads: list | None = None, **options) -> list:
    """Forward and backward, no optimizer; without ``grads`` random ones are drawn."""
    model.zero_grad(set_to_none=True)
    maps = forward(model, image, **options)
    torch.autograd.backward(maps, grads or [torch.randn_like(m) for m in maps])
    return maps


def infer(model: nn.Module, image: Tensor) -> None:
    with torch.no_grad():
        forward(model, image)


def measure(bench: Bench, model: nn.Module, image: Tensor) -> Row:
    memory = torch.cuda.memory_allocated  # 0 without a GPU
    grads = [torch.randn_like(m) for m in step(model.train(), image)]
    one = partial(step, model, image, grads)
    times = bench.time(one)
    spent, launches = bench.kernels(one)
    model.zero_grad(set_to_none=True)
    if bench.cuda:
        torch.cuda.reset_peak_memory_stats()
    before = memory()
    maps = forward(model, image)
    saved = memory() - before
    del maps
    one()
    peak = torch.cuda.max_memory_allocated() - before
    model.eval()
    if isinstance(model, ConvNeXt):
        model.fuse()
    other = partial(infer, model, image)
    quick = bench.time(other)
    quick_spent, quick_launches = bench.kernels(other)
    busy, quick_busy = (sum(s.values()) / 1e3 for s in (spent, quick_spent))
    return Row(times, busy, launches, quick, quick_busy, quick_launches, saved / 1e6, peak / 1e6)


def say_head(bench: Bench, what: str) -> None:
    size = '2x3x{}x{}'.format(*bench.side)
    bench.say(
        f'{what} {size}, bfloat16 autocast. Device: the sum of its kernels; idle: the rest.\n'
    )
    cells = 'fwd+bwd ms', 'device ms', 'idle', 'launches'
    cells += 'inference ms', 'device ms', 'idle', 'launches', 'saved MB', 'peak MB'
    bench.head('model', *cells)


def say_row(bench: Bench, label: str, row: Row) -> None:
    cells = []
    for ms, busy, launches in (
        (row.step, row.busy, row.launches),
        (row.inference, row.inference_busy, row.inference_launches),
    ):
        cells += [f'{ms:.2f}', f'{busy:.2f}', f'{max(0, 1 - busy / ms):.0%}', launches]
    bench.say(label, *cells, f'{row.saved:.0f}', f'{row.peak:.0f}')


def backbone(bench: Bench, arch: str = 'tiny', chosen: tuple = NAMES) -> None:
    """The whole backbone, both versions, compared with its peers."""
    say_head(bench, f'ConvNeXt-{arch}')
    rows = {}
    for name in chosen:
        for version in ('v1', 'v2'):
            label = f'{version} {name}'

            def one(name=name, version=version) -> Row:
                return measure(bench, build(bench, name, version, arch), images(bench, name))

            if row := bench.attempt(label, one):
                rows[version, name] = row
                say_row(bench, label, row)
    bench.say('')
    bench.head('other / fast', 'fwd+bwd', 'inference', 'saved')
    fast = {version: row for (version, name), row in rows.items() if name == 'fast'}
    for (version, name), row in rows.items():
        if version in fast and name != 'fast':
            say_ratios(bench, f'{version} {name}', row, fast[version])
    if len(fast) == 2:
        say_ratios(bench, 'v2 fast, to v1', fast['v2'], fast['v1'])
    if arch == 'tiny':
        bench.say(f'\n{GOALS}')
    depths, channels = get_arch(arch).depths, get_arch(arch).channels
    pixels = [2 * height * width for height, width, _ in bench.stages()]
    products = sum(d * 16 * p * c * c for d, p, c in zip(depths, pixels, channels)) / bench.rate()
    bench.say(
        f'\nPointwise products at the measured rate: {products:.2f} ms, 3 times with backward.'
    )


def say_ratios(bench: Bench, label: str, row: Row, fast: Row) -> None:
    ratios = [row.step / fast.step, row.inference / fast.inference]
    ratios += [row.saved / fast.saved] if fast.saved else []  # none without a GPU
    bench.say(label, *(f'{ratio:.2f}' for ratio in ratios))


def compiled(bench: Bench) -> None:
    """The plain path under torch.compile."""
    say_head(bench, 'ConvNeXt-tiny, torch.compile of plain nhwc')
    for version in ('v1', 'v2'):
        model = build(bench, 'plain nhwc', version)
        wrapped = torch.compile(model, backend='inductor' if bench.cuda else 'aot_eager')
        image, start = images(bench, 'nhwc'), time.perf_counter()
        if row := bench.attempt(version, measure, bench, wrapped, image):
            say_row(bench, version, row)
            bench.say(f'(in all {time.perf_counter() - start:.0f} s, compilation included)')


def profiles(bench: Bench) -> None:
    """Where the time of one step goes."""
    for name in ('mmpretrain', 'timm nhwc', 'fast'):
        for version in ('v1', 'v2'):
            one = partial(step, build(bench, name, version), images(bench, name))
            if found := bench.attempt(f'{version} {name}', bench.kernels, one):
                bench.say(f'{version} {name}, us: {names(found[0], 14)}\n')


def new_shapes(bench: Bench) -> None:
    """The extra cost of the first call at an image size, forward and backward."""
    cells = 'sizes', 'steady ms', 'first call adds, median', 'most', 'sum'
    bench.head('wall clock', *cells)
    channels = bench.channels[0]

    def depthwise(passes, height, width):
        x = bench.randn(2, height // 4, width // 4, channels, dtype=torch.bfloat16)
        calls = passes(bench, *(x.permute(0, 3, 1, 2),) * 2).values()
        return lambda: [call() for call in calls]

    def whole(model, height, width):
        return partial(step, model, images(bench, '', height, width))

    cases = {
        'F.conv2d depthwise, stage 1, NHWC': (partial(depthwise, gpu_parts.torch_passes), 20),
        'ours, stage 1': (partial(depthwise, gpu_parts.our_passes), 100),
        'backbone, plain nhwc': (partial(whole, build(bench, 'plain nhwc', 'v1')), 20),
        'backbone, fast': (partial(whole, build(bench, 'fast', 'v1')), 100),
    }
    for label, (make, count) in cases.items():
        count = count if bench.cuda else 2
        bench.attempt(label, first_calls, bench, label, make, count, 25.0)


def drop_path(bench: Bench) -> None:
    """Stochastic depth at rate 0.4: what skipping dropped samples saves."""
    gpu_parts.drop_path_blocks(bench)
    bench.say('')
    bench.head('whole V1 backbone, fwd+bwd ms', 'rate 0.4', 'rate 0')
    for name in ('fast', 'plain nhwc', 'timm nhwc'):
        cells = []
        for rate in (0.4, 0.0):
            torch.manual_seed(0)
            one = partial(step, build(bench, name, 'v1', rate=rate), images(bench, name))
            ms = bench.attempt(f'{name} at rate {rate}', bench.time, one)
            cells.append('-' if ms is None else f'{ms:.2f}')
        bench.say(name, *cells)


def adamw(bench: Bench) -> None:
    """AdamW with one group per parameter, as mmengine builds them, and with merged groups."""
    gpu_parts.adamw(bench, list(build(bench, 'plain', 'v1').parameters()))


def base(bench: Bench) -> None:
    """A larger backbone, compared with fewer peers."""
    backbone(bench, 'base', ('mmpretrain', 'timm nhwc', 'fast'))
