# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Time and memory of ConvNeXt on one NVIDIA GPU: python benchmarks/gpu_suite.py [--out FILE]

All in one run of at most `--minutes`: parity, the backbone and its peers, single operators, new
image sizes, stochastic depth, the optimizer, torch.compile, Mask R-CNN. Figures are medians of CUDA
events after a warm-up, or of the wall clock where stated; device time and launches come from the
profiler. Each section runs in its own process with its own time limit, so that a device error or a
slow compilation does not affect the others; `--only NAME ...` runs some of them in this process.
With `--dry-run` all code runs on a CPU at tiny sizes, and the figures are meaningless.
"""

import argparse
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import gpu_models
import gpu_parts
import torch
from gpu_models import TINY, forward, step
from gpu_parts import SHORT, Bench
from mmengine.logging import MMLogger
from torch import Tensor, nn

from mmconvnext import ConvNeXt
from mmconvnext.kernels.selection import DTYPES

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / 'configs'
TOLERANCE = 1e-4  # of float32, relative


def environment(bench: Bench) -> None:
    """The versions, and the hardware limits that no implementation can beat."""
    command = ['git', '-C', str(ROOT), 'describe', '--always', '--dirty']
    try:
        commit = subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except OSError:
        commit = ''
    bench.say(f'Commit {commit or "unknown"}, {time.strftime("%Y-%m-%d")}')
    try:
        from triton import __version__ as triton
    except ImportError as error:
        triton = f'none ({error})'
    python = platform.python_version()
    versions = f'Python {python}, torch {torch.__version__}, triton {triton}, '
    versions += f'CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}'
    gpu = torch.cuda.get_device_name() if bench.cuda else 'no GPU'
    bench.say(f'\n{versions}; {gpu}, {os.cpu_count()} CPUs')
    rates = f'{bench.bandwidth() / 1e9:.2f} TB/s, {bench.rate() / 1e9:.0f} TFLOP/s'
    bench.say(f'\nCopy, read and written, and bfloat16 matrix product: {rates}')


def parity(bench: Bench) -> None:
    """Maps and gradients compared with plain float64: an odd size, stochastic depth."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    height, width = (203, 331) if bench.cuda else (43, 71)
    image = bench.randn(2, 3, height, width)
    bench.say('Largest relative error of a map, a gradient, and a map of inference after fuse().\n')
    cells = [
        f'{path}: {what}' for path in ('fast', 'plain') for what in ('map', 'grad', 'inference')
    ]
    bench.head(f'2x3x{height}x{width}', *cells)
    for version in ('v1', 'v2'):
        bench.attempt(f'parity of {version}', _parity_of, bench, version, image)


def _parity_of(bench: Bench, version: str, image: Tensor) -> None:
    models = {}
    for kernels in ('plain', 'fast'):
        options = dict(layer_scale_init_value=1.0) if version == 'v1' else {}
        options.update(drop_path_rate=0.4, kernels=kernels)
        models[kernels] = ConvNeXt('tiny' if bench.cuda else TINY, version, **options)
    for name, parameter in models['plain'].named_parameters():
        if parameter.ndim == 1:  # norms, biases and GRN start at 0 or 1, which would hide errors
            nn.init.normal_(parameter, mean=float('norm.weight' in name), std=0.3)
    state = models['plain'].state_dict()
    for model in models.values():
        model.load_state_dict(state)
        model.to(bench.device)
    exact = _results(models['plain'].double(), image.double())
    models['plain'].float()
    worst = {}
    for dtype in bench.dtypes:
        cells = []
        for kernels in ('fast', 'plain'):
            if kernels == 'fast' and dtype not in DTYPES:
                cells += ['none'] * 3
                continue
            found = _results(models[kernels], image, dtype)
            errors = [_worst(a, b) for a, b in zip(found, exact)]
            cells += [f'{error:.1e}' for error in errors]
            worst[kernels, dtype] = max(errors)
        bench.say(f'{version} {SHORT[dtype]}', *cells)
    found = worst['fast', torch.float32]
    if not found < TOLERANCE:  # NaN as well
        raise AssertionError(f'float32 of the fast path is off by {found:.1e}, over {TOLERANCE}')


def _results(model: nn.Module, image: Tensor, dtype: torch.dtype = torch.float64) -> tuple:
    """Maps and gradients of a training step, and maps of an inference."""
    torch.manual_seed(0)  # stochastic depth draws the same samples for all
    maps = forward(model.train(), image, dtype)
    model.zero_grad(set_to_none=True)
    generator = torch.Generator(image.device).manual_seed(1)
    grads = [torch.empty_like(m).float().normal_(generator=generator).to(m.dtype) for m in maps]
    torch.autograd.backward(maps, grads)
    with torch.no_grad():
        inferred = forward(model.fuse(), image, dtype)
    return [m.detach() for m in maps], [p.grad for p in model.parameters()], list(inferred)


def _worst(found: list, exact: list) -> float:
    ratios = []
    for a, b in zip(found, exact):
        b = b.double()
        ratios.append((a.double() - b).norm() / b.norm().clamp_min(1e-30))
    return torch.stack(ratios).max().item()


def mask_rcnn(bench: Bench) -> None:
    """The backbone's share of a training step of Mask R-CNN on random data."""
    try:
        from mmdet.registry import MODELS
        from mmdet.testing import demo_mm_inputs
        from mmdet.utils import register_all_modules
        from mmengine.config import Config
    except (ImportError, AssertionError) as error:  # mmdet asserts the version of mmcv
        bench.say(f'Skipped, because mmdet cannot be imported: {error}')
        return
    register_all_modules(init_default_scope=True)
    # mmcv's RoIAlign does not support bfloat16, nor the fast path float16.
    dtype = torch.float16 if bench.cuda else torch.float32
    file = 'mask_rcnn/mask-rcnn_convnext-t-p4-w7_fpn_amp-1x_coco.py'
    file = CONFIGS / (file if bench.cuda else '_base_/mask-rcnn_convnext-atto_cpu.py')
    bench.head(
        'kernels', 'step without optimizer, ms', 'backbone', 'share', 'device ms', 'launches'
    )
    for kernels in ('plain',) if bench.cuda else ('plain', 'fast'):
        config = Config.fromfile(file)
        config.model.backbone.update(init_cfg=None, kernels=kernels)
        model = MODELS.build(config.model).to(bench.device).train()
        shapes = [[3, *bench.side]] * 2
        data = demo_mm_inputs(
            2, shapes, [8, 8], num_classes=80, with_mask=True, device=bench.device
        )
        data = model.data_preprocessor(data, True)

        def whole(model: nn.Module = model, data: dict = data) -> None:
            model.zero_grad(set_to_none=True)
            with torch.autocast(bench.device, dtype=dtype, enabled=bench.cuda):
                losses = model(**data, mode='loss')
            model.parse_losses(losses)[0].backward()

        def part(model: nn.Module = model, data: dict = data) -> None:
            step(model.backbone, data['inputs'], dtype=dtype)

        times = bench.time(whole), bench.time(part)
        spent, launches = bench.kernels(whole)
        cells = f'{times[1] / times[0]:.0%}', f'{sum(spent.values()) / 1e3:.1f}', launches
        bench.say(kernels, *(f'{ms:.1f}' for ms in times), *cells)


# In this order. Each has a title, a function, and a time limit in seconds.
SECTIONS = {
    'environment': ('Environment', environment, 60),
    'parity': ('Parity', parity, 100),
    'backbone': ('Backbone', gpu_models.backbone, 180),
    'operators': ('Depthwise convolution', gpu_parts.operators, 120),
    'shapes': ('New image sizes', gpu_models.new_shapes, 120),
    'drop_path': ('Dropped samples', gpu_models.drop_path, 60),
    'layer_norm': ('LayerNorm of PyTorch', gpu_parts.layer_norm, 30),
    'adamw': ('AdamW', gpu_models.adamw, 40),
    'profiles': ('Profiles of one step', gpu_models.profiles, 40),
    'mask_rcnn': ('Mask R-CNN', mask_rcnn, 60),
    'compile': ('torch.compile', gpu_models.compiled, 150),
    'base': ('ConvNeXt-B', gpu_models.base, 90),
}


def run_here(chosen: list[str], dry: bool) -> int:
    """Run the sections in this process; return the number of failures."""
    MMLogger.get_current_instance().setLevel('WARNING')  # its lines would break our tables
    torch.manual_seed(0)
    bench = Bench(dry)
    for name in chosen:
        title, function, _ = SECTIONS[name]
        print(f'\n## {title}\n', flush=True)
        bench.attempt(title, function, bench)
    return bench.failures


def run_apart(name: str, dry: bool, seconds: float) -> tuple[list[str], bool]:
    """Run a section in its own process; return its lines, and whether it failed."""
    command = [sys.executable, __file__, '--only', name, *['--dry-run'] * dry]
    start, lines = time.perf_counter(), []
    # In a new session, so that torch.compile's workers can be killed with it.
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    over = threading.Event()

    def stop() -> None:
        over.set()
        os.killpg(child.pid, signal.SIGKILL)

    timer = threading.Timer(seconds, stop)
    timer.start()
    for line in child.stdout:
        lines.append(line.rstrip('\n'))
        print(lines[-1], flush=True)
    code = child.wait()
    timer.cancel()
    if over.is_set():
        lines.append(f'\nSTOPPED at the time limit of {seconds:.0f} s.')
    else:
        lines.append(f'\n({time.perf_counter() - start:.0f} s)')
        if code not in (0, 1):
            lines[-1] = f'\nFAILED: the process exited with code {code}.'
    print(lines[-1], flush=True)
    return lines, code != 0 and not over.is_set()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', help='a Markdown file to write')
    parser.add_argument('--minutes', type=float, default=9.0)
    parser.add_argument('--only', nargs='+', choices=SECTIONS, help='run these, in this process')
    parser.add_argument('--dry-run', action='store_true', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        sys.exit(1 if run_here(args.only, args.dry_run) else 0)
    end, failed = time.perf_counter() + args.minutes * 60, []
    lines = [
        '# ConvNeXt on a GPU',
        '',
        f'`python benchmarks/gpu_suite.py {" ".join(sys.argv[1:])}`',
    ]
    print('\n'.join(lines), flush=True)
    for name, (title, _, seconds) in SECTIONS.items():
        left = end - time.perf_counter()
        if left < 10:
            lines.append(f'\nSkipped, because the time is up: {title}')
            print(lines[-1], flush=True)
            continue
        found, bad = run_apart(name, args.dry_run, min(seconds, left))
        lines += found
        failed += [title] * bad
        if args.out:  # after each section, in case the run is killed
            Path(args.out).write_text('\n'.join(lines) + '\n')
    print(
        f'\nFailed: {", ".join(failed) or "nothing"}; stopped: {sum("STOPPED" in n for n in lines)}'
    )
    sys.exit(1 if failed else 0)


if __name__ == '__main__':
    main()
