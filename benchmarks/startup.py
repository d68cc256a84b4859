# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Start-up of the tools: python benchmarks/startup.py [--rounds 5] [--out FILE]

Two tables of medians. The first: seconds that `--help` of every tool and list_weights.py take. The
second: seconds from the command to the end of the first training iteration, for tools/train.py with
Mask R-CNN ConvNeXt-T and mmdet's own tools/train.py with its Mask R-CNN ResNet-50, in turns, on the
same toy images with the same pipeline. "cpu" is processor time, which depends less on other load.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OURS = ROOT / 'configs/mask_rcnn/mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py'
CLASSES = ('disc', 'square', 'triangle', 'star')
# What both configs share: unaugmented toy images, loaded in the main process, logged every time.
SHARED = """
pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', scale=(192, 192), keep_ratio=True),
    dict(type='PackDetInputs')]
loader = dict(num_workers=0, persistent_workers=False)
default_hooks = dict(logger=dict(interval=1))
"""
CONFIGS = {
    'ours.py': f"""_base_ = {str(OURS)!r}
{SHARED}
model = dict(backbone=dict(init_cfg=None))
train_dataloader = dict(batch_size=2, dataset=dict(pipeline=pipeline), **loader)
val_dataloader = loader
own_data = dict(root='coco', classes={CLASSES},
    train=dict(images='train2017', annotations='annotations/instances_train2017.json'),
    val=dict(images='val2017', annotations='annotations/instances_val2017.json'))
__import__('mmconvnext').use_own_data(locals())
""",
    'theirs.py': f"""_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'
{SHARED}
heads = dict(bbox_head=dict(num_classes=4), mask_head=dict(num_classes=4))
model = dict(backbone=dict(init_cfg=None), roi_head=heads)
files = dict(data_root='coco/', metainfo=dict(classes={CLASSES}))
train = dict(ann_file='annotations/instances_train2017.json', data_prefix=dict(img='train2017/'))
val = dict(ann_file='annotations/instances_val2017.json', data_prefix=dict(img='val2017/'))
train_dataloader = dict(batch_size=2, dataset=dict(pipeline=pipeline, **files, **train), **loader)
val_dataloader = dict(dataset=dict(**files, **val), **loader)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file='coco/annotations/instances_val2017.json')
test_evaluator = val_evaluator
""",
}


def first_iteration(tool: Path, config: str, folder: Path) -> tuple[float, float]:
    """Seconds from the command to the log line of the first iteration: wall clock and processor."""
    with tempfile.TemporaryDirectory() as work_dir:
        command = [sys.executable, '-u', str(tool), config, '--work-dir', work_dir]
        start, lines = time.perf_counter(), []
        pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        process = subprocess.Popen(command, cwd=folder, **pipes)
        for line in process.stdout:
            lines.append(line)
            if 'Epoch(train)' in line:
                break
        else:
            raise RuntimeError(f'{tool} {config} ended early:\n{"".join(lines[-20:])}')
        seconds = time.perf_counter() - start
        process.kill()
        _, _, used = os.wait4(process.pid, 0)
        process.returncode = -9
        process.stdout.close()
    return seconds, used.ru_utime + used.ru_stime


def seconds(tool: Path, *options: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, str(tool), *options], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--out', help='a Markdown file to write')
    args = parser.parse_args()
    tools = sorted((ROOT / 'tools').glob('[!_]*.py'))
    commands = [(tool, '--help') for tool in tools] + [(ROOT / 'tools/list_weights.py',)]
    lines = ['command | seconds', '---|---']
    for command in commands:
        median = statistics.median(seconds(*command) for _ in range(args.rounds))
        lines.append(f'`{" ".join([command[0].name, *command[1:]])}` | {median:.2f}')
    theirs = Path(find_spec('mmdet').submodule_search_locations[0], '.mim/tools/train.py')
    pairs = []
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, ROOT / 'tools/make_toy_data.py', folder], check=True)
        for name, text in CONFIGS.items():
            Path(folder, name).write_text(text)
        for _ in range(args.rounds + 1):  # the first one fills the caches
            ours = first_iteration(ROOT / 'tools/train.py', 'ours.py', Path(folder))
            pairs.append((ours, first_iteration(theirs, 'theirs.py', Path(folder))))
    lines += ['', 'to the first iteration | seconds | cpu', '---|---|---']
    for name, results in zip(('ConvNeXt-T, tools/train.py', 'ResNet-50, mmdet'), zip(*pairs[1:])):
        wall, cpu = (statistics.median(values) for values in zip(*results))
        lines.append(f'{name} | {wall:.2f} | {cpu:.2f}')
    ratios = [(a[0] / b[0], a[1] / b[1]) for a, b in pairs[1:]]
    wall, cpu = (statistics.median(values) for values in zip(*ratios))
    lines.append(f'ratio, round by round | {wall:.3f} | {cpu:.3f}')
    print('\n'.join(lines))
    if args.out:
        Path(args.out).write_text('\n'.join(lines) + '\n')


if __name__ == '__main__':
    main()
