# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Time and memory of ConvNeXt and its peers on a CPU: python benchmarks/cpu.py [--out FILE]

Models take turns in one process, `--rounds` times each after a warm-up round; figures are medians,
with the spread (third minus first quartile over the median). For comparison, the matrix products of
the pointwise layers alone are measured in the same run, with torch's `@` and with oneDNN. Memory is
the growth of the resident set over one training step, each in a process of its own.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from peers import Meta, Mmpretrain, Timm, transformers_backbone

from mmconvnext import ConvNeXt
from mmconvnext.arch import ARCHS
from mmconvnext.kernels import capability

# --names also accepts 'compiled', torch.compile of the plain path; compiling it takes minutes.
NAMES = ('fast', 'plain', 'timm', 'mmpretrain', 'meta', 'transformers')
OURS = ('fast', 'plain', 'compiled')
CASES = [  # batch, side, training, bfloat16, drop path
    (2, 384, True, False, 0.4),
    (2, 384, True, False, 0.0),
    (2, 384, True, True, 0.4),
    (2, 384, True, True, 0.0),
    (1, 512, False, False, 0.0),
    (1, 512, False, True, 0.0),
]


def build(name: str, version: str, rate: float) -> torch.nn.Module:
    arch = ARCHS['tiny']
    if name == 'transformers':
        return transformers_backbone(version, arch.depths, arch.channels, rate)
    scale = dict(layer_scale_init_value=1.0) if version == 'v1' else {}
    kernels = 'fast' if name == 'fast' else 'plain'
    model = ConvNeXt('tiny', version, drop_path_rate=rate, kernels=kernels, **scale)
    if name == 'compiled':  # a compiled model takes the plain path
        return torch.compile(model, dynamic=False)
    peer = {'timm': Timm, 'mmpretrain': Mmpretrain, 'meta': Meta}.get(name)
    return peer(model) if peer else model


def call(model: torch.nn.Module, image: torch.Tensor, training: bool, half: bool) -> None:
    """One training step without the optimizer, or one inference."""
    with torch.autocast('cpu', dtype=torch.bfloat16, enabled=half):
        if not training:
            with torch.no_grad():
                model(image)
            return
        maps = model(image)
    model.zero_grad(set_to_none=True)
    sum(m.float().sum() * 1e-3 for m in maps).backward()


def measure(functions: dict, rounds: int) -> dict[str, tuple[float, float]]:
    """Median and relative spread of each function's seconds, in turns."""
    for function in functions.values():
        function()
    seconds = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    found = {}
    for name, values in seconds.items():
        quartiles = statistics.quantiles(values, n=4)
        middle = statistics.median(values)
        found[name] = middle, (quartiles[2] - quartiles[0]) / middle
    return found


def copy_rate() -> float:
    """Bytes per second of a copy between two maps of 400 MB, read and written."""
    source = torch.randn(100_000_000)
    target = source.clone()
    seconds = measure({'copy': lambda: target.copy_(source)}, 5)['copy'][0]
    return 2 * source.nbytes / seconds


def products(batch: int, side: int, training: bool, half: bool, matmul: Callable) -> list:
    """The matrix products of the pointwise layers, as functions: two forward, four backward.

    ``matmul`` multiplies (m, k) and (n, k); operands are in the memory layout that is fastest.
    """
    dtype = torch.bfloat16 if half else torch.float32
    calls = []
    for i, (depth, width) in enumerate(zip(ARCHS['tiny'].depths, ARCHS['tiny'].channels)):
        pixels, hidden = batch * (side // 4 // 2**i) ** 2, 4 * width
        sizes = [(pixels, width, hidden), (pixels, hidden, width)]  # m, k, n
        if training:
            sizes += [*sizes, (hidden, pixels, width), (width, pixels, hidden)]
        pairs = [
            (torch.randn(m, k, dtype=dtype), torch.randn(n, k, dtype=dtype)) for m, k, n in sizes
        ]
        calls += [partial(matmul, *pair) for pair in pairs] * depth
    return calls


def by_torch(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return a @ b.t()


def by_onednn(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """What torch's inductor calls; in float32 torch's own `@` takes MKL instead."""
    return torch.ops.mkldnn._linear_pointwise(a, b, None, 'none', [], '')


BOUNDS = {'products by @': by_torch, 'products by oneDNN': by_onednn}


def run_all(calls: list) -> None:
    for one in calls:
        one()


def peak_memory(name: str, version: str, side: str) -> None:
    """Print the growth of the resident set in MB over one float32 training step."""
    model, image = build(name, version, 0.0), torch.randn(2, 3, int(side), int(side))
    call(model, image[:, :, :64, :64], True, False)
    before = resident('VmRSS')
    Path('/proc/self/clear_refs').write_text('5')  # resets the peak
    call(model, image, True, False)
    print(resident('VmHWM') - before)


def resident(field: str) -> float:
    """Resident set of this process in MB: VmRSS now, VmHWM at its peak."""
    lines = Path('/proc/self/status').read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


def table(version: str, rounds: int, names: tuple, cases: list) -> list[str]:
    lines = [
        ' | '.join([f'ConvNeXt {version.upper()}-T', *names, *BOUNDS, 'best peer / fast']),
        '|'.join(['---'] * (len(names) + len(BOUNDS) + 2)),
    ]
    for batch, side, training, half, rate in cases:
        image = torch.randn(batch, 3, side, side)
        functions = {}
        for name in names:
            model = build(name, version, rate).train(training)
            if name == 'fast' and not training:
                model.fuse()
            functions[name] = partial(call, model, image, training, half)
        for name, matmul in BOUNDS.items():
            functions[name] = partial(run_all, products(batch, side, training, half, matmul))
        found = measure(functions, rounds)
        fast = found['fast'][0]
        best = min(found[name][0] for name in names if name not in OURS)
        what = f'{"step" if training else "inference"} {batch}x3x{side}x{side} '
        what += f'{"bf16" if half else "fp32"}' + (f', drop path {rate}' if training else '')
        cells = [f'{m:.3f} s ({s:.0%})' for m, s in (found[name] for name in names)]
        for name in BOUNDS:
            cells.append(f'{found[name][0]:.3f} s: fast takes {fast / found[name][0]:.2f}')
        cells.append(f'{best / fast:.2f}')
        lines.append(' | '.join([what, *cells]))
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--versions', nargs='+', default=['v1', 'v2'])
    parser.add_argument('--names', nargs='+', default=NAMES)
    every = range(len(CASES))
    parser.add_argument('--cases', nargs='+', type=int, choices=every, default=every)
    parser.add_argument('--side', type=int, help='pixels, instead of those of the cases')
    parser.add_argument('--out', help='a Markdown file to write')
    parser.add_argument('--memory', nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.rounds < 2:
        parser.error(f'--rounds {args.rounds}: 2 or more, or there is no spread')
    torch.set_num_threads(args.threads)
    if args.memory:
        peak_memory(*args.memory)
        return
    lines = [
        f'torch {torch.__version__}, {platform.machine()} {capability()[0] or "no kernels"}, '
        f'{args.threads} threads of {os.cpu_count()} CPUs, {args.rounds} rounds',
        f'`python benchmarks/cpu.py {" ".join(sys.argv[1:])}`',
        f'A copy in memory: {copy_rate() / 1e9:.0f} GB/s, read and written',
        '',
    ]
    cases = [(batch, args.side or side, *how) for batch, side, *how in CASES]
    cases, side = [cases[i] for i in args.cases], args.side or 384
    for version in args.versions:
        lines += [*table(version, args.rounds, tuple(args.names), cases), '']
        memory = []
        for name in args.names:
            command = [sys.executable, __file__, '--memory', name, version, str(side)]
            out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            memory.append(f'{name} {float(out.split()[-1]):.0f}')
        lines += [f'Memory of a step 2x3x{side}x{side} fp32, MB: {", ".join(memory)}', '']
        print(lines[-2], flush=True)
    if args.out:
        Path(args.out).write_text('\n'.join(lines))


if __name__ == '__main__':
    main()
