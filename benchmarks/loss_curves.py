# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Does the fast path train like the plain one? python benchmarks/loss_curves.py FOLDER

Trains Mask R-CNN on toy data (tools/train.py --toy) on both paths with each seed, below FOLDER;
complete runs there are not repeated. Plots the losses of the first 300 iterations and prints box
and mask AP. The same seed gives the same weights, images and dropped samples; rounding differs, so
the curves diverge slowly.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt

ROOT = Path(__file__).resolve().parent.parent
CONFIG = 'configs/mask_rcnn/mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py'
PATHS = {'plain': 'tab:gray', 'fast': 'tab:red'}
ITERATIONS = 300


def records(work_dir: Path) -> list[dict]:
    """What mmengine logged: every tenth iteration, and the evaluation at the end."""
    files = sorted(work_dir.glob('*/vis_data/scalars.json'))
    return [json.loads(line) for line in files[-1].read_text().splitlines()] if files else []


def scores(work_dir: Path) -> tuple[float, float] | None:
    last = (records(work_dir) or [{}])[-1]
    box, mask = (last.get(f'coco/{kind}_mAP') for kind in ('bbox', 'segm'))
    return None if box is None else (box, mask)


def train(kernels: str, seed: int, work_dir: Path) -> None:
    command = [sys.executable, 'tools/train.py', CONFIG, '--toy', '--work-dir', str(work_dir)]
    command += ['--cfg-options', f'randomness.seed={seed}']
    subprocess.run(command, cwd=ROOT, check=True, env=os.environ | {'MMCONVNEXT_KERNELS': kernels})


def draw(folder: Path, seeds: list[int]) -> Path:
    figure, axes = plt.subplots(1, len(seeds), figsize=(4 * len(seeds), 3), sharey=True)
    for axis, seed in zip(axes if len(seeds) > 1 else [axes], seeds):
        for (path, colour), style in zip(PATHS.items(), ('-', '--')):
            found = [r for r in records(folder / f'{path}{seed}') if r.get('step', 0) <= ITERATIONS]
            found = [r for r in found if 'loss' in r]
            axis.plot(
                [r['step'] for r in found],
                [r['loss'] for r in found],
                style,
                color=colour,
                label=path,
            )
        axis.set(title=f'seed {seed}', xlabel='iteration')
        axis.legend()
    figure.supylabel('loss, mean of ten iterations')
    figure.tight_layout()
    picture = folder / 'loss_curves.png'
    figure.savefig(picture, dpi=100)
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path)
    parser.add_argument('--seeds', type=int, nargs='+', default=[1, 2, 3])
    args = parser.parse_args()
    folder = args.folder.resolve()
    for seed in args.seeds:
        for path in PATHS:
            if scores(folder / f'{path}{seed}') is None:
                train(path, seed, folder / f'{path}{seed}')
    print('path | box AP | mask AP\n---|---|---')
    for path in PATHS:
        pairs = zip(*(scores(folder / f'{path}{seed}') for seed in args.seeds))
        cells = [f'{statistics.mean(v):.3f} ({", ".join(f"{x:.3f}" for x in v)})' for v in pairs]
        print(' | '.join([path, *cells]))
    print(draw(folder, args.seeds))


if __name__ == '__main__':
    main()
