# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""From nothing to a trained detector in minutes on a CPU: python tools/demo.py

Writes toy data, trains a small Mask R-CNN with ConvNeXt on it, evaluates it with COCO's metrics and
draws its predictions.
"""

import time
from pathlib import Path

from _start import read_options, run

CONFIG = 'configs/mask_rcnn/mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py'
METRICS = ('bbox_mAP', 'segm_mAP')


def main() -> None:
    """Run the demo in a folder of its own, so that no run overwrites another."""
    from mmconvnext.analysis.runs import draw_curve
    from mmconvnext.cli.report import draw_predictions
    from mmconvnext.cli.train import main as train

    start = time.time()
    work_dir = Path('work_dirs/demo') / time.strftime('%Y%m%d_%H%M%S')
    config = Path(__file__).resolve().parents[1] / CONFIG
    runner = train([str(config), '--toy', '--work-dir', str(work_dir)])
    scores = {key: runner.message_hub.get_scalar(f'val/coco/{key}').current() for key in METRICS}
    picture = draw_predictions(runner, work_dir / 'predictions.png')
    curve = draw_curve(work_dir, work_dir / 'curve.png')
    print(
        f'\nDone in {(time.time() - start) / 60:.1f} minutes; on 40 held-out images:\n'
        f'  box AP       {scores["bbox_mAP"]:.3f}\n'
        f'  mask AP      {scores["segm_mAP"]:.3f}\n'
        f'  checkpoint   {work_dir}/{Path(runner.message_hub.get_info("last_ckpt")).name}\n'
        f'  log          {runner.log_dir}\n'
        f'  curve        {curve}\n'
        f'  predictions  {picture} (left: ground truth, right: predictions)'
    )


if __name__ == '__main__':
    read_options('demo')
    run(main)
