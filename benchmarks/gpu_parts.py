# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Parts of gpu_suite.py: timing on a device, and the sections about single operators.

A section is a function of a :class:`Bench`. It prints its table row by row, so that figures are not
lost when its time is up.
"""

import random
import statistics
import time
import traceback
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from mmconvnext.kernels.block import OPS
from mmconvnext.kernels.selection import why_not
from mmconvnext.models.block import ConvNeXtBlock
from mmconvnext.models.design import Design

ATEN = torch.ops.aten
EPS = 1e-6
SECONDS = 0.4  # for each figure after the warm-up, within 5 to 50 rounds
SHORT = {torch.bfloat16: 'bf16', torch.float16: 'fp16', torch.float32: 'fp32'}


class Bench:
    """The device, the sizes, and the timers; ``dry`` uses a CPU and tiny sizes."""

    def __init__(self, dry: bool) -> None:
        self.cuda = not dry
        self.device = 'cuda' if self.cuda else 'cpu'
        # No float16 on a CPU, where the backbone refuses it.
        self.dtypes = (torch.bfloat16, torch.float16, torch.float32)[:: 1 if self.cuda else 2]
        self.side = (800, 1344) if self.cuda else (64, 96)
        self.channels = (96, 192, 384, 768) if self.cuda else (16, 32, 64, 128)
        self.failures = 0
        # More than twice the size of the L2 cache: writing it evicts everything else.
        self.flush = torch.empty(2**28 if self.cuda else 1, dtype=torch.int8, device=self.device)

    def say(self, *cells: object) -> None:
        print(' | '.join(str(cell) for cell in cells), flush=True)

    def head(self, *cells: str) -> None:
        self.say(*cells)
        self.say(*['---'] * len(cells))

    def attempt(self, what: str, function: Callable, *args) -> object:
        """What ``function`` returns; if it fails, say so, count it and return None."""
        try:
            return function(*args)
        except Exception as error:
            self.failures += 1
            first = (str(error).strip() or 'no message').splitlines()[0]
            self.say(f'FAILED: {what}: {type(error).__name__}: {first[:300]}')
            traceback.print_exc()
            return None

    def sync(self) -> None:
        if self.cuda:
            torch.cuda.synchronize()

    def randn(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.randn(shape, device=self.device, dtype=dtype)

    def stages(self) -> list[tuple[int, int, int]]:
        """Height, width and channels of the four maps."""
        height, width = self.side
        return [(height // 4 >> i, width // 4 >> i, c) for i, c in enumerate(self.channels)]

    def once(self, function: Callable) -> float:
        """Milliseconds of one call until the device is done."""
        self.sync()
        start = time.perf_counter()
        function()
        self.sync()
        return (time.perf_counter() - start) * 1e3

    def time(self, function: Callable, alone: bool = False) -> float:
        """Median milliseconds; ``alone``: device time, with cold caches and no launch overhead."""
        for _ in range(3 if self.cuda else 1):
            function()
        spent = self.once(function)
        rounds = min(50, max(5, int(SECONDS * 1e3 / spent)))
        if not self.cuda:
            return statistics.median(self.once(function) for _ in range(2))
        pairs = []
        for _ in range(rounds):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            if alone:
                self.flush.zero_()
                torch.cuda._sleep(2_000_000)  # 1 ms, in which the launches below are queued
            start.record()
            function()
            end.record()
            pairs.append((start, end))
        self.sync()
        return statistics.median(start.elapsed_time(end) for start, end in pairs)

    def kernels(self, function: Callable) -> tuple[dict[str, float], int]:
        """Microseconds of each kernel that one call ran on the device; the number of launches."""
        kinds = [ProfilerActivity.CPU, ProfilerActivity.CUDA][: 2 if self.cuda else 1]
        kind = DeviceType.CUDA if self.cuda else DeviceType.CPU
        function()
        self.sync()
        with profile(activities=kinds) as found:
            function()
            self.sync()
        events = [e for e in found.events() if e.device_type == kind and not e.is_user_annotation]
        spent: dict[str, float] = {}
        for event in events:
            spent[event.name] = spent.get(event.name, 0.0) + event.time_range.elapsed_us()
        return spent, len(events)

    def bandwidth(self) -> float:
        """Bytes per millisecond that a copy reads and writes."""
        source = torch.ones(2**30 if self.cuda else 2**20, dtype=torch.int8, device=self.device)
        target = torch.empty_like(source)
        return 2 * source.numel() / self.time(lambda: target.copy_(source))

    def rate(self) -> float:
        """Operations per millisecond of a bfloat16 matrix product."""
        side = 8192 if self.cuda else 64
        a, b = (self.randn(side, side, dtype=torch.bfloat16) for _ in range(2))
        return 2 * side**3 / self.time(lambda: a @ b)


def names(spent: dict[str, float], most: int = 4) -> str:
    """The slowest kernels, by short names: template arguments do not distinguish them here."""
    longest = sorted(spent.items(), key=lambda item: -item[1])[:most]
    cells = []
    for name, microseconds in longest:
        name = name.removeprefix('void ').replace('(anonymous namespace)::', '')
        name = name.split('<')[0].split('(')[0].replace('at::native::', '')
        cells.append(f'{name[:60]} {microseconds:.0f}')
    return ', '.join(cells)


def operators(bench: Bench) -> None:
    """The depthwise convolution by PyTorch, and ours with its norm."""
    speed = bench.bandwidth()
    bench.say(
        'Device time in ms; kernels in us; bound: two passes over the map at the copy rate.\n'
    )
    bench.head('map', 'type', 'layout', 'forward', 'input grad', 'weight grad', 'bound', 'kernels')
    for dtype in bench.dtypes:
        for height, width, channels in bench.stages():
            what = f'{height}x{width}x{channels}', SHORT[dtype]
            x, grad = (bench.randn(2, channels, height, width, dtype=dtype) for _ in range(2))
            bound = f'{2 * x.numel() * x.element_size() / speed:.3f}'
            cases = {'NCHW': (torch.contiguous_format, torch_passes)}
            cases['NHWC'] = torch.channels_last, torch_passes
            cases['ours, with norm; both gradients'] = torch.channels_last, our_passes
            for layout, (memory, passes) in cases.items():
                tensors = [t.contiguous(memory_format=memory) for t in (x, grad)]
                label = ' '.join((*what, layout))
                cells = bench.attempt(label, passes_row, bench, passes, *tensors)
                if cells:
                    times, kernels = cells
                    bench.say(*what, layout, *times, bound, kernels)


def passes_row(bench: Bench, passes: Callable, x: Tensor, grad: Tensor) -> tuple:
    calls = passes(bench, x, grad)
    times = [f'{bench.time(call, alone=True):.3f}' for call in calls.values()]
    found = [f'{name}: {names(bench.kernels(call)[0])}' for name, call in calls.items()]
    return times + ['-'] * (3 - len(times)), '; '.join(found)


def torch_passes(bench: Bench, x: Tensor, grad: Tensor) -> dict[str, Callable]:
    channels = x.shape[1]
    weight = bench.randn(channels, 1, 7, 7, dtype=x.dtype)
    bias = bench.randn(channels, dtype=x.dtype)
    shape = [channels], [1, 1], [3, 3], [1, 1], False, [0, 0], channels
    backward = partial(ATEN.convolution_backward, grad, x, weight, *shape)
    return {
        'forward': lambda: F.conv2d(x, weight, bias, padding=3, groups=channels),
        'input': lambda: backward([True, False, False]),
        'weight': lambda: backward([False, True, False]),
    }


def our_passes(bench: Bench, x: Tensor, grad: Tensor) -> dict[str, Callable]:
    x, grad = (t.permute(0, 2, 3, 1) for t in (x, grad))
    if reason := why_not(x, x.dtype):  # this also registers the CUDA side
        raise RuntimeError(reason)
    weight, bias = bench.randn(x.shape[3], 1, 7, 7), bench.randn(x.shape[3])
    out, rstd = OPS.dwconv_norm(x, weight, bias, EPS, x.dtype)
    return {
        'forward': lambda: OPS.dwconv_norm(x, weight, bias, EPS, x.dtype),
        'backward': lambda: OPS.dwconv_norm_backward(grad, out, rstd, x, weight, grad),
    }


def layer_norm(bench: Bench) -> None:
    """PyTorch's LayerNorm alone."""
    height, width, channels = bench.stages()[0]
    rows = 2 * height * width
    speed = bench.bandwidth()
    bench.head(f'({rows}, {channels})', 'forward ms', 'bound', 'backward ms', 'bound', 'kernels')
    for dtype in bench.dtypes:
        x, grad = (bench.randn(rows, channels, dtype=dtype) for _ in range(2))
        shape, weight, bias = [channels], *bench.randn(2, channels, dtype=dtype)
        _, mean, rstd = ATEN.native_layer_norm(x, shape, weight, bias, EPS)
        forward = partial(ATEN.native_layer_norm, x, shape, weight, bias, EPS)
        given = grad, x, shape, mean, rstd, weight, bias, [True, True, True]
        backward = partial(ATEN.native_layer_norm_backward, *given)
        cells = [SHORT[dtype]]
        for function, passes in ((forward, 2), (backward, 3)):
            cells.append(f'{bench.time(function, alone=True):.3f}')
            cells.append(f'{passes * x.numel() * x.element_size() / speed:.3f}')
        bench.say(*cells, names(bench.kernels(backward)[0]))


def first_calls(bench: Bench, label: str, make: Callable, count: int, seconds: float) -> None:
    """A table row comparing the first call at each of ``count`` random sizes with later calls."""
    low, high = (480, 1345) if bench.cuda else (32, 64)
    draw = random.Random(0)
    for _ in range(2):  # the largest, so that the allocator then has enough for all others
        make(high, high)()
    extra, steady, start = [], [], time.perf_counter()
    while len(extra) < count and time.perf_counter() - start < seconds:
        function = make(draw.randrange(low, high), draw.randrange(low, high))
        first = bench.once(function)
        steady.append(statistics.median(bench.once(function) for _ in range(3)))
        extra.append(first - steady[-1])
    stopped = '' if len(extra) == count else f', stopped after {seconds:.0f} s'
    figures = (statistics.median(steady), statistics.median(extra), max(extra), sum(extra))
    bench.say(label, f'{len(extra)}{stopped}', *(f'{ms:.2f}' for ms in figures))


def drop_path_blocks(bench: Bench) -> None:
    """Forward and backward of a block whose branch is kept for two, one and none of two samples."""
    bench.head('block, ms', 'two kept', 'one', 'none', 'mean at rate 0.4 / two kept')
    for kernels in ('fast', 'plain'):
        for height, width, channels in bench.stages():
            label = f'{kernels} {height}x{width}x{channels}'
            bench.attempt(label, _drop_path_row, bench, label, kernels, height, width, channels)


def _drop_path_row(
    bench: Bench, label: str, kernels: str, height: int, width: int, channels: int
) -> None:
    options = dict(layer_scale_init_value=1.0, drop_path_rate=0.4, kernels=kernels)
    block = ConvNeXtBlock(channels, Design(), **options).to(bench.device)
    x, grad = (bench.randn(2, height, width, channels).permute(0, 3, 1, 2) for _ in range(2))
    x.requires_grad_()
    found = []
    for kept in ([True, True], [True, False], [False, False]):
        block.drop_path.draw = lambda samples, kept=kept: torch.tensor(kept)

        def step() -> None:
            block.zero_grad(set_to_none=True)
            with torch.autocast(bench.device, dtype=torch.bfloat16):
                out = block(x)
            out.backward(grad.to(out.dtype))

        found.append(bench.time(step))
    mean = 0.36 * found[0] + 0.48 * found[1] + 0.16 * found[2]
    bench.say(label, *(f'{ms:.3f}' for ms in found), f'{mean / found[0]:.2f}')


def adamw(bench: Bench, parameters: list[Tensor]) -> None:
    """A step of the optimizer with a group for each parameter, and with two groups."""
    parameters = [torch.nn.Parameter(p.detach().clone()) for p in parameters]
    for p in parameters:
        p.grad = torch.randn_like(p)
    each = [dict(params=[p], weight_decay=0.05 if p.ndim > 1 else 0.0) for p in parameters]
    merged = [
        dict(params=[p for p in parameters if (p.ndim > 1) is wide], weight_decay=decay)
        for wide, decay in ((True, 0.05), (False, 0.0))
    ]
    size = sum(p.numel() for p in parameters)
    bound = 28 * size / bench.bandwidth()  # reads 4 tensors and writes 3 of float32
    bench.say(f'{len(parameters)} parameters, {size / 1e6:.1f} M numbers, bound {bound:.3f} ms.\n')
    bench.head('AdamW, ms a step', 'foreach', 'fused')
    for label, groups in ((f'{len(each)} groups', each), ('2 groups', merged)):
        cells = []
        for option in ('foreach', 'fused'):
            copies = [dict(group) for group in groups]  # the optimizer writes into them
            optimizer = torch.optim.AdamW(copies, lr=1e-4, **{option: True})
            cells.append(f'{bench.time(optimizer.step):.3f}')
        bench.say(label, *cells)
