# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""From nothing to a trained model in minutes on a CPU: python tools/demo.py [--task semantic]

Writes toy data, trains a small model with ConvNeXt on it as on data of one's own, evaluates it and
draws its predictions.
"""

import time
from pathlib import Path

from _start import read_options, run

# Config, writer of the toy data, their folder below the working directory, metrics.
DEMOS = dict(
    instance=(
        'mask-rcnn_convnext-atto_toy.py',
        ('write_coco', 'data/toy/coco'),
        {'box AP': 'coco/bbox_mAP', 'mask AP': 'coco/segm_mAP'},
    ),
    semantic=(
        'segformer-head_convnext-atto_toy.py',
        ('write_ade', 'data/toy/ade'),
        {'mIoU, %': 'mIoU', 'pixel accuracy, %': 'aAcc'},
    ),
)


def main(task: str) -> None:
    """Run the demo in a folder of its own, so that no run overwrites another."""
    from mmconvnext import toy
    from mmconvnext.analysis.runs import draw_curve
    from mmconvnext.cli.report import draw_predictions
    from mmconvnext.cli.train import main as train

    start = time.time()
    name, (writer, data), metrics = DEMOS[task]
    getattr(toy, writer)(data)
    work_dir = Path('work_dirs/demo') / time.strftime(f'{task}_%Y%m%d_%H%M%S')
    config = Path(__file__).resolve().parents[1] / 'configs/own_data' / name
    runner = train([str(config), '--work-dir', str(work_dir)])
    hub = runner.message_hub
    picture = draw_predictions(runner, work_dir / 'predictions.png')
    curve = draw_curve(work_dir, work_dir / 'curve.png')
    rows = [
        (label, f'{hub.get_scalar(f"val/{key}").current():.3f}') for label, key in metrics.items()
    ]
    rows += [
        ('checkpoint', f'{work_dir}/{Path(hub.get_info("last_ckpt")).name}'),
        ('log', runner.log_dir),
        ('curve', curve),
        ('predictions', f'{picture} (left: ground truth, right: predictions)'),
    ]
    print(f'\nDone in {(time.time() - start) / 60:.1f} minutes; on 40 held-out images:')
    print('\n'.join(f'  {label:18} {value}' for label, value in rows))


if __name__ == '__main__':
    task = read_options('demo').task
    run(lambda: main(task))
