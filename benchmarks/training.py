# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Start-up and iteration of tools/train.py: python benchmarks/training.py [--out FILE]

Mask R-CNN on toy data, with the full backbone in the small detector of `--toy`: ConvNeXt-T on the
fast and the plain path, and mmdet's own ResNet-50 recipe in the same tool, in turns. Wall-clock
seconds: from the command to the end of the first iteration, and the median of the iterations after
five for warm-up.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONVNEXT = 'configs/mask_rcnn/mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py'
RESNET = """_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'
model = dict(backbone=dict(init_cfg=None))
"""
# --toy changes the backbone to ConvNeXt-atto; these options restore the named one.
TINY = ('model.backbone.arch=tiny', 'model.neck.in_channels=[96,192,384,768]')
FIFTY = ('model.neck.in_channels=[256,512,1024,2048]',)
CASES = {  # name: config, options, MMCONVNEXT_KERNELS
    'ConvNeXt-T, fast': (CONVNEXT, TINY, 'fast'),
    'ConvNeXt-T, plain': (CONVNEXT, TINY, 'plain'),
    'ResNet-50': (None, FIFTY, 'auto'),
}


def run(name: str, iterations: int, folder: Path) -> tuple[float, float]:
    """Seconds to the first iteration, and median of those after the fifth."""
    config, options, kernels = CASES[name]
    if config is None:
        config = folder / 'resnet.py'
        config.write_text(RESNET)
    command = [sys.executable, '-u', 'tools/train.py', str(config), '--toy']
    command += ['--work-dir', str(folder / name.replace(', ', '-'))]
    command += ['--cfg-options', *options, 'default_hooks.logger.interval=1']
    start, ends, lines = time.perf_counter(), [], []
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {'MMCONVNEXT_KERNELS': kernels},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        for line in process.stdout:
            lines.append(line)
            if 'Epoch(train)' in line:
                ends.append(time.perf_counter())
            if len(ends) > iterations:
                process.kill()
    if len(ends) <= iterations:
        raise RuntimeError(f'{name} ended early:\n{"".join(lines[-20:])}')
    steps = [b - a for a, b in zip(ends, ends[1:])]
    return ends[0] - start, statistics.median(steps[5:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--iterations', type=int, default=30)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--out', help='a Markdown file to write')
    args = parser.parse_args()
    found = {name: [] for name in CASES}
    for turn in range(args.rounds + 1):  # one more, which writes the toy data and fills the caches
        for name in CASES:
            with tempfile.TemporaryDirectory() as folder:
                result = run(name, args.iterations if turn else 6, Path(folder))
            if turn:
                found[name].append(result)
                print(f'{name}: first iteration after {result[0]:.1f} s, then {result[1]:.3f} s')
    lines = ['Mask R-CNN, --toy | to the first iteration | iteration', '---|---|---']
    for name, results in found.items():
        first, step = (statistics.median(values) for values in zip(*results))
        lines.append(f'{name} | {first:.1f} s | {step:.3f} s')
    print('\n'.join(lines))
    if args.out:
        Path(args.out).write_text('\n'.join(lines) + '\n')


if __name__ == '__main__':
    main()
