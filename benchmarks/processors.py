# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Is the fast path faster on other processors? python benchmarks/processors.py [--out FILE]

Compiles the kernels for each instruction set, in copies of the package, and limits torch and oneDNN
to what such a processor has (ATEN_CPU_CAPABILITY, ONEDNN_MAX_CPU_ISA). Fast and plain take turns;
a figure is plain's median time over fast's, so below 1 plain is faster and 'auto' must choose it.
The table also shows what 'auto' chooses. MKL, which multiplies float32 on the plain path, is not
limited: it is at least as fast here as on the emulated processor.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Name, instruction set of the kernels and torch, and what oneDNN may use.
PROCESSORS = [
    ('AVX512 with bf16', 'AVX512', 'DEFAULT'),
    ('AVX512', 'AVX512', 'AVX512_CORE'),
    ('AVX2', 'AVX2', 'AVX2'),
    ('none of these', 'DEFAULT', 'SSE41'),
]
CASES = [(training, half) for training in (True, False) for half in (False, True)]
SIZES = {True: (2, 3, 256, 256), False: (1, 3, 384, 384)}  # of a step, of an inference


def compile_for(capability: str, folder: Path) -> Path:
    """Copy the package and compile its kernels for an instruction set; return the copy's path."""
    target = folder / capability
    ignored = shutil.ignore_patterns('*.so', '_cpu.json', '__pycache__', '.mim')
    shutil.copytree(ROOT / 'mmconvnext', target / 'mmconvnext', ignore=ignored)
    shutil.copytree(ROOT / 'requirements', target / 'requirements')
    for name in ('setup.py', 'pyproject.toml', 'README.md', 'LICENSE'):
        shutil.copy(ROOT / name, target)
    subprocess.run(
        [sys.executable, 'setup.py', '-q', 'build_ext', '--inplace'],
        cwd=target,
        env={**os.environ, 'MMCONVNEXT_BUILD': capability},
        check=True,
    )
    return target


def measure(arch: str, version: str, training: bool, half: bool, rounds: int) -> dict:
    """Medians of both paths in seconds, and which path 'auto' takes."""
    import torch

    from mmconvnext import ConvNeXt

    scale = dict(layer_scale_init_value=1.0) if version == 'v1' else {}
    models = {
        kernels: ConvNeXt(arch, version, kernels=kernels, **scale).train(training)
        for kernels in ('fast', 'plain', 'auto')
    }
    image = torch.randn(SIZES[training])

    def run(model: torch.nn.Module) -> None:
        with torch.autocast('cpu', torch.bfloat16, enabled=half), torch.set_grad_enabled(training):
            maps = model(image)
        if training:
            model.zero_grad(set_to_none=True)
            sum(m.float().sum() * 1e-3 for m in maps).backward()

    seconds = {'fast': [], 'plain': []}
    for i in range(rounds + 1):
        for kernels, times in seconds.items():
            start = time.perf_counter()
            run(models[kernels])
            times.extend([time.perf_counter() - start] if i else [])
    run(models['auto'])
    found = {kernels: statistics.median(times) for kernels, times in seconds.items()}
    return found | {'auto': 'fast' if not any(models['auto']._report.why.values()) else 'plain'}


def row(name: str, capability: str, isa: str, package: Path, args: argparse.Namespace) -> str:
    """One line of the table, measured in a process of its own for each case."""
    cells = [name, args.version]
    for threads in (1, 2):
        for training, half in CASES:
            env = {
                **os.environ,
                'PYTHONPATH': str(package),
                'ATEN_CPU_CAPABILITY': capability.lower(),
                'ONEDNN_MAX_CPU_ISA': isa,
                'OMP_NUM_THREADS': str(threads),
            }
            case = json.dumps([args.arch, args.version, training, half, args.rounds])
            command = [sys.executable, '-W', 'ignore', __file__, '--measure', case]
            out = subprocess.run(command, env=env, capture_output=True, text=True)
            if out.returncode:
                raise SystemExit(f'{name}, {case}: {out.stderr}')
            found = json.loads(out.stdout.splitlines()[-1])
            ratio = found['plain'] / found['fast']
            mark = '' if found['auto'] == 'fast' else ', auto is plain'
            cells.append(f'{ratio:.2f} ({found["fast"]:.2f} s{mark})')
            print(name, args.version, threads, case, cells[-1], flush=True)
    return ' | '.join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--arch', default='tiny')
    parser.add_argument('--version', default='v1')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--processors', nargs='+', type=int, default=range(len(PROCESSORS)))
    parser.add_argument('--out', help='a Markdown file to write')
    parser.add_argument('--measure', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(*json.loads(args.measure))))
        return
    import torch

    head = ['kernels for', args.arch]
    for threads in (1, 2):
        for training, half in CASES:
            kind = f'{"step" if training else "inference"} {"bf16" if half else "fp32"}'
            head.append(f'{kind}, {threads} thread{"s" * (threads > 1)}')
    lines = [
        f'torch {torch.__version__}, {platform.machine()}, {args.rounds} rounds',
        f'`python benchmarks/processors.py {" ".join(sys.argv[1:])}`',
        '',
        ' | '.join(head),
        '|'.join(['---'] * len(head)),
    ]
    with tempfile.TemporaryDirectory() as folder:
        packages = {}
        for i in args.processors:
            name, capability, isa = PROCESSORS[i]
            if capability not in packages:
                packages[capability] = compile_for(capability, Path(folder))
            lines.append(row(name, capability, isa, packages[capability], args))
    print('\n'.join(lines))
    if args.out:
        Path(args.out).write_text('\n'.join(lines) + '\n')


if __name__ == '__main__':
    main()
